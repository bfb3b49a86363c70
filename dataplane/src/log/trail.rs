//! Trail: when the latest bytes of a log came to this shard, so that a send knows how old its first
//! byte is, and the clock of a player when a frame came that waited for others.

use std::time::{Duration, Instant};

/// Moves of a log that are remembered: about half a second of pictures and sound.
const STEPS: usize = 32;
/// Fewer do not say how often it moves.
const STEPS_MIN: usize = 8;

/// A ring of the latest moves of one log. Lives on: the reading shard. Crosses by: never.
///
/// Units: offsets are bytes since the log began, groups are counted since then.
#[derive(Debug)]
pub struct Trail {
    steps: [Step; STEPS],
    /// Steps ever taken.
    taken: usize,
}

/// One move of a log.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Where the log ended.
    end: u64,
    /// Groups that it had had by then, of a log of packets.
    groups: u64,
    /// When that was first seen.
    at: Instant,
}

impl Trail {
    /// Nothing was seen yet.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { steps: [Step { end: 0, groups: 0, at: now }; STEPS], taken: 0 }
    }

    /// The log ends at `end` now, and has had so many groups; true if it is longer than before.
    pub fn step(&mut self, end: u64, groups: u64, now: Instant) -> bool {
        if let Some(newest) = self.newest_mut().filter(|newest| end <= newest.end) {
            newest.groups = newest.groups.max(groups);
            return false;
        }
        self.steps[self.taken % STEPS] = Step { end, groups, at: now };
        self.taken += 1;
        true
    }

    /// How long the byte at `offset` has been seen here; `None` if it came before all that is
    /// remembered.
    #[must_use]
    pub fn age(&self, offset: u64, now: Instant) -> Option<Duration> {
        // What is newer than the newest step is being seen just now.
        let mut came = now;
        for step in self.newest_first() {
            if step.end <= offset {
                return Some(now.saturating_duration_since(came));
            }
            came = step.at;
        }
        // The first step of all began where nobody looked.
        None
    }

    /// The move that the group with this number came with: how many groups there were then, and
    /// when that was; the oldest that is remembered if it came before. `None` if it is being seen
    /// just now.
    #[must_use]
    pub fn arrival(&self, group: u64) -> Option<(u64, Instant)> {
        let came = self.newest_first().take_while(|step| step.groups > group).last()?;
        Some((came.groups, came.at))
    }

    /// The time from one move to the next, on average of those that are remembered; `None` until
    /// there are enough.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        let remembered = self.taken.min(STEPS);
        if remembered < STEPS_MIN {
            return None;
        }
        let (newest, oldest) = (self.nth(self.taken - 1), self.nth(self.taken - remembered));
        let moves = u32::try_from(remembered - 1).expect("there are few steps");
        Some(newest.at.saturating_duration_since(oldest.at) / moves)
    }

    const fn nth(&self, nth: usize) -> &Step {
        &self.steps[nth % STEPS]
    }

    fn newest_mut(&mut self) -> Option<&mut Step> {
        Some(&mut self.steps[self.taken.checked_sub(1)? % STEPS])
    }

    /// From the newest back, because most players are nearly there.
    fn newest_first(&self) -> impl Iterator<Item = &Step> {
        (self.taken.saturating_sub(STEPS)..self.taken).rev().map(|nth| self.nth(nth))
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
            assert!(trail.step(u64::from(step) * 100, 0, t0 + 10 * MS * step));
        }
        assert!(!trail.step(300, 0, t0 + 90 * MS), "it is no longer than it was");
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
            trail.step(step * 10, 0, t0 + MS * step as u32);
        }
        let now = t0 + 100 * MS;
        assert_eq!(trail.age(999, now), Some(Duration::ZERO));
        let oldest = 100 - STEPS as u64 + 1;
        assert_eq!(trail.age(oldest * 10, now), Some((STEPS as u32 - 2) * MS));
        assert_eq!(trail.age(oldest * 10 - 1, now), None);
    }

    #[test]
    fn a_group_came_with_its_step_or_before_all_of_them() {
        let t0 = origin();
        let mut trail = Trail::new(t0);
        assert_eq!(trail.arrival(0), None);
        for step in 1..=40 {
            trail.step(step * 10, step * 3, t0 + MS * step as u32);
        }
        assert_eq!(trail.arrival(119), Some((120, t0 + MS * 40)));
        assert_eq!(trail.arrival(117), Some((120, t0 + MS * 40)));
        assert_eq!(trail.arrival(116), Some((117, t0 + MS * 39)));
        assert_eq!(trail.arrival(120), None, "it is just being seen");
        assert_eq!(trail.arrival(0), Some((27, t0 + MS * 9)), "the oldest step is the ninth");
        // The count of groups was a little behind the bytes.
        assert!(!trail.step(400, 122, t0 + MS * 50));
        assert_eq!(trail.arrival(121), Some((122, t0 + MS * 40)));
    }

    #[test]
    fn how_often_a_log_moves_is_known_after_a_few_steps() {
        let t0 = origin();
        let mut trail = Trail::new(t0);
        for step in 1..STEPS_MIN as u32 {
            trail.step(step.into(), 0, t0 + 40 * MS * step);
            assert_eq!(trail.interval(), None);
        }
        for step in STEPS_MIN as u32..100 {
            trail.step(step.into(), 0, t0 + 40 * MS * step);
            assert_eq!(trail.interval(), Some(40 * MS));
        }
    }
}
