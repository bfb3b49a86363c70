//! Dials: peers that a shard connects to by itself, to pull a stream from them or to push it to
//! them.
//!
//! ```text
//!            +--- stream is there (push), nobody else has it (pull) ---> calling
//!            |                                                              | it answers
//!   waiting -+                                                              v
//!     ^      +<-- pause, doubled each time --- pausing <-- failure, end -- connected
//!     |                                           | as often as it may
//!     +---- the stream is over (push)             +--> failed
//! ```
//!
//! The home of a stream in the map is told of all of them. What stays the same in what it is told
//! next notices nothing. A dial has a session like a peer that called us (`calls.rs`), but nobody
//! is asked about it; it shares the sockets of its shard with others (`ports.rs`). Who is sent
//! datagrams never answers, and has a socket of his own (`pushes.rs`).
//! Limits: what the control plane declares; [`PAUSE_MAX`] between two attempts; [`CALLS_MAX`] begin
//! at one time.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::srt::{RejectReason, SeqNumber};

use super::asked::Asked;
use super::connection::{Arrival, Connection};
use super::pushes::Pushes;
use super::shard::Shard;
use crate::config::{Latency, ListenerNumber};
use crate::control::{
    Dial, DialFailure, DialNews, DialNumber, DialPeer, DialState, Event, Intent, Protocol, Role,
    SrtPeer,
};
use crate::error::Error;
use crate::hub::{Hub, Publisher};
use crate::ids::{Secret, SessionId, StreamName};
use crate::session::rtmp::Puller;
use crate::session::srt::{Attempt, Call, Caller, Outgoing, Rendezvous, Server, Settings};
use crate::session::udp::Sender;
use crate::session::{Command, PlayOptions, Refusal, Session};

/// The pause at most.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that stood so long was a good one: its next failure is the first.
const STABLE: Duration = Duration::from_secs(60);
/// Pauses are up to this part shorter or longer, so that not all come at one time.
const JITTER_PARTS: u32 = 5;
/// Calls that one round of housekeeping begins at most.
const CALLS_MAX: usize = 32;
/// What the end of a push is called whose stream may be over.
const OVER: [&str; 3] = ["stream_ended", "not_found", "no_track"];

/// What a shard dials. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Dials {
    wanted: HashMap<(StreamName, Role), Vec<Entry>>,
    /// Which of them a session is.
    slots: HashMap<u32, (StreamName, Role, DialNumber)>,
    pub(super) pushes: Pushes,
}

