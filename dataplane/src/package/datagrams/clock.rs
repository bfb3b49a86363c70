//! What a time of the stream is on the clock of a connection.
//!
//! The publisher's clock runs a little faster or slower than ours, and what it sends comes late at
//! times. Packets that say an older time than they have leave the peer no time to ask for them
//! again, and are too late at last; those that say a later one are kept by the peer for as long. So
//! the difference of the clocks is looked at for each time that the log grew, as of then and not as
//! of when it is sent, and set anew where it has left its bounds.
//!
//! Units: microseconds; the lead is how far the newest time of the stream is ahead of the
//! connection's. A player that joins in the past gets what is there faster than it was made, and
//! keeps the lead that this gives it.

use codecs::time::MediaTime;

use crate::log::Group;

/// What comes later than it says is forgiven up to this.
const LATE_MAX_US: i64 = 20_000;
/// A lead beyond the first one that the stream leapt to.
const LEAP_US: i64 = 2_000_000;
/// A lead beyond the first one that a stream kept for a whole window.
const EXCESS_MAX_US: i64 = 250_000;
const WINDOW_US: i64 = 10_000_000;
/// The clock is not set again for this long.
const PAUSE_MIN_US: i64 = 500_000;
/// Nor for this part of what may be sent again, which a player's spans are to reach back to.
const PAUSE_SHARE: i64 = 4;

pub(super) const fn micros(time: MediaTime) -> i64 {
    time.as_nanos().div_euclid(1_000)
}

/// The clock of one player.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaClock {
    /// What is added to the times of the stream.
    shift_us: i64,
    /// The lead that the join gave.
    kept_us: i64,
    /// The number behind the newest group that was looked at.
    seen: u64,
    /// When it was set.
    set_us: i64,
    window_began_us: i64,
    /// The least lead of this window.
    least_us: i64,
}

impl MediaClock {
    /// A player joins at a group whose time is `joined`; it counts as made now.
    pub(super) fn begin(joined: MediaTime, newest: &Group, now_us: i64) -> Self {
        Self {
            shift_us: now_us.saturating_sub(micros(joined)),
            kept_us: micros(newest.time).saturating_sub(micros(joined)).max(0),
            seen: newest.number + 1,
            set_us: now_us,
            window_began_us: now_us,
            least_us: i64::MAX,
        }
    }

    pub(super) const fn shift_us(&self) -> i64 {
        self.shift_us
    }

    /// The number behind the newest group that was looked at.
    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    /// Looks at the newest group as of `now_us`, when it came; true if the clock was set. What was
    /// offered up to `patience_us` ago may be asked for again.
    pub(super) fn observe(&mut self, newest: &Group, now_us: i64, patience_us: i64) -> bool {
        if newest.number < self.seen {
            return false;
        }
        self.seen = newest.number + 1;
        let lead_us = micros(newest.time).saturating_add(self.shift_us).saturating_sub(now_us);
        self.least_us = self.least_us.min(lead_us);
        let pause_us = (patience_us / PAUSE_SHARE).max(PAUSE_MIN_US);
        let is_paused = now_us.saturating_sub(self.set_us) < pause_us;
        let change_us = if is_paused { 0 } else { self.change_us(lead_us, now_us) };
        if change_us != 0 {
            self.shift_us = self.shift_us.saturating_add(change_us);
            self.set_us = now_us;
        }
        if change_us != 0 || now_us.saturating_sub(self.window_began_us) >= WINDOW_US {
            (self.window_began_us, self.least_us) = (now_us, i64::MAX);
        }
        change_us != 0
    }

