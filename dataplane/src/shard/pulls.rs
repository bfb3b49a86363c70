//! Pulls: inputs that a shard fetches by itself, and the sockets that it opens for them.
//!
//! ```text
//!   wanted --open--> listening --a datagram that begins a stream--> publishing
//!      ^     |           |                                              |
//!      |     | failed    | address changed, socket broke                | silence, kick, takeover
//!      +-----+-- pause --+----------------------------------------------+
//! ```
//!
//! Each input has a session of its own, without a socket of its own as far as sending is concerned:
//! what comes to the socket of this table is given to it. A stream may have several inputs; all of
//! them listen, and whichever delivers first holds the stream until it falls silent. The name is
//! nobody's while nothing comes, so that an encoder may publish it meanwhile.
//! Limits: what the control plane declares; [`PAUSE_MAX`] between two attempts.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::connection::{Arrival, Connection};
use super::ingress::fence;
use super::input_socket::{open_socket, reason_of};
use super::shard::Shard;
use crate::config::{Latency, ListenerNumber};
use crate::control::{CloseReason, Event, InputCounts, InputState, InputStatus, Intent, UdpInput};
use crate::error::Error;
use crate::ids::{Secret, SessionId, StreamName};
use crate::metrics::ShardCounters;
use crate::reactor::{self, DatagramBuf, Token};
use crate::session::{Command, Session, udp};

/// The pause after the first end or failure; each failure that follows doubles it.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause at most.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Streams are opened until so many inputs were at one time.
const OPENS_MAX: usize = 32;

/// What a shard fetches. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    wanted: BTreeMap<StreamName, Vec<Pull>>,
    /// The sockets by the slots of their sessions.
    sockets: HashMap<u32, Socket>,
}

#[derive(Debug)]
struct Socket {
    stream: StreamName,
    fd: OwnedFd,
    token: Token,
    /// What it takes of the bound of receive buffers.
    bytes: u64,
    /// What its session had counted when that was looked at last.
    seen: InputCounts,
}

/// One input.
#[derive(Debug)]
struct Pull {
    input: Arc<UdpInput>,
    /// The slot of its session.
    slot: Option<u32>,
    /// When it is opened, if it is not.
    due: Instant,
    /// Attempts since it last delivered.
    attempts: u32,
    /// Why it could not be opened, as was told.
    told: Option<&'static str>,
    /// What ended it, or kept it from being opened, since it delivered last.
    error: Option<&'static str>,
    counts: InputCounts,
}

impl Pull {
    fn new(input: Arc<UdpInput>, now: Instant) -> Self {
        let (slot, attempts, told, error) = (None, 0, None, None);
        Self { input, slot, due: now, attempts, told, error, counts: InputCounts::default() }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.slot.is_none() && self.due <= now
    }

    /// It is not open, and is tried again after a pause.
    fn rest(&mut self, now: Instant) {
        let doubled = PAUSE.saturating_mul(1 << self.attempts.min(8));
        self.attempts = self.attempts.saturating_add(1);
        (self.slot, self.due) = (None, now + doubled.min(PAUSE_MAX));
    }
}

impl Shard {
    /// The inputs of `stream` are these from now on, on its home shard; those that stay the same
    /// notice nothing.
    pub(super) fn pull(&mut self, stream: &StreamName, inputs: &[Arc<UdpInput>]) {
        if self.shared.placement.home(stream) != self.id {
            return;
        }
        let mut before = self.pulls.wanted.remove(stream).unwrap_or_default();
        let mut now_wanted = Vec::with_capacity(inputs.len());
        for input in inputs {
            let same = before.iter().position(|pull| pull.input == *input);
            let pull = same.map(|at| before.swap_remove(at));
            now_wanted.push(pull.unwrap_or_else(|| Pull::new(Arc::clone(input), self.now)));
        }
        if !now_wanted.is_empty() {
            self.pulls.wanted.insert(stream.clone(), now_wanted);
        }
        // Those that are new are opened with the next housekeeping: the address may be free then.
        for slot in before.iter().filter_map(|pull| pull.slot) {
            self.tell(slot, Command::Shutdown { reason: "stream_changed" });
        }
    }

