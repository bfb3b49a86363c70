//! What a server proves itself with: a certificate chain and its key, as rustls wants them.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{Error, ServerConfig};

/// The protocols that HTTPS clients may choose; both are answered by HTTP/1.1.
const HTTP: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// A certificate with its key, ready for handshakes of RTMPS and HTTPS.
///
/// Lives on: every shard. Crosses by: cloning references, with a configuration. A connection keeps
/// the one that it began with.
#[derive(Clone)]
pub struct Identity {
    rtmps: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// TLS 1.2 and 1.3 with tickets, so that a peer that returns needs no signature of ours.
    ///
    /// # Errors
    /// The key is of no known kind, or does not belong to the first certificate of the chain.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // Tickets are kept by the peers: a table of sessions here would be shared and locked.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let mut https = config.clone();
        https.alpn_protocols = HTTP.map(<[u8]>::to_vec).into();
        Ok(Self { rtmps: Arc::new(config), https: Arc::new(https) })
    }

    /// This identity with the tickets of `old`, so that a changed certificate costs no resumption.
    #[must_use]
    pub fn with_tickets_of(&self, old: &Self) -> Self {
        let with = |config: &Arc<ServerConfig>| {
            let mut config = ServerConfig::clone(config);
            config.ticketer = Arc::clone(&old.rtmps.ticketer);
            Arc::new(config)
        };
        Self { rtmps: with(&self.rtmps), https: with(&self.https) }
    }

    /// For a peer that speaks RTMP inside; it names no protocol.
    #[must_use]
    pub const fn rtmps(&self) -> &Arc<ServerConfig> {
        &self.rtmps
    }

    /// For a peer that speaks HTTP inside.
    #[must_use]
    pub const fn https(&self) -> &Arc<ServerConfig> {
        &self.https
    }
}
