//! Dials: the home shard of each declared stream hears which peers it connects to by itself, to
//! pull the stream from them and to push it to them.
//!
//! ```text
//!   declared --its name is looked up--> told to the shard --> what became of it --> events, API
//!                    ^                                            |
//!                    +-------- it failed, and has a name ---------+
//! ```
//!
//! A peer whose declaration stays the same keeps its number, so that its shard leaves it alone.
//! Limits: one entry for each declared input or push with a peer; [`LOOKUPS_MAX`] names are looked
//! up at one time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::{
    CloseReason, Command, Dial, DialNews, DialNumber, DialPeer, DialState, ProtocolSet, Role,
};
use dataplane::ids::{SessionId, StreamId, StreamName};
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::outbox::WAITING_MAX;
use super::peers::{NO_INPUT, Peer, PeerSnapshots, PeerStatus, Wish, word};
use super::trusts::Trusts;
use crate::coordinator::attached::Pulled;
use crate::counts::Counts;
use crate::events::Kind;
use crate::outbound::{Found, Names};
use crate::registry::PushPlace;

/// Streams that are looked at in one go at most.
const LOOKS_MAX: usize = 256;
/// Names that are looked up at one time at most.
const LOOKUPS_MAX: usize = 16;
/// An answer is asked for this often.
const LOOK_PACE: Duration = Duration::from_millis(20);
/// A name that nobody knows is asked for again after this long.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(5);
/// The first pause between two attempts to pull a publication of an attached server, which may
/// begin a moment after it was let in, and how often that is tried.
const COMING_PAUSE: Duration = Duration::from_millis(250);
const COMING_ATTEMPTS_MAX: u32 = 8;
/// The first pause between two attempts to pull.
const PULL_PAUSE: Duration = Duration::from_secs(1);
const ROLES: [Role; 2] = [Role::Publish, Role::Play];

/// The peers of all streams.
#[derive(Debug)]
pub(super) struct Dials {
    peers: BTreeMap<StreamName, Vec<(Role, Peer)>>,
    /// Streams to look at: they changed, or there was no room to tell of them.
    unseen: BTreeSet<StreamName>,
    /// Peers whose names are to be looked up.
    unknown: BTreeSet<(StreamName, DialNumber)>,
    lookups: Vec<Lookup>,
    names: Names,
    trusts: Trusts,
    /// Publications of attached servers that the encoder of this node has.
    publications: BTreeMap<StreamName, Pulled>,
    /// Numbers that were given.
    made: u64,
    /// Attempts that failed.
    failures: u64,
}

#[derive(Debug)]
struct Lookup {
    stream: StreamName,
    number: DialNumber,
    found: oneshot::Receiver<Found>,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            peers: BTreeMap::new(),
            unseen: BTreeSet::new(),
            unknown: BTreeSet::new(),
            lookups: Vec::new(),
            names: Names::of_system(),
            trusts: Trusts::default(),
            publications: BTreeMap::new(),
            made: 0,
            failures: 0,
        }
    }
}

impl Dials {
    fn peer(&mut self, stream: &StreamName, number: DialNumber) -> Option<&mut (Role, Peer)> {
        self.peers.get_mut(stream)?.iter_mut().find(|(_, peer)| peer.number == number)
    }

    /// The peers of a stream are these from now on; those that are wished for as before stay.
    fn wish(&mut self, stream: &StreamName, wishes: Vec<(Role, Wish)>, now: Instant) {
        let mut before = self.peers.remove(stream).unwrap_or_default();
        let mut peers = Vec::with_capacity(wishes.len());
        for (role, wish) in wishes {
            let same = |known: &(Role, Peer)| known.0 == role && known.1.wish == wish;
            let peer = match before.iter().position(same) {
                Some(at) => before.swap_remove(at).1,
                None => {
                    self.made += 1;
                    Peer::new(DialNumber(self.made), wish, now)
                }
            };
            if peer.look.is_some() {
                self.unknown.insert((stream.clone(), peer.number));
            }
            peers.push((role, peer));
        }
        if !peers.is_empty() {
            self.peers.insert(stream.clone(), peers);
        }
    }

