//! Calls of SRT peers: who is let in, by which shard, and who hears why not.
//!
//! ```text
//!   call --rates, caps, stream id--> session (asks) --allowed: play-----> let in here
//!     |                                |             \-allowed: publish-> home --> let in there
//!     +----------- refused ------------+--------------------- refused
//! ```
//!
//! A caller repeats itself until it is answered, to the shard that it called first. If another one
//! answered, that shard is told, so that it sends the answer once more by [`Message::CalledAgain`]
//! or refuses by itself. Both letters may be lost: the next repetition makes up for it.

use std::net::SocketAddr;

use codecs::srt::{RejectReason, SocketId};

use super::connection::{Arrival, Connection};
use super::message::Message;
use super::shard::Shard;
use crate::config::ListenerConfig;
use crate::control::Turn;
use crate::ids::{SessionId, ShardId};
use crate::reactor;
use crate::session::srt::{Request, Server, Target, shown};
use crate::session::{Command, Refusal, Session};

/// How a call was answered.
pub(crate) type CallAnswer = Result<SocketId, RejectReason>;

impl Shard {
    /// Somebody with a good cookie wants something.
    pub(super) fn called(&mut self, port: u8, request: Box<Request>) {
        let Some(config) = self.ports.get(port).map(|port| port.config) else { return };
        self.counters.connections_accepted += 1;
        let (peer, listener) = (request.peer(), config.number);
        if let Err(why) = self.knock(peer.ip(), listener, false) {
            let penalised = why == Turn::Penalty;
            let reason = if penalised { RejectReason::FORBIDDEN } else { RejectReason::OVERLOAD };
            self.turn_away(port, &request, reason, why.name());
            return;
        }
        if self.draining.is_some_and(|draining| draining.ends()) {
            self.turn_away(port, &request, RejectReason::DOWN, "draining");
            return;
        }
        let said = self.config.srt.listener(listener);
        let (url, auth) = (self.config.session.url, self.config.auth);
        let target = match Target::of(request.stream_id(), &said, url, auth) {
            Ok(target) => target,
            Err(reason) => {
                self.counters.sessions_malformed += 1;
                self.turned_away.note(peer.ip(), listener, Turn::Malformed);
                self.turn_away(port, &request, reason, "bad_stream_id");
                return;
            }
        };
        let admission = match self.shared.caps.enter(peer.ip(), &self.config.limits) {
            Ok(admission) => admission,
            Err(limit) => {
                self.counters.limit(limit);
                self.turn_away(port, &request, RejectReason::OVERLOAD, limit.name());
                return;
            }
        };
        self.sessions_opened += 1;
        let id = SessionId::new(self.id, self.sessions_opened);
        let server = Server::new(request, target, port, &self.terms);
        let ListenerConfig { latency, number: listener, .. } = config;
        let connection = Connection::new(Arrival {
            id,
            fd: None,
            peer,
            session: Session::Srt(Box::new(server)),
            tls: None,
            admission,
            latency,
            listener,
            opened: self.now,
        });
        connection.span().in_scope(|| tracing::info!("session opened"));
        let slot = self.take_in(Box::new(connection));
        self.settle(slot);
    }

    /// Refuses who has no session yet.
    fn turn_away(&mut self, port: u8, request: &Request, code: RejectReason, why: &'static str) {
        self.counters.connections_shed += 1;
        let Some((port_of, scratch)) = self.ports.get_mut(port) else { return };
        let len = port_of.listener.refuse(self.now, request, code, scratch);
        let peer = request.peer();
        let stream_id = shown(request.stream_id());
        // Strangers can have this said as often as they may connect.
        tracing::debug!(%peer, stream_id, code = code.0, reason = why, "call refused");
        self.ports.send_scratch(port, &peer, len);
    }

