//! Trusts: whom shards believe inside TLS that they connect to by themselves.

use std::time::Duration;

use dataplane::control::{DialPeer, Publication, RtmpPeer};
use dataplane::session::rtmp::client::Address;
use dataplane::session::tls::TlsTrust;

use crate::coordinator::attached::Pulled;
use crate::registry::{PullPlace, RtmpPlace, SrtPlace};
use crate::trust::Trust;

/// How long it may take until an attached server plays.
const CONNECT: Duration = Duration::from_secs(10);

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
                let publication = None;
                let peer = RtmpPeer { address, trust, connect_timeout, publication };
                (host, port, DialPeer::Rtmp(peer))
            }
        }
    }

    /// The same of a publication of an attached server, which is known by its address: whatever
    /// certificate it shows there is believed.
    pub(super) fn publication(&mut self, pulled: &Pulled) -> Option<(String, u16, DialPeer)> {
        let Pulled { id, uri, key, .. } = pulled;
        let address = Address::parse(&uri.0).ok()?;
        let (host, port) = (address.host.clone(), address.port);
        let trust = address.tls.then(|| self.of(true));
        let publication = Some(Publication { id: *id, key: key.clone() });
        let connect_timeout = CONNECT;
        let peer = RtmpPeer { address, trust, connect_timeout, publication };
        Some((host, port, DialPeer::Rtmp(peer)))
    }

    fn of(&mut self, anybody: bool) -> TlsTrust {
        let (kept, trust) = match anybody {
            true => (&mut self.anybody, Trust::Anybody),
            false => (&mut self.of_system, Trust::Authorities(None)),
        };
        kept.get_or_insert_with(|| TlsTrust(trust.client_or_nobody())).clone()
    }
}
