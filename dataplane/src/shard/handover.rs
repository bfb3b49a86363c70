//! A publisher moves to another shard: socket, session and unparsed bytes.
//!
//! It does so before it publishes, to the home shard of its stream, and later with its stream
//! (`relocation.rs`). While it is on its way nothing is armed on its socket, so TCP itself holds
//! the peer back and there is nothing to lose: a send ends inside its turn, and the last receive
//! has ended.

use super::connection::{Connection, Lines, Sending};
use super::message::Message;
use super::news::Account;
use super::shard::Shard;
use crate::ids::{ShardId, StreamName};
use crate::session::Refusal;

/// A connection on its way to another shard.
#[derive(Debug)]
pub(crate) struct Traveller {
    connection: Box<Connection>,
    /// What it did before, if anybody wants to be told.
    account: Option<Box<Account>>,
}

impl Shard {
    /// The shard that a stream of this name lives on, or would begin on.
    pub(super) fn whereabouts(&self, stream: &StreamName) -> ShardId {
        if self.streams.find(stream).is_some() {
            return self.id;
        }
        self.streams.away.find(stream).unwrap_or_else(|| self.shared.placement.home(stream))
    }

    /// Sends a publisher that asks for its stream to `home`.
    pub(super) fn hand_over(&mut self, slot: u32, home: ShardId) {
        debug_assert!(
            self.connections.get(slot).is_none_or(|connection| connection.role.is_none()),
            "what it did here is over: readers and counts of this shard do not know it elsewhere"
        );
        let waits = self.unsent.iter().any(|(shard, _)| *shard == home);
        if waits || !self.outboxes.has_room(home) {
            self.counters.mailbox_full += 1;
            self.refuse(slot, Refusal::Overloaded);
            return;
        }
        // Pages belong to this shard's pool: a publication before this one may have left some.
        let is_charged = self.usage.is_charged(slot);
        if is_charged {
            self.enter_carried(slot);
        }
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.session.leave_pages(&self.pool);
            if is_charged {
                // What it carried is charged here, and not once more where it goes.
                (connection.received, connection.sent) = (0, 0);
            }
        }
        self.judge_call_at(slot, None);
        let Some(traveller) = self.lift(slot) else { return };
        traveller.connection.span().in_scope(|| tracing::debug!(to = %home, "handed over"));
        self.counters.publishers_handed_over += 1;
        let sent = self.outboxes.send(home, Message::Publisher(traveller));
        debug_assert!(sent.is_ok(), "room was checked and only this shard fills the mailbox");
        self.alert(home);
    }

    /// Takes a connection that neither receives nor sends out of this shard.
    pub(super) fn lift(&mut self, slot: u32) -> Option<Traveller> {
        let token = self.connections.token(slot);
        let account = self.wanted.forget(slot);
        let mut connection = self.let_go(slot)?;
        if let Some(timer) = connection.timer.take() {
            self.timers.cancel(timer);
        }
        if connection.sending == Sending::Blocked {
            self.reactor.poll_cancel(token);
            connection.sending = Sending::Idle;
        }
        connection.lines = Lines::default();
        Some(Traveller { connection, account })
    }

    /// Takes a connection in that another shard lifted out: its slot.
    pub(super) fn lay_down(&mut self, traveller: Traveller) -> u32 {
        let Traveller { connection, account } = traveller;
        let slot = self.take_in(connection);
        self.wanted.remember(slot, account);
        slot
    }

    /// A publisher came home.
    pub(super) fn take_over_connection(&mut self, traveller: Traveller) {
        let slot = self.lay_down(traveller);
        self.judge_call_at(slot, Some(slot));
        let asked = self.connections.get(slot).and_then(|connection| connection.asked.as_ref());
        let home = asked.map_or(self.id, |asked| self.whereabouts(&asked.stream));
        if self.draining.is_some() {
            self.refuse(slot, Refusal::Draining);
        } else if home == self.id {
            self.claim(slot);
        } else {
            // Its stream was moved meanwhile, or ended where it was sent.
            self.hand_over(slot, home);
        }
        self.rearm(slot);
    }
}
