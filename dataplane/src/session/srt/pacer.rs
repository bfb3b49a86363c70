//! Budgets of bytes: how fast is sent, how much is sent again.
//!
//! Shape: a bucket that fills at a rate and holds a burst; what is sent takes from it and may
//! take the last packet on credit. So a timer may be as coarse as the burst is long. What is earned
//! otherwise is put in by hand.

use std::time::{Duration, Instant};

/// Nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;

/// A bucket of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: u64,
    /// What comes in the longest burst.
    burst: i64,
    floor: i64,
    /// What is left, negative after the credit of a packet.
    bytes: i64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket that holds what comes in `burst`, and `floor` bytes in any case.
    pub(super) fn new(rate: u64, burst: Duration, floor: u32, now: Instant) -> Self {
        let burst = come(rate, burst);
        let mut bucket = Self { rate, burst, floor: floor.into(), bytes: 0, filled: now };
        bucket.bytes = bucket.depth();
        bucket
    }

    /// From now on it holds `bytes` in any case.
    pub(super) fn set_floor(&mut self, bytes: u64) {
        self.floor = i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// Puts bytes in, as far as there is room.
    pub(super) fn earn(&mut self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(bytes).min(self.depth());
    }

    /// True if something may be sent.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.bytes > 0
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// When half of it is there again, and so more than one packet may be sent.
    pub(super) fn half_full(&self) -> Instant {
        self.filled_to(self.depth() / 2)
    }

    /// When one packet may be sent again.
    pub(super) fn opens(&self) -> Instant {
        self.filled_to(1)
    }

    fn filled_to(&self, bytes: i64) -> Instant {
        let wanted = u64::try_from(bytes - self.bytes).unwrap_or(0);
        let wait = Duration::from_nanos(nanos_of(wanted, self.rate.max(1)));
        self.filled.checked_add(wait).unwrap_or(self.filled)
    }

    fn depth(&self) -> i64 {
        self.burst.max(self.floor)
    }

    fn fill(&mut self, now: Instant) {
        // All packets of a turn are sent at one time.
        if now <= self.filled {
            return;
        }
        let gained = come(self.rate, now.saturating_duration_since(self.filled));
        // What is less than a byte counts next time.
        if gained > 0 {
            self.bytes = self.bytes.saturating_add(gained).min(self.depth());
            self.filled = now;
        }
    }
}

/// Bytes that come in a time; numbers of 64 bits do for all but the longest.
fn come(rate: u64, time: Duration) -> i64 {
    let nanos = u64::try_from(time.as_nanos()).ok();
    let bytes = match nanos.and_then(|nanos| rate.checked_mul(nanos)) {
        Some(product) => u128::from(product / NANOS),
        None => u128::from(rate) * time.as_nanos() / u128::from(NANOS),
    };
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Nanoseconds in which so many bytes come.
fn nanos_of(bytes: u64, rate: u64) -> u64 {
    match bytes.checked_mul(NANOS) {
        Some(product) => product.div_ceil(rate),
        None => {
            let nanos = (u128::from(bytes) * u128::from(NANOS)).div_ceil(rate.into());
            u64::try_from(nanos).unwrap_or(u64::MAX)
        }
    }
}

/// How many bytes came in a second of late: in the last whole one, or already in this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateMeter {
    since: Instant,
    bytes: u64,
    rate: u64,
}

impl RateMeter {
    const WINDOW: Duration = Duration::from_secs(1);

    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0, rate: 0 }
    }

    /// Counts bytes.
    pub(super) fn count(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        let time = now.saturating_duration_since(self.since);
        if time < Self::WINDOW {
            return;
        }
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        self.rate = self.bytes.saturating_mul(1_000) / millis;
        (self.since, self.bytes) = (now, 0);
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate.max(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_coarse_timer_reaches_the_rate() {
        let start = epoch();
        let mut bucket = Bucket::new(1_000_000, MS * 10, 0, start);
        let mut now = start;
        let mut sent = 0;
        while now < start + MS * 10_000 {
            while bucket.is_open(now) {
                bucket.spend(1_316);
                sent += 1_316;
            }
            // The timer wakes up to 4 ms late.
            now = bucket.half_full().max(now) + MS * 4;
        }
        assert!((9_800_000..=10_020_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_burst_is_bounded_after_silence() {
        let start = epoch();
        let mut bucket = Bucket::new(1_000_000, MS * 10, 3_000, start);
        let later = start + MS * 100_000;
        let mut sent = 0;
        while bucket.is_open(later) {
            bucket.spend(1_000);
            sent += 1_000;
        }
        assert_eq!(sent, 10_000);
        assert!(!bucket.is_open(later));
        assert_eq!(bucket.half_full(), later + MS * 5);
        assert_eq!(bucket.opens(), later + Duration::from_micros(1));
    }

    #[test]
    fn what_is_earned_is_kept_as_far_as_there_is_room() {
        let start = epoch();
        let mut bucket = Bucket::new(1_000, MS, 3_000, start);
        bucket.earn(1_000);
        bucket.spend(4_000);
        assert_eq!(bucket.opens(), start + MS * 1_001, "it was full before");
        assert_eq!(bucket.half_full(), start + MS * 2_500);
        bucket.set_floor(50_000);
        bucket.earn(20_000);
        bucket.spend(18_999);
        assert!(bucket.is_open(start), "one byte is left");
        bucket.earn(u64::MAX);
        bucket.spend(50_000);
        assert!(!bucket.is_open(start));
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let start = epoch();
        let mut meter = RateMeter::new(start);
        meter.count(500, start + MS * 999);
        assert_eq!(meter.rate(), 500, "so many are there already");
        meter.count(500, start + MS * 1_000);
        assert_eq!(meter.rate(), 1_000);
        meter.count(100, start + MS * 1_500);
        assert_eq!(meter.rate(), 1_000, "those of the second before");
        meter.count(100, start + MS * 2_000);
        assert_eq!(meter.rate(), 200);
    }
}
