//! When a packet is due: timestamp based packet delivery.
//!
//! Spec: draft-sharabayko-srt 4.5: the sender's clock is tied to ours by its handshake, and its
//! drift is followed by its ACKACKs.
//! Units: the sender's time is microseconds since it began, unrolled to 64 bits by our own clock,
//! so that neither silence nor a packet that lies leads the next one astray.

use std::time::{Duration, Instant};

use codecs::time::Unwrapper;

/// Measurements that make one step of drift.
const DRIFT_SAMPLES: i32 = 1_000;
/// Those that do if they took as long as [`DRIFT_STEP`]: sound alone is a few packets a second.
const DRIFT_SAMPLES_MIN: i32 = 16;
const DRIFT_STEP: Duration = Duration::from_secs(60);
/// One step at most: what a network can change meanwhile, and what a clock can drift, which is a
/// part in so many of the time.
const DRIFT_STEP_MAX_US: i64 = 5_000;
const DRIFT_PART: i64 = 2_000;
/// A first packet that was sent so long before the handshake was not: the two have other clocks.
const BEFORE_MAX_US: i64 = 1_000_000;

/// The clock of what is received.
#[derive(Debug)]
pub(super) struct PlayClock {
    /// When the handshake came whose timestamp was `zero_us`.
    base: Instant,
    zero_us: i64,
    /// What was added to the base since.
    shift_us: i64,
    latency: Duration,
    drift_sum_us: i64,
    drift_samples: i32,
    /// When the last step was made, since the base.
    stepped_us: i64,
}

impl PlayClock {
    pub(super) fn new(base: Instant, timestamp: u32, latency: Duration) -> Self {
        let zero_us = timestamp.into();
        Self {
            base,
            zero_us,
            shift_us: 0,
            latency,
            drift_sum_us: 0,
            drift_samples: 0,
            stepped_us: 0,
        }
    }

    /// The first packet comes. Nobody sends any before the handshake: a clock that shows much less
    /// than then, as srt-tokio's, which repeats in its handshake what ours showed, is tied to ours
    /// by this packet.
    pub(super) fn begin(&mut self, timestamp: u32, now: Instant) {
        if self.unroll(timestamp, now) < -BEFORE_MAX_US {
            (self.base, self.zero_us) = (now, timestamp.into());
        }
    }

    pub(super) const fn latency(&self) -> Duration {
        self.latency
    }

    /// The time of a packet that comes now on the sender's clock, since its handshake.
    pub(super) fn unroll(&self, timestamp: u32, now: Instant) -> i64 {
        let expected_us = self.zero_us.saturating_add(self.passed_us(now));
        Unwrapper::<32>::near(expected_us).unwrap(timestamp.into()) - self.zero_us
    }

