//! Stream ids: each stream on the air has a number of its own, which sorts by time.

use std::time::{SystemTime, UNIX_EPOCH};

use dataplane::ids::StreamId;

/// Numbers streams.
///
/// Shape: 8 bytes of Unix milliseconds, 4 of a counter, both big endian, and 4 random ones that
/// keep the numbers of two nodes apart. Their order is the order in which they were made, also when
/// the clock is set back.
#[derive(Debug, Default)]
pub struct StreamIds {
    millis: u64,
    counter: u32,
}

impl StreamIds {
    /// The next number, made at the time `now`.
    pub fn next(&mut self, now: SystemTime) -> StreamId {
        let millis = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.millis = self.millis.max(u64::try_from(millis).unwrap_or(u64::MAX - 1));
        let (counter, full) = self.counter.overflowing_add(1);
        self.counter = counter;
        // A counter that begins again is later than the millisecond of those before.
        self.millis += u64::from(full);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.millis.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.counter.to_be_bytes());
        // Without a source of chance the counter alone keeps the numbers of this node apart.
        let _ = getrandom::fill(&mut bytes[12..]);
        StreamId(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_sort_by_time_whatever_the_clock_does() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let mut ids = StreamIds::default();
        let made: Vec<_> =
            [5, 5, 9, 2, 0, 9, 10].into_iter().map(|now| ids.next(at(now)).0).collect();
        assert!(made.is_sorted() && made.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(made[0][..12], [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1]);
    }

    #[test]
    fn a_counter_that_begins_again_keeps_the_order() {
        let mut ids = StreamIds { millis: 7, counter: u32::MAX };
        let before = StreamIds { millis: 7, counter: u32::MAX - 1 }.next(UNIX_EPOCH);
        assert!(before.0 < ids.next(UNIX_EPOCH).0);
    }

    #[test]
    fn a_time_before_the_epoch_and_one_far_beyond_are_times() {
        let mut ids = StreamIds::default();
        let first = ids.next(UNIX_EPOCH - Duration::from_secs(1));
        let last = ids.next(UNIX_EPOCH + Duration::from_secs(1 << 40));
        assert!(first.0 < last.0);
    }
}