impl Dials {
    /// The streams with peers whose time has come, those first that are late by most. Who was told
    /// that it waits is passed over until there is use for it, however many do.
    fn due(
        &self,
        now: Instant,
        has_use: impl Fn(&(StreamName, Role)) -> bool,
    ) -> Vec<(StreamName, Role)> {
        let due = self.wanted.iter().filter_map(|(key, entries)| {
            let due = || entries.iter().filter(|entry| entry.is_due(now));
            let since = due().map(|entry| entry.due).min()?;
            let is_news = due().any(|entry| entry.told != Some(DialState::Waiting));
            (is_news || has_use(key)).then_some((since, key))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable_by_key(|(since, _)| *since);
        due.into_iter().take(CALLS_MAX).map(|(_, key)| key.clone()).collect()
    }
}

/// One peer.
#[derive(Debug)]
struct Entry {
    dial: Dial,
    /// The slot of its session.
    slot: Option<u32>,
    /// When it is tried again, if there is none.
    due: Instant,
    /// Attempts since it stood for long or sent media, or since there was a reason to try anew.
    attempts: u32,
    /// Since when its connection stands.
    since: Option<Instant>,
    told: Option<DialState>,
}

impl Entry {
    const fn new(dial: Dial, now: Instant) -> Self {
        Self { dial, slot: None, due: now, attempts: 0, since: None, told: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        let has_failed = matches!(self.told, Some(DialState::Failed { .. }));
        let has_addr = !self.dial.addrs.is_empty();
        self.slot.is_none() && self.due <= now && !has_failed && has_addr
    }

    /// Where it is called this time.
    fn addr(&self) -> Option<SocketAddr> {
        let addrs = &self.dial.addrs;
        addrs.get((self.attempts as usize).checked_rem(addrs.len())?).copied()
    }

    /// The peer sent media: if its attempts are counted, its next failure is the first.
    const fn begin(&mut self) {
        if self.dial.attempts_max > 0 {
            self.attempts = 1;
        }
    }

    /// An attempt failed, or what stood is over: what becomes of it, and the pause before the next.
    ///
    /// `random` is different each time.
    fn rest(&mut self, now: Instant, reason: DialFailure, random: u64) -> DialState {
        let since = self.since.take();
        if since.is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
            self.attempts = 1;
        }
        let doublings = self.attempts.saturating_sub(1).min(16);
        let pause = self.dial.pause.saturating_mul(1 << doublings);
        let pause = pause.min(PAUSE_MAX.max(self.dial.pause));
        let spread = pause / JITTER_PARTS;
        let shift = spread.mul_f64(random as f64 / u64::MAX as f64 * 2.0);
        (self.slot, self.due) = (None, now + pause - spread + shift);
        match self.dial.attempts_max {
            max if max > 0 && self.attempts >= max => DialState::Failed { reason },
            _ => DialState::Pausing { reason },
        }
    }
}

impl Shard {
    /// The peers of `stream` in `role` are these from now on, on its home shard.
    pub(super) fn dial(&mut self, stream: &StreamName, role: Role, dials: &[Dial]) {
        if self.shared.placement.home(stream) != self.id {
            return;
        }
        let now = self.now;
        let key = (stream.clone(), role);
        let mut before = self.dials.wanted.remove(&key).unwrap_or_default();
        let mut wanted = Vec::with_capacity(dials.len());
        for dial in dials {
            let same = before.iter().position(|entry| entry.dial.number == dial.number);
            let mut entry = match same {
                Some(at) => before.swap_remove(at),
                None => Entry::new(dial.clone(), now),
            };
            // It may be elsewhere by now.
            entry.dial.addrs = Arc::clone(&dial.addrs);
            wanted.push(entry);
        }
        if !wanted.is_empty() {
            self.dials.wanted.insert(key, wanted);
        }
        for slot in before.iter().filter_map(|entry| entry.slot) {
            self.dials.slots.remove(&slot);
            self.tell(slot, Command::Shutdown { reason: "stream_changed" });
        }
        self.keep_dials_of(&(stream.clone(), role));
    }

    /// Calls the peers whose time has come.
    pub(super) fn keep_dials(&mut self) {
        for key in self.dials.due(self.now, |(stream, role)| self.has_use_for(stream, *role)) {
            self.keep_dials_of(&key);
        }
    }

    /// A stream begins: it is pushed.
    pub(super) fn push_stream(&mut self, stream: &StreamName) {
        let key = (stream.clone(), Role::Play);
        if self.dials.wanted.contains_key(&key) {
            self.keep_dials_of(&key);
        }
    }

    /// The publisher in `slot` told its program: what is pushed of it is known.
    pub(super) fn push_program(&mut self, slot: u32) {
        let hub = self.connections.get(slot).and_then(|connection| connection.publishing());
        let hub = hub.and_then(|hub| self.streams.get(hub));
        if let Some(stream) = hub.map(|hub| hub.name().clone()) {
            self.push_stream(&stream);
        }
    }

    fn keep_dials_of(&mut self, key: &(StreamName, Role)) {
        if self.draining.is_some() || self.stopped {
            return;
        }
        let (stream, role) = key;
        let waits = !self.has_use_for(stream, *role);
        let now = self.now;
        let entries = self.dials.wanted.get(key).into_iter().flatten();
        let due: Vec<_> = entries.enumerate().filter(|(_, entry)| entry.is_due(now)).collect();
        let due: Vec<usize> = due.into_iter().map(|(at, _)| at).collect();
        for at in due {
            if waits {
                self.set_dial(key, at, DialState::Waiting);
                continue;
            }
            let Some(entry) = self.dials.wanted.get_mut(key).and_then(|all| all.get_mut(at)) else {
                return;
            };
            let (addr, peer) = (entry.addr(), Arc::clone(&entry.dial.peer));
            entry.attempts = entry.attempts.saturating_add(1);
            let number = entry.dial.number;
            let Some(addr) = addr else { continue };
            self.set_dial(key, at, DialState::Calling);
            let called = match &*peer {
                DialPeer::Srt(peer) => self.call_peer(stream, *role, addr, peer),
                DialPeer::Rtmp(peer) => self.open_server(stream, addr, peer),
                DialPeer::Udp(peer) => self.open_push(stream, addr, peer),
            };
            match called {
                Ok(slot) => {
                    self.dials.slots.insert(slot, (stream.clone(), *role, number));
                    let entries = self.dials.wanted.get_mut(key);
                    if let Some(entry) = entries.and_then(|all| all.get_mut(at)) {
                        entry.slot = Some(slot);
                    }
                    match &*peer {
                        DialPeer::Udp(_) => self.begin_push(slot, stream.clone()),
                        DialPeer::Srt(_) if self.awaits_keys(slot) => self.queue_keys(slot),
                        DialPeer::Srt(_) => {
                            self.settle(slot);
                        }
                        // It is waited for.
                        DialPeer::Rtmp(_) => {}
                    }
                }
                Err(error) => self.rest_dial(key, at, failure_of(&error)),
            }
        }
    }

    /// True if a peer of `stream` is to be connected now.
    fn has_use_for(&self, stream: &StreamName, role: Role) -> bool {
        let slot = self.streams.find(stream);
        match role {
            // Somebody else publishes it, here or where it was moved to.
            Role::Publish => {
                self.whereabouts(stream) == self.id && !slot.is_some_and(|slot| self.is_held(slot))
            }
            Role::Play => match slot.and_then(|slot| self.streams.get(slot)) {
                Some(hub) => !matches!(hub.publisher(), Publisher::Lost(_)) && is_known(hub),
                None => self.streams.away.find(stream).is_some(),
            },
        }
    }

    /// Begins to call a peer of SRT: the slot of its session.
    fn call_peer(
        &mut self,
        stream: &StreamName,
        role: Role,
        peer: SocketAddr,
        said: &SrtPeer,
    ) -> Result<u32, Error> {
        let port = self.port_to(peer, said.local)?;
        if said.rendezvous && self.ports.is_met(port, peer) {
            self.leave_port(port);
            return Err(Error::Rejected("rendezvous_taken"));
        }
        let admission = self.shared.caps.enter_unnamed(&self.config.limits);
        let admission = admission.map_err(|limit| {
            self.leave_port(port);
            Error::Limit(limit)
        })?;
        self.sessions_opened += 1;
        let id = SessionId::new(self.id, self.sessions_opened);
        let socket = self.fresh_socket();
        let initial = SeqNumber::new(self.random.hash_one((socket.0, id.0)) as u32);
        let stream_id = (!said.stream_id.0.is_empty()).then(|| said.stream_id.0.clone().into());
        let call = Call { peer, socket, initial, stream_id };
        let settings = self.settings_for(said, role);
        let (seed, now) = (self.key_seed(id), self.now);
        let attempt = match said.rendezvous {
            true => Attempt::Meet(Rendezvous::new(settings, call, seed, now)),
            false => Attempt::Call(Caller::new(settings, call, seed, now)),
        };
        let transport = said.transport.clone();
        let outgoing = Outgoing { attempt, role, stream: stream.clone(), port, transport };
        let connection = Connection::new(Arrival {
            id,
            fd: None,
            peer,
            session: Session::Srt(Box::new(Server::calling(outgoing, &self.terms))),
            tls: None,
            admission,
            latency: Latency::Auto,
            listener: ListenerNumber::default(),
            opened: self.now,
        });
        let span = connection.span();
        span.in_scope(|| tracing::info!(%stream, role = role.name(), "a peer is called"));
        let slot = self.take_in(Box::new(connection));
        self.ports.name(socket, slot);
        if said.rendezvous {
            self.ports.meet(port, peer, slot);
        }
        Ok(slot)
    }

    fn settings_for(&self, said: &SrtPeer, role: Role) -> Settings {
        let base = self.config.srt.settings();
        Settings {
            latency: said.latency.unwrap_or(base.latency),
            peer_latency: said.peer_latency.unwrap_or(base.peer_latency),
            passphrase: said.passphrase.clone(),
            key_length: said.key_length,
            connect_timeout: said.connect_timeout,
            sends: role == Role::Play,
            receives: role == Role::Publish,
            ..base
        }
    }

    /// True if the peer in `slot` was called by us.
    pub(super) fn is_dialled(&self, slot: u32) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        let session = &connection.session;
        session.push().is_some()
            || session.pull().is_some()
            || session.srt().is_some_and(Server::is_called)
    }

    /// A peer that we called answered: it begins at once, as nobody need allow what is declared.
    pub(super) fn begin_dialled(
        &mut self,
        slot: u32,
        intent: Intent,
        stream: StreamName,
        play: Option<PlayOptions>,
    ) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let (session, peer) = (connection.id, SocketAddr::from(connection.peer));
        let deadline = self.now + self.config.session.authorize_deadline;
        let publication = connection.session.pull().and_then(Puller::publication);
        let key = publication.map_or(Secret::default().digest(), |known| known.key.digest());
        let id = publication.map(|known| known.id);
        let asked = Asked { id, ..Asked::new(intent, stream.clone(), play, key, deadline) };
        connection.asked = Some(Box::new(Asked { allowed: true, internal: true, ..asked }));
        self.shared.caps.established(&mut connection.admission);
        let now = self.now;
        if let Some((key, at)) = self.dial_in(slot) {
            if let Some(entry) = self.dials.wanted.get_mut(&key).and_then(|all| all.get_mut(at)) {
                entry.since = Some(now);
            }
            self.set_dial(&key, at, DialState::Connected { session, peer });
        }
        // A stream that moved on while its peer was called is another shard's.
        if intent == Intent::Publish && self.whereabouts(&stream) != self.id {
            self.refuse(slot, Refusal::Busy);
        } else {
            self.begin_allowed(slot);
        }
    }

