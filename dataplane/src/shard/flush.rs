//! The flush interval: latency when there is room, throughput when it is needed.
//!
//! ```text
//!   at once --- sending takes more than gather_above -------------------> gathered, 10 ms
//!      ^                                                                   |  grows and shrinks
//!      +--- sending each frame would take clearly less, for 2 s ----------+  about the target
//! ```
//!
//! Frames go out at once while that leaves the core room enough. Once it does not, half measures
//! would cost latency and save little: frames are gathered for an interval that grows until
//! sending takes clearly less than the target share of the shard's time.
//! Subscribers are spread over [`BUCKETS`] parts of the interval, so that a shard never sends to
//! all of them in one turn.

use std::time::{Duration, Instant};

use crate::config::EgressConfig;

/// Parts of one interval; a subscriber belongs to one of them.
pub const BUCKETS: usize = 16;

const WINDOW: Duration = Duration::from_millis(250);
/// The interval grows above, and shrinks below, so much of the target: at the target itself it
/// would do so again and again.
const GROWS_ABOVE: f64 = 0.8;
const SHRINKS_BELOW: f64 = 0.6;
/// Gathering ends when sending each frame would take less than this of what began it, ...
const ENDS_BELOW: f64 = 0.8;
/// ... for so many windows in a row.
const ENDS_AFTER: u8 = 8;
const FIRST_INTERVAL: Duration = Duration::from_millis(10);

/// Chooses the interval. Lives on: each shard. Crosses by: never.
#[derive(Debug)]
pub struct Flush {
    gather_above: f64,
    target: f64,
    min: Duration,
    max: Duration,
    interval: Duration,
    window_began: Instant,
    busy: Duration,
    utilisation: f64,
    /// Windows in a row in which gathering was not needed.
    unneeded: u8,
    bucket: usize,
    next: Instant,
}

impl Flush {
    /// Starts with the shortest interval allowed.
    #[must_use]
    pub const fn new(config: &EgressConfig, now: Instant) -> Self {
        Self {
            gather_above: config.gather_above,
            target: config.utilisation_target,
            min: config.batch_min,
            max: config.batch_max,
            interval: config.batch_min,
            window_began: now,
            busy: Duration::ZERO,
            utilisation: 0.0,
            unneeded: 0,
            bucket: 0,
            next: now,
        }
    }

    /// Takes new settings; the interval moves into their bounds.
    pub fn reload(&mut self, config: &EgressConfig) {
        self.gather_above = config.gather_above;
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
    ///
    /// `each` is the share of the shard's time that sending every frame at once would take.
    pub fn account(&mut self, now: Instant, busy: Duration, each: impl FnOnce() -> f64) {
        self.busy += busy;
        let passed = now.saturating_duration_since(self.window_began);
        if passed < WINDOW {
            return;
        }
        self.utilisation = self.busy.as_secs_f64() / passed.as_secs_f64();
        self.window_began = now;
        self.busy = Duration::ZERO;
        let interval = if self.immediate() { self.begin() } else { self.adapt(each()) };
        self.interval = interval.clamp(self.min, self.max.max(self.min));
        self.next = self.next.min(now + self.interval);
    }

    /// The interval after a window in which every frame went out at once.
    fn begin(&mut self) -> Duration {
        self.unneeded = 0;
        if self.utilisation > self.gather_above { FIRST_INTERVAL } else { Duration::ZERO }
    }

    /// The interval after a window in which frames were gathered.
    fn adapt(&mut self, each: f64) -> Duration {
        let needed = each > self.gather_above * ENDS_BELOW;
        self.unneeded = if needed { 0 } else { self.unneeded.saturating_add(1) };
        if self.unneeded >= ENDS_AFTER {
            return Duration::ZERO;
        }
        if self.utilisation > self.target * GROWS_ABOVE {
            self.interval.mul_f64(1.25)
        } else if self.utilisation < self.target * SHRINKS_BELOW {
            self.interval.mul_f64(0.9).max(FIRST_INTERVAL)
        } else {
            self.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    /// So many windows in which sending took `share`, while each frame at once would take `each`.
    fn run(flush: &mut Flush, from: Instant, windows: u32, share: f64, each: f64) -> Instant {
        let mut now = from;
        for _ in 0..windows {
            now += WINDOW;
            flush.account(now, WINDOW.mul_f64(share), || each);
        }
        now
    }

    #[test]
    fn frames_go_out_at_once_while_that_leaves_room() {
        let t0 = origin();
        let mut flush = Flush::new(&EgressConfig::default(), t0);
        run(&mut flush, t0, 100, 0.39, 0.39);
        assert!(flush.immediate(), "more than the target, and still room enough");
    }

    #[test]
    fn it_grows_under_load_and_returns_to_immediate() {
        let t0 = origin();
        let config = EgressConfig::default();
        let mut flush = Flush::new(&config, t0);
        assert!(flush.immediate());
        let t1 = run(&mut flush, t0, 40, 0.9, 0.9);
        assert_eq!(flush.interval(), config.batch_max);
        let t2 = run(&mut flush, t1, 3, 0.14, 0.9);
        assert_eq!(flush.interval(), config.batch_max, "between 60 % and 80 % it holds");
        let t3 = run(&mut flush, t2, 60, 0.01, 0.33);
        assert_eq!(flush.interval(), FIRST_INTERVAL, "each at once would be too much soon");
        let t4 = run(&mut flush, t3, 7, 0.01, 0.1);
        assert!(!flush.immediate(), "a moment is not enough");
        run(&mut flush, t4, 1, 0.01, 0.1);
        assert!(flush.immediate());
    }

    #[test]
    fn players_who_left_end_gathering_whatever_the_interval_saved() {
        let t0 = origin();
        let config = EgressConfig::default();
        let mut flush = Flush::new(&config, t0);
        let t1 = run(&mut flush, t0, 40, 0.5, 0.9);
        // A quarter of them is left: gathered they take as much as a target allows.
        run(&mut flush, t1, 8, 0.14, 0.23);
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
