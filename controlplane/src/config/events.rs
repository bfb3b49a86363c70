//! `[events]`: what is kept for those who listen.

use super::key::{Key, Section};
use crate::events::RingLimits;

/// `[events]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventsSection {
    /// The newest events, from which clients of the API go on.
    pub ring: RingLimits,
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
];

pub(super) fn section() -> Section {
    Section::new("events", "What happens on this node, told to whoever listens.", KEYS)
}
