//! Expiry: what somebody was allowed for a while ends by itself, without the control plane.
//!
//! A connection keeps the second in which its leave ends, counted from its accept, and takes it
//! along when it moves to another shard. The control plane gave the moment by its own clock of the
//! same process; a whole second is rounded up, so that nobody is sent away before.
//!
//! Not here: viewers of HLS, who are no connections (`views.rs`).

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::shard::Shard;
use crate::control::CloseReason;

impl Shard {
    /// Sends the peer in `slot` away if its leave is over; true if it was.
    pub(super) fn leave_expired(&mut self, slot: u32) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if connection.leave_ends().is_none_or(|at| self.now < at) {
            return false;
        }
        connection.leave_ends_s = 0;
        // Who has ended by himself what he was allowed loses nothing; what comes next is asked for.
        let uses = connection.role.is_some() || connection.asked.is_some();
        // Nor does who is on his way out: that has an end of its own.
        let uses = uses && connection.closing.is_none();
        if uses {
            self.evict(slot, CloseReason::Expired);
            self.rearm(slot);
        }
        uses
    }
}

impl Connection {
    /// It may do what it was allowed until then.
    pub(super) fn allow_until(&mut self, until: Option<Instant>) {
        let left = until.map(|until| until.saturating_duration_since(self.opened));
        let seconds = left.map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0));
        // Zero is for ever, and 136 years are, too.
        self.leave_ends_s = seconds.map_or(0, |s| u32::try_from(s.max(1)).unwrap_or(0));
    }

    /// When its leave ends, if it does.
    pub(super) fn leave_ends(&self) -> Option<Instant> {
        let seconds = self.leave_ends_s;
        (seconds > 0).then(|| self.opened + Duration::from_secs(seconds.into()))
    }
}
