//! After a send: a full socket is waited for, holding nothing, and everything else goes on.

use super::cipher::Took;
use super::connection::{Connection, Sending};
use super::egress::{class_of, class_of_rest};
use super::queues::Class;
use super::shard::Shard;

impl Shard {
    /// What follows a send of which the socket took everything, or which it `cut`.
    pub(super) fn go_on(&mut self, slot: u32, took: Took, cut: bool) {
        let missed = self.connections.get_mut(slot).is_some_and(|c| c.lines.take_missed());
        if cut {
            self.blocked(slot);
        } else if took.more || missed {
            let class = self.connections.get(slot).map_or(Class::Reply, class_of_rest);
            self.enqueue(slot, class);
        }
        if self.connections.get(slot).is_some_and(Connection::leaves_for_home) {
            self.move_home(slot);
            return;
        }
        if self.leaves_with_its_stream(slot) {
            self.relocate_stream_of(slot);
            return;
        }
        if took.viewed {
            self.viewed(slot);
        } else if took.hears {
            self.feed_parked(slot);
            self.arm(slot);
            self.close_answered(slot);
        }
    }

    /// The kernel had no room: the socket's writability is awaited.
    pub(super) fn blocked(&mut self, slot: u32) {
        self.counters.sends_blocked += 1;
        let Self { connections, reactor, .. } = self;
        let token = connections.token(slot);
        let Some(connection) = connections.get_mut(slot) else { return };
        connection.sending = Sending::Blocked;
        reactor.poll_writable(connection.stream_fd(), token);
        self.rearm(slot);
    }

    /// The socket has room again.
    pub(super) fn writable(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.sending == Sending::Blocked {
            connection.sending = Sending::Idle;
            let class = match class_of(connection) {
                class @ (Class::Reply | Class::Segments | Class::Join) => class,
                _ => Class::CatchUp,
            };
            self.enqueue(slot, class);
        }
    }
}
