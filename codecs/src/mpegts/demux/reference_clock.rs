//! The time of a program: its clock references, and the unrolling of all its times around them.
//!
//! Spec: ITU-T H.222.0 2.4.2.2, 2.4.3.5, 2.7.2.
//! Rules: a time is the value nearest to the newest clock reference that fits its 33 bits; before
//! the first reference, nearest to the newest time of sound or picture. So data with times from
//! somewhere else moves nothing, and a stream of many days is one line.
//! Units: references count 27 MHz and times 90 kHz, both in 33 bits of 90 kHz that wrap after 26.5
//! hours.

use crate::mpegts::clock::{STEP_MAX, TICKS_PER_SECOND};
use crate::time::{MediaTime, Unwrapper};

const STAMPS_PER_SECOND: u32 = 90_000;
const TICKS_PER_STAMP: i64 = 300;
const WRAP: i64 = (1 << 33) * TICKS_PER_STAMP;

/// The clock went on from somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockJump {
    /// How far from the reference before it, the shorter way around.
    pub step: MediaTime,
    /// The stream said so (`discontinuity_indicator`).
    pub announced: bool,
}

/// The clock of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReferenceClock {
    newest: Unwrapper<33>,
    /// The last reference as it stood in the stream.
    last: Option<i64>,
    /// The newest reference, or the newest time where there is none.
    now: Option<i64>,
    announced: bool,
}

impl ReferenceClock {
    /// The next reference may have any value.
    pub(super) const fn announce(&mut self) {
        self.announced = true;
    }

    /// Takes a reference; tells if it does not go on from the one before.
    pub(super) fn take(&mut self, pcr: i64) -> Option<ClockJump> {
        let before = self.last.replace(pcr);
        let announced = core::mem::take(&mut self.announced);
        self.advance(pcr.div_euclid(TICKS_PER_STAMP).unsigned_abs());
        let step = (pcr - before?).rem_euclid(WRAP);
        let step = if step >= WRAP / 2 { step - WRAP } else { step };
        let goes_on = (0..=STEP_MAX).contains(&step);
        let step = MediaTime::from_ticks(step, TICKS_PER_SECOND);
        (!goes_on).then_some(ClockJump { step, announced })
    }

    /// The place of a time of sound or picture.
    pub(super) fn place(&mut self, stamp: u64) -> MediaTime {
        if self.last.is_none() {
            self.advance(stamp);
        }
        self.look(stamp)
    }

    /// The place of a time of data.
    pub(super) fn look(&self, stamp: u64) -> MediaTime {
        let mut near = self.newest;
        MediaTime::from_ticks(near.unwrap(stamp), STAMPS_PER_SECOND)
    }

    /// The newest time that is known.
    pub(super) fn now(&self) -> Option<MediaTime> {
        self.now.map(|now| MediaTime::from_ticks(now, STAMPS_PER_SECOND))
    }

    fn advance(&mut self, stamp: u64) {
        self.now = Some(self.newest.unwrap(stamp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 27_000_000;

    fn stamp(seconds: i64) -> u64 {
        (seconds * 90_000).rem_euclid(1 << 33).unsigned_abs()
    }

    #[test]
    fn days_are_one_line() {
        let mut clock = ReferenceClock::default();
        for second in 0..10 * 24 * 3_600 {
            assert_eq!(clock.take((second * SECOND).rem_euclid(WRAP)), None);
            let at = MediaTime::from_millis((second + 1) * 1_000);
            assert_eq!(clock.place(stamp(second + 1)), at);
            assert_eq!(clock.now(), Some(MediaTime::from_millis(second * 1_000)));
        }
    }

    #[test]
    fn times_without_a_clock_follow_each_other() {
        let mut clock = ReferenceClock::default();
        assert_eq!(clock.now(), None);
        for second in 95_000..96_000 {
            let at = MediaTime::from_ticks((second - 95_000) * 90_000, 90_000);
            assert_eq!(
                clock.place(stamp(second)) - clock.place(stamp(second - 1)),
                MediaTime::from_millis(1_000)
            );
            let start = MediaTime::from_ticks(stamp(95_000).cast_signed(), 90_000);
            assert_eq!(clock.place(stamp(second)) - start, at);
        }
    }

    #[test]
    fn data_from_somewhere_else_moves_nothing() {
        let mut clock = ReferenceClock::default();
        clock.place(stamp(95_400));
        for second in 95_400..95_600 {
            clock.look(stamp(second - 47_000));
            clock.look(0);
            let first = MediaTime::from_ticks(stamp(95_400).cast_signed(), 90_000);
            let expected = MediaTime::from_millis((second - 95_400) * 1_000);
            assert_eq!(clock.place(stamp(second)) - first, expected);
        }
    }

    #[test]
    fn jumps_are_told_with_their_step() {
        let mut clock = ReferenceClock::default();
        let ms = MediaTime::from_millis;
        let jump = |step, announced| Some(ClockJump { step: ms(step), announced });
        assert_eq!(clock.take(WRAP - SECOND), None);
        assert_eq!(clock.take(SECOND), None, "over the wrap");
        assert_eq!(clock.take(12 * SECOND), jump(11_000, false));
        assert_eq!(clock.take(2 * SECOND), jump(-10_000, false));
        clock.announce();
        assert_eq!(clock.take(3 * SECOND), None, "announced, and yet it goes on");
        clock.announce();
        assert_eq!(clock.take(103 * SECOND), jump(100_000, true));
        assert_eq!(clock.take(103 * SECOND), None);
    }
}
