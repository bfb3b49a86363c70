//! The way down: nobody new is accepted, everybody who is there gets an end that it understands.
//!
//! ```text
//!   Drain: a peer that publishes or plays and can reconnect is asked to, and served on;
//!          every other peer hears its protocol's end, and so does every stream without a
//!          publisher that is served on
//!     | what is left of drain_ms, less the time for farewells
//!     v
//!   the rest hears its end, too
//!     | the time for farewells
//!     v
//!   the thread ends; it does so at once when the last peer has left
//! ```

use std::time::{Duration, Instant};

use super::shard::Shard;
use crate::control::CloseReason;
use crate::hub::{Hub, Publisher};
use crate::session::Command;

/// What is kept of the drain time for the farewells of those who were served on.
const FAREWELL: Duration = Duration::from_millis(500);

/// The word of the protocols' ends.
const REASON: &str = "draining";

/// Until when a shard that goes down does what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    /// Peers that were asked to reconnect are served; `None` once that is over.
    serving: Option<Instant>,
    deadline: Instant,
}

impl Draining {
    /// When something is to be done.
    pub(super) fn next(&self) -> Instant {
        self.serving.unwrap_or(self.deadline)
    }
}

impl Shard {
    /// The node goes down.
    pub(super) fn drain(&mut self) {
        if self.draining.is_some() {
            return;
        }
        let drain = self.config.session.drain;
        let deadline = self.now + drain;
        let serving = Some(deadline - FAREWELL.min(drain / 2));
        self.draining = Some(Draining { serving, deadline });
        self.stop_listening();
        self.demo = None;
        self.admit_nobody_to_ended();
        for slot in self.streams.slots() {
            if !self.streams.get(slot).is_some_and(|hub| self.is_served_on(hub)) {
                self.end_stream(slot, CloseReason::Draining);
            }
        }
        for slot in self.connections.slots() {
            let asked = if self.can_be_served_on(slot) {
                self.counters.reconnects_requested += 1;
                Command::Reconnect
            } else {
                Command::Shutdown { reason: REASON }
            };
            self.tell(slot, asked);
        }
    }

    /// True if its publisher was asked to reconnect.
    fn is_served_on(&self, hub: &Hub) -> bool {
        match hub.publisher() {
            Publisher::Session { slot, .. } => self.can_be_served_on(slot),
            Publisher::Demo | Publisher::Lost(_) => false,
        }
    }

    fn can_be_served_on(&self, slot: u32) -> bool {
        let connection = self.connections.get(slot);
        connection.is_some_and(|connection| {
            connection.role.is_some()
                && connection.closing.is_none()
                && connection.session.reconnects()
        })
    }

    /// True once the shard was told to stop, or drains and has nobody left or no time.
    pub(super) fn drained(&mut self) -> bool {
        let Some(draining) = &mut self.draining else { return self.stopped };
        let over = draining.serving.is_some_and(|until| until <= self.now);
        if over {
            draining.serving = None;
        }
        // Peers of other shards may still be sent what lies here.
        let nobody = self.connections.len() == 0 && !self.is_read_elsewhere();
        if nobody || self.draining.is_some_and(|draining| draining.deadline <= self.now) {
            self.stopped = true;
        } else if over {
            for slot in self.streams.slots() {
                self.end_stream(slot, CloseReason::Draining);
            }
            self.say_goodbye_to_all(REASON);
        }
        self.stopped
    }
}
