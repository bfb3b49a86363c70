//! A publisher moves to the home shard of its stream: socket, session and unparsed bytes.
//!
//! While it is parked nothing is armed on its socket, so TCP itself holds the peer back and there
//! is nothing to lose: a send ends inside its turn, and a receive is one at a time until the
//! verdict.

use super::connection::{Connection, Sending};
use super::message::Message;
use super::shard::Shard;
use crate::ids::ShardId;
use crate::session::Refusal;

impl Shard {
    /// Sends the connection to `home`.
    pub(super) fn hand_over(&mut self, slot: u32, home: ShardId) {
        let token = self.connections.token(slot);
        if !self.outboxes.has_room(home) {
            self.counters.mailbox_full += 1;
            self.refuse(slot, Refusal::Overloaded);
            return;
        }
        let Some(mut connection) = self.let_go(slot) else { return };
        // Pages belong to this shard's pool: a publication before this one may have left some.
        connection.session.leave_pages(&self.pool);
        if let Some(timer) = connection.timer.take() {
            self.timers.cancel(timer);
        }
        if connection.sending == Sending::Blocked {
            self.reactor.poll_cancel(token);
            connection.sending = Sending::Idle;
        }
        connection.queued = false;
        connection.span().in_scope(|| tracing::debug!(to = %home, "handed over"));
        self.counters.publishers_handed_over += 1;
        let sent = self.outboxes.send(home, Message::Publisher(connection));
        debug_assert!(sent.is_ok(), "room was checked and only this shard fills the mailbox");
        self.alert(home);
    }

    /// A publisher came home.
    pub(super) fn take_over_connection(&mut self, connection: Box<Connection>) {
        let slot = self.take_in(connection);
        if self.draining.is_some() {
            self.refuse(slot, Refusal::Draining);
        } else {
            self.claim(slot);
        }
        self.rearm(slot);
    }
}