    const fn change_us(&self, lead_us: i64, now_us: i64) -> i64 {
        if lead_us < -LATE_MAX_US {
            return lead_us.saturating_neg();
        }
        if lead_us > self.kept_us.saturating_add(LEAP_US) {
            return self.kept_us.saturating_sub(lead_us);
        }
        let is_window = now_us.saturating_sub(self.window_began_us) >= WINDOW_US;
        if is_window && self.least_us > self.kept_us.saturating_add(EXCESS_MAX_US) {
            return self.kept_us.saturating_sub(self.least_us);
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;
    const PATIENCE_US: i64 = 400_000;

    fn group(number: u64, us: i64) -> Group {
        let time = MediaTime::from_nanos(us.saturating_mul(1_000));
        Group { number, offset: number * 1_316, len: 1_316, time }
    }

    /// A stream whose every group has the time `time(now)`, looked at each 40 ms until `until_us`;
    /// the least and the largest lead of its second half, and how often the clock was set.
    fn run(clock: &mut MediaClock, until_us: i64, time: impl Fn(i64) -> i64) -> (i64, i64, u32) {
        let (mut leads, mut sets) = ((i64::MAX, i64::MIN), 0);
        for (number, now_us) in (clock.seen..).zip((40 * MS..until_us).step_by(40_000)) {
            let newest = group(number, time(now_us));
            sets += u32::from(clock.observe(&newest, now_us, PATIENCE_US));
            if now_us > until_us / 2 {
                let lead = micros(newest.time) + clock.shift_us() - now_us;
                leads = (leads.0.min(lead), leads.1.max(lead));
            }
        }
        (leads.0, leads.1, sets)
    }

    #[test]
    fn a_join_counts_as_made_now_and_keeps_its_lead() {
        let mut clock = MediaClock::begin(MediaTime::from_millis(500), &group(9, 2_500 * MS), 0);
        assert_eq!(clock.shift_us(), -500 * MS);
        assert_eq!(
            run(&mut clock, 60_000 * MS, |now| now + 2_500 * MS),
            (2_000 * MS, 2_000 * MS, 0)
        );
    }

    #[test]
    fn clocks_that_run_apart_for_days_stay_in_their_bounds() {
        let day = 86_400_000 * MS;
        for per_million in [-200, -30, 0, 30, 200] {
            let mut clock = MediaClock::begin(MediaTime::ZERO, &group(0, 0), 0);
            let time = |now: i64| now + now / 1_000_000 * per_million;
            let (least, most, _) = run(&mut clock, day, time);
            assert!(least >= -LATE_MAX_US - 40 * MS, "{per_million}: {least}");
            assert!(most <= EXCESS_MAX_US + WINDOW_US / 1_000, "{per_million}: {most}");
        }
    }

    #[test]
    fn a_stall_is_followed_at_once_and_forgotten_later() {
        let mut clock = MediaClock::begin(MediaTime::ZERO, &group(0, 0), 0);
        let stalled = group(1, 1_000 * MS);
        assert!(clock.observe(&stalled, 3_000 * MS, PATIENCE_US));
        assert_eq!(clock.shift_us(), 2_000 * MS);
        assert!(
            !clock.observe(&stalled, 9_000 * MS, PATIENCE_US),
            "the same group says nothing new"
        );
        let mut last = 0;
        for (number, now_us) in (2..).zip((3_040 * MS..15_000 * MS).step_by(40_000)) {
            clock.observe(&group(number, now_us), now_us, PATIENCE_US);
            last = clock.shift_us();
        }
        assert_eq!(last, 0, "what came in time for a whole window is told as it is");
    }

    #[test]
    fn a_leap_is_followed_at_once() {
        let mut clock = MediaClock::begin(MediaTime::ZERO, &group(0, 0), 0);
        assert!(clock.observe(&group(1, 61_000 * MS), 1_000 * MS, PATIENCE_US));
        assert_eq!(clock.shift_us(), -60_000 * MS);
        assert!(
            !clock.observe(&group(2, 200_000 * MS), 1_040 * MS, PATIENCE_US),
            "not twice in a moment"
        );
    }

    #[test]
    fn no_time_is_too_far() {
        for us in [i64::MIN / 1_000, i64::MAX / 1_000] {
            let mut clock = MediaClock::begin(MediaTime::from_nanos(i64::MIN), &group(0, us), 7);
            for number in 1..9 {
                let at = i64::try_from(number).unwrap() * 1_000 * MS;
                clock.observe(&group(number, us.saturating_neg()), at, i64::MAX);
            }
        }
    }
}
