//! Listeners and fresh connections: admitted, placed on the less used shard, given a session.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use super::connection::{Arrival, Connection};
use super::message::{Accepted, Message};
use super::ports::PORTS_MAX;
use super::proxied::Speaker;
use super::shard::{Shard, TimerKey};
use crate::config::{Config, LISTENERS_MAX, ListenerConfig, ListenerKind};
use crate::ids::{SessionId, ShardId, ShardSet};
use crate::reactor::{self, ListenOptions, Listener, SocketOptions, Token};
use crate::session::{Session, http, rtmp};

/// Connections by which another shard must be ahead before one is given to it.
const REBALANCE_STEP: u32 = 8;
/// Tokens of listeners lie below every connection's: room for all of them twice, because those that
/// a reload closes are still there when it opens others.
/// Above those lie the tokens of ports, and of the sockets by which peers are called.
pub(super) const LISTENER_SLOTS: u32 = PORT_SLOTS + PORTS_MAX as u32;
/// The first token of a port.
pub(super) const PORT_SLOTS: u32 = 2 * LISTENERS_MAX as u32;
/// Accepting pauses this long when the process is out of descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// A listener of one shard.
#[derive(Debug)]
pub(super) struct OpenListener {
    pub config: ListenerConfig,
    pub fd: OwnedFd,
    pub token: Token,
    /// It is being closed and accepts no more.
    pub stopped: bool,
}

/// Opens one listener for one shard.
pub(crate) fn open_listener(config: &ListenerConfig) -> Result<Listener, crate::error::Error> {
    Listener::bind(config.addr, &ListenOptions::default())
}

impl Shard {
    /// Starts accepting on a bound listener.
    pub(super) fn listen(&mut self, config: ListenerConfig, fd: OwnedFd) {
        let generation = self.listener_count;
        self.listener_count = self.listener_count.wrapping_add(1);
        let taken = |slot: u32| self.listeners.iter().any(|l| l.token.slot == slot);
        let Some(slot) = (0..PORT_SLOTS).find(|&slot| !taken(slot)) else {
            tracing::error!(addr = %config.addr, "too many listeners");
            return;
        };
        let token = Token::new(slot, generation);
        self.reactor.accept_start(fd.as_fd(), token);
        self.listeners.push(OpenListener { config, fd, token, stopped: false });
    }

    /// Stops accepting everywhere.
    pub(super) fn stop_listening(&mut self) {
        for listener in self.listeners.iter_mut().filter(|listener| !listener.stopped) {
            listener.stopped = true;
            self.reactor.accept_stop(listener.token);
        }
    }

    /// A connection was accepted.
    pub(super) fn accepted(&mut self, token: Token, fd: OwnedFd, peer: SocketAddr) {
        let listener = self.listeners.iter().find(|listener| listener.token == token);
        let Some(listener) = listener.filter(|l| !l.stopped).map(|listener| listener.config) else {
            return;
        };
        self.counters.connections_accepted += 1;
        let ListenerConfig { kind, shards, latency, number, .. } = listener;
        let Config { session, .. } = &self.config;
        let is_http = matches!(kind, ListenerKind::Http | ListenerKind::Https);
        let speaker = Speaker::of(&listener, peer.ip(), &session.proxies);
        if speaker == Speaker::Client
            && let Err(why) = self.knock(peer.ip(), number, is_http)
        {
            self.counters.connections_shed += 1;
            tracing::debug!(%peer, reason = why.name(), "connection shed");
            return;
        }
        let Config { limits, .. } = &self.config;
        let entered = match speaker {
            Speaker::Client => self.shared.caps.enter(peer.ip(), limits),
            // Its clients are many, and counted when it names them.
            Speaker::Proxy | Speaker::Balancer => self.shared.caps.enter_unnamed(limits),
        };
        let admission = match entered {
            Ok(admission) => admission,
            Err(limit) => {
                // Dropping the socket is the answer: a refused peer costs nothing further.
                self.counters.connections_shed += 1;
                self.counters.limit(limit);
                tracing::debug!(%peer, limit = limit.name(), "connection shed");
                return;
            }
        };
        let fresh = Accepted { fd, peer, kind, latency, listener: number, speaker, admission };
        let Some(other) = self.less_used_shard(shards) else {
            self.open(fresh);
            return;
        };
        match self.outboxes.send(other, Message::Accepted(fresh)) {
            Ok(()) => {
                self.counters.connections_rebalanced += 1;
                self.alert(other);
            }
            Err(Message::Accepted(fresh)) => self.open(fresh),
            Err(_) => unreachable!("a full mailbox gives back what was sent"),
        }
    }