    /// Who may do what it asked for gets its socket; false if it is refused after all. Its call is
    /// answered once it publishes or plays.
    pub(super) fn let_in(&mut self, slot: u32) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        let (id, peer) = (connection.id, SocketAddr::from(connection.peer));
        if connection.session.srt().is_none_or(|server| server.socket().is_some()) {
            return true;
        }
        let granted = connection.asked.as_ref().and_then(|asked| asked.passphrase.as_deref());
        let settings = self.config.srt.settings_by(granted);
        let keys = (self.fresh_socket(), self.key_seed(id));
        let Self { connections, ports, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return false };
        let span = connection.span();
        let Some(server) = connection.session.srt_mut() else { return true };
        let port = server.port();
        let caller = server.request().map(Request::caller);
        let stream_id = server.request().map(|request| shown(request.stream_id()));
        let Some((port_of, scratch)) = ports.get_mut(port) else { return false };
        match server.let_in(*now, &mut port_of.listener, &settings, keys, scratch) {
            Ok(_) => {
                ports.name(keys.0, slot);
                self.tell_answer(id.accepted_by(), port, caller, Ok(keys.0));
                true
            }
            Err((reason, len)) => {
                span.in_scope(|| tracing::info!(stream_id, code = reason.0, %reason, "no keys"));
                ports.send_scratch(port, &peer, len);
                self.tell_answer(id.accepted_by(), port, caller, Err(reason));
                self.refuse(slot, Refusal::WrongKey);
                false
            }
        }
    }

    /// A caller who was not answered hears what its session is told.
    pub(super) fn answer_call(&mut self, slot: u32, command: &Command) {
        let session = self.connections.get(slot).map(|connection| &connection.session);
        let Some(server) = session.and_then(Session::srt) else { return };
        let reason = match command {
            Command::Refused(refusal) => server.reject_reason(*refusal),
            Command::Elsewhere(_) => RejectReason::FORBIDDEN,
            Command::Shutdown { .. } if self.draining.is_some() => RejectReason::DOWN,
            Command::Shutdown { .. } => RejectReason::FORBIDDEN,
            _ => return,
        };
        let Self { connections, ports, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let (id, peer) = (connection.id, SocketAddr::from(connection.peer));
        let span = connection.span();
        let Some(server) = connection.session.srt_mut() else { return };
        let port = server.port();
        let Some(request) = server.request() else { return };
        let (caller, stream_id) = (request.caller(), shown(request.stream_id()));
        let Some((port_of, scratch)) = ports.get_mut(port) else { return };
        let listener = &mut port_of.listener;
        let Some(len) = server.turn_away(*now, listener, reason, scratch) else { return };
        span.in_scope(|| tracing::info!(stream_id, code = reason.0, "call refused"));
        ports.send_scratch(port, &peer, len);
        self.tell_answer(id.accepted_by(), port, Some(caller), Err(reason));
    }

    /// The shard that heard the call learns how it was answered, if that is another one.
    fn tell_answer(
        &mut self,
        to: ShardId,
        port: u8,
        caller: Option<(SocketAddr, SocketId)>,
        answer: CallAnswer,
    ) {
        let Some(caller) = caller.filter(|_| to != self.id) else { return };
        if self.outboxes.send(to, Message::Called { port, caller, answer }).is_ok() {
            self.alert(to);
        }
    }

    /// Another shard answered a call that came here.
    pub(super) fn call_answered(
        &mut self,
        port: u8,
        caller: (SocketAddr, SocketId),
        answer: CallAnswer,
    ) {
        let now = self.now;
        if let Some((port, _)) = self.ports.get_mut(port) {
            port.listener.answered(now, caller, answer);
        }
    }

    /// A caller repeats itself: its connection, here or on another shard, answers again.
    pub(super) fn called_again(&mut self, socket: SocketId, peer: SocketAddr) {
        if self.ports.slot(socket).is_some() {
            self.answer_again(socket, peer);
            return;
        }
        let Some(home) = reactor::steer(socket.0, self.shared.shards() as u16) else { return };
        let home = ShardId(home);
        if home != self.id
            && self.outboxes.send(home, Message::CalledAgain { socket, peer }).is_ok()
        {
            self.alert(home);
        }
    }

    /// A connection answers its call again, if nothing has been heard since.
    pub(super) fn answer_again(&mut self, socket: SocketId, peer: SocketAddr) {
        let Some(slot) = self.ports.slot(socket) else { return };
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.peer.is(peer) {
            return;
        }
        if let Some(server) = connection.session.srt_mut() {
            server.answer_again();
        }
        self.send_control(slot);
    }
}
