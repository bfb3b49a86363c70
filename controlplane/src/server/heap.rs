//! Heap: memory that thousands of connections left behind goes back to the machine.
//!
//! The allocator keeps what was freed for those who come next, which is right for the daily tide.
//! After a crowd has left it is asked for the pages that nobody holds. Whoever allocates meanwhile
//! waits some milliseconds, so it happens once for each crowd, and never while the crowd is there.

use std::time::{Duration, Instant};

use dataplane::slab::{HeapUse, trim_heap};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Bytes less than at the most are worth the wait.
const WORTH_BYTES: u64 = 2 << 20;

/// The most that was in use since the heap was trimmed.
#[derive(Debug)]
pub(super) struct Heap {
    due: Instant,
    most: u64,
}

impl Heap {
    pub(super) const fn new(now: Instant) -> Self {
        Self { due: now, most: 0 }
    }

    /// When to look again.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Looks, if it is time; trims, if it is worth it.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.due {
            return;
        }
        self.due = now + EVERY;
        let Some(HeapUse { used, .. }) = HeapUse::now() else { return };
        if self.is_worth(used) {
            trim_heap();
            tracing::debug!(used, took = ?now.elapsed(), "heap trimmed");
        }
    }

    fn is_worth(&mut self, used: u64) -> bool {
        let worth = self.most.saturating_sub(used) >= WORTH_BYTES;
        self.most = if worth { used } else { self.most.max(used) };
        worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_is_trimmed_once_for_each_crowd() {
        let mut heap = Heap::new(Instant::now());
        let worth = [8 << 20, 20 << 20, 19 << 20, 9 << 20, 9 << 20, 12 << 20, 9 << 20];
        let trims = worth.map(|used| heap.is_worth(used));
        assert_eq!(trims, [false, false, false, true, false, false, true]);
    }
}
