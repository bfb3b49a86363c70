//! Calls of SRT peers: who is let in, by which shard, and who hears why not.
//!
//! ```text
//!   call --rates, caps, stream id--> session (asks) --allowed: play-----> let in here
//!     |                                |             \-allowed: publish-> home --> let in there
//!     +----------- refused ------------+--------------------- refused
//! ```
//!
//! Nobody hears that it is let in before it publishes or plays. A caller repeats itself until it is
//! answered, to the shard that it called first. If another one answered, that shard is told, so
//! that it has the answer sent once more by [`Message::CalledAgain`] or refuses by itself. The
//! letter that tells it is not lost; for the one that asks for an answer the next repetition makes
//! up. Who waits says by its repetitions that it is there: one that is silent is over, and its call
//! is forgotten where it was heard, as every call is whose session ends without an answer.

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

/// How a call was answered; `None` if it never was, and nobody judges it any more.
pub(crate) type CallAnswer = Option<Result<SocketId, RejectReason>>;

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
        let server = Server::new(*request, target, port, &self.terms);
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
        self.judge_call_at(slot, Some(slot));
        self.settle(slot);
    }

    /// Says in which slot a call that came here is judged; in none while its session is elsewhere.
    pub(super) fn judge_call_at(&mut self, slot: u32, at: Option<u32>) {
        let Self { connections, ports, id, .. } = self;
        let Some(connection) = connections.get(slot) else { return };
        let Some(server) = connection.session.srt() else { return };
        if connection.id.accepted_by() == *id
            && let Some(request) = server.request()
            && let Some((port, _)) = ports.get_mut(server.port())
        {
            port.listener.judged_at(request.caller(), at);
        }
    }

    /// Who waits for its answer says that it is still there.
    pub(super) fn call_repeated(&mut self, slot: u32) {
        let connection = self.connections.get_mut(slot);
        if let Some(server) = connection.and_then(|connection| connection.session.srt_mut()) {
            server.called_again(self.now);
        }
    }

    /// Refuses who has no session yet.
    fn turn_away(&mut self, port: u8, request: &Request, code: RejectReason, why: &'static str) {
        self.counters.connections_shed += 1;
        let url = self.config.session.url;
        let Some((port_of, scratch)) = self.ports.get_mut(port) else { return };
        let len = port_of.listener.refuse(self.now, request, code, scratch);
        let peer = request.peer();
        let stream_id = shown(request.stream_id(), url);
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
        let settings = self.settings_of(slot);
        let keys = (self.fresh_socket(), self.key_seed(id));
        let url = self.config.session.url;
        let Self { connections, ports, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return false };
        let span = connection.span();
        let Some(server) = connection.session.srt_mut() else { return true };
        let port = server.port();
        let caller = server.request().map(Request::caller);
        let stream_id = server.request().map(|request| shown(request.stream_id(), url));
        let Some((port_of, scratch)) = ports.get_mut(port) else { return false };
        match server.let_in(*now, &mut port_of.listener, &settings, keys, scratch) {
            Ok(_) => {
                ports.name(keys.0, slot);
                true
            }
            Err((reason, len)) => {
                span.in_scope(|| tracing::info!(stream_id, code = reason.0, %reason, "no keys"));
                ports.send_scratch(port, &peer, len);
                self.tell_answer(id, port, caller, Some(Err(reason)));
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
            Command::PublishStarted | Command::PlayStarted => {
                self.call_accepted(slot);
                return;
            }
            Command::Refused(refusal) => server.reject_reason(*refusal),
            Command::Elsewhere(_) => RejectReason::FORBIDDEN,
            Command::Shutdown { .. } if self.draining.is_some() => RejectReason::DOWN,
            Command::Shutdown { .. } => RejectReason::FORBIDDEN,
            _ => return,
        };
        let url = self.config.session.url;
        let Self { connections, ports, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let (id, peer) = (connection.id, SocketAddr::from(connection.peer));
        let span = connection.span();
        let Some(server) = connection.session.srt_mut() else { return };
        let port = server.port();
        let Some(request) = server.request() else { return };
        let (caller, stream_id) = (request.caller(), shown(request.stream_id(), url));
        let Some((port_of, scratch)) = ports.get_mut(port) else { return };
        let listener = &mut port_of.listener;
        let Some(len) = server.turn_away(*now, listener, reason, scratch) else { return };
        span.in_scope(|| tracing::info!(stream_id, code = reason.0, "call refused"));
        ports.send_scratch(port, &peer, len);
        self.tell_answer(id, port, Some(caller), Some(Err(reason)));
    }

    /// A caller publishes or plays, and hears it.
    fn call_accepted(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot) else { return };
        let (id, Some(server)) = (connection.id, connection.session.srt()) else { return };
        let (port, caller) = (server.port(), server.request().map(Request::caller));
        if let Some(socket) = server.socket() {
            self.tell_answer(id, port, caller, Some(Ok(socket)));
        }
    }

    /// A session leaves this shard, to its end or to another one.
    pub(super) fn leave_call(&mut self, id: SessionId, session: &Session) {
        let Some(server) = session.srt() else { return };
        if let Some(socket) = server.socket() {
            self.ports.forget(socket);
        }
        if server.is_called() {
            self.leave_port(server.port());
        }
        // Whoever was answered asks for nothing any more.
        let (port, caller) = (server.port(), server.request().map(Request::caller));
        if let Some(caller) = caller
            && id.accepted_by() == self.id
        {
            self.call_answered(port, caller, None);
        } else {
            self.tell_answer(id, port, caller, None);
        }
    }

    /// The shard that heard the call learns how it was answered, if that is another one.
    fn tell_answer(
        &mut self,
        session: SessionId,
        port: u8,
        caller: Option<(SocketAddr, SocketId)>,
        answer: CallAnswer,
    ) {
        let to = session.accepted_by();
        if let Some(caller) = caller.filter(|_| to != self.id) {
            self.post(to, Message::Called { port, caller, answer });
        }
    }

    /// What became of a call that came here and was judged on another shard, or was not.
    pub(super) fn call_answered(
        &mut self,
        port: u8,
        caller: (SocketAddr, SocketId),
        answer: CallAnswer,
    ) {
        let now = self.now;
        let Some((port, _)) = self.ports.get_mut(port) else { return };
        match answer {
            Some(answer) => port.listener.answered(now, caller, answer),
            None => port.listener.give_up(caller),
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