    fn passed_us(&self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.base).as_micros();
        i64::try_from(passed).unwrap_or(i64::MAX)
    }

    /// When a packet is due that came at `arrival`: never later than if it had been sent just
    /// then, so that a clock that leaps does not hold up what came.
    pub(super) fn due(&self, at_us: i64, arrival: Instant) -> Instant {
        let after = |us: i64| match u64::try_from(us) {
            Ok(us) => self.base.checked_add(Duration::from_micros(us)),
            Err(_) => self.base.checked_sub(Duration::from_micros(us.unsigned_abs())),
        };
        let latest = arrival + self.latency;
        let sent = after(at_us.saturating_add(self.shift_us));
        sent.map_or(latest, |sent| (sent + self.latency).min(latest))
    }

    /// Learns from a packet that was sent just now, `delay` more than usual under way.
    pub(super) fn observe(&mut self, timestamp: u32, now: Instant, delay_us: i64) {
        let at_us = self.unroll(timestamp, now) + self.shift_us;
        let late_us = self.passed_us(now).saturating_sub(at_us).saturating_sub(delay_us);
        let bounded = late_us.clamp(-1_000_000, 1_000_000);
        self.drift_sum_us += bounded;
        self.drift_samples += 1;
        let took_us = self.passed_us(now).saturating_sub(self.stepped_us);
        let is_long = u128::try_from(took_us).is_ok_and(|us| us >= DRIFT_STEP.as_micros());
        let enough = if is_long { DRIFT_SAMPLES_MIN } else { DRIFT_SAMPLES };
        if self.drift_samples >= enough {
            let mean = self.drift_sum_us / i64::from(self.drift_samples);
            let most = DRIFT_STEP_MAX_US + took_us / DRIFT_PART;
            self.shift_us += mean.clamp(-most, most);
            (self.drift_sum_us, self.drift_samples) = (0, 0);
            self.stepped_us = self.passed_us(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_are_due_a_latency_after_they_were_sent() {
        let start = epoch() + MS * 10_000;
        let clock = PlayClock::new(start, 5_000, MS * 120);
        let at = clock.unroll(25_000, start + MS * 90);
        assert_eq!(clock.due(at, start + MS * 90), start + MS * 140);
        // A leap forward holds nothing up, one back makes it due at once.
        let at = clock.unroll(1_000_000_000, start + MS * 30);
        assert_eq!(clock.due(at, start + MS * 30), start + MS * 150);
        assert!(clock.due(-1_000_000, start) < start);
        assert_eq!(clock.due(i64::MAX, start), start + MS * 120);
        assert!(clock.due(i64::MIN, start) <= start + MS * 120);
    }

    #[test]
    fn a_handshake_of_another_clock_does_not_count() {
        let start = epoch() + MS * 10_000;
        let latency = MS * 400;
        let first = start + MS * 240;
        for (handshake, sent, due) in [
            // What our own clock showed; the sender's had just begun.
            (62_023_229, 194_233, first + latency),
            (0xffff_0000, 0xfff0_0000, first + latency),
            // Its own, and of a moment before.
            (0, 200_000, start + MS * 200 + latency),
            (62_000_000, 61_990_000, start - MS * 10 + latency),
            (0xffff_0000, 0x0002_0d40, start + MS * 200 + latency),
        ] {
            let mut clock = PlayClock::new(start, handshake, latency);
            clock.begin(sent, first);
            let at = clock.unroll(sent, first);
            let late = clock.due(at, first).duration_since(due);
            assert!(late < MS, "{handshake} {sent}: {late:?}");
            // A second later it goes on.
            let next = clock.unroll(sent.wrapping_add(1_000_000), first + MS * 1_000);
            assert_eq!(next - at, 1_000_000);
        }
    }

    #[test]
    fn time_goes_on_over_the_wrap() {
        let start = epoch();
        let clock = PlayClock::new(start, 0xffff_0000, MS * 120);
        assert_eq!(clock.unroll(0x1_0000, start + MS * 150), 0x2_0000);
        assert_eq!(clock.unroll(0xffff_fff0, start + MS * 150), 0xfff0);
    }

    #[test]
    fn silence_and_lies_do_not_move_the_clock() {
        let start = epoch();
        let clock = PlayClock::new(start, 7_000_000, MS * 120);
        for minutes in [0, 20, 36, 50, 71, 72, 107, 10_000] {
            let now = start + MS * 60_000 * minutes;
            let passed_us = 60_000_000 * i64::from(minutes);
            let wire = u32::try_from((7_000_000 + passed_us) & 0xffff_ffff).unwrap();
            for lie in [0, 0xdead_beef, 0x7fff_ffff] {
                clock.unroll(lie, now);
                assert_eq!(clock.unroll(wire, now), passed_us, "{minutes} minutes");
            }
        }
    }

    #[test]
    fn the_senders_clock_is_followed() {
        // It is slow by 100 millionths: 10 ms in 100 s; an answer every 10 ms, or every second.
        for (interval_ms, count) in [(10, 20_000), (1_000, 3_600)] {
            let start = epoch();
            let mut clock = PlayClock::new(start, 0, MS * 120);
            let mut now = start;
            let mut sent_us = 0_u32;
            for _ in 0..count {
                now += MS * interval_ms;
                sent_us += interval_ms * 1_000 - interval_ms / 10;
                clock.observe(sent_us, now, 0);
            }
            let at = clock.unroll(sent_us, now);
            let late = (now + MS * 120).duration_since(clock.due(at, now));
            assert!(late < MS * 10, "{late:?} of {} ms are left", count * interval_ms / 10_000);
        }
    }
}
