//! `[events]`: what is kept for those who listen.

use super::key::{Key, Section};
use crate::events::RingLimits;
use crate::hooks::QUEUES_BYTES_MAX;

/// `[events]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsSection {
    /// The newest events, from which clients of the API go on.
    pub ring: RingLimits,
    /// Bytes of the events that wait for hooks, of all together.
    pub hooks_bytes_max: u64,
}

impl Default for EventsSection {
    fn default() -> Self {
        Self { ring: RingLimits::default(), hooks_bytes_max: QUEUES_BYTES_MAX }
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "ring_max",
        "Events that are kept in memory: a client of /api/v1/events that comes again with \
         Last-Event-ID, or reads slowly, goes on within them.",
        |s| &mut s.events.ring.events,
    )
    .range(64, 1_000_000)
    .now(),
    Key::new(
        "ring_bytes_max",
        "Bytes of those events at most; twice as many, and twice ring_max, while hooks have not \
         written them down.",
        |s| &mut s.events.ring.bytes,
    )
    .bytes()
    .range(64 << 10, 1 << 30)
    .now(),
    Key::new(
        "hooks_bytes_max",
        "Bytes of memory of the events that wait for hooks, of all hooks together, and half as \
         many for requests under way. Beyond that the hook that holds the most gives up its \
         oldest, which become dead letters: one that keeps to its part of the whole never loses \
         any to another. Not set, it is at most a 64th of limits.memory_max.",
        |s| &mut s.events.hooks_bytes_max,
    )
    .bytes()
    .range(1 << 20, 16 << 30)
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("events", "What happens on this node, told to whoever listens.", KEYS)
}
