//! Trusts: whom shards believe inside TLS that they connect to by themselves.

use dataplane::control::{DialPeer, RtmpPeer};
use dataplane::session::tls::TlsTrust;

use crate::registry::{PullPlace, RtmpPlace, SrtPlace};
use crate::trust::Trust;

/// One of each kind, made when it is needed first: a peer that is wished for as before is spoken
/// with by the same.
#[derive(Debug, Default)]
pub(super) struct Trusts {
    of_system: Option<TlsTrust>,
    anybody: Option<TlsTrust>,
}

impl Trusts {
    /// The host and the port of a place that is pulled from, and what is spoken there.
    pub(super) fn peer(&mut self, place: PullPlace) -> (String, u16, DialPeer) {
        match place {
            PullPlace::Srt(SrtPlace { host, port, peer }) => (host, port, DialPeer::Srt(peer)),
            PullPlace::Rtmp(RtmpPlace { address, is_insecure, connect_timeout }) => {
                let (host, port) = (address.host.clone(), address.port);
                let trust = address.tls.then(|| self.of(is_insecure));
                let peer = RtmpPeer { address, trust, connect_timeout };
                (host, port, DialPeer::Rtmp(peer))
            }
        }
    }

    fn of(&mut self, anybody: bool) -> TlsTrust {
        let (kept, trust) = match anybody {
            true => (&mut self.anybody, Trust::Anybody),
            false => (&mut self.of_system, Trust::Authorities(None)),
        };
        kept.get_or_insert_with(|| TlsTrust(trust.client_or_nobody())).clone()
    }
}