    /// A session publishes or plays: if it is of a pull, its peer does as it should.
    pub(super) fn dial_began(&mut self, slot: u32) {
        let Some((key, at)) = self.dial_in(slot) else { return };
        let entries = self.dials.wanted.get_mut(&key).filter(|_| key.1 == Role::Publish);
        if let Some(entry) = entries.and_then(|all| all.get_mut(at)) {
            entry.begin();
        }
    }

    /// A session is about to be closed: if it is of a dial, that is tried again after a pause.
    pub(super) fn dial_over(&mut self, slot: u32, reason: &'static str) {
        let Some((key, at)) = self.dial_in(slot) else { return };
        self.dials.slots.remove(&slot);
        let now = self.now;
        let session = self.connections.get(slot).map(|connection| &connection.session);
        let code = session.and_then(Session::srt).and_then(Server::refused_with);
        // A push that its own node refuses while the stream is there failed like any other.
        let is_over = key.1 == Role::Play
            && OVER.contains(&reason)
            && (reason == OVER[0] || !self.has_use_for(&key.0, Role::Play));
        let Some(entry) = self.dials.wanted.get_mut(&key).and_then(|all| all.get_mut(at)) else {
            return;
        };
        if is_over {
            // It is pushed again as soon as it is there again.
            (entry.slot, entry.since, entry.attempts, entry.due) = (None, None, 0, now);
            self.set_dial(&key, at, DialState::Waiting);
            return;
        }
        let errno = session.and_then(Session::push).and_then(Sender::failed_with);
        let said = session.and_then(Session::pull).and_then(Puller::failure);
        let failure = match (code, errno) {
            _ if said.is_some() => said.unwrap_or(DialFailure::NoAnswer),
            (Some(RejectReason::TIMEOUT), _) => DialFailure::NoAnswer,
            (Some(code), _) => DialFailure::Refused(code.0),
            (None, Some(errno)) => DialFailure::Socket(errno),
            (None, None) => DialFailure::Ended(reason),
        };
        self.rest_dial(&key, at, failure);
    }

