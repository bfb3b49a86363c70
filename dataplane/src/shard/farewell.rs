//! How connections end: at once, or after the last words of their protocol.

use super::connection::{Closing, Connection, Establish, Receiving};
use super::egress::LINGER;
use super::queues::Class;
use super::session_events::reason_of;
use super::shard::Shard;
use crate::control::{CloseReason, Event, Turn};
use crate::error::Error;
use crate::session::Command;

impl Shard {
    /// A session failed: it is counted, its last words are sent, then it is closed.
    pub(super) fn fail(&mut self, slot: u32, error: &Error) {
        let Some(connection) = self.connections.get(slot) else { return };
        if connection.closing.is_some() && *error != Error::Panicked {
            // One fault is counted once, whatever follows it.
            return;
        }
        connection.span().in_scope(|| match error {
            Error::Io { .. } | Error::Timeout { .. } => tracing::info!(%error, "session failed"),
            Error::Panicked => tracing::error!(state = connection.session.state_name(), "panic"),
            _ => tracing::warn!(%error, state = connection.session.state_name(), "peer fault"),
        });
        match error {
            Error::Malformed(_) => {
                self.counters.sessions_malformed += 1;
                if connection.role.is_none() {
                    let (peer, listener) = (connection.peer.ip, connection.listener);
                    self.turned_away.note(peer, listener, Turn::Malformed);
                }
            }
            Error::Misbehaved { .. } => self.counters.sessions_misbehaved += 1,
            Error::Timeout { .. } => self.counters.sessions_timed_out += 1,
            Error::Limit(limit) => self.counters.limit(*limit),
            Error::Panicked => {
                self.counters.panics += 1;
                self.close(slot, error.reason());
                return;
            }
            _ => {}
        }
        self.close_after_words(slot, error.reason());
    }

