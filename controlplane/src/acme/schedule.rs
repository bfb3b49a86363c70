//! Schedule: when the certificate of a name is to be renewed, and when an order may be begun.
//!
//! Spec: RFC 9773 section 4.2 for what an authority suggests.
//!
//! ```text
//!   due = the latest of  2/3 of the certificate's time, or what the authority suggests
//!                        the end of the rest after a failure
//!                        an hour after the fourth order before this one
//! ```
//!
//! Units: the calendar, because certificates are over by it.
//! Limits: [`TRIES_MAX`] orders of a name in [`TRIES_TIME`], whatever restarts and reloads: Let's
//! Encrypt counts five failures of a name in an hour.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::failure::Cost;
use super::rest::Rest;
use crate::config::Validity;

/// Orders of a name that are begun in [`TRIES_TIME`] at most.
const TRIES_MAX: usize = 4;
const TRIES_TIME: Duration = Duration::from_secs(3_600);
/// After a certificate came none is asked for during this part of its time, be it due at once: by
/// a clock that goes wrong each one would be, and authorities give few in a week.
const FIRST_PART: u32 = 30;
/// A suggestion counts no later than at the last tenth of the certificate's time.
const LAST_PART: u32 = 10;

/// One name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Case {
    /// The time of the certificate in force, if there is one.
    validity: Option<Validity>,
    /// When the authority would have it renewed.
    suggested: Option<SystemTime>,
    /// When orders were begun, in seconds since 1970, the oldest first.
    tries: Vec<u64>,
    /// How long nothing is tried.
    rest: Rest,
}

impl Case {
    /// A name whose certificate in force is of that time, and what is known of orders before.
    pub(super) fn new(validity: Option<Validity>, tries: &[u64], now: SystemTime) -> Self {
        let last = tries.len().saturating_sub(TRIES_MAX);
        let tries = believed(&tries[last..], now).collect();
        Self { validity, tries, ..Self::default() }
    }

    /// When an order is to be begun; a moment of the past is now.
    pub(super) fn due(&self, now: SystemTime) -> SystemTime {
        let full = believed(&self.tries, now).count() >= TRIES_MAX;
        let oldest = self.tries.first().filter(|_| full);
        let room = oldest.and_then(|&at| later(UNIX_EPOCH, Duration::from_secs(at), TRIES_TIME));
        [self.rest.until(now), room].into_iter().flatten().fold(self.renewal(), SystemTime::max)
    }

    fn renewal(&self) -> SystemTime {
        let Some(validity) = self.validity else { return UNIX_EPOCH };
        let (Validity { not_before, not_after }, whole) = (validity, validity.lifetime());
        let usual = not_before + whole / 3 * 2;
        self.suggested.map_or(usual, |at| at.min(not_after - whole / LAST_PART))
    }

    /// When orders were begun, to be kept.
    pub(super) fn tries(&self) -> &[u64] {
        &self.tries
    }

    /// An order is begun.
    pub(super) fn begun(&mut self, now: SystemTime) {
        self.tries = believed(&self.tries, now).collect();
        if self.tries.len() >= TRIES_MAX {
            self.tries.remove(0);
        }
        self.tries.push(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    }

    /// The authority made no order of what was begun last: it does not count.
    pub(super) fn unbegun(&mut self) {
        self.tries.pop();
    }

    /// The authority asked for this rest before.
    pub(super) fn left_alone(&mut self, rest: Rest) {
        self.rest = rest;
    }

    /// It failed.
    pub(super) fn failed(
        &mut self,
        cost: Cost,
        wait: Option<Duration>,
        chance: u8,
        now: SystemTime,
    ) {
        self.rest.failed(cost, wait, chance, now);
    }

    /// A certificate of that time is there.
    pub(super) fn obtained(&mut self, validity: Validity, now: SystemTime) {
        let tries = std::mem::take(&mut self.tries);
        let rest = Rest::of(validity.lifetime() / FIRST_PART, now);
        *self = Self { validity: Some(validity), tries, rest, ..Self::default() };
    }

    /// The authority suggests a time; `chance` chooses the moment.
    pub(super) fn suggest(&mut self, start: SystemTime, end: SystemTime, chance: u8) {
        let window = end.duration_since(start).unwrap_or_default();
        let chosen = |chance: u8| start.checked_add(window / 255 * u32::from(chance));
        // The moment that was chosen before stays while the window does.
        if self.suggested.is_none_or(|at| at < start || at > end) {
            self.suggested = chosen(chance);
        }
    }
}

/// Those of `tries` that a calendar of `now` believes: what was begun by one that went ahead must
/// not hold up anything until then.
fn believed(tries: &[u64], now: SystemTime) -> impl Iterator<Item = u64> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    tries.iter().copied().filter(move |&at| at <= now)
}

