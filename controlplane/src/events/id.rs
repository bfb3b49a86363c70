//! Id: names one event, for ever and everywhere, in the order of time.

use std::fmt;

use codecs::time::WallTime;
use dataplane::ids::parse_hex;

/// Names one event.
///
/// Shape: 8 bytes of Unix milliseconds, big endian, 4 of the event's number within that
/// millisecond and 4 of the process that made it; shown as 32 lower-case hexadecimal digits. Text
/// and bytes sort by time, and those of one process in the order of its events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(u128);

impl EventId {
    /// Parses 32 lower-case hexadecimal digits; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }

    /// When it was made.
    #[must_use]
    pub fn at(self) -> WallTime {
        WallTime::from_unix_millis(i64::try_from(self.0 >> 64).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes ids that never go back, even when the clock does.
#[derive(Debug)]
pub(super) struct EventIds {
    millis: u64,
    count: u32,
    process: u32,
}

impl EventIds {
    /// Ids that `process`, a random number, tells from those of another run or node.
    pub(super) const fn new(process: u32) -> Self {
        Self { millis: 0, count: 0, process }
    }

    /// True if one of these.
    pub(super) const fn made(&self, id: EventId) -> bool {
        id.0 as u32 == self.process
    }

    /// The next id, at `now`.
    pub(super) fn next(&mut self, now: WallTime) -> EventId {
        let millis = u64::try_from(now.as_unix_millis()).unwrap_or(0);
        match self.count.checked_add(1) {
            Some(count) if millis <= self.millis => self.count = count,
            // So many in one millisecond borrow the next one.
            None if millis <= self.millis => (self.millis, self.count) = (self.millis + 1, 0),
            _ => (self.millis, self.count) = (millis, 0),
        }
        let number = (u128::from(self.millis) << 64) | (u128::from(self.count) << 32);
        EventId(number | u128::from(self.process))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let mut ids = EventIds::new(0xfeed);
        let times = [1_000, 1_000, 999, 0, -5, 1_001, 1_001].map(WallTime::from_unix_millis);
        let made = times.map(|now| ids.next(now));
        assert!(made.is_sorted_by(|a, b| a < b && a.to_string() < b.to_string()), "{made:?}");
        assert_eq!(made[0].to_string(), "00000000000003e8000000000000feed");
        assert_eq!(made[3].to_string(), "00000000000003e8000000030000feed");
        assert_eq!(made[6].at().as_unix_millis(), 1_001);
        assert!(made.iter().all(|&id| ids.made(id)) && !EventIds::new(1).made(made[0]));
        ids.count = u32::MAX;
        assert!(ids.next(times[0]) > made[6]);
    }

    #[test]
    fn ids_are_parsed_as_they_are_shown() {
        let id = EventIds::new(7).next(WallTime::from_unix_millis(1_764_000_000_123));
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        for bad in ["", "0", &"0".repeat(33), &"F".repeat(32), &"+".repeat(32)] {
            assert_eq!(EventId::parse(bad), None, "{bad}");
        }
    }
}
