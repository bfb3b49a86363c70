//! Numbering: segments and breaks are counted on, whatever restarts.
//!
//! A player that asks again after a restart, of the process or of the stream, must never see a
//! number that it has seen before. Nothing is stored: numbers begin where the calendar says, and
//! the calendar moves faster than segments are cut; a process remembers the highest, in case that
//! somebody delivers faster than time passes.
//!
//! Units: segments count quarters of a second, which keeps them under 31 bits until 2042. Breaks
//! count quarters of an hour: hls.js walks an array up to the number of a break whenever it loads a
//! playlist, which takes it 80 ms for a million of them and 5 ms for as many as there are in 2026.

use codecs::time::WallTime;

/// 1 January 2025, in milliseconds since 1970.
const ORIGIN_UNIX_MS: i64 = 1_735_689_600_000;
const MS_PER_SEGMENT: i64 = 250;
const MS_PER_PERIOD: i64 = 900_000;

/// The numbers of the next segment and of the period that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// The next segment: `EXT-X-MEDIA-SEQUENCE` once it is the first that is listed.
    pub segment: u64,
    /// Its period; a break begins the next one (`EXT-X-DISCONTINUITY-SEQUENCE`).
    pub period: u64,
}

impl Numbering {
    /// Where a stream begins that begins now.
    #[must_use]
    pub fn at(now: WallTime) -> Self {
        let ms = now.as_unix_millis().saturating_sub(ORIGIN_UNIX_MS);
        let count = |unit: i64| u64::try_from(ms / unit).unwrap_or(0);
        Self { segment: count(MS_PER_SEGMENT), period: count(MS_PER_PERIOD) }
    }

    /// The later of two in both counts.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        Self { segment: self.segment.max(other.segment), period: self.period.max(other.period) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_calendar_and_stay_small() {
        let new_year = Numbering::at(WallTime::from_unix_millis(ORIGIN_UNIX_MS));
        assert_eq!(new_year, Numbering::default());
        let later = Numbering::at(WallTime::from_unix_millis(ORIGIN_UNIX_MS + 901_000));
        assert_eq!(later, Numbering { segment: 3_604, period: 1 });
        assert_eq!(Numbering::at(WallTime::from_unix_millis(0)), Numbering::default());
        let far = Numbering::at(WallTime::from_unix_millis(2_208_988_800_000));
        assert!(far.segment < 1 << 31 && far.period < 600_000, "in 2040: {far:?}");
    }

    #[test]
    fn a_clock_that_was_set_back_changes_nothing() {
        let used = Numbering { segment: 900, period: 7 };
        let early = Numbering { segment: 10, period: 8 };
        assert_eq!(early.or_later(used), Numbering { segment: 900, period: 8 });
    }
}