fn later(from: SystemTime, by: Duration, and: Duration) -> Option<SystemTime> {
    from.checked_add(by)?.checked_add(and)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn ninety_days(from: SystemTime) -> Validity {
        Validity { not_before: from, not_after: from + 90 * DAY }
    }

    #[test]
    fn a_certificate_is_due_at_two_thirds_and_without_one_at_once() {
        let now = at(2_000_000_000);
        assert!(Case::new(None, &[], now).due(now) <= now);
        let mut case = Case::new(Some(ninety_days(now)), &[], now);
        assert_eq!(case.due(now), now + 60 * DAY);
        case.obtained(ninety_days(now + 60 * DAY), now + 60 * DAY);
        assert_eq!(case.due(now), now + 120 * DAY);
        let backwards = Validity { not_before: now, not_after: now - DAY };
        assert_eq!(Case::new(Some(backwards), &[], now).due(now), now);
    }

    #[test]
    fn a_suggestion_counts_as_long_as_it_is_sound() {
        let now = at(2_000_000_000);
        let mut case = Case::new(Some(ninety_days(now)), &[], now);
        case.suggest(now + 10 * DAY, now + 11 * DAY, 255);
        let chosen = case.due(now);
        assert!(chosen > now + 10 * DAY && chosen <= now + 11 * DAY);
        case.suggest(now + 10 * DAY, now + 11 * DAY, 0);
        assert_eq!(case.due(now), chosen, "the window is the same");
        case.suggest(now - DAY, now - HOUR, 128);
        assert!(case.due(now) < now, "at once: it may be revoked");
        case.suggest(now + 1_000 * DAY, now + 1_001 * DAY, 0);
        assert_eq!(case.due(now), now + 81 * DAY, "never after the end");
        case.suggest(now + 2 * DAY, now + DAY, 255);
        assert_eq!(case.due(now), now + 2 * DAY, "a window that ends before it begins");
    }

    #[test]
    fn a_certificate_ends_the_rest_of_failures() {
        let now = at(2_000_000_000);
        let mut case = Case::new(None, &[], now);
        case.failed(Cost::Counted, Some(2 * HOUR), 0, now);
        assert_eq!(case.due(now), now + 2 * HOUR);
        case.obtained(ninety_days(now), now);
        assert_eq!(case.due(now), now + 60 * DAY);
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nothing_up() {
        let (now, ahead) = (at(2_000_000_000), at(2_000_000_000) + 300 * DAY);
        let mut case = Case::new(None, &[], ahead);
        for _ in 0..TRIES_MAX {
            case.begun(ahead);
            case.failed(Cost::Counted, None, 0, ahead);
        }
        assert!(case.due(ahead) >= ahead + HOUR);
        // It is set right.
        assert!(case.due(now) <= now);
        for n in 0..4 {
            assert!(case.due(now) <= now, "{n}");
            case.begun(now);
        }
        assert_eq!(case.due(now), now + HOUR);
    }

    #[test]
    fn what_made_no_order_does_not_count() {
        let now = at(2_000_000_000);
        let mut case = Case::new(None, &[], now);
        for _ in 0..10 {
            case.begun(now);
            case.unbegun();
        }
        assert!(case.due(now) <= now && case.tries().is_empty());
    }

    #[test]
    fn by_a_wrong_clock_few_certificates_are_asked_for() {
        let issued = at(2_000_000_000);
        let now = issued + 80 * DAY;
        let mut case = Case::new(None, &[], now);
        case.obtained(ninety_days(issued), now);
        assert_eq!(case.due(now), now + 3 * DAY, "it is over two thirds already");
        case.suggest(issued, issued + DAY, 0);
        assert_eq!(case.due(now), now + 3 * DAY, "and so it is by the authority's clock");
    }

    #[test]
    fn no_restart_begins_more_than_four_orders_in_an_hour() {
        let start = 2_000_000_000;
        let mut tries = Vec::new();
        for n in 0..4 {
            let mut case = Case::new(None, &tries, at(start + n * 60));
            assert!(case.due(at(start + n * 60)) <= at(start + n * 60), "{n}");
            case.begun(at(start + n * 60));
            tries = case.tries().to_vec();
        }
        let mut case = Case::new(None, &tries, at(start + 240));
        let due = case.due(at(start + 240));
        assert_eq!(due, at(start) + HOUR);
        case.begun(due);
        assert_eq!(case.due(due), at(start + 60) + HOUR);
        // A file of somebody else is not believed to be short.
        let case = Case::new(None, &[start; 1_000], at(start));
        assert_eq!((case.tries().len(), case.due(at(start))), (TRIES_MAX, at(start) + HOUR));
        // Nor one of a clock that went ahead, or of no clock.
        for ahead in [start + 1, u64::MAX] {
            let case = Case::new(None, &[ahead; TRIES_MAX], at(start));
            assert_eq!((case.tries().len(), case.due(at(start))), (0, UNIX_EPOCH));
        }
    }
}
