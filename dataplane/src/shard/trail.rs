//! Trail: when the latest bytes of a log came to this shard, so that a send knows how old its first
//! byte is.

use std::time::{Duration, Instant};

/// Moves of a log that are remembered: about half a second of pictures and sound.
const STEPS: usize = 32;

/// A ring of the latest moves of one log. Lives on: the reading shard. Crosses by: never.
///
/// Units: offsets are bytes since the log began.
#[derive(Debug)]
pub(super) struct Trail {
    /// Each end of the log, and when it was first seen.
    steps: [(u64, Instant); STEPS],
    /// Steps ever taken.
    taken: usize,
}

impl Trail {
    pub(super) const fn new(now: Instant) -> Self {
        Self { steps: [(0, now); STEPS], taken: 0 }
    }

    /// The log ends at `end` now.
    pub(super) const fn step(&mut self, end: u64, now: Instant) {
        if self.taken > 0 && end <= self.steps[(self.taken - 1) % STEPS].0 {
            return;
        }
        self.steps[self.taken % STEPS] = (end, now);
        self.taken += 1;
    }

    /// How long the byte at `offset` has been seen here; `None` if it came before all that is
    /// remembered.
    pub(super) fn age(&self, offset: u64, now: Instant) -> Option<Duration> {
        let oldest = self.taken.saturating_sub(STEPS);
        // What is newer than the newest step is being seen just now.
        let mut came = now;
        // From the newest back, because most players are nearly there.
        for nth in (oldest..self.taken).rev() {
            let (end, at) = self.steps[nth % STEPS];
            if end <= offset {
                return Some(now.saturating_duration_since(came));
            }
            came = at;
        }
        // The first step of all began where nobody looked.
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_byte_is_as_old_as_the_step_that_brought_it() {
        let t0 = origin();
        let mut trail = Trail::new(t0);
        assert_eq!(trail.age(0, t0), None);
        for step in 1..=3 {
            trail.step(u64::from(step) * 100, t0 + 10 * MS * step);
        }
        trail.step(300, t0 + 90 * MS);
        let now = t0 + 50 * MS;
        assert_eq!(trail.age(299, now), Some(20 * MS));
        assert_eq!(trail.age(200, now), Some(20 * MS));
        assert_eq!(trail.age(199, now), Some(30 * MS));
        assert_eq!(trail.age(99, now), None, "nobody saw where the first step began");
        assert_eq!(trail.age(300, now), Some(Duration::ZERO), "it came in this turn");
    }

    #[test]
    fn the_oldest_steps_are_forgotten() {
        let t0 = origin();
        let mut trail = Trail::new(t0);
        for step in 1..=100 {
            trail.step(step * 10, t0 + MS * step as u32);
        }
        let now = t0 + 100 * MS;
        assert_eq!(trail.age(999, now), Some(Duration::ZERO));
        let oldest = 100 - STEPS as u64 + 1;
        assert_eq!(trail.age(oldest * 10, now), Some((STEPS as u32 - 2) * MS));
        assert_eq!(trail.age(oldest * 10 - 1, now), None);
    }
}
