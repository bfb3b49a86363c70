//! Ring: the newest events, bounded in number and bytes.
//!
//! What hooks have not kept yet has [`UNKEPT_FACTOR`] times the room: the disk, which they wait
//! for, is slower than a crowd.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Event;
use super::id::EventId;

/// As many times the limits hold for events that hooks have not kept yet.
pub const UNKEPT_FACTOR: u64 = 2;

/// What the ring keeps at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Events.
    pub events: u32,
    /// Bytes of their JSON.
    pub bytes: u64,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self { events: 8_192, bytes: 4 << 20 }
    }
}

/// The newest events. Each has a number that rises by one; the newest is always kept.
#[derive(Debug)]
pub(super) struct Ring {
    limits: RingLimits,
    events: VecDeque<Arc<Event>>,
    bytes: u64,
    /// The number of the oldest event that is kept, or of the next one if there is none.
    first: u64,
    /// The number of the oldest event that is not kept yet, if somebody keeps them.
    unkept: Option<u64>,
    unkept_bytes: u64,
}

impl Ring {
    pub(super) const fn new(limits: RingLimits) -> Self {
        let events = VecDeque::new();
        Self { limits, events, bytes: 0, first: 0, unkept: None, unkept_bytes: 0 }
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        let bytes = event.bytes();
        self.bytes += bytes;
        if self.unkept.is_some() {
            self.unkept_bytes += bytes;
        }
        self.events.push_back(event);
        self.shrink();
    }

    pub(super) const fn limits(&self) -> RingLimits {
        self.limits
    }

    /// What came before number `at` is kept; `None` if nobody keeps events any more.
    pub(super) fn kept(&mut self, at: Option<u64>) {
        let before = self.unkept.unwrap_or_else(|| self.next()).max(self.first);
        let count = usize::try_from(at.unwrap_or_default().saturating_sub(before)).unwrap_or(0);
        let bytes: u64 = self.from(before).take(count).map(|event| event.bytes()).sum();
        self.unkept_bytes = if at.is_some() { self.unkept_bytes - bytes } else { 0 };
        self.unkept = at;
        self.shrink();
    }

    /// Events that are not kept yet, and their bytes; `None` if nobody keeps them.
    pub(super) fn unkept(&self) -> Option<(u64, u64)> {
        let at = self.unkept?.max(self.first);
        Some((self.next() - at, self.unkept_bytes))
    }

    pub(super) fn set_limits(&mut self, limits: RingLimits) {
        self.limits = limits;
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.events.len() > 1 && self.is_over() {
            let gone = self.events.pop_front().expect("it has more than one");
            let bytes = gone.bytes();
            self.bytes -= bytes;
            if self.is_unkept() {
                self.unkept_bytes -= bytes;
            }
            self.first += 1;
        }
    }

    /// True if the oldest event is not kept yet.
    fn is_unkept(&self) -> bool {
        self.unkept.is_some_and(|at| at <= self.first)
    }

    fn is_over(&self) -> bool {
        let RingLimits { events, bytes } = self.limits;
        let factor = if self.is_unkept() { UNKEPT_FACTOR } else { 1 };
        let events = u64::from(events) * factor;
        self.events.len() as u64 > events || self.bytes > bytes.saturating_mul(factor)
    }

    /// The number of the oldest event that is kept.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The events from number `from` on, which is one that is kept, or the next one.
    pub(super) fn from(&self, from: u64) -> impl Iterator<Item = &Arc<Event>> {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.events.range(skip.min(self.events.len())..)
    }

    /// The number of the first event after `id` that is kept, and whether `id` or one before it
    /// is kept, too.
    pub(super) fn after(&self, id: EventId) -> (u64, bool) {
        let older = self.events.partition_point(|event| event.id() <= id);
        (self.first + older as u64, older > 0)
    }
}
