//! Pace: how fast a peer may talk. One that talks faster is not read until it was slow enough.

use std::time::Duration;

use tokio::time::Instant;

/// So many seconds' worth may come at once, as after a connection was lost.
const BURST_S: u32 = 4;

/// A bucket of tokens, of which each message takes one.
#[derive(Debug)]
pub(super) struct Pace {
    /// What one token takes to come.
    token: Duration,
    /// When the bucket would be full.
    full: Instant,
    burst: Duration,
}

impl Pace {
    /// So many messages a second.
    pub(super) fn new(per_s: u32, now: Instant) -> Self {
        let token = Duration::from_secs(1) / per_s.max(1);
        Self { token, full: now, burst: token * per_s.max(1) * BURST_S }
    }

    /// A message came.
    pub(super) fn take(&mut self, now: Instant) {
        self.full = self.full.max(now) + self.token;
    }

    /// When the next one may be read.
    pub(super) fn next(&self) -> Instant {
        self.full.checked_sub(self.burst).unwrap_or(self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_one_at_a_time() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::new(10, now);
        for _ in 0..40 {
            assert!(pace.next() <= now);
            pace.take(now);
        }
        pace.take(now);
        assert_eq!(pace.next() - now, Duration::from_millis(100));
        let later = now + Duration::from_secs(3_600);
        pace.take(later);
        assert_eq!(later - pace.next(), Duration::from_millis(3_900), "no more is saved up");
    }
}
