//! Heap: memory that thousands of connections left behind goes back to the machine.
//!
//! The allocator keeps what was freed for those who come next, which is right for the daily tide.
//! When more than half of what was in use is free, and stays so, it is asked for the pages that
//! nobody holds. It locks one arena after the other for that, and a shard that allocates of a
//! locked one waits: so it is worth it only for much memory, and only when nobody comes or goes by
//! the thousands. After that as much again must come and go before it is asked anew.

use std::time::{Duration, Instant};

use dataplane::slab::{HeapUse, trim_heap};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Bytes that must be free for the wait to be worth it.
const WORTH_BYTES: u64 = 8 << 20;
/// Bytes by which two looks differ while nobody comes or goes by the thousands.
const QUIET_BYTES: u64 = 1 << 20;

/// Looks at the heap, and trims it after a crowd.
#[derive(Debug)]
pub(super) struct Heap {
    due: Instant,
    tide: Tide,
}

impl Heap {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, tide: Tide::default() }
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
        let Some(HeapUse { used, kept }) = HeapUse::now() else { return };
        if self.tide.is_out(used, kept) {
            trim_heap();
            tracing::debug!(used, kept, took = ?now.elapsed(), "heap trimmed");
        }
    }
}

/// What the looks told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tide {
    /// The most that was in use since the heap was trimmed.
    most: u64,
    /// What was in use at the look before.
    last: u64,
}

impl Tide {
    /// Whether most of what was in use is free now and at the look before, with nobody coming or
    /// going by the thousands between the two.
    fn is_out(&mut self, used: u64, kept: u64) -> bool {
        let low = |used: u64| used < self.most / 2 && self.most - used >= WORTH_BYTES;
        let quiet = used.abs_diff(self.last) <= QUIET_BYTES;
        let out = low(used) && low(self.last) && quiet && kept >= WORTH_BYTES;
        self.most = if out { used } else { self.most.max(used) };
        self.last = used;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks, in MiB, of a heap that never gave anything back: which of them trims.
    fn trims(looks: &[u64]) -> Vec<usize> {
        let (mut tide, mut taken) = (Tide::default(), 0);
        let trims = looks.iter().enumerate().filter(|&(_, &used)| {
            taken = taken.max(used);
            tide.is_out(used << 20, (taken - used) << 20)
        });
        trims.map(|(look, _)| look).collect()
    }

    #[test]
    fn the_heap_is_trimmed_after_a_crowd() {
        for (what, looks, expected) in [
            ("once for each crowd", &[8, 40, 9, 9, 9, 12, 9, 9, 40, 9, 9, 9][..], &[3, 10][..]),
            ("not while more than half of it is there", &[8, 40, 20, 20, 22, 20, 20], &[]),
            ("not while it leaves", &[8, 40, 18, 15, 12, 9], &[]),
            ("nor while the next one comes", &[8, 40, 9, 15, 18, 40, 40], &[]),
            ("not at the first look below half", &[40, 9, 40, 9, 40], &[]),
            ("not for little", &[2, 9, 2, 2, 2], &[]),
            ("after one that left slowly", &[40, 30, 21, 20, 19, 18, 18], &[5]),
        ] {
            assert_eq!(trims(looks), expected, "{what}");
        }
    }

    #[test]
    fn what_is_not_kept_is_not_worth_it() {
        let mut tide = Tide::default();
        for used in [40, 9, 9, 9] {
            assert!(!tide.is_out(used << 20, WORTH_BYTES - 1), "the machine has it already");
        }
        assert!(tide.is_out(9 << 20, WORTH_BYTES));
    }
}