    /// Counts what came, and opens the inputs whose time has come.
    pub(super) fn keep_pulls(&mut self) {
        self.count_inputs();
        if self.draining.is_some() || self.stopped {
            return;
        }
        let now = self.now;
        let mut due = Vec::new();
        for (stream, pulls) in &self.pulls.wanted {
            let pulls = pulls.iter().filter(|pull| pull.is_due(now));
            due.extend(pulls.map(|pull| (stream.clone(), Arc::clone(&pull.input))));
            if due.len() >= OPENS_MAX {
                break;
            }
        }
        for (stream, input) in due {
            let opened = self.open_input(&stream, &input);
            let told = opened.as_ref().err().map(reason_of);
            let pulls = self.pulls.wanted.get_mut(&stream).into_iter().flatten();
            let mut tried = pulls.filter(|pull| pull.is_due(now) && pull.input == input);
            let Some(pull) = tried.next() else { continue };
            let before = std::mem::replace(&mut pull.told, told);
            match opened {
                Ok(slot) => pull.slot = Some(slot),
                Err(error) => {
                    pull.rest(now);
                    pull.error = told;
                    if told != before {
                        self.tell_unopened(stream, &input, &error);
                    }
                }
            }
        }
    }

    /// Opens the socket of an input and gives it a session: its slot.
    fn open_input(&mut self, stream: &StreamName, input: &Arc<UdpInput>) -> Result<u32, Error> {
        if !self.reactor.takes_datagrams() {
            return Err(Error::Rejected("no_datagram_buffers"));
        }
        let Self { shared, config, .. } = self;
        let bytes = u64::from(input.receive_buffer_bytes);
        shared.caps.enter_input(bytes, &config.limits).map_err(Error::Limit)?;
        let opened = open_socket(input).and_then(|fd| {
            let admission = shared.caps.enter_unnamed(&config.limits);
            admission.map(|admission| (fd, admission)).map_err(Error::Limit)
        });
        let (fd, admission) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                shared.caps.leave_input(bytes);
                return Err(error);
            }
        };
        self.sessions_opened += 1;
        let receiver = udp::Receiver::new(stream.clone(), Arc::clone(input), &self.terms);
        let connection = Connection::new(Arrival {
            id: SessionId::new(self.id, self.sessions_opened),
            fd: None,
            peer: input.addr,
            session: Session::Udp(Box::new(receiver)),
            tls: None,
            admission,
            latency: Latency::Auto,
            listener: ListenerNumber::default(),
            opened: self.now,
        });
        connection.span().in_scope(|| tell_opened(stream, input, &fd));
        let slot = self.take_in(Box::new(connection));
        let token = self.connections.token(slot);
        self.reactor.recv_datagrams_start(fd.as_fd(), token);
        let (stream, seen) = (stream.clone(), InputCounts::default());
        self.pulls.sockets.insert(slot, Socket { stream, fd, token, bytes, seen });
        self.rearm(slot);
        Ok(slot)
    }

    /// An input could not be opened, or for another reason than before.
    fn tell_unopened(&mut self, stream: StreamName, input: &Arc<UdpInput>, error: &Error) {
        let (addr, interface) = (input.addr, input.interface.as_deref());
        let reason = reason_of(error);
        tracing::warn!(%stream, %addr, interface, reason, %error, "an input cannot be opened");
        if let Error::Limit(limit) = *error {
            self.counters.limit(limit);
        }
        let input = Arc::clone(input);
        self.report(Event::InputFailed { stream, input, reason });
    }

    /// Datagrams came to the socket of an input, one or several of one sender.
    pub(super) fn pulled(&mut self, token: Token, peer: SocketAddr, mut buf: DatagramBuf) {
        if self.connections.is_current(token) {
            let slot = token.slot;
            for at in 0..buf.count() {
                if !self.take_datagram(slot, peer, (&mut buf, at)) {
                    break;
                }
            }
            self.hear(slot);
        }
        self.reactor.release_datagrams(buf);
    }

    /// Gives a session its datagram; false if there is no session any more.
    fn take_datagram(
        &mut self,
        slot: u32,
        peer: SocketAddr,
        (buf, at): (&mut DatagramBuf, usize),
    ) -> bool {
        self.end_sender_before(slot, peer, (buf, at));
        let session = self.connections.get_mut(slot).map(|connection| &mut connection.session);
        let Some(receiver) = session.and_then(Session::udp_mut) else { return false };
        if receiver.is_listening() {
            let Some(datagram) = self.reactor.datagram_mut(buf, at) else { return false };
            if !receiver.begins_with(peer, datagram) {
                return true;
            }
            let stream = receiver.stream().clone();
            if self.is_elsewhere(&stream) {
                return true;
            }
            self.begin_input(slot, peer, stream);
        }
        let Self { connections, reactor, pool, usage, counters, now, .. } = self;
        let Some(datagram) = reactor.datagram_mut(buf, at) else { return false };
        let Some(mut connection) = connections.take(slot) else { return false };
        let len = datagram.len() as u64;
        connection.received += len;
        usage.received(slot, len);
        counters.bytes_received += len;
        let result = fence(&mut connection, |session| {
            if let Some(receiver) = session.udp_mut() {
                receiver.handle_datagram(*now, peer, datagram, pool);
            }
            Ok(())
        });
        self.connections.put(slot, connection);
        if let Err(error) = result {
            self.fail(slot, &error);
            return false;
        }
        self.take_events(slot);
        true
    }

    /// If this datagram is of somebody who follows the sender of an input, the stream waits for
    /// him, as it does for an encoder that comes back.
    fn end_sender_before(
        &mut self,
        slot: u32,
        peer: SocketAddr,
        (buf, at): (&mut DatagramBuf, usize),
    ) {
        let Self { connections, reactor, pool, now, .. } = self;
        let Some(datagram) = reactor.datagram_mut(buf, at) else { return };
        let session = connections.get_mut(slot).map(|connection| &mut connection.session);
        let receiver = session.and_then(Session::udp_mut);
        let followed = receiver.filter(|receiver| receiver.is_followed(*now, peer, datagram));
        let Some(receiver) = followed else { return };
        receiver.end_sender(*now, pool);
        self.take_events(slot);
        self.publisher_lost(slot, CloseReason::ConnectionLost);
    }

    /// True if somebody else delivers the stream, here or where it was moved to.
    fn is_elsewhere(&self, stream: &StreamName) -> bool {
        if self.draining.is_some() || self.whereabouts(stream) != self.id {
            return true;
        }
        self.streams.find(stream).is_some_and(|slot| self.is_held(slot))
    }

    /// A sender is there: its session claims the stream, which nobody need allow that is declared.
    fn begin_input(&mut self, slot: u32, peer: SocketAddr, stream: StreamName) {
        let deadline = self.now + self.config.session.authorize_deadline;
        let key = Secret::default().digest();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.peer = peer.into();
        let mut asked = Asked::new(Intent::Publish, stream.clone(), None, key, deadline);
        asked.allowed = true;
        connection.asked = Some(Box::new(asked));
        if let Some(pull) = self.pulls.at(slot) {
            let input = Arc::clone(&pull.input);
            self.report(Event::InputTaken { stream, input });
        }
        self.claim(slot);
        if self.connections.get(slot).is_some_and(|connection| connection.publishing().is_some())
            && let Some(pull) = self.pulls.at(slot)
        {
            (pull.attempts, pull.error) = (0, None);
        }
    }

    /// A session is about to end: its socket is closed, and opened again after a pause.
    pub(super) fn end_pull(&mut self, slot: u32, reason: CloseReason) {
        self.count_input(slot);
        let now = self.now;
        if let Some(pull) = self.pulls.at(slot) {
            pull.rest(now);
            pull.error = Some(reason.name());
        }
        let Some(Socket { fd, token, bytes, .. }) = self.pulls.sockets.remove(&slot) else {
            return;
        };
        self.shared.caps.leave_input(bytes);
        self.reactor.close(fd, token);
    }

    fn count_inputs(&mut self) {
        let slots: Vec<u32> = self.pulls.sockets.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.count_input(slot));
    }

    /// Counts what came to an input since it was looked at last.
    fn count_input(&mut self, slot: u32) {
        let Self { connections, pulls, counters, .. } = self;
        let session = connections.get(slot).map(|connection| &connection.session);
        let Some(receiver) = session.and_then(Session::udp) else { return };
        let Some(socket) = pulls.sockets.get_mut(&slot) else { return };
        let dropped = reactor::datagrams_dropped(socket.fd.as_fd()).unwrap_or_default();
        let now = InputCounts { overflowed: dropped.into(), ..receiver.counts() };
        let fresh = now.since(std::mem::replace(&mut socket.seen, now));
        count(counters, fresh);
        if let Some(pull) = pulls.at(slot) {
            pull.counts = pull.counts.plus(fresh);
        }
    }

    /// Tells of the inputs of at most `room` streams, those behind `after`: the last of them, if
    /// there may be more.
    pub(super) fn list_inputs(
        &self,
        after: Option<&StreamName>,
        room: usize,
        listed: &mut Vec<InputStatus>,
    ) -> Option<StreamName> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some = self.pulls.wanted.range::<StreamName, _>((behind, Bound::Unbounded)).take(room);
        let (mut looked, mut last) = (0, None);
        for (stream, pulls) in some {
            listed.extend(pulls.iter().map(|pull| self.input_status(stream, pull)));
            (looked, last) = (looked + 1, Some(stream));
        }
        last.filter(|_| looked == room).cloned()
    }

    fn input_status(&self, stream: &StreamName, pull: &Pull) -> InputStatus {
        let connection = pull.slot.and_then(|slot| self.connections.get(slot));
        let receiver = connection.and_then(|connection| connection.session.udp());
        let state = match receiver {
            Some(receiver) if receiver.is_listening() => InputState::Listening,
            Some(_) => InputState::Delivering,
            None => InputState::Pausing,
        };
        InputStatus {
            stream: stream.clone(),
            input: Arc::clone(&pull.input),
            state,
            error: pull.error,
            session: connection.map(|connection| connection.id),
            sender: receiver.and_then(udp::Receiver::sender),
            counts: pull.counts,
        }
    }
}