    /// Asks for names whose time has come, and takes the answers that are there.
    fn look_up(&mut self, now: Instant) {
        let mut found = Vec::new();
        self.lookups.retain_mut(|lookup| match lookup.found.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => true,
            answer => {
                let answer = answer.unwrap_or_else(|_| Err("the look-up broke off".into()));
                found.push((lookup.stream.clone(), lookup.number, answer));
                false
            }
        });
        let unknown: Vec<_> = self.unknown.iter().cloned().collect();
        for key in unknown {
            if self.lookups.len() >= LOOKUPS_MAX {
                break;
            }
            let (stream, number) = key.clone();
            let Some((_, peer)) = self.peer(&stream, number) else {
                self.unknown.remove(&key);
                continue;
            };
            if peer.look.is_none_or(|at| at > now) {
                continue;
            }
            peer.look = None;
            let host = peer.wish.host.to_ascii_lowercase();
            self.unknown.remove(&key);
            match self.names.look(host) {
                Ok(answer) => found.push((stream, number, answer)),
                Err(found) => self.lookups.push(Lookup { stream, number, found }),
            }
        }
        for (stream, number, answer) in found {
            self.found(&stream, number, answer, now);
        }
    }

    fn found(&mut self, stream: &StreamName, number: DialNumber, answer: Found, now: Instant) {
        let Some((_, peer)) = self.peer(stream, number) else { return };
        match answer {
            Ok(addrs) => {
                let port = peer.wish.port;
                let addrs = addrs.iter().map(|addr| SocketAddr::new(addr.ip(), port));
                let addrs: Arc<[SocketAddr]> = addrs.collect();
                if peer.addrs.as_ref() != Some(&addrs) {
                    peer.addrs = Some(addrs);
                    self.unseen.insert(stream.clone());
                }
            }
            Err(reason) => {
                let host = &peer.wish.host;
                tracing::warn!(%stream, host, %reason, "the name of a peer is not known");
                peer.fail(format!("the name {host} is not known: {reason}"));
                peer.status = PeerStatus::Reconnecting;
                peer.look = Some(now + UNKNOWN_PAUSE);
                self.unknown.insert((stream.clone(), number));
            }
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        if !self.lookups.is_empty() {
            return Some(now + LOOK_PACE);
        }
        let look = |(stream, number): &(StreamName, DialNumber)| {
            let peers = self.peers.get(stream)?;
            peers.iter().find(|(_, peer)| peer.number == *number)?.1.look
        };
        self.unknown.iter().filter_map(look).min()
    }
}

impl<F: Fleet> Exchange<F> {
    /// The peers of the streams that are declared are connected to from now on.
    pub(super) fn dial_all(&mut self) {
        let declared = self.registry.streams_after(None).filter(|item| item.spec.is_some());
        let dialled = declared.filter(|item| item.resolved.has_peers());
        self.dials.unseen.extend(dialled.map(|item| item.name));
        for stream in self.dials.unseen.clone() {
            self.wish_peers(&stream, Instant::now());
        }
    }

    /// These changed.
    pub(super) fn dial_anew(&mut self, changed: &BTreeSet<StreamName>, now: Instant) {
        for stream in changed {
            let before = self.dials.peers.contains_key(stream);
            self.wish_peers(stream, now);
            if before || self.dials.peers.contains_key(stream) {
                self.dials.unseen.insert(stream.clone());
            }
        }
    }