    fn rest_dial(&mut self, key: &(StreamName, Role), at: usize, reason: DialFailure) {
        let random = self.random.hash_one((self.now, at));
        let now = self.now;
        let Some(entry) = self.dials.wanted.get_mut(key).and_then(|all| all.get_mut(at)) else {
            return;
        };
        let state = entry.rest(now, reason, random);
        self.set_dial(key, at, state);
    }

    /// The dial whose session is in `slot`.
    fn dial_in(&self, slot: u32) -> Option<((StreamName, Role), usize)> {
        let (stream, role, number) = self.dials.slots.get(&slot)?;
        let key = (stream.clone(), *role);
        let entries = self.dials.wanted.get(&key)?;
        let at = entries.iter().position(|entry| entry.dial.number == *number)?;
        Some((key, at))
    }

    /// Tells what became of a dial, if that is news.
    fn set_dial(&mut self, key: &(StreamName, Role), at: usize, state: DialState) {
        let Some(entry) = self.dials.wanted.get_mut(key).and_then(|all| all.get_mut(at)) else {
            return;
        };
        if entry.told.as_ref() == Some(&state) {
            return;
        }
        entry.told = Some(state.clone());
        let (number, attempt) = (entry.dial.number, entry.attempts);
        let news = DialNews { number, stream: key.0.clone(), state, attempt };
        self.tell_control(Event::Dialled(Box::new(news)));
    }
}

