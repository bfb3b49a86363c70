//! The time line of a program, as its PCRs tell it.
//!
//! Spec: ISO/IEC 13818-1 2.4.2.2, 2.4.3.5; TR 101 290 5.2.2 (2.3a, 2.3b).
//!
//! Units: 27 MHz. A file has no clock of arrival, so every interval is a difference of PCR values.

/// Ticks of a millisecond.
pub(super) const TICKS_PER_MS: u64 = 27_000;

/// Where a PCR wraps.
const PCR_WRAP: u64 = (1 << 33) * 300;

/// The wrap of PTS and DTS.
const STAMP_WRAP: u64 = 1 << 33;

/// PCRs that are further apart are a jump.
const PCR_STEP_MAX: u64 = 100 * TICKS_PER_MS;

/// The longest interval of PCRs: V1.2.1 and TS 101 154; V1.3.1 and later allow 100 ms.
const PCR_INTERVAL_MAX: u64 = 40 * TICKS_PER_MS;

/// How a PCR follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first one, or the first of an announced new time base.
    Start,
    /// So much later.
    On(u64),
    /// So much later, which is too much.
    Late(u64),
    /// Somewhere else, so many ticks away.
    Jump(i64),
}

/// The clock of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    last: Option<u64>,
    /// Ticks since the first PCR; jumps, announced or not, count nothing.
    elapsed: u64,
    /// A new time base was announced, its first PCR has not come.
    announced: bool,
    pub(super) interval_max: u64,
}

impl Clock {
    /// Ticks since the first PCR.
    pub(super) const fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// True once a PCR came.
    pub(super) const fn is_running(&self) -> bool {
        self.last.is_some()
    }

    /// The next PCR may have any value.
    pub(super) const fn announce(&mut self) {
        self.announced = true;
    }

    /// Takes a PCR.
    pub(super) fn take(&mut self, pcr: u64) -> Step {
        let before = self.last.replace(pcr);
        if std::mem::take(&mut self.announced) {
            return Step::Start;
        }
        let Some(before) = before else { return Step::Start };
        let delta = wrapped(pcr, before, PCR_WRAP);
        match u64::try_from(delta) {
            Ok(ahead @ 1..=PCR_STEP_MAX) => {
                self.elapsed += ahead;
                self.interval_max = self.interval_max.max(ahead);
                if ahead > PCR_INTERVAL_MAX { Step::Late(ahead) } else { Step::On(ahead) }
            }
            _ => Step::Jump(delta),
        }
    }

    /// True if `pcr` is what the last PCR was.
    pub(super) fn is_at(&self, pcr: u64) -> bool {
        self.last == Some(pcr)
    }

    /// How far a time of 90 kHz lies after the last PCR, in its ticks; `None` if no PCR holds.
    pub(super) fn until(&self, stamp: u64) -> Option<i64> {
        let last = self.last.filter(|_| !self.announced)?;
        Some(wrapped(stamp, last / 300, STAMP_WRAP))
    }
}

/// How far `to` lies after `from`, of two times of 90 kHz.
pub(super) fn stamp_distance(to: u64, from: u64) -> i64 {
    wrapped(to, from, STAMP_WRAP)
}

/// The shorter way from `from` to `to` on a circle.
fn wrapped(to: u64, from: u64, wrap: u64) -> i64 {
    let ahead = (to + wrap - from) % wrap;
    if ahead < wrap / 2 { ahead as i64 } else { ahead as i64 - wrap as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_across_the_wrap() {
        let mut clock = Clock::default();
        let step = 30 * TICKS_PER_MS;
        assert_eq!(clock.take(PCR_WRAP - 1), Step::Start);
        assert_eq!(clock.take(step - 1), Step::On(step));
        assert_eq!(clock.take(step - 1 + 2 * step), Step::Late(2 * step));
        assert_eq!(clock.take(step - 1), Step::Jump(-(2 * step as i64)));
        assert_eq!(clock.take(step - 1), Step::Jump(0));
        clock.announce();
        assert_eq!(clock.until(0), None);
        assert_eq!(clock.take(7_000_000_000), Step::Start);
        assert_eq!(clock.elapsed(), 3 * step);
        assert_eq!(clock.until(7_000_000_000 / 300 + 9), Some(9));
        assert_eq!(stamp_distance(5, STAMP_WRAP - 5), 10);
    }
}
