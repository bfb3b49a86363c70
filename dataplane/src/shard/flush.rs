//! The flush interval: latency when there is room, throughput when it is needed.
//!
//! Below the target utilisation every frame goes out at once. Above it frames are gathered for an
//! interval that grows until sending takes clearly less than the target share of the shard's time:
//! at the target itself it would begin and end again and again.
//! Subscribers are spread over [`BUCKETS`] parts of the interval, so that a shard never sends to
//! all of them in one turn.

use std::time::{Duration, Instant};

use crate::config::EgressConfig;

/// Parts of one interval; a subscriber belongs to one of them.
pub const BUCKETS: usize = 16;

const WINDOW: Duration = Duration::from_millis(250);
/// While frames are gathered the interval grows above, and shrinks below, so much of the target.
const GROWS_ABOVE: f64 = 0.8;
const SHRINKS_BELOW: f64 = 0.6;
const FIRST_INTERVAL: Duration = Duration::from_millis(10);

/// Chooses the interval. Lives on: each shard. Crosses by: never.
#[derive(Debug)]
pub struct Flush {
    target: f64,
    min: Duration,
    max: Duration,
    interval: Duration,
    window_began: Instant,
    busy: Duration,
    utilisation: f64,
    bucket: usize,
    next: Instant,
}

impl Flush {
    /// Starts with the shortest interval allowed.
    #[must_use]
    pub const fn new(config: &EgressConfig, now: Instant) -> Self {
        Self {
            target: config.utilisation_target,
            min: config.batch_min,
            max: config.batch_max,
            interval: config.batch_min,
            window_began: now,
            busy: Duration::ZERO,
            utilisation: 0.0,
            bucket: 0,
            next: now,
        }
    }

    /// Takes new settings; the interval moves into their bounds.
    pub fn reload(&mut self, config: &EgressConfig) {
        self.target = config.utilisation_target;
        self.min = config.batch_min;
        self.max = config.batch_max.max(config.batch_min);
        self.interval = self.interval.clamp(self.min, self.max);
    }

    /// True if every frame goes out at once.
    #[must_use]
    pub const fn immediate(&self) -> bool {
        self.interval.is_zero()
    }

    /// The interval in force.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Share of the last window that sending took.
    #[must_use]
    pub const fn utilisation(&self) -> f64 {
        self.utilisation
    }

    /// When the next bucket is due.
    #[must_use]
    pub const fn next_due(&self) -> Instant {
        self.next
    }

    /// The next bucket if it is due by `now`; called until it answers `None`.
    pub fn due(&mut self, now: Instant) -> Option<usize> {
        if self.immediate() || self.next > now {
            return None;
        }
        let step = self.interval / BUCKETS as u32;
        // A shard that slept longer than an interval owes each bucket one flush, not many.
        self.next = (self.next + step).max(now.checked_sub(self.interval).unwrap_or(now));
        self.bucket = (self.bucket + 1) % BUCKETS;
        Some(self.bucket)
    }

    /// Accounts `busy` time of sending and adapts the interval once per window.
    pub fn account(&mut self, now: Instant, busy: Duration) {
        self.busy += busy;
        let passed = now.saturating_duration_since(self.window_began);
        if passed < WINDOW {
            return;
        }
        self.utilisation = self.busy.as_secs_f64() / passed.as_secs_f64();
        self.window_began = now;
        self.busy = Duration::ZERO;
        let enough = if self.immediate() { self.target } else { self.target * GROWS_ABOVE };
        if self.utilisation > enough {
            self.interval = (self.interval.mul_f64(1.25)).max(FIRST_INTERVAL);
        } else if self.utilisation < self.target * SHRINKS_BELOW {
            self.interval = self.interval.mul_f64(0.9);
            if self.interval < FIRST_INTERVAL / 2 {
                self.interval = Duration::ZERO;
            }
        }
        self.interval = self.interval.clamp(self.min, self.max.max(self.min));
        self.next = self.next.min(now + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn run(flush: &mut Flush, from: Instant, windows: u32, share: f64) -> Instant {
        let mut now = from;
        for _ in 0..windows {
            now += WINDOW;
            flush.account(now, WINDOW.mul_f64(share));
        }
        now
    }

    #[test]
    fn it_grows_under_load_and_returns_to_immediate() {
        let t0 = origin();
        let config = EgressConfig::default();
        let mut flush = Flush::new(&config, t0);
        assert!(flush.immediate());
        let t1 = run(&mut flush, t0, 40, 0.9);
        assert_eq!(flush.interval(), config.batch_max);
        let t2 = run(&mut flush, t1, 3, 0.14);
        assert_eq!(flush.interval(), config.batch_max, "between 60 % and 80 % it holds");
        run(&mut flush, t2, 60, 0.01);
        assert!(flush.immediate());
    }

    #[test]
    fn every_bucket_comes_once_per_interval() {
        let t0 = origin();
        let config =
            EgressConfig { batch_min: Duration::from_millis(160), ..EgressConfig::default() };
        let mut flush = Flush::new(&config, t0);
        let mut seen = [0; BUCKETS];
        for ms in 0..1600 {
            while let Some(bucket) = flush.due(t0 + Duration::from_millis(ms)) {
                seen[bucket] += 1;
            }
        }
        assert!(seen.iter().all(|&n| n == 10), "{seen:?}");
    }
}