    fn wish_peers(&mut self, stream: &StreamName, now: Instant) {
        let trusts = &mut self.dials.trusts;
        let declared = self.registry.stream(stream).filter(|item| item.spec.is_some());
        let wishes = declared.map(|item| {
            let pulls = item.resolved.pulls().into_iter().map(|(input, shown, place)| {
                let (pause, attempts_max) = (PULL_PAUSE, 0);
                let (host, port, peer) = trusts.peer(place);
                let peer = Arc::new(peer);
                (Role::Publish, Wish { host, port, peer, shown, input, pause, attempts_max })
            });
            let pushes = item.resolved.pushes().into_iter().map(|(push, place)| {
                let (host, port, peer) = match place {
                    PushPlace::Srt(place) => (place.host, place.port, DialPeer::Srt(place.peer)),
                    PushPlace::Udp(place) => {
                        (place.host, place.port, DialPeer::Udp(Arc::new(place.peer)))
                    }
                };
                let (shown, pause, attempts_max) = (push.shown(), push.pause(), push.limit);
                let (input, peer) = (0, Arc::new(peer));
                (Role::Play, Wish { host, port, peer, shown, input, pause, attempts_max })
            });
            pulls.chain(pushes).collect()
        });
        let mut wishes: Vec<_> = wishes.unwrap_or_default();
        let Dials { trusts, publications, .. } = &mut self.dials;
        let pulled = publications.get(stream);
        if let Some((place, shown)) = pulled.and_then(|pulled| trusts.publication(pulled)) {
            let (host, port, peer) = (place.0, place.1, Arc::new(place.2));
            // It is none of those that are declared.
            let (input, pause, attempts_max) = (NO_INPUT, COMING_PAUSE, COMING_ATTEMPTS_MAX);
            let wish = Wish { host, port, peer, shown, input, pause, attempts_max };
            wishes.push((Role::Publish, wish));
        }
        self.dials.wish(stream, wishes, now);
    }

    /// A publication of an attached server is pulled from now on.
    pub(super) fn pull_publication(&mut self, pulled: Pulled, now: Instant) {
        let stream = pulled.channel.clone();
        self.dials.publications.insert(stream.clone(), pulled);
        self.dial_anew(&BTreeSet::from([stream]), now);
    }

    /// And no longer: what came of it is over.
    pub(super) fn leave_publication(&mut self, stream: &StreamName, id: StreamId, now: Instant) {
        if self.dials.publications.get(stream).is_some_and(|pulled| pulled.id == id) {
            self.dials.publications.remove(stream);
            self.dial_anew(&BTreeSet::from([stream.clone()]), now);
        }
        self.tell_all(|| Command::KickStream {
            stream: stream.clone(),
            publication: Some(id),
            role: Some(Role::Publish),
            protocols: ProtocolSet::ALL,
            reason: CloseReason::PeerClosed,
        });
    }

    /// Tells home shards what they do not know yet, as far as there is room.
    pub(super) fn tell_dials(&mut self, now: Instant) {
        self.dials.look_up(now);
        for _ in 0..LOOKS_MAX {
            if self.outbox.waiting() > WAITING_MAX / 2 {
                return;
            }
            let Some(stream) = self.dials.unseen.pop_first() else { return };
            let (home, dropped) = (self.fleet.home(&stream), self.outbox.dropped);
            for role in ROLES {
                let peers = self.dials.peers.get(&stream).into_iter().flatten();
                let dials = peers.filter(|(of, _)| *of == role).filter_map(|(_, peer)| peer.dial());
                let dials: Arc<[Dial]> = dials.collect();
                self.tell(home, Command::Dial { stream: stream.clone(), role, dials });
            }
            if self.outbox.dropped > dropped {
                self.dials.unseen.insert(stream);
                return;
            }
        }
    }

    /// When [`Self::tell_dials`] has something to do.
    pub(super) fn dials_due(&self, now: Instant) -> Option<Instant> {
        self.dials.due(now)
    }

    /// True if shards are still to be told something.
    pub(super) fn has_dials_to_tell(&self) -> bool {
        !self.dials.unseen.is_empty()
    }

