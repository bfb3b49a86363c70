//! The time of a program: its clock references, and the unrolling of all its times around them.
//!
//! Spec: ITU-T H.222.0 2.4.2.2, 2.4.3.5, 2.7.2.
//! Rules: a time is the value nearest to the newest clock reference that fits its 33 bits; before
//! the first reference, nearest to the newest time of sound or picture. So data with times from
//! somewhere else moves nothing, and a stream of many days is one line. Where references stop or
//! stand still, times of sound and picture carry the line on. A reference that is hours off, as one
//! flipped bit makes it, moves the line when the next one agrees with it.
//! Units: references count 27 MHz and times 90 kHz, both in 33 bits of 90 kHz that wrap after 26.5
//! hours.

use crate::mpegts::clock::{STEP_MAX, TICKS_PER_SECOND};
use crate::time::{MediaTime, Unwrapper};

const STAMPS_PER_SECOND: u32 = 90_000;
const TICKS_PER_STAMP: i64 = 300;
const WRAP: i64 = (1 << 33) * TICKS_PER_STAMP;
/// A step of so much, 6.6 hours, is not believed at once.
const FAR: i64 = WRAP / 4;
/// Times go on for so long without a reference before they carry the line.
const STALL_STAMPS: i64 = STAMPS_PER_SECOND as i64;
/// How far one of them carries it at most.
const CARRIED_STAMPS_MAX: i64 = 10 * STAMPS_PER_SECOND as i64;

/// The clock went on from somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockJump {
    /// How far from the reference before it, the shorter way around.
    pub step: MediaTime,
    /// The stream said so (`discontinuity_indicator`); it is told then wherever the clock goes on.
    pub announced: bool,
    /// The number of the time base that begins. Units have the one that their PES packet began in,
    /// for those of the one before may come behind this.
    pub time_base: u32,
}

/// The clock of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReferenceClock {
    newest: Unwrapper<33>,
    /// The last reference as it stood in the stream.
    last: Option<i64>,
    /// The newest reference, or the newest time where there is none.
    now: Option<i64>,
    /// The first time since the newest reference, and what was the newest then.
    base: Option<(i64, i64)>,
    announced: bool,
    /// Jumps that were told.
    jumps: u32,
}

impl ReferenceClock {
    /// The number of the time base, which each jump begins.
    pub(super) const fn time_base(&self) -> u32 {
        self.jumps
    }

    /// The next reference may have any value.
    pub(super) const fn announce(&mut self) {
        self.announced = true;
    }

    /// Takes a reference; tells if it does not go on from the one before.
    pub(super) fn take(&mut self, pcr: i64) -> Option<ClockJump> {
        let announced = core::mem::take(&mut self.announced);
        let before = self.last.replace(pcr);
        if before == Some(pcr) {
            return None;
        }
        let step = (pcr - before.unwrap_or(pcr)).rem_euclid(WRAP);
        let step = if step >= WRAP / 2 { step - WRAP } else { step };
        if step.abs() < FAR || announced {
            self.advance(pcr.div_euclid(TICKS_PER_STAMP).unsigned_abs());
            self.base = None;
        }
        let goes_on = (0..=STEP_MAX).contains(&step) && !announced;
        if before.is_none() || goes_on {
            return None;
        }
        self.jumps = self.jumps.wrapping_add(1);
        let step = MediaTime::from_ticks(step, TICKS_PER_SECOND);
        Some(ClockJump { step, announced, time_base: self.jumps })
    }

    /// References are somewhere else from here on, and the line goes on.
    pub(super) const fn forget_reference(&mut self) {
        (self.last, self.base, self.announced) = (None, None, false);
    }

    /// The place of a time of sound or picture.
    pub(super) fn place(&mut self, stamp: u64) -> MediaTime {
        match self.now {
            Some(now) if self.last.is_some() => self.carry(now, stamp),
            _ => self.advance(stamp),
        }
        self.look(stamp)
    }

    /// Takes the line on if no reference did for a while.
    fn carry(&mut self, now: i64, stamp: u64) {
        let mut near = self.newest;
        let at = near.unwrap(stamp);
        let (first, came) = *self.base.get_or_insert((at, now));
        let to = came + (at - first);
        if at - first >= STALL_STAMPS && (1..=CARRIED_STAMPS_MAX).contains(&(to - now)) {
            self.advance(to.rem_euclid(1 << 33).unsigned_abs());
        }
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
        let jump =
            |step, announced, time_base| Some(ClockJump { step: ms(step), announced, time_base });
        clock.announce();
        assert_eq!(clock.take(WRAP - SECOND), None);
        assert_eq!(clock.take(SECOND), None, "over the wrap");
        assert_eq!(clock.take(12 * SECOND), jump(11_000, false, 1));
        assert_eq!(clock.take(2 * SECOND), jump(-10_000, false, 2));
        clock.announce();
        assert_eq!(clock.take(3 * SECOND), jump(1_000, true, 3), "another source, as it says");
        clock.announce();
        assert_eq!(clock.take(103 * SECOND), jump(100_000, true, 4));
        assert_eq!(clock.take(103 * SECOND), None);
    }
    #[test]
    fn times_carry_the_line_of_a_clock_that_stops() {
        for stands_still in [true, false] {
            let mut clock = ReferenceClock::default();
            clock.take(0);
            for second in 0..4 * 24 * 3_600 {
                if stands_still {
                    assert_eq!(clock.take(0), None);
                }
                let at = MediaTime::from_millis((second + 1) * 1_000);
                assert_eq!(clock.place(stamp(second + 1)), at, "{second}");
                assert_eq!(clock.now(), Some(MediaTime::from_millis(second * 1_000)), "{second}");
            }
        }
    }

    #[test]
    fn one_time_from_somewhere_else_carries_nothing() {
        let mut clock = ReferenceClock::default();
        clock.take(0);
        clock.place(stamp(1));
        clock.place(stamp(30_000));
        assert_eq!(clock.now(), Some(MediaTime::ZERO));
        clock.place(stamp(3));
        assert_eq!(clock.now(), Some(MediaTime::from_millis(2_000)));
        // References are the line again.
        clock.take(4 * SECOND);
        assert_eq!(clock.now(), Some(MediaTime::from_millis(4_000)));
    }

    #[test]
    fn a_flipped_bit_moves_no_line() {
        let mut clock = ReferenceClock::default();
        for second in 0..20 {
            let flipped = if second == 10 { WRAP / 2 } else { 0 };
            let jump = clock.take(second * SECOND + flipped);
            assert_eq!(jump.is_some(), second == 10 || second == 11, "{second}");
            let at = MediaTime::from_millis((second + 1) * 1_000);
            assert_eq!(clock.place(stamp(second + 1)), at, "{second}");
        }
        // The second one that says so is believed.
        let far = 40_000;
        clock.take((20 + far) * SECOND);
        clock.take((21 + far) * SECOND);
        assert_eq!(clock.now(), Some(MediaTime::from_millis((21 + far) * 1_000)));
    }

    #[test]
    fn another_source_of_references_goes_on_with_the_line() {
        let mut clock = ReferenceClock::default();
        clock.take(WRAP - SECOND);
        clock.take(SECOND);
        clock.forget_reference();
        let line = MediaTime::from_ticks(WRAP + 2 * SECOND, 27_000_000);
        assert_eq!(clock.place(stamp(2)), line);
        assert_eq!(clock.now(), Some(line), "there may be no other one");
        assert_eq!(clock.take(3 * SECOND), None);
    }
}
