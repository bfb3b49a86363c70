//! Ports: the UDP sockets of a shard, each shared by all SRT connections that came by its listener.
//!
//! Shape: every shard has a socket of each listener, in the order of the shards, and the kernel
//! brings a datagram to the shard that its destination names ([`crate::reactor::steer`]). Those to
//! nobody in particular, which are calls, go to any of them.
//!
//! ```text
//!   datagram --destination 0--> Listener of the port --> calls.rs
//!            \--destination---> slot of a connection --> datagrams.rs
//! ```
//!
//! Limits: one id for each connection that was let in; [`STRAYS_PER_TURN_MAX`].

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use codecs::srt::{PACKET_BYTES_MAX, SocketId};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::accept::PORT_SLOTS;
use super::dials::any_local;
use super::shard::{Shard, TimerKey};
use crate::config::{
    LISTENERS_MAX, LimitId, ListenerConfig, ListenerKind, PORT_RECEIVE_BYTES, PORT_SEND_BYTES,
};
use crate::error::Error;
use crate::ids::SessionId;
use crate::reactor::{self, Token, UdpOptions};
use crate::session::srt::{KeySeed, Listener, Scratch, Settings};

/// Datagrams that one turn hands to other shards at most: whoever sends more of them to the wrong
/// one loses them, and takes no room from the letters of others.
const STRAYS_PER_TURN_MAX: u16 = 64;
/// Sockets by which one shard calls peers at most: one for each address that it calls from.
const DIAL_PORTS_MAX: usize = 32;
/// Ports of one shard at most.
pub(super) const PORTS_MAX: usize = LISTENERS_MAX + DIAL_PORTS_MAX;
/// Receiving pauses this long when the kernel cannot.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// One socket of a shard. Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Port {
    pub config: ListenerConfig,
    pub fd: OwnedFd,
    pub token: Token,
    /// Peers may call there; otherwise they are called from there.
    pub listens: bool,
    /// Sessions with peers that are called from there.
    users: u32,
    /// The calls of its peers.
    pub listener: Listener,
    /// There was no room to send, and there is none yet.
    pub is_blocked: bool,
    /// The players who wait for room, in their order.
    pub waiting: Vec<Token>,
}

/// The sockets of a shard. Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Ports {
    /// Those that listen come first, and stay; others leave their places to those that follow.
    list: Vec<Option<Port>>,
    /// Ports that were opened so far, wrapping.
    opened: u16,
    /// The connections' slots by what their peers call them.
    slots: HashMap<SocketId, u32>,
    /// The connections with callers who call us, too, by the port and where they are: their first
    /// words are to nobody in particular.
    meetings: HashMap<(u8, SocketAddr), u32>,
    /// Ids that were made so far.
    made: u64,
    /// Datagrams that may be handed to other shards in this turn.
    strays_left: u16,
    /// One datagram that is being written.
    pub scratch: Box<Scratch>,
}

impl Default for Ports {
    fn default() -> Self {
        let scratch = Box::new([0; PACKET_BYTES_MAX]);
        let (slots, meetings) = (HashMap::new(), HashMap::new());
        Self { list: Vec::new(), opened: 0, slots, meetings, made: 0, strays_left: 0, scratch }
    }
}

impl Ports {
    pub(super) fn get(&self, port: u8) -> Option<&Port> {
        self.list.get(usize::from(port))?.as_ref()
    }

    /// A port and the scratch, to have something written.
    pub(super) fn get_mut(&mut self, port: u8) -> Option<(&mut Port, &mut Scratch)> {
        let port = self.list.get_mut(usize::from(port))?.as_mut()?;
        Some((port, &mut self.scratch))
    }

    /// The port whose receives have `token`.
    pub(super) fn find(&self, token: Token) -> Option<u8> {
        let at = u8::try_from(token.slot.checked_sub(PORT_SLOTS)?).ok()?;
        self.get(at).filter(|port| port.token == token).map(|_| at)
    }