/// True once it is known whether the stream's own packets can be pushed.
fn is_known(hub: &Hub) -> bool {
    let is_transport = matches!(hub.protocol(), Protocol::Srt | Protocol::Udp);
    !is_transport || hub.transport().is_some_and(|program| program.number.is_some())
}

/// The local address of sockets for a peer, unless it is said.
pub(super) const fn any_local(peer: SocketAddr) -> SocketAddr {
    let ip = match peer {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

fn failure_of(error: &Error) -> DialFailure {
    match error {
        Error::Limit(limit) => DialFailure::Limit(limit.name()),
        // The address or the trust is wrong; this node has room.
        Error::Rejected(reason) if reason.starts_with("tls_") => DialFailure::Ended(reason),
        Error::Rejected(reason) => DialFailure::Limit(reason),
        Error::Io { errno, .. } => DialFailure::Socket(*errno),
        _ => DialFailure::Socket(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitId;
    use crate::session::mpegts::TransportTerms;
    use codecs::srt::KeyLength;

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn entry(addrs: &[&str], attempts_max: u32, now: Instant) -> Entry {
        let peer = SrtPeer {
            rendezvous: false,
            stream_id: Secret::default(),
            passphrase: None,
            key_length: KeyLength::Aes128,
            latency: None,
            peer_latency: None,
            connect_timeout: Duration::from_secs(3),
            local: None,
            transport: TransportTerms::default(),
        };
        let dial = Dial {
            number: DialNumber(1),
            addrs: addrs.iter().map(|addr| addr.parse().unwrap()).collect(),
            peer: Arc::new(DialPeer::Srt(peer)),
            pause: Duration::from_secs(1),
            attempts_max,
        };
        Entry::new(dial, now)
    }

    #[test]
    fn pauses_double_and_are_the_first_again_after_a_stable_minute() {
        let now = epoch();
        let mut entry = entry(&["192.0.2.1:9000"], 0, now);
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
            for random in [0, u64::MAX / 2, u64::MAX] {
                let mut tried = Entry { attempts: entry.attempts + 1, ..self::entry(&[], 0, now) };
                let state = tried.rest(now, DialFailure::NoAnswer, random);
                assert_eq!(state, DialState::Pausing { reason: DialFailure::NoAnswer });
                let pause = tried.due.duration_since(now).as_secs_f64();
                let share = pause / f64::from(seconds);
                assert!((0.79..1.21).contains(&share), "{pause} of {seconds}");
            }
            entry.attempts += 1;
        }
        for (stood, expected) in [(59, 24.0), (60, 0.8)] {
            let mut tried = Entry { attempts: 9, ..self::entry(&[], 0, now) };
            tried.since = Some(now);
            let later = now + Duration::from_secs(stood);
            tried.rest(later, DialFailure::Ended("idle"), 0);
            let pause = tried.due.duration_since(later).as_secs_f64();
            assert!((pause - expected).abs() < 0.01, "{pause} after {stood} s");
        }
    }

    #[test]
    fn those_who_wait_take_no_place_of_those_who_are_due() {
        let now = epoch();
        let late = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap();
        let mut dials = Dials::default();
        let mut want = |name: String, due: Instant, told: Option<DialState>| {
            let key = (StreamName::parse(&name).unwrap(), Role::Publish);
            let entry = Entry { due, told, ..entry(&["192.0.2.1:9000"], 0, now) };
            dials.wanted.insert(key, vec![entry]);
        };
        for number in 0..200 {
            want(format!("waiting{number}"), late(9_000), Some(DialState::Waiting));
            want(format!("due{number}"), late(number), None);
        }
        let due = dials.due(now, |(stream, _)| !stream.as_str().starts_with("waiting"));
        let due: Vec<_> = due.iter().map(|(stream, _)| stream.as_str().to_owned()).collect();
        let latest: Vec<_> = (0..200).rev().map(|number| format!("due{number}")).collect();
        assert_eq!(due, latest[..CALLS_MAX], "who is late by most is first");
        let due = dials.due(now, |(stream, _)| stream.as_str() == "waiting7");
        assert_eq!(due[0].0.as_str(), "waiting7", "there is use for it again");
    }

    #[test]
    fn each_attempt_takes_the_next_address_until_there_were_enough() {
        let now = epoch();
        let mut entry = entry(&["192.0.2.1:9000", "192.0.2.2:9000"], 3, now);
        let mut called = Vec::new();
        loop {
            called.push(entry.addr().unwrap().to_string());
            entry.attempts += 1;
            let state = entry.rest(now, DialFailure::NoAnswer, 0);
            entry.told = Some(state.clone());
            entry.due = now;
            if !entry.is_due(now) {
                assert_eq!(state, DialState::Failed { reason: DialFailure::NoAnswer });
                break;
            }
        }
        assert_eq!(called, ["192.0.2.1:9000", "192.0.2.2:9000", "192.0.2.1:9000"]);
        assert_eq!(self::entry(&[], 0, now).addr(), None);
    }

    #[test]
    fn media_makes_the_next_failure_the_first_of_those_that_are_counted() {
        let now = epoch();
        for (attempts_max, failures) in [(8, 7), (8, 1), (2, 1)] {
            let mut entry = entry(&["192.0.2.1:9000"], attempts_max, now);
            for _ in 0..20 {
                entry.attempts += failures;
                entry.begin();
                let state = entry.rest(now, DialFailure::Ended("stream_ended"), 0);
                assert!(matches!(state, DialState::Pausing { .. }), "{attempts_max}");
            }
            entry.attempts += attempts_max;
            let state = entry.rest(now, DialFailure::NoAnswer, 0);
            assert_eq!(state, DialState::Failed { reason: DialFailure::NoAnswer });
        }
        let mut endless = entry(&["192.0.2.1:9000"], 0, now);
        endless.attempts = 5;
        endless.begin();
        assert_eq!(endless.attempts, 5, "its pauses go on to double");
    }

    #[test]
    fn only_a_limit_is_told_as_one() {
        let limit = Error::Limit(LimitId::TlsHandshakesMax);
        assert_eq!(failure_of(&limit), DialFailure::Limit("tls_handshakes_max"));
        for reason in ["tls_name", "tls_configuration"] {
            assert_eq!(failure_of(&Error::Rejected(reason)), DialFailure::Ended(reason));
        }
    }
}