    /// A shard tells what became of a peer.
    pub(super) fn dialled(&mut self, news: DialNews, now: Instant) {
        let DialNews { number, stream, state, attempt } = news;
        let state = self.dials.trusts.blame(state, now);
        let Some((role, peer)) = self.dials.peer(&stream, number) else { return };
        let (role, before) = (*role, peer.status);
        let (status, error) = peer.take(&state, attempt);
        let (url, input) = (peer.wish.shown.clone(), peer.wish.input);
        let protocol = peer.wish.protocol().name();
        if let Some(error) = &error {
            let role = role.name();
            tracing::warn!(%stream, role, peer = url, attempt, error, "a peer is not connected");
            if peer.has_name() {
                // It may be elsewhere by now.
                peer.look = Some(now);
                self.dials.unknown.insert((stream.clone(), number));
            }
            self.dials.failures += 1;
        }
        if status == PeerStatus::Failed
            && let Some(id) = self.dials.publications.get(&stream).map(|pulled| pulled.id)
            && input == NO_INPUT
        {
            self.coordinator.gave_up(id, now);
            self.obey(now);
        }
        let failure = match state {
            DialState::Pausing { reason } | DialState::Failed { reason } => Some(reason),
            _ => None,
        };
        let kind = match (role, status) {
            (Role::Play, PeerStatus::Starting) => Kind::PushStarted { url },
            (Role::Play, PeerStatus::Active) => Kind::PushActive { url },
            (Role::Play, PeerStatus::Reconnecting) => match error {
                Some(reason) => Kind::PushReconnecting { url, attempt, reason },
                None => return,
            },
            (Role::Play, PeerStatus::Failed) => {
                Kind::PushFailed { url, reason: error.unwrap_or_default() }
            }
            // That one stopped delivering is told by its stream.
            (Role::Publish, PeerStatus::Reconnecting | PeerStatus::Failed)
                if before != PeerStatus::Active && input != NO_INPUT =>
            {
                let Some(failure) = failure else { return };
                Kind::InputFailed { input, protocol, reason: word(&failure) }
            }
            _ => return,
        };
        self.bus.publish(Some(&stream), None, kind);
    }

    /// The number of the input that `session` is, if the node called its peer.
    pub(super) fn input_dialled(&self, stream: &StreamName, session: SessionId) -> Option<u32> {
        let peers = self.dials.peers.get(stream)?;
        let is_it = |(role, peer): &&(Role, Peer)| {
            *role == Role::Publish && peer.session() == Some(session)
        };
        let input = peers.iter().find(is_it).map(|(_, peer)| peer.wish.input);
        input.filter(|input| *input != NO_INPUT)
    }

    /// The peers of a stream.
    pub(super) fn peers_of(&self, stream: &StreamName) -> PeerSnapshots {
        let mut snapshots = PeerSnapshots::default();
        let peers = self.dials.peers.get(stream).map_or(&[][..], Vec::as_slice);
        for role in ROLES {
            let of_role = peers.iter().filter(|(of, _)| *of == role).map(|(_, peer)| peer);
            snapshots.take(role, of_role);
        }
        snapshots
    }

    /// What is counted of peers.
    pub(super) fn count_dials(&self, into: &mut Counts) {
        let count = |role: Role, active: bool| {
            let peers = self.dials.peers.values().flatten().filter(|(of, _)| *of == role);
            peers.filter(|(_, peer)| !active || peer.status == PeerStatus::Active).count() as f64
        };
        let (pull, push) = (Role::Publish, Role::Play);
        into.gauge("pulls", "Peers that streams are pulled from.", count(pull, false));
        into.gauge("pulls_active", "Those of them that are connected.", count(pull, true));
        into.gauge("pushes", "Peers that streams are pushed to.", count(push, false));
        into.gauge("pushes_active", "Those of them that are connected.", count(push, true));
        into.counter(
            "peer_attempts_failed_total",
            "Attempts to connect to a peer that failed, and connections to one that ended.",
            self.dials.failures,
        );
    }
}
