//! Why TLS connections fail, as metrics count it.

use rustls::{AlertDescription, InvalidMessage};

use crate::Error;

/// Why a TLS connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The peer spoke something else than TLS.
    Plain,
    /// No version, cipher or protocol in common.
    Incompatible,
    /// The peer refused us by an alert: most often it does not trust the certificate.
    Refused,
    /// A server that we connect to does not prove that it is who it should be.
    Untrusted,
    /// The peer's handshake breaks the protocol.
    Handshake,
    /// A record after the handshake is damaged or out of place.
    Record,
    /// The handshake took too long.
    Timeout,
    /// The peer left during the handshake.
    Closed,
    /// A limit was reached.
    Limit,
}

impl TlsFailure {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Incompatible,
        Self::Refused,
        Self::Untrusted,
        Self::Handshake,
        Self::Record,
        Self::Timeout,
        Self::Closed,
        Self::Limit,
    ];

    /// One fixed word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "tls_plain",
            Self::Incompatible => "tls_incompatible",
            Self::Refused => "tls_refused",
            Self::Untrusted => "tls_untrusted",
            Self::Handshake => "tls_handshake",
            Self::Record => "tls_record",
            Self::Timeout => "tls_timeout",
            Self::Closed => "tls_closed",
            Self::Limit => "tls_limit",
        }
    }

    pub(super) const fn error(self) -> Error {
        Error::Rejected(self.name())
    }

    /// What `error` of a connection is that shakes hands, or has done so.
    pub(super) const fn of(error: &rustls::Error, handshaking: bool) -> Self {
        match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) if handshaking => {
                Self::Plain
            }
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::NoApplicationProtocol
            | rustls::Error::AlertReceived(
                AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
            ) => Self::Incompatible,
            rustls::Error::AlertReceived(_) => Self::Refused,
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Self::Untrusted
            }
            _ if handshaking => Self::Handshake,
            _ => Self::Record,
        }
    }
}