    /// The port from which peers are called by that address.
    fn calls_from(&self, addr: SocketAddr) -> Option<u8> {
        let is_it = |port: &Port| !port.listens && port.config.addr == addr;
        let at = self.list.iter().position(|port| port.as_ref().is_some_and(is_it))?;
        u8::try_from(at).ok()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Port> {
        self.list.iter_mut().flatten()
    }

    /// The connection that its peer calls `socket`.
    pub(super) fn slot(&self, socket: SocketId) -> Option<u32> {
        self.slots.get(&socket).copied()
    }

    pub(super) fn name(&mut self, socket: SocketId, slot: u32) {
        self.slots.insert(socket, slot);
    }

    /// The connection in `slot` is with a caller at `peer` who calls us, too.
    pub(super) fn meet(&mut self, port: u8, peer: SocketAddr, slot: u32) {
        self.meetings.insert((port, peer), slot);
    }

    /// True if there is such a one.
    pub(super) fn is_met(&self, port: u8, peer: SocketAddr) -> bool {
        self.meetings.contains_key(&(port, peer))
    }

    /// The connection with a caller who calls us, too.
    pub(super) fn met(&self, port: u8, peer: SocketAddr) -> Option<u32> {
        self.meetings.get(&(port, peer)).copied()
    }

    /// The connection in `slot` is over.
    pub(super) fn part(&mut self, slot: u32) {
        self.meetings.retain(|_, at| *at != slot);
    }

    /// A turn begins.
    pub(super) const fn begin_turn(&mut self) {
        self.strays_left = STRAYS_PER_TURN_MAX;
    }

    /// True if one more datagram may be handed to another shard in this turn.
    pub(super) fn may_lead_home(&mut self) -> bool {
        let left = self.strays_left.checked_sub(1);
        self.strays_left = left.unwrap_or(0);
        left.is_some()
    }

    /// A session is over: its peer's datagrams are nobody's.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.slots.remove(&socket);
    }

    /// What was written last, sent at once; a datagram for which there is no room is lost, as any
    /// may be.
    pub(super) fn send_scratch(&self, port: u8, peer: &SocketAddr, len: usize) -> bool {
        let bytes = self.scratch.get(..len).unwrap_or_default();
        self.get(port).is_some_and(|port| reactor::send_datagram(port.fd.as_fd(), peer, bytes))
    }
}

impl Shard {
    /// Begins to receive on a bound socket; the tokens of ports lie above those of listeners.
    pub(super) fn open_port(&mut self, config: ListenerConfig, fd: OwnedFd) {
        if self.ports.list.len() >= LISTENERS_MAX {
            tracing::error!(addr = %config.addr, "too many listeners");
            return;
        }
        self.add_port(config, fd, true);
    }

