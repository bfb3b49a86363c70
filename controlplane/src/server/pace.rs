//! Pace: how well the control thread keeps up.
//!
//! Nothing of it is in the packet path; a slow one is felt by those who ask: publishers and players
//! that are let in later, answers of the API.

use std::time::{Duration, Instant};

use dataplane::metrics::{Histogram, MICROSECONDS};

use crate::counts::Counts;

/// How often the loop is probed while nothing else wakes it.
const PROBE: Duration = Duration::from_secs(1);

/// Lives on: the control thread. Crosses by: never.
#[derive(Debug)]
pub(super) struct Pace {
    /// From when a turn was due to its run.
    lag_us: Histogram,
    /// Time of a turn without its wait.
    turn_us: Histogram,
    turns: u64,
    /// When the next turn begins at the latest.
    due: Instant,
    began: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        let empty = Histogram::new(&MICROSECONDS);
        Self {
            lag_us: empty,
            turn_us: Histogram::new(&MICROSECONDS),
            turns: 0,
            due: now,
            began: now,
        }
    }

    /// A turn begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.turns += 1;
        self.began = now;
        if now >= self.due {
            self.lag_us.observe_time(now - self.due);
        }
    }

    /// The turn is over at `now`; the next one begins when something happens, at the latest at the
    /// answer.
    pub(super) fn end(&mut self, wake: Instant, now: Instant) -> Instant {
        self.turn_us.observe_time(now.saturating_duration_since(self.began));
        self.due = wake.min(now + PROBE);
        self.due
    }

    /// What it counts.
    pub(super) fn count(&self, into: &mut Counts) {
        into.counter("control_turns_total", "Turns of the control thread's loop.", self.turns);
        into.histogram(
            "control_turn_seconds",
            "Time of a turn of the control thread's loop without its wait.",
            &self.turn_us,
        );
        into.histogram(
            "control_loop_lag_seconds",
            "From when a turn of the control thread's loop was due to its run.",
            &self.lag_us,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_turns_that_were_due_are_late() {
        let t0 = Instant::now();
        let mut pace = Pace::new(t0);
        pace.begin(t0);
        assert_eq!(pace.end(t0 + 60 * PROBE, t0 + 2 * MS), t0 + 2 * MS + PROBE, "a probe is due");
        pace.begin(t0 + 3 * MS);
        assert_eq!(pace.end(t0 + 10 * MS, t0 + 4 * MS), t0 + 10 * MS);
        pace.begin(t0 + 17 * MS);
        assert_eq!((pace.turns, pace.turn_us.count()), (3, 2));
        assert_eq!((pace.lag_us.count(), pace.lag_us.max), (2, 7_000));
    }
}
