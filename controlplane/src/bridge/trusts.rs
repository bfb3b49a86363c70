//! Trusts: whom shards believe inside TLS that they connect to by themselves.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::control::{DialFailure, DialPeer, DialState, Publication, RtmpPeer};
use dataplane::session::rtmp::client::Address;
use dataplane::session::tls::{TlsFailure, TlsTrust};
use rustls::RootCertStore;

use crate::authorities::{self, Authorities};
use crate::coordinator::attached::Pulled;
use crate::registry::{PullPlace, RtmpPlace, SrtPlace, masked_rtmp_url};
use crate::trust;

/// How long it may take until an attached server plays.
const CONNECT: Duration = Duration::from_secs(3);
/// What a player says to such a server to begin with the newest group of pictures.
const FROM_NOW: &str = "cache=clear";
/// Authorities of which there are none are looked for again after this.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// What a thread needs of a stack that reads certificates.
const STACK_BYTES: usize = 512 << 10;
/// The word for a server that is not believed because this system trusts nobody.
pub(super) const NO_AUTHORITIES: &str = "no_authorities";

/// One of each kind, made when it is needed first: a peer that is wished for as before is spoken
/// with by the same.
#[derive(Debug, Default)]
pub(super) struct Trusts {
    of_system: Option<Vouched>,
    anybody: Option<TlsTrust>,
}

/// Those that the system's authorities vouch for.
#[derive(Debug)]
struct Vouched {
    trust: TlsTrust,
    authorities: Arc<Authorities>,
    read: fn() -> RootCertStore,
    looked: Option<Instant>,
    look: Option<JoinHandle<()>>,
}

/// The host and the port of a peer, and what is spoken with it.
pub(super) type Place = (String, u16, DialPeer);

impl Trusts {
    /// Of a place that is pulled from.
    pub(super) fn peer(&mut self, place: PullPlace) -> Place {
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
    /// certificate it shows there is believed. And that address, as it may be shown.
    pub(super) fn publication(&mut self, pulled: &Pulled) -> Option<(Place, String)> {
        let Pulled { id, uri, key, .. } = pulled;
        let mut address = Address::parse(&uri.0).ok()?;
        let mark = if address.stream.0.contains('?') { '&' } else { '?' };
        address.stream.0.push_str(&format!("{mark}{FROM_NOW}"));
        let (host, port) = (address.host.clone(), address.port);
        let trust = address.tls.then(|| self.of(true));
        let publication = Some(Publication { id: *id, key: key.clone() });
        let connect_timeout = CONNECT;
        let peer = RtmpPeer { address, trust, connect_timeout, publication };
        Some(((host, port, DialPeer::Rtmp(peer)), masked_rtmp_url(&uri.0)))
    }

    /// How a peer is, as it is told: where nobody vouches for anybody, it is not the server that
    /// has to do something, and authorities are looked for again.
    pub(super) fn blame(&mut self, state: DialState, now: Instant) -> DialState {
        let untrusted = DialFailure::Ended(TlsFailure::Untrusted.name());
        let is_untrusted = match &state {
            DialState::Pausing { reason } | DialState::Failed { reason } => *reason == untrusted,
            _ => false,
        };
        let mut vouched = self.of_system.as_mut().filter(|_| is_untrusted);
        let is_blind = vouched.as_mut().is_some_and(|vouched| vouched.is_blind(now));
        let reason = DialFailure::Ended(NO_AUTHORITIES);
        match state {
            DialState::Pausing { .. } if is_blind => DialState::Pausing { reason },
            DialState::Failed { .. } if is_blind => DialState::Failed { reason },
            state => state,
        }
    }

    fn of(&mut self, anybody: bool) -> TlsTrust {
        if anybody {
            return self.anybody.get_or_insert_with(|| TlsTrust(trust::anybody())).clone();
        }
        let make = || Vouched::new(authorities::at_start(), authorities::read);
        self.of_system.get_or_insert_with(make).trust.clone()
    }
}

impl Vouched {
    fn new(roots: Arc<RootCertStore>, read: fn() -> RootCertStore) -> Self {
        let authorities = Arc::new(Authorities::of(roots));
        let trust = TlsTrust(trust::vouched(Arc::clone(&authorities)));
        Self { trust, authorities, read, looked: None, look: None }
    }

