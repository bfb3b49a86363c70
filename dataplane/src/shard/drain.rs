//! The way down: nobody new is let in, everybody who is there gets an end that it understands.
//!
//! ```text
//!   Drain
//!     v
//!   Refusing: whoever wants to publish or play hears no in its protocol; who did so before is
//!             served as ever, connections are accepted and answered
//!     | refuse_ms, so that a load balancer looks elsewhere
//!     v
//!   Serving:  a peer that publishes or plays and can reconnect is asked to, and served on; every
//!             other one hears its protocol's end, and so does every stream without a publisher
//!             that is served on. With drain_serve all are served on, viewers too
//!     | what is left of drain_ms, less the time for farewells
//!     v
//!   Ending:   nothing is accepted any more, the rest hears its end, too
//!     | the time for farewells
//!     v
//!   the thread ends; after Refusing it does so at once when the last peer has left
//! ```

use std::time::{Duration, Instant};

use super::shard::Shard;
use crate::config::SessionConfig;
use crate::control::CloseReason;
use crate::hub::{Hub, Publisher};
use crate::session::Command;

/// What is kept of the drain time for the farewells of those who were served on.
const FAREWELL: Duration = Duration::from_millis(500);

/// The word of the protocols' ends.
const REASON: &str = "draining";

/// How far down a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Refusing,
    Serving,
    Ending,
}

/// Until when a shard that goes down does what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    phase: Phase,
    /// When the phase is over.
    until: Instant,
    /// When the shard ends at the latest.
    deadline: Instant,
    /// Everybody is served until the end, not only who can reconnect.
    serves_all: bool,
}

impl Draining {
    fn new(session: &SessionConfig, now: Instant) -> Self {
        let until = now + session.refuse;
        let (deadline, serves_all) = (until + session.drain, session.drain_serve);
        Self { phase: Phase::Refusing, until, deadline, serves_all }
    }

    /// When something is to be done.
    pub(super) const fn next(&self) -> Instant {
        self.until
    }

    /// True while everybody who is there is served, viewers who were let in before, too.
    pub(super) const fn keeps_all(&self) -> bool {
        match self.phase {
            Phase::Refusing => true,
            Phase::Serving => self.serves_all,
            Phase::Ending => false,
        }
    }

    /// True once no connection is accepted any more.
    pub(super) const fn ends(&self) -> bool {
        matches!(self.phase, Phase::Ending)
    }
}

impl Shard {
    /// The node goes down.
    pub(super) fn drain(&mut self) {
        if self.draining.is_none() {
            self.draining = Some(Draining::new(&self.config.session, self.now));
        }
    }

    /// True once peers who are there are sent away, or most of them.
    pub(super) fn sends_away(&self) -> bool {
        self.draining.is_some_and(|draining| !draining.keeps_all())
    }

    /// True once the shard was told to stop, or drains and has nobody left or no time.
    pub(super) fn drained(&mut self) -> bool {
        // One that has no time goes through all phases at once.
        while let Some(draining) = self.draining
            && draining.until <= self.now
            && !self.stopped
        {
            match draining.phase {
                Phase::Refusing => self.serve_on(draining),
                Phase::Serving => self.end_all(draining),
                Phase::Ending => self.stopped = true,
            }
        }
        let waits = |draining: Draining| draining.phase != Phase::Refusing;
        if self.draining.is_some_and(waits) {
            // Peers of other shards may still be sent what lies here.
            self.stopped |= self.connections.len() == 0 && !self.is_read_elsewhere();
        }
        self.stopped
    }

    /// Those who are served on are asked to go, the others hear the end.
    fn serve_on(&mut self, draining: Draining) {
        let left = draining.deadline - draining.until;
        let until = draining.deadline - FAREWELL.min(left / 2);
        self.draining = Some(Draining { phase: Phase::Serving, until, ..draining });
        if !draining.serves_all {
            self.demo = None;
            self.admit_nobody_to_ended();
            for slot in self.streams.slots() {
                if !self.streams.get(slot).is_some_and(|hub| self.is_served_on(hub)) {
                    self.end_stream(slot, CloseReason::Draining);
                }
            }
        }
        for slot in self.connections.slots() {
            if self.can_be_served_on(slot) {
                self.counters.reconnects_requested += 1;
                self.tell(slot, Command::Reconnect);
            } else if !draining.serves_all {
                self.tell(slot, Command::Shutdown { reason: REASON });
            }
        }
    }

    /// Everybody who is left hears the end.
    fn end_all(&mut self, draining: Draining) {
        let until = draining.deadline;
        self.draining = Some(Draining { phase: Phase::Ending, until, ..draining });
        self.stop_listening();
        self.demo = None;
        self.admit_nobody_to_ended();
        self.end_all_views(CloseReason::Draining);
        for slot in self.streams.slots() {
            self.end_stream(slot, CloseReason::Draining);
        }
        self.say_goodbye_to_all(REASON);
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
}