    /// Accepting ended by itself: it is started again after a pause.
    pub(super) fn accept_failed(&mut self, token: Token, errno: i32) {
        let Some(at) = self.listeners.iter().position(|listener| listener.token == token) else {
            return;
        };
        if self.listeners[at].stopped {
            let listener = self.listeners.swap_remove(at);
            drop(listener.fd);
            return;
        }
        tracing::warn!(errno, addr = %self.listeners[at].config.addr, "accepting paused");
        let key = TimerKey::Accept(token);
        if self.timers.insert(self.now + ACCEPT_PAUSE, key).is_none() {
            self.resume_accepting(token);
        }
    }

    pub(super) fn resume_accepting(&mut self, token: Token) {
        let found = self.listeners.iter().find(|listener| listener.token == token);
        if let Some(listener) = found.filter(|listener| !listener.stopped) {
            self.reactor.accept_start(listener.fd.as_fd(), token);
        }
    }

    /// Drops a fresh connection: this shard takes no more.
    pub(super) fn shed(&mut self, fresh: Accepted) {
        self.counters.connections_shed += 1;
        self.shared.caps.leave(fresh.admission);
    }

    /// Gives a fresh connection its session on this shard.
    pub(super) fn open(&mut self, fresh: Accepted) {
        let Ok(tls) = self.tls_of(fresh.kind) else {
            self.shed(fresh);
            return;
        };
        let Accepted { fd, peer, kind, latency, listener, speaker, admission } = fresh;
        if let Err(error) = reactor::apply(fd.as_fd(), &self.socket_options()) {
            tracing::debug!(%peer, %error, "socket options");
        }
        self.sessions_opened += 1;
        let id = SessionId::new(self.id, self.sessions_opened);
        let session = self.session_of(kind, id);
        let connection = Box::new(Connection::new(Arrival {
            id,
            fd: Some(fd),
            peer,
            session,
            tls,
            admission,
            latency,
            listener,
            opened: self.now,
        }));
        connection.span().in_scope(|| tracing::info!("session opened"));
        let slot = self.take_in(connection);
        self.connections.set_proxy(slot, speaker.proxy(peer));
        self.arm(slot);
        self.rearm(slot);
    }

    /// The options of a connection.
    pub(super) fn socket_options(&self) -> SocketOptions {
        let egress = &self.config.egress;
        SocketOptions {
            nodelay: true,
            notsent_lowat: Some(egress.notsent_lowat_bytes),
            send_buffer: Some(egress.send_buffer_bytes),
            recv_buffer: Some(self.config.session.receive_buffer_bytes),
            user_timeout_ms: u32::try_from(egress.user_timeout.as_millis()).ok(),
        }
    }

    fn session_of(&mut self, kind: ListenerKind, id: SessionId) -> Session {
        match kind {
            ListenerKind::Rtmp | ListenerKind::Rtmps => {
                let seed = self.seed_of(id);
                Session::Rtmp(Box::new(rtmp::Server::new(self.now, &self.terms, seed)))
            }
            ListenerKind::Http | ListenerKind::Https => {
                Session::Http(Box::new(http::Server::new(self.now, &self.terms)))
            }
            ListenerKind::Srt => unreachable!("a port accepts no connections"),
        }
    }

    /// Thirty-two unpredictable bytes from the process's random key and the session's number.
    pub(super) fn seed_of(&self, id: SessionId) -> [u8; 32] {
        use std::hash::BuildHasher;
        let mut seed = [0; 32];
        for (i, part) in seed.chunks_exact_mut(8).enumerate() {
            // CONTROL: random bytes of a handshake.
            part.copy_from_slice(&self.random.hash_one((id.0, i)).to_le_bytes());
        }
        seed
    }

    /// The next one of `accepting` in turn, if it has clearly fewer connections than this shard;
    /// any with room for players, if this one has none.
    fn less_used_shard(&mut self, accepting: ShardSet) -> Option<ShardId> {
        let shards = self.shared.shards() as u16;
        let own = self.shared.load(self.id);
        let other = (1..shards).find_map(|_| {
            self.rebalance_turn = self.rebalance_turn % (shards - 1) + 1;
            let other = ShardId((self.id.0 + self.rebalance_turn) % shards);
            let fits = !own.is_full() || !self.shared.load(other).is_full();
            (accepting.contains(other) && fits).then_some(other)
        })?;
        let theirs = self.shared.load(other);
        let step = REBALANCE_STEP.max(theirs.get() / 8);
        let freer = !theirs.is_full() && own.get() > theirs.get() + step;
        (own.is_full() || freer).then_some(other)
    }
}
