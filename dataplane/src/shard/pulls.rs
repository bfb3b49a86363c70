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

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::connection::{Arrival, Connection};
use super::ingress::fence;
use super::shard::Shard;
use crate::config::{Latency, ListenerNumber};
use crate::control::{Event, Intent, Protocol, PublishRefusal, StreamPublisher, UdpInput};
use crate::error::Error;
use crate::ids::{Secret, SessionId, StreamName};
use crate::reactor::{self, DatagramBuf, Membership, Token, UdpOptions};
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
    wanted: HashMap<StreamName, Vec<Pull>>,
    /// The sockets by the slots of their sessions.
    sockets: HashMap<u32, Socket>,
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    token: Token,
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
}

impl Pull {
    const fn new(input: Arc<UdpInput>, now: Instant) -> Self {
        Self { input, slot: None, due: now, attempts: 0, told: None }
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

    /// Opens the inputs whose time has come.
    pub(super) fn keep_pulls(&mut self) {
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
        let fd = open_socket(input)?;
        let admission = self.shared.caps.enter_unnamed(&self.config.limits);
        let admission = admission.map_err(Error::Limit)?;
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
        connection.span().in_scope(|| tracing::info!("listening for datagrams"));
        let slot = self.take_in(Box::new(connection));
        let token = self.connections.token(slot);
        self.reactor.recv_datagrams_start(fd.as_fd(), token);
        self.pulls.sockets.insert(slot, Socket { fd, token });
        self.rearm(slot);
        Ok(slot)
    }

    /// An input could not be opened, or for another reason than before.
    fn tell_unopened(&mut self, stream: StreamName, input: &UdpInput, error: &Error) {
        let (addr, interface) = (input.addr, input.interface.as_deref());
        tracing::warn!(%stream, %addr, interface, %error, "an input cannot be opened");
        self.sessions_opened += 1;
        let session = SessionId::new(self.id, self.sessions_opened);
        let publisher = StreamPublisher { session, peer: addr, agent: Arc::from("udp") };
        let (protocol, reason) = (Protocol::Udp, reason_of(error));
        let refusal = PublishRefusal { stream, protocol, publisher, reason };
        self.report(Event::PublishRefused(Box::new(refusal)));
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
            self.settle(slot);
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
        let session = self.connections.get(slot).map(|connection| &connection.session);
        let Some(receiver) = session.and_then(Session::udp) else { return false };
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
        let mut asked = Asked::new(Intent::Publish, stream, None, key, deadline);
        asked.allowed = true;
        connection.asked = Some(Box::new(asked));
        self.claim(slot);
        if self.connections.get(slot).is_some_and(|connection| connection.publishing().is_some()) {
            let pulls = self.pulls.wanted.values_mut().flatten();
            pulls.filter(|pull| pull.slot == Some(slot)).for_each(|pull| pull.attempts = 0);
        }
    }

    /// A session is over: its socket is closed, and opened again after a pause.
    pub(super) fn forget_pull(&mut self, slot: u32) {
        let Some(Socket { fd, token }) = self.pulls.sockets.remove(&slot) else { return };
        self.reactor.close(fd, token);
        let now = self.now;
        let pulls = self.pulls.wanted.values_mut().flatten();
        pulls.filter(|pull| pull.slot == Some(slot)).for_each(|pull| pull.rest(now));
    }
}

/// The socket of an input, a member of its group.
fn open_socket(input: &UdpInput) -> Result<OwnedFd, Error> {
    let group = input.addr.ip();
    let is_group = group.is_multicast();
    let interface = match &input.interface {
        Some(name) => reactor::interface_index(name)?,
        None => 0,
    };
    let mut addr = input.addr;
    if let SocketAddr::V6(v6) = &mut addr {
        // A group of one link is not bound without it.
        v6.set_scope_id(interface);
    }
    let options = UdpOptions {
        reuse_port: false,
        reuse_address: is_group,
        recv_buffer_bytes: Some(input.receive_buffer_bytes),
        ..UdpOptions::default()
    };
    let fd = reactor::udp_socket(&addr, &options)?;
    if is_group {
        let membership = Membership { group, source: input.source, interface };
        reactor::join(fd.as_fd(), &membership)?;
    }
    Ok(fd)
}

/// Why an input is not open, in one fixed word.
const fn reason_of(error: &Error) -> &'static str {
    match error {
        Error::Rejected(reason) => reason,
        Error::Limit(limit) => limit.name(),
        Error::Io { errno: libc::EADDRINUSE, .. } => "address_in_use",
        Error::Io { errno: libc::EADDRNOTAVAIL, .. } => "address_not_available",
        Error::Io { errno: libc::ENODEV, .. } => "no_such_interface",
        Error::Io { errno: libc::EACCES | libc::EPERM, .. } => "not_permitted",
        _ => "socket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            program: None,
            pids: Vec::new(),
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

    #[test]
    fn a_socket_that_cannot_be_opened_says_why() {
        let taken = open_socket(&input("127.0.0.1:0")).unwrap();
        let taken = reactor::local_addr(taken.as_fd()).map(|addr| (addr, taken)).unwrap();
        for (input, reason) in [
            (input(&taken.0.to_string()), "address_in_use"),
            (input("192.0.2.1:5000"), "address_not_available"),
            (UdpInput { interface: Some("none0".into()), ..input("[::1]:0") }, "no_such_interface"),
        ] {
            let error = open_socket(&input).unwrap_err();
            assert_eq!(reason_of(&error), reason, "{input:?}");
        }
    }

    #[test]
    fn a_group_is_shared_with_others() {
        let group = UdpInput { interface: Some("lo".into()), ..input("239.255.12.35:0") };
        let first = open_socket(&group).unwrap();
        let addr = reactor::local_addr(first.as_fd()).unwrap();
        let again = UdpInput { addr, ..group };
        open_socket(&again).unwrap();
    }
}
