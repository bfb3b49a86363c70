//! Ring: the newest events, bounded in number and bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Event;
use super::id::EventId;

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
        Self { events: 8_192, bytes: 8 << 20 }
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
}

impl Ring {
    pub(super) const fn new(limits: RingLimits) -> Self {
        Self { limits, events: VecDeque::new(), bytes: 0, first: 0 }
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.json().len() as u64;
        self.events.push_back(event);
        self.shrink();
    }

    pub(super) fn set_limits(&mut self, limits: RingLimits) {
        self.limits = limits;
        self.shrink();
    }

    fn shrink(&mut self) {
        let RingLimits { events, bytes } = self.limits;
        while self.events.len() > 1 && (self.events.len() > events as usize || self.bytes > bytes) {
            let gone = self.events.pop_front().expect("it has more than one");
            self.bytes -= gone.json().len() as u64;
            self.first += 1;
        }
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