impl Pulls {
    /// The input whose session is in `slot`.
    fn at(&mut self, slot: u32) -> Option<&mut Pull> {
        let stream = &self.sockets.get(&slot)?.stream;
        let pulls = self.wanted.get_mut(stream)?;
        pulls.iter_mut().find(|pull| pull.slot == Some(slot))
    }
}

/// An input is listened for.
fn tell_opened(stream: &StreamName, input: &UdpInput, fd: &OwnedFd) {
    let (addr, wanted) = (input.addr, input.receive_buffer_bytes);
    tracing::info!(%stream, %addr, "listening for datagrams");
    let granted = reactor::udp_buffers(fd.as_fd()).map_or(wanted, |granted| granted.recv_bytes);
    if granted < wanted {
        tracing::warn!(
            %stream, %addr, wanted, granted,
            "the host grants a smaller receive buffer; raise net.core.rmem_max"
        );
    }
}

fn count(counters: &mut ShardCounters, fresh: InputCounts) {
    counters.input_datagrams += fresh.datagrams;
    counters.input_datagrams_foreign += fresh.foreign;
    counters.input_datagrams_late += fresh.late;
    counters.input_datagrams_missing += fresh.missing;
    counters.input_datagrams_overflowed += fresh.overflowed;
    counters.input_packets += fresh.packets;
    counters.input_packets_lost += fresh.packets_lost;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::mpegts::TransportTerms;

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn input(addr: &str) -> UdpInput {
        UdpInput {
            addr: addr.parse().unwrap(),
            source: None,
            interface: None,
            timeout: None,
            receive_buffer_bytes: 1 << 20,
            transport: TransportTerms::default(),
        }
    }

    #[test]
    fn pauses_double_up_to_the_greatest() {
        let now = epoch();
        let mut pull = Pull::new(Arc::new(input("127.0.0.1:5000")), now);
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30] {
            pull.slot = Some(7);
            pull.rest(now);
            assert_eq!((pull.slot, pull.due), (None, now + Duration::from_secs(seconds)));
        }
    }
}