    /// True while there are no authorities, which are looked for then.
    fn is_blind(&mut self, now: Instant) -> bool {
        let is_blind = self.authorities.verifier().is_none();
        let is_looking = self.look.as_ref().is_some_and(|look| !look.is_finished());
        let is_due = self.looked.is_none_or(|looked| now >= looked + LOOK_PAUSE);
        if is_blind && is_due && !is_looking {
            self.looked = Some(now);
            // Without a thread it is looked again with the next failure.
            self.look = self.look_again().ok();
        }
        is_blind
    }

    fn look_again(&self) -> io::Result<JoinHandle<()>> {
        let (authorities, read) = (Arc::clone(&self.authorities), self.read);
        let thread = thread::Builder::new().name("authorities".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || authorities.take(Arc::new(read())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use dataplane::ids::{Secret, StreamId, StreamName};

    use super::*;

    static READS: AtomicU32 = AtomicU32::new(0);

    /// Nothing at first, and then an authority.
    fn read() -> RootCertStore {
        let mut roots = RootCertStore::empty();
        if READS.fetch_add(1, Ordering::Relaxed) > 0 {
            let own = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap();
            roots.add(own.cert.der().clone()).unwrap();
        }
        roots
    }

    #[test]
    fn authorities_of_which_there_are_none_are_looked_for_again_now_and_then() {
        let vouched = Vouched::new(Arc::new(RootCertStore::empty()), read);
        let mut trusts = Trusts { of_system: Some(vouched), anybody: None };
        let now = Instant::now();
        let trust = trusts.of(false);
        let untrusted = || DialState::Pausing { reason: DialFailure::Ended("tls_untrusted") };
        let blind = DialState::Pausing { reason: DialFailure::Ended(NO_AUTHORITIES) };
        let mut told = |after: Duration| {
            let told = trusts.blame(untrusted(), now + after);
            let look = trusts.of_system.as_mut().and_then(|vouched| vouched.look.take());
            let looked = look.map(|look| look.join().unwrap()).is_some();
            (told, looked)
        };
        assert_eq!(told(Duration::ZERO), (blind.clone(), true));
        assert_eq!(told(LOOK_PAUSE / 2), (blind.clone(), false), "not with each failure");
        assert_eq!(told(LOOK_PAUSE), (blind, true));
        assert_eq!(told(2 * LOOK_PAUSE), (untrusted(), false), "there are some now");
        assert_eq!(READS.load(Ordering::Relaxed), 2);
        assert_eq!(trusts.of(false), trust, "who is connected to is spoken with by the same");
        let said = DialState::Pausing { reason: DialFailure::NoAnswer };
        assert_eq!(trusts.blame(said.clone(), now), said);
    }

    #[test]
    fn a_publication_is_played_from_now_on_and_shown_without_its_key() {
        let mut trusts = Trusts::default();
        for (uri, key, host, stream, shown) in [
            (
                "rtmp://192.0.2.7:1935/cam7/k1",
                "k1",
                "192.0.2.7",
                "k1?cache=clear",
                "rtmp://192.0.2.7:1935/cam7/***",
            ),
            (
                "rtmps://[2001:db8::1]:443/cam7/k1?a=b",
                "k1?a=b",
                "2001:db8::1",
                "k1?a=b&cache=clear",
                "rtmps://[2001:db8::1]:443/cam7/***?***",
            ),
        ] {
            let (channel, id) = (StreamName::parse("cam7").unwrap(), StreamId([7; 16]));
            let [uri, key] = [uri, key].map(|text| Secret(text.to_owned()));
            let pulled = Pulled { channel, id, uri, key: key.clone() };
            let (place, known) = trusts.publication(&pulled).unwrap();
            let DialPeer::Rtmp(peer) = place.2 else { panic!("it is RTMP") };
            assert_eq!((place.0.as_str(), known.as_str()), (host, shown));
            assert_eq!(peer.address.stream.0, stream);
            assert_eq!(peer.publication, Some(Publication { id, key }));
            let is_secure = known.starts_with("rtmps:");
            assert_eq!((peer.address.app.as_str(), peer.trust.is_some()), ("cam7", is_secure));
        }
    }
}
