//! The program clock of a stream that is packaged as it comes.
//!
//! Spec: ITU-T H.222.0 2.4.2.2 (PCR), 2.7.2 (every 100 ms at least); TR 101 290 5.2.2 (40 ms).
//! What a receiver must find: a clock that never goes back and is never ahead of a decode time. So
//! it is the newest decode time less [`HELD_BACK`], and less what the slowest track was seen to lag
//! behind the newest one. Where frames are farther apart than [`INTERVAL`], packets of their own
//! carry it.
//! Units: 27 MHz, unrolled to 64 bits.
//! Limits: a lag over [`LAG_MAX`] is not waited for; a step over [`STEP_MAX`] is a new time base.

use crate::time::MediaTime;

/// Ticks in a second.
pub const TICKS_PER_SECOND: u32 = 27_000_000;
/// What is added to every time, so that the clock before the first frame is not below 0.
pub const ORIGIN: MediaTime = MediaTime::from_millis(1_400);
/// How far the clock is behind the newest decode time at least: what a receiver buffers.
pub const HELD_BACK: MediaTime = MediaTime::from_millis(200);
/// A track that lags more than this has its times behind the clock.
pub const LAG_MAX: MediaTime = MediaTime::from_millis(1_000);
/// Between two references at most.
pub const INTERVAL: i64 = TICKS_PER_SECOND as i64 / 25;
/// Between two program map tables, leaving room to the 500 ms that receivers allow.
pub const TABLES_INTERVAL: i64 = TICKS_PER_SECOND as i64 * 2 / 5;
/// A longer step is told as a discontinuity instead of being filled.
pub const STEP_MAX: i64 = TICKS_PER_SECOND as i64 * 10;

/// The clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    newest: Option<MediaTime>,
    lag: MediaTime,
    last: Option<i64>,
    goal: i64,
}

/// The next reference that is due before a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) pcr: i64,
    /// It does not go on from the one before.
    pub(super) discontinuity: bool,
}

impl Clock {
    /// A unit is to be decoded at `dts`, the origin included.
    pub(super) fn observe(&mut self, dts: MediaTime) {
        let newest = self.newest.map_or(dts, |newest| newest.max(dts));
        self.newest = Some(newest);
        self.expect_lag(newest - dts);
        self.goal = (newest - HELD_BACK - self.lag).as_ticks(TICKS_PER_SECOND);
    }

    /// A track lags, or is going to lag, so far behind another one.
    pub(super) fn expect_lag(&mut self, lag: MediaTime) {
        self.lag = self.lag.max(lag).min(LAG_MAX);
    }

    /// What it would show for the unit that was observed last.
    pub(super) fn now(&self) -> i64 {
        self.last.map_or(self.goal, |last| last.max(self.goal))
    }

    /// The next reference of its own packet.
    pub(super) fn due(&self) -> Option<Due> {
        let last = self.last?;
        let step = self.goal - last;
        if step > STEP_MAX {
            return Some(Due { pcr: self.goal, discontinuity: true });
        }
        (step > INTERVAL).then_some(Due { pcr: last + INTERVAL, discontinuity: false })
    }

    /// The reference that the unit observed last carries; `must` it carry one, then it does.
    pub(super) fn reference(&self, must: bool) -> Option<i64> {
        match self.last {
            Some(last) if self.goal <= last => must.then_some(last + 1),
            _ => Some(self.goal),
        }
    }

    /// True before the first reference.
    pub(super) const fn is_unset(&self) -> bool {
        self.last.is_none()
    }

    /// A packet with this reference is written.
    pub(super) const fn show(&mut self, pcr: i64) {
        self.last = Some(pcr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(ms: i64) -> i64 {
        ms * 27_000
    }

    fn at(clock: &mut Clock, ms: i64) {
        clock.observe(MediaTime::from_millis(ms));
    }

    #[test]
    fn frames_that_are_far_apart_have_references_between_them() {
        let mut clock = Clock::default();
        at(&mut clock, 1_000);
        assert_eq!((clock.due(), clock.reference(false)), (None, Some(ticks(800))));
        clock.show(ticks(800));
        at(&mut clock, 1_040);
        assert_eq!(clock.due(), None, "40 ms are allowed");
        at(&mut clock, 1_100);
        let mut filled = 0;
        while let Some(due) = clock.due() {
            filled += 1;
            assert_eq!(due, Due { pcr: ticks(800 + 40 * filled), discontinuity: false });
            clock.show(due.pcr);
        }
        assert_eq!((filled, clock.reference(false)), (2, Some(ticks(900))));
    }

    #[test]
    fn a_track_that_lags_holds_the_clock_back_for_good() {
        let mut clock = Clock::default();
        at(&mut clock, 2_000);
        clock.show(clock.now());
        at(&mut clock, 1_700);
        assert_eq!(clock.reference(false), None, "it stands still");
        assert_eq!(clock.reference(true), Some(ticks(1_800) + 1));
        at(&mut clock, 2_301);
        assert_eq!(clock.reference(false), Some(ticks(1_801)));
        at(&mut clock, 200);
        assert_eq!(clock.goal, ticks(2_301 - 200 - 1_000), "one second at most");
    }

    #[test]
    fn a_long_pause_is_a_new_time_base() {
        let mut clock = Clock::default();
        at(&mut clock, 0);
        clock.show(clock.now());
        at(&mut clock, 10_000);
        assert!(clock.due().is_some_and(|due| !due.discontinuity));
        at(&mut clock, 10_001);
        let due = clock.due().unwrap();
        assert_eq!(due, Due { pcr: ticks(9_801), discontinuity: true });
        clock.show(due.pcr);
        assert_eq!(clock.due(), None);
    }
}