    /// The port by which `peer` is called, from `local` if that is said. Whoever is given it leaves
    /// it by [`Self::leave_port`].
    pub(super) fn port_to(
        &mut self,
        peer: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Result<u8, Error> {
        if !self.reactor.takes_datagrams() {
            return Err(Error::Rejected("no_datagram_buffers"));
        }
        let any = any_local(peer);
        let addr = match local {
            Some(local) if local.ip().is_unspecified() => SocketAddr::new(any.ip(), local.port()),
            Some(local) => local,
            None => any,
        };
        let port = match self.ports.calls_from(addr) {
            Some(port) => port,
            None => self.open_dial_port(addr)?,
        };
        if let Some((port, _)) = self.ports.get_mut(port) {
            port.users += 1;
        }
        Ok(port)
    }

    fn open_dial_port(&mut self, addr: SocketAddr) -> Result<u8, Error> {
        let opened = self.ports.list.iter().flatten().filter(|port| !port.listens).count();
        if opened >= DIAL_PORTS_MAX {
            return Err(Error::Rejected("dial_ports_max"));
        }
        let options = UdpOptions {
            reuse_port: false,
            v6only: true,
            send_buffer_bytes: Some(PORT_SEND_BYTES),
            recv_buffer_bytes: Some(PORT_RECEIVE_BYTES),
            ..UdpOptions::default()
        };
        let fd = reactor::udp_socket(&addr, &options)?;
        Ok(self.add_port(ListenerConfig::new(ListenerKind::Srt, addr), fd, false))
    }

    /// A session with a peer that was called from `port` is over, or did not begin.
    pub(super) fn leave_port(&mut self, port: u8) {
        if let Some((port, _)) = self.ports.get_mut(port) {
            debug_assert!(!port.listens && port.users > 0, "whoever leaves it was given it");
            port.users = port.users.saturating_sub(1);
        }
    }

    /// Closes the ports from which nobody is called any more. Until then they are there for who
    /// takes the place of another: the kernel may take a while to let go of an address.
    pub(super) fn close_idle_ports(&mut self) {
        for place in &mut self.ports.list {
            if let Some(Port { fd, token, .. }) =
                place.take_if(|port| !port.listens && port.users == 0)
            {
                self.reactor.close(fd, token);
            }
        }
    }

    fn add_port(&mut self, config: ListenerConfig, fd: OwnedFd, listens: bool) -> u8 {
        let ports = &mut self.ports;
        let free = ports.list.iter().position(Option::is_none);
        let at = free.unwrap_or(ports.list.len());
        ports.opened = ports.opened.wrapping_add(1);
        let token = Token::new(PORT_SLOTS + at as u32, ports.opened);
        let (secret, began) = (self.config.srt.secret.0, self.shared.began);
        // Each of them has a session, which the limits of connections bound first.
        let waiting_max = self.config.limits.get(LimitId::ConnectionsMax) as usize;
        let settings = Settings { waiting_max, ..self.config.srt.settings() };
        let listener = Listener::new(&settings, secret, began);
        self.reactor.recv_datagrams_start(fd.as_fd(), token);
        let (users, is_blocked, waiting) = (0, false, Vec::new());
        let port = Port { config, fd, token, listens, users, listener, is_blocked, waiting };
        match self.ports.list.get_mut(at) {
            Some(place) => *place = Some(port),
            None => self.ports.list.push(Some(port)),
        }
        self.trains.make_room();
        u8::try_from(at).expect("ports are fewer")
    }

    /// A port can receive no more: it is tried again after a pause.
    pub(super) fn port_failed(&mut self, port: u8, errno: i32) {
        self.counters.receives_failed += 1;
        let Some(port) = self.ports.get(port) else { return };
        tracing::warn!(errno, addr = %port.config.addr, "receiving paused");
        let key = TimerKey::Receive(port.token);
        if self.timers.insert(self.now + RECEIVE_PAUSE, key).is_none() {
            let token = port.token;
            self.resume_receiving(token);
        }
    }

    pub(super) fn resume_receiving(&mut self, token: Token) {
        let port = self.ports.find(token).and_then(|port| self.ports.get(port));
        if let Some(port) = port {
            self.reactor.recv_datagrams_start(port.fd.as_fd(), token);
        }
    }

    /// An id that nobody has and that leads here.
    pub(super) fn fresh_socket(&mut self) -> SocketId {
        let shards = self.shared.shards() as u16;
        loop {
            self.ports.made += 1;
            let random = self.random.hash_one((self.ports.made, self.id.0)) as u32;
            let socket = SocketId(reactor::steered_id(random, self.id.0, shards));
            if self.ports.slot(socket).is_none() {
                return socket;
            }
        }
    }

    /// Random bytes for the keys of one session, which nobody else has.
    pub(super) fn key_seed(&self, id: SessionId) -> KeySeed {
        let secret = &self.config.srt.secret.0;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length is a key");
        mac.update(b"keys of a session");
        mac.update(&id.0.to_be_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Calls that were answered a while ago are forgotten.
    pub(super) fn keep_ports(&mut self) {
        let now = self.now;
        self.ports.iter_mut().for_each(|port| port.listener.handle_timeout(now));
    }
}