    /// Closes a connection once what it was told is sent and the peer has had time to read it.
    pub(super) fn close_after_words(&mut self, slot: u32, reason: &'static str) {
        let deadline = self.now + self.config.session.drain;
        let Self { connections, pool, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        if connection.closing.is_some() {
            return;
        }
        if connection.fd.is_none() {
            // Nothing of it waits to be sent but its last datagram.
            self.send_control(slot);
            self.close(slot, reason);
            return;
        }
        if connection.session.pull().is_some_and(|pull| !pull.is_reached()) {
            self.close(slot, reason);
            return;
        }
        connection.closing = Some(Box::new(Closing { reason, lingering: false, deadline }));
        connection.parked = Vec::new();
        connection.session.drop_messages(pool);
        self.account(slot);
        self.forget_question(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.publishing().is_some() {
            self.publisher_lost(slot, reason_of(reason));
        }
        self.enqueue(slot, Class::Reply);
        self.arm(slot);
        self.rearm(slot);
    }

    /// The last words are sent: the peer is told that nothing follows, its own end is awaited.
    pub(super) fn farewell(&mut self, slot: u32) {
        let deadline = self.now + LINGER;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(closing) = &mut connection.closing else { return };
        if connection.tls.as_mut().is_some_and(|tls| tls.link.say_goodbye()) {
            self.enqueue(slot, Class::Reply);
            return;
        }
        if connection.half_closed {
            // It has said everything, so nothing unread is left that could reset the connection.
            let reason = closing.reason;
            self.close(slot, reason);
            return;
        }
        closing.lingering = true;
        closing.deadline = deadline;
        let reason = closing.reason;
        self.reactor.shutdown_write(connection.stream_fd());
        self.leave_media(slot, reason_of(reason));
        self.arm(slot);
        self.rearm(slot);
    }

    /// True if the connection is on its way out and its time is over.
    pub(super) fn closing_expired(&mut self, slot: u32) -> bool {
        let closing = self.connections.get(slot).and_then(|connection| connection.closing.as_ref());
        let Some(closing) = closing.filter(|closing| closing.deadline <= self.now) else {
            return false;
        };
        self.close(slot, closing.reason);
        true
    }

    /// The peer ended its direction: it is gone, unless answers are owed to it.
    pub(super) fn peer_ended(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.receiving = Receiving::Off;
        self.peer_says_no_more(slot);
    }

    /// The peer says no more, by the end of its direction or inside TLS.
    pub(super) fn peer_says_no_more(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.owes() {
            connection.half_closed = true;
        } else if connection.tls.as_deref().is_some_and(|tls| tls.link.peer_closed()) {
            // Who says goodbye hears it.
            connection.half_closed = true;
            self.close_after_words(slot, "peer_closed");
        } else {
            self.peer_gone(slot, "peer_closed");
        }
    }

    /// The last answer to a peer that ended its direction is sent: it is closed.
    pub(super) fn close_answered(&mut self, slot: u32) {
        let answered = |c: &Connection| c.half_closed && c.closing.is_none() && !c.owes();
        let Some(connection) = self.connections.get(slot).filter(|c| answered(c)) else { return };
        if connection.tls.is_some() {
            // An end that TLS does not announce looks like a cut.
            self.close_after_words(slot, "peer_closed");
        } else {
            self.close(slot, "peer_closed");
        }
    }

    /// The peer is gone, or its socket failed.
    pub(super) fn peer_gone(&mut self, slot: u32, reason: &'static str) {
        let Some(connection) = self.connections.get(slot) else { return };
        let reason = connection.closing.as_ref().map_or(reason, |closing| closing.reason);
        self.close(slot, reason);
    }

    /// Closes a connection now and gives back everything that it held.
    pub(super) fn close(&mut self, slot: u32, reason: &'static str) {
        if !self.connections.contains(slot) {
            return;
        }
        self.count_datagrams(slot);
        self.end_pull(slot, reason_of(reason));
        self.dial_over(slot, reason);
        self.ports.part(slot);
        let end = self.connection_end(slot, reason);
        self.leave_media(slot, reason_of(reason));
        if let Some(end) = end {
            self.report(Event::ConnectionClosed(end));
        }
        let token = self.connections.token(slot);
        let Some(mut connection) = self.let_go(slot) else { return };
        if let Some(timer) = connection.timer {
            self.timers.cancel(timer);
        }
        self.leave_tls(&mut connection);
        self.end_push(slot, token);
        let pool = &self.pool;
        let closed = super::ingress::fence(&mut connection, |session| {
            session.close(pool);
            Ok(())
        });
        if closed.is_err() {
            self.counters.panics += 1;
        }
        connection.log_end(reason, self.now);
        self.counters.connections_closed += 1;
        let Connection { id, fd, admission, viewer, session, .. } = *connection;
        self.leave_call(id, &session);
        if viewer {
            self.viewer_left();
        }
        self.shared.caps.leave(admission);
        if let Some(fd) = fd {
            self.reactor.close(fd, token);
        }
    }

    /// Ends what the connection does with media.
    pub(super) fn leave_media(&mut self, slot: u32, reason: CloseReason) {
        match self.connections.get(slot).map(|connection| &connection.role) {
            Some(Some(Establish::Publish { .. })) => self.publisher_lost(slot, reason),
            Some(Some(Establish::Play(_))) => self.stop_playing(slot, reason),
            Some(Some(Establish::View(_))) => self.stop_serving(slot),
            _ => {}
        }
        self.forget_question(slot);
    }

    /// A player cannot keep up: it is told so, unless it is inside an entry, where no other byte
    /// may stand.
    pub(super) fn outpaced(&mut self, slot: u32) {
        self.counters.players_too_slow += 1;
        let cursor = self.connections.get(slot).and_then(|c| c.playing()?.cursor);
        if cursor.is_none_or(|cursor| cursor.at_boundary) {
            self.tell(slot, Command::Shutdown { reason: "too_slow" });
        } else {
            self.close(slot, "too_slow");
        }
    }

    /// A player that accepted no byte for too long is closed; true if it was.
    pub(super) fn stalled(&mut self, slot: u32) -> bool {
        let stall = self.config.egress.stall;
        let stalled = self.connections.get(slot).is_some_and(|connection| {
            connection.sending == super::connection::Sending::Blocked
                && self.now.saturating_duration_since(connection.progressed()) >= stall
        });
        if stalled {
            self.counters.players_too_slow += 1;
            self.close(slot, "stalled");
        }
        stalled
    }

    /// Every peer gets its protocol's end.
    pub(super) fn say_goodbye_to_all(&mut self, reason: &'static str) {
        for slot in self.connections.slots() {
            self.tell(slot, Command::Shutdown { reason });
        }
    }
}

impl Connection {
    fn log_end(&self, reason: &'static str, now: std::time::Instant) {
        let age_ms = now.saturating_duration_since(self.opened).as_millis() as u64;
        self.span().in_scope(|| {
            tracing::info!(
                reason,
                age_ms,
                bytes_in = self.received,
                bytes_out = self.sent,
                "session closed"
            );
        });
    }
}
