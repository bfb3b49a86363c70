//! Rest: for how long nothing is tried, by the calendar.
//!
//! A calendar may be set back. What was to rest until a moment that is further ahead than the rest
//! was long is known to have been begun by another calendar, and rests no more.

use std::time::{Duration, SystemTime};

use super::failure::Cost;

/// Rests after a failure that cost the authority nothing: the first one, and the longest.
const SOON: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(6 * 3_600)];
/// Rests after a failure that the authority counts.
const LATER: [Duration; 2] = [Duration::from_secs(15 * 60), Duration::from_secs(12 * 3_600)];
/// An authority that wants to be left alone for longer is asked then nevertheless.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The rest of a name, or of an authority as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// Failures in a row.
    failures: u32,
    until: Option<SystemTime>,
    length: Duration,
}

impl Rest {
    /// One of that length, after no failure.
    pub(super) fn of(length: Duration, now: SystemTime) -> Self {
        Self { failures: 0, until: now.checked_add(length), length }
    }

    /// After a failure. Rests double, and are by `chance` (0 to 255) up to a quarter longer, so
    /// that nodes that failed together do not come back together; none is shorter than `wait`.
    pub(super) fn failed(
        &mut self,
        cost: Cost,
        wait: Option<Duration>,
        chance: u8,
        now: SystemTime,
    ) {
        let [first, longest] = match cost {
            Cost::Nothing => SOON,
            Cost::Counted => LATER,
        };
        let doubled = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        let rest = doubled + doubled / 4 * u32::from(chance) / 255;
        let length = rest.max(wait.unwrap_or_default().min(WAIT_MAX));
        *self = Self { failures: self.failures.saturating_add(1), ..Self::of(length, now) };
    }

    /// Until when nothing is tried; `None` if nobody rests.
    pub(super) fn until(&self, now: SystemTime) -> Option<SystemTime> {
        let furthest = now.checked_add(self.length);
        self.until.filter(|&until| until > now && furthest.is_none_or(|most| until <= most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn rests_double_up_to_half_a_day() {
        let now = UNIX_EPOCH + 500_000 * HOUR;
        let seconds = |rest: &Rest| rest.until(now).unwrap().duration_since(now).unwrap().as_secs();
        let mut rest = Rest::default();
        assert_eq!(rest.until(now), None);
        let mut rests = Vec::new();
        for _ in 0..8 {
            rest.failed(Cost::Counted, None, 0, now);
            rests.push(seconds(&rest) / 60);
        }
        assert_eq!(rests, [15, 30, 60, 120, 240, 480, 720, 720]);
        let mut rest = Rest::default();
        rest.failed(Cost::Nothing, None, 0, now);
        assert_eq!(seconds(&rest), 60);
        rest.failed(Cost::Nothing, None, 255, now);
        assert_eq!(seconds(&rest), 150);
        for _ in 0..100 {
            rest.failed(Cost::Nothing, None, 0, now);
        }
        assert_eq!(seconds(&rest), 6 * 3_600);
        // The authority says when, within reason.
        rest.failed(Cost::Counted, Some(34 * HOUR), 0, now);
        assert_eq!(seconds(&rest), 34 * 3_600);
        rest.failed(Cost::Counted, Some(Duration::MAX), 0, now);
        assert_eq!(seconds(&rest), 7 * 86_400);
        let mut rest = Rest::default();
        rest.failed(Cost::Counted, Some(2 * HOUR), 0, now);
        assert_eq!(seconds(&rest), 2 * 3_600);
    }

    #[test]
    fn a_calendar_that_is_set_back_holds_nothing_up() {
        let ahead = UNIX_EPOCH + 500_000 * HOUR;
        let rest = Rest::of(HOUR, ahead);
        assert_eq!(rest.until(ahead), Some(ahead + HOUR));
        assert_eq!(rest.until(ahead + HOUR), None);
        assert_eq!(rest.until(ahead - Duration::from_secs(1)), None);
        assert_eq!(rest.until(ahead - 10_000 * HOUR), None);
    }
}
