//! Hour: the time that rows are of, and what days and months are made of, in UTC.

use std::fmt;
use std::time::SystemTime;

use codecs::time::WallTime;

const HOUR_MS: i64 = 3_600_000;
/// Hours of a day.
const DAY: u32 = 24;

/// Hours since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub u32);

/// What a report adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Each hour.
    #[default]
    Hour,
    /// Each day.
    Day,
    /// Each month.
    Month,
}

impl Hour {
    /// The hour of a moment in milliseconds since 1970.
    #[must_use]
    pub fn of_ms(at_ms: u64) -> Self {
        Self(u32::try_from(at_ms / HOUR_MS as u64).unwrap_or(u32::MAX))
    }

    /// The hour by the calendar.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::of_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The hour that begins at `text`: `2026-01-31`, `2026-01-31T17` or `2026-01-31T17:00:00Z`.
    /// `None` if it is anything else, or within an hour.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let date = text.get(..10)?;
        let hour = match text.get(10..)? {
            "" => 0,
            time => {
                let (hour, rest) = time.strip_prefix('T')?.split_at_checked(2)?;
                let whole = ["", "Z", ":00Z", ":00:00Z", ":00:00.000Z"].contains(&rest);
                number(hour).filter(|&hour| whole && hour < DAY)?
            }
        };
        let mut parts = date.split('-').map(number);
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let found = Self(days(year, month, day)?.checked_mul(DAY)?.checked_add(hour)?);
        // A day that no month has is another one.
        (found.to_string().get(..10) == Some(date)).then_some(found)
    }

    /// The first hour of what a report adds up.
    #[must_use]
    pub fn start_of(self, by: By) -> Self {
        let day = self.0 - self.0 % DAY;
        match by {
            By::Hour => self,
            By::Day => Self(day),
            By::Month => {
                let of_month = self.to_string().get(8..10).and_then(number).unwrap_or(1);
                Self(day.saturating_sub((of_month.max(1) - 1) * DAY))
            }
        }
    }

    /// So many days before it.
    #[must_use]
    pub const fn days_before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days.saturating_mul(DAY)))
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = WallTime::from_unix_millis(i64::from(self.0) * HOUR_MS).to_string();
        write!(f, "{}Z", at.trim_end_matches(".000Z"))
    }
}

/// A number of digits alone.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Days from 1970 to a day; `None` before 1970.
fn days(year: u32, month: u32, day: u32) -> Option<u32> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that its leap day is its last.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    (365 * year + leaps + (153 * month + 2) / 5 + day).checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_parsed_as_they_are_shown() {
        for (text, shown) in [
            ("1970-01-01", "1970-01-01T00:00:00Z"),
            ("2024-02-29T23", "2024-02-29T23:00:00Z"),
            ("2026-01-31T17:00:00Z", "2026-01-31T17:00:00Z"),
            ("2026-12-31T23:00:00.000Z", "2026-12-31T23:00:00Z"),
            ("2100-03-01T05:00Z", "2100-03-01T05:00:00Z"),
        ] {
            let hour = Hour::parse(text).unwrap();
            assert_eq!(hour.to_string(), shown);
            assert_eq!(Hour::parse(shown), Some(hour));
            assert_eq!(Hour::of_ms(u64::from(hour.0) * 3_600_000 + 3_599_999), hour);
        }
        for bad in [
            "",
            "2026",
            "2026-02-29",
            "2026-02-30",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "2026-01-01T24",
            "2026-01-01T5",
            "2026-01-01T05:30:00Z",
            "2026-1-1",
            "2026-01-01T05:00:00+01:00",
            "2026-01-01 05:00",
            "+026-01-01",
            "2026-01-0ä",
        ] {
            assert_eq!(Hour::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_day_and_a_month_begin_where_the_calendar_says() {
        let hour = |text| Hour::parse(text).unwrap();
        for (at, day, month) in [
            ("2026-01-31T23", "2026-01-31", "2026-01-01"),
            ("2026-02-01T00", "2026-02-01", "2026-02-01"),
            ("2024-02-29T12", "2024-02-29", "2024-02-01"),
            ("2024-03-01T00", "2024-03-01", "2024-03-01"),
            ("2026-12-31T23", "2026-12-31", "2026-12-01"),
            ("2027-01-01T00", "2027-01-01", "2027-01-01"),
        ] {
            assert_eq!(hour(at).start_of(By::Hour), hour(at));
            assert_eq!(hour(at).start_of(By::Day), hour(day));
            assert_eq!(hour(at).start_of(By::Month), hour(month));
        }
        assert_eq!(hour("2024-03-01").days_before(1), hour("2024-02-29"));
    }
}
