//! Stream time: one unit for every format, and the unrolling of wrapping wire clocks.
//!
//! Units: [`MediaTime`] counts nanoseconds in 64 bits (292 years). Every wire timescale in use
//! (1 kHz, 44.1 kHz, 48 kHz, 90 kHz) converts to it and back without drift, because one tick is
//! much longer than the rounding error.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A point on, or a distance along, a stream's timeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From milliseconds, the unit of RTMP and FLV.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From ticks of `per_second` to the second, rounded to the nearest nanosecond.
    #[must_use]
    pub fn from_ticks(ticks: i64, per_second: u32) -> Self {
        let scale = i128::from(per_second.max(1));
        Self(saturate(round_div(i128::from(ticks) * NANOS_PER_SECOND, scale)))
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds, rounded to nearest so that a value that came from milliseconds returns.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.as_ticks(1000)
    }

    /// Ticks of `per_second` to the second, rounded to nearest.
    #[must_use]
    pub fn as_ticks(self, per_second: u32) -> i64 {
        saturate(round_div(i128::from(self.0) * i128::from(per_second), NANOS_PER_SECOND))
    }

    /// The distance without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }
}

impl Add for MediaTime {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for MediaTime {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Sub for MediaTime {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0 / 1000)
    }
}

/// A moment of the calendar, in milliseconds since 1970 (UTC): what viewers and people are told.
///
/// It may step; stream time and deadlines never come from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(i64);

const MILLIS_PER_DAY: i64 = 86_400_000;
/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
/// Days of 400 years: the calendar repeats after them.
const DAYS_PER_ERA: i64 = 146_097;

impl WallTime {
    /// From milliseconds since 1970.
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_unix_millis(self) -> i64 {
        self.0
    }

    /// The moment `distance` later, or earlier if it is negative.
    #[must_use]
    pub fn after(self, distance: MediaTime) -> Self {
        Self(self.0.saturating_add(distance.as_millis()))
    }

    /// Year, month and day.
    const fn date(self) -> (i64, i64, i64) {
        let days = self.0.div_euclid(MILLIS_PER_DAY) + DAYS_TO_1970;
        let era = days.div_euclid(DAYS_PER_ERA);
        let day = days.rem_euclid(DAYS_PER_ERA);
        // Leap days lie at the end of a year that begins in March.
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let of_month = of_year - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        (year + era * 400 + next, month, of_month)
    }
}

impl fmt::Display for WallTime {
    /// ISO 8601 with milliseconds, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let millis = self.0.rem_euclid(MILLIS_PER_DAY);
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        let (second, milli) = (millis / 1_000 % 60, millis % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Unrolls a wrapping clock of `BITS` bits (RTMP and RTP 32, MPEG-TS 33) to 64 bits.
///
/// A step of less than half the range in either direction is taken as it is, so reordering around
/// the wrap is safe.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrapper<const BITS: u32> {
    last: Option<i64>,
}

impl<const BITS: u32> Unwrapper<BITS> {
    /// Starts with no history: the first value is taken as it is.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Starts near a value that is known otherwise: the next one is at most half the range away.
    #[must_use]
    pub const fn near(value: i64) -> Self {
        Self { last: Some(value) }
    }

    /// The 64-bit value that is nearest to the previous one and equal to `wire` modulo the range.
    pub fn unwrap(&mut self, wire: u64) -> i64 {
        let range = 1_i64 << BITS;
        let value = i64::try_from(wire).unwrap_or(i64::MAX) & (range - 1);
        let unrolled = match self.last {
            None => value,
            Some(last) => {
                let step = (value - last).rem_euclid(range);
                let step = if step >= range / 2 { step - range } else { step };
                last.saturating_add(step)
            }
        };
        self.last = Some(unrolled);
        unrolled
    }
}

const fn round_div(numerator: i128, denominator: i128) -> i128 {
    let half = denominator / 2;
    if numerator >= 0 { (numerator + half) / denominator } else { (numerator - half) / denominator }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unwraps_forward_over_two_to_the_32() {
        let mut u = Unwrapper::<32>::new();
        assert_eq!(u.unwrap(0xffff_ff00), 0xffff_ff00);
        assert_eq!(u.unwrap(0x10), 0x1_0000_0010);
        assert_eq!(u.unwrap(0xffff_fff0), 0xffff_fff0, "a reordered value goes back");
        assert_eq!(u.unwrap(0x20), 0x1_0000_0020);
    }

    #[test]
    fn moments_have_a_date_in_every_kind_of_year() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (1_772_323_199_001, "2026-02-28T23:59:59.001Z"),
            (1_772_323_200_000, "2026-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(alloc::format!("{}", WallTime::from_unix_millis(millis)), text);
        }
        let moment = WallTime::from_unix_millis(1_000);
        assert_eq!(moment.after(MediaTime::from_nanos(1_500_000)).as_unix_millis(), 1_002);
    }

    #[test]
    fn millis_round_half_away_from_zero() {
        assert_eq!(MediaTime::from_nanos(-1_500_000).as_millis(), -2);
        assert_eq!(MediaTime::from_nanos(1_499_999).as_millis(), 1);
    }

    proptest! {
        #[test]
        fn wire_ticks_survive_the_round_trip(
            ticks in -(1_i64 << 40)..(1_i64 << 40),
            scale in prop::sample::select(&[1000_u32, 44_100, 48_000, 90_000]),
        ) {
            prop_assert_eq!(MediaTime::from_ticks(ticks, scale).as_ticks(scale), ticks);
        }

        #[test]
        fn unwrapping_follows_any_walk(
            steps in prop::collection::vec(-1_000_000_i64..1_000_000, 1..200),
        ) {
            let mut u = Unwrapper::<33>::new();
            let mut truth = 1_i64 << 32;
            u.unwrap(truth as u64);
            for step in steps {
                truth += step;
                prop_assert_eq!(u.unwrap(truth.rem_euclid(1 << 33) as u64), truth);
            }
        }
    }
}
