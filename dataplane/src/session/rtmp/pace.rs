//! How fast and how long: rates that a peer may not exceed, and silence that it may not keep.

use std::time::{Duration, Instant};

use crate::Error;
use crate::config::{LimitId, Limits, SessionConfig};

const SECOND_MS: u32 = 1_000;

/// Things counted in windows of one second.
///
/// Units: milliseconds of the session's life, which wrap.
#[derive(Debug, Default)]
pub(super) struct Rates {
    since_ms: u32,
    chunks: u32,
    messages: u32,
    controls: u32,
}

impl Rates {
    /// Counts one fragment; one that ends a message counts as that, too, and one that is not media
    /// as a control message. A chunk cut by the end of a read counts twice, which only the limit of
    /// chunks sees.
    pub(super) fn count(
        &mut self,
        now_ms: u32,
        ends: bool,
        media: bool,
        limits: &Limits,
    ) -> Result<(), Error> {
        if now_ms.wrapping_sub(self.since_ms) >= SECOND_MS {
            *self = Self { since_ms: now_ms, ..Self::default() };
        }
        self.chunks += 1;
        self.messages += u32::from(ends);
        self.controls += u32::from(ends && !media);
        for (count, limit) in [
            (self.chunks, LimitId::RtmpChunksPerSecondMax),
            (self.messages, LimitId::RtmpMessagesPerSecondMax),
            (self.controls, LimitId::RtmpControlPerSecondMax),
        ] {
            if u64::from(count) > limits.get(limit) {
                return Err(Error::Limit(limit));
            }
        }
        Ok(())
    }

    /// How long the second lasts that is counted in.
    pub(super) fn rest(&self, now_ms: u32) -> Duration {
        let gone_ms = now_ms.wrapping_sub(self.since_ms);
        Duration::from_millis(u64::from(SECOND_MS.saturating_sub(gone_ms)))
    }
}

/// A publisher's supply of media: when it came last, and how much of it in windows of
/// `publish_idle`.
#[derive(Debug)]
pub(in crate::session) struct Supply {
    /// When to look again; not moved by every message, so that the timer rests.
    wake: Instant,
    last: Instant,
    window_began: Instant,
    bytes: u64,
}

impl Supply {
    pub(in crate::session) fn new(now: Instant, config: &SessionConfig) -> Self {
        Self { wake: now + config.publish_idle, last: now, window_began: now, bytes: 0 }
    }

    pub(in crate::session) const fn add(&mut self, now: Instant, bytes: usize) {
        self.last = now;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    pub(in crate::session) const fn deadline(&self) -> Instant {
        self.wake
    }

    /// Judges silence, and the window if it is over.
    pub(in crate::session) fn check(
        &mut self,
        now: Instant,
        config: &SessionConfig,
    ) -> Result<(), Error> {
        if now < self.wake {
            return Ok(());
        }
        let idle = config.publish_idle;
        if now.saturating_duration_since(self.last) >= idle {
            return Err(Error::Timeout { what: "publish_idle" });
        }
        let window = now.saturating_duration_since(self.window_began);
        if window >= idle {
            let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            if self.bytes.saturating_mul(8) < config.publish_bps_min.saturating_mul(millis) / 1000 {
                return Err(Error::Timeout { what: "publish_bps_min" });
            }
            (self.window_began, self.bytes) = (now, 0);
        }
        self.wake = (self.last + idle).min(self.window_began + idle);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    #[test]
    fn a_rate_counts_its_own_second_only() {
        let limits = Limits { rtmp_control_per_second_max: 2, ..Limits::default() };
        let mut rates = Rates::default();
        // The clock wraps between the second and the third.
        for second in 0..3 {
            let now = (u32::MAX - SECOND_MS).wrapping_add(SECOND_MS * second);
            assert_eq!(rates.count(now, true, false, &limits), Ok(()));
            assert_eq!(rates.count(now, true, false, &limits), Ok(()));
            assert_eq!(rates.count(now, true, true, &limits), Ok(()), "media is no control");
            assert_eq!(
                rates.count(now, true, false, &limits),
                Err(Error::Limit(LimitId::RtmpControlPerSecondMax))
            );
        }
    }

    #[test]
    fn silence_and_a_trickle_have_their_own_words() {
        let config = SessionConfig::default();
        let start = epoch();
        let check = |bytes, after: u64| {
            let mut supply = Supply::new(start, &config);
            supply.add(start + Duration::from_secs(after), bytes);
            assert_eq!(supply.check(start + Duration::from_secs(after), &config), Ok(()));
            let first = supply.check(start + config.publish_idle, &config);
            first.and_then(|()| supply.check(supply.deadline(), &config))
        };
        assert_eq!(check(0, 0), Err(Error::Timeout { what: "publish_idle" }));
        assert_eq!(check(1_874, 1), Err(Error::Timeout { what: "publish_bps_min" }));
        assert_eq!(
            check(1_875, 1),
            Err(Error::Timeout { what: "publish_idle" }),
            "1000 b/s were enough in the first window, then came silence"
        );
    }
}
