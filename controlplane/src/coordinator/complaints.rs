//! Complaints: what the other side of a link says that went wrong there, told once in a while.
//!
//! Limits: one line each [`TELL_EVERY`]; the others are counted, and their number is told.

use std::time::{Duration, Instant};

/// One of them is told within this.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Those of one link. Lives on: the control thread.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// None is told until then.
    quiet_until: Option<Instant>,
    left_out: u64,
}

impl Complaints {
    /// Another one came; true if it is to be told.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.quiet_until.is_some_and(|until| now < until) {
            self.left_out += 1;
            return false;
        }
        self.quiet_until = Some(now + TELL_EVERY);
        true
    }

    /// When [`Self::left_out`] has something to tell.
    pub(super) fn due(&self) -> Option<Instant> {
        self.quiet_until.filter(|_| self.left_out > 0)
    }

    /// How many were left out, if that is to be told now.
    pub(super) fn left_out(&mut self, now: Instant) -> Option<u64> {
        self.due().filter(|&due| due <= now)?;
        // Whoever goes on is as quiet for as long again.
        self.quiet_until = Some(now + TELL_EVERY);
        self.rest()
    }

    /// How many were left out and are not told yet, because nothing will be told of them later.
    pub(super) fn rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.left_out)).filter(|&left_out| left_out > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_complains_all_the_time_is_told_of_once_in_a_while() {
        let (mut complaints, began) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.due(), None);
        let (mut told, mut left_out) = (0_u64, 0);
        for beat in 0..10_000_u64 {
            // A hundred each second.
            let now = began + Duration::from_millis(10 * beat);
            let summed = complaints.left_out(now);
            assert_eq!(summed.is_some(), beat > 0 && beat % 1_000 == 0, "{beat}");
            left_out += summed.unwrap_or_default();
            told += u64::from(complaints.take(now));
        }
        let end = complaints.due().unwrap();
        assert_eq!(end, began + Duration::from_secs(100));
        left_out += complaints.left_out(end).unwrap();
        assert_eq!((told, left_out), (1, 9_999), "each one is told or counted");
        assert_eq!((complaints.due(), complaints.left_out(end + TELL_EVERY)), (None, None));
        // One that comes now and then is told each time.
        for minute in 10..20_u64 {
            assert!(complaints.take(began + Duration::from_secs(60 * minute)));
        }
        assert_eq!(complaints.due(), None);
    }

    #[test]
    fn what_is_left_out_of_one_that_leaves_is_told_once() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.rest(), None);
        assert!(complaints.take(now));
        assert_eq!(complaints.rest(), None);
        assert!(!complaints.take(now) && !complaints.take(now));
        assert_eq!((complaints.rest(), complaints.rest(), complaints.due()), (Some(2), None, None));
    }
}
