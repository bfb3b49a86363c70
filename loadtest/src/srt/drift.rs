//! How far the peer's clock has gone from ours since the handshake.
//!
//! Spec: draft-sharabayko-srt 4.7.
//!
//! Shape: of each [`WINDOW_US`] the packet counts that was quickest: what waits in queues, for a
//! sweep or to be sent again is late, and the clock is not.
//!
//! Units: microseconds of our clock, positive if the peer's is slower.

/// How long the quickest packet is looked for.
const WINDOW_US: u64 = 10_000_000;

#[derive(Debug, Default)]
pub(super) struct Drift {
    began_us: u64,
    /// From a packet's timestamp to when it came, at least, in this window.
    least_us: Option<i64>,
    /// The same of the first window.
    first_us: Option<i64>,
    drift_us: i64,
}

impl Drift {
    /// A packet has come.
    pub(super) fn came(&mut self, timestamp_us: u64, now_us: u64) {
        let taken_us = now_us.cast_signed() - timestamp_us.cast_signed();
        let least_us = self.least_us.map_or(taken_us, |least_us| least_us.min(taken_us));
        self.least_us = Some(least_us);
        if now_us.saturating_sub(self.began_us) >= WINDOW_US {
            let first_us = *self.first_us.get_or_insert(least_us);
            self.drift_us = least_us - first_us;
            (self.began_us, self.least_us) = (now_us, None);
        }
    }

    /// What is to be added to when a packet would be due.
    pub(super) const fn us(&self) -> i64 {
        self.drift_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour of packets, each of the peer's microseconds `ppm` too long.
    fn after_an_hour(ppm: i64) -> i64 {
        let mut drift = Drift::default();
        for packet in 0..36_000_u64 {
            let timestamp_us = packet * 100_000;
            let now_us = timestamp_us.saturating_add_signed(timestamp_us as i64 / 1_000_000 * ppm);
            // Most of them wait for something.
            drift.came(timestamp_us, now_us + 20_000 + packet % 7 * 9_000);
        }
        drift.us()
    }

    #[test]
    fn a_clock_that_drifts_is_followed_and_queues_are_not() {
        assert_eq!(after_an_hour(0), 0);
        for ppm in [50, -50] {
            let told_us = after_an_hour(ppm);
            assert!((told_us - 3_600 * ppm).abs() < 2_000, "{ppm}: {told_us}");
        }
    }
}
