//! Bursts: how much more than its mean a log brings in its fullest intervals.
//!
//! Frames that are gathered go out interval by interval, and the interval with a key frame in it
//! takes several times as long to send as the others. A shard that has time for the mean may not
//! have it for that one, and then latency ends its room before its core is used up.
//!
//! ```text
//!   bytes |      #              #      a burst: the third of the fullest intervals, one of each
//!         |      #              #      two seconds, of the last 45 to 90 s; beyond the mean
//!         | # #  #  # #  # # #  #  #
//!         +---------------------------> intervals
//! ```
//!
//! So key frames count that come every 15 seconds or more often, which is what a p99 notices, and
//! what a publisher sends at once that was cut off for a while is no habit.
//!
//! Of all streams together: those of one stream come at one moment in each of its formats, and so
//! they add up. Those of different streams are taken for independent of each other, so that their
//! squares add up; streams of one encoder that share its clock burst together, and are more.
//!
//! Units: bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::headroom::Rate;
use crate::config::EgressConfig;
use crate::ids::StreamName;

/// The fullest intervals of one period are remembered until the end of the next.
const PERIOD: Duration = Duration::from_secs(45);
/// Of so long, only the fullest interval counts.
const SPAN: Duration = Duration::from_secs(2);
/// Spans of a period that are remembered: the third of them is a habit.
const FULLEST: usize = 3;
/// What a burst is taken for before a period has told it: a key frame is as long as so many seconds
/// of its stream.
const TYPICAL_SECONDS: f64 = 0.25;
/// No burst is longer than so many seconds of its stream.
const SECONDS_MAX: f64 = 1.0;
/// Where frames are gathered for less or not at all, a burst may take as long as if they were
/// gathered for this.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How long it may take to send what comes at once.
pub(super) fn interval(egress: &EgressConfig) -> Duration {
    egress.batch_max.max(INTERVAL_MIN)
}

/// The fullest intervals of one log. Lives on: the reading shard. Crosses by: never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    interval: Duration,
    /// When the interval under way began, and where.
    began: Instant,
    from: u64,
    /// Where the log ends; `None` before it was seen.
    end: Option<u64>,
    /// When the span under way began, and the bytes of its fullest interval.
    span_began: Instant,
    span_most: u64,
    period_began: Instant,
    /// A whole period has passed.
    told: bool,
    /// Bytes of the fullest intervals of this period, and of the one before, in falling order.
    fullest: [[u64; FULLEST]; 2],
}

impl Burst {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            interval: Duration::ZERO,
            began: now,
            from: 0,
            end: None,
            span_began: now,
            span_most: 0,
            period_began: now,
            told: false,
            fullest: [[0; FULLEST]; 2],
        }
    }

    /// The log ends at `end` now; what comes within `interval` goes out together.
    pub(super) fn step(&mut self, end: u64, now: Instant, interval: Duration) {
        let before = self.end.replace(end).filter(|_| self.interval == interval);
        let Some(before) = before else {
            // What it held before it was read came at no moment, and with another interval it would
            // have come otherwise.
            *self = Self { from: end, end: Some(end), interval, ..Self::new(now) };
            return;
        };
        if now.saturating_duration_since(self.began) < interval {
            return;
        }
        self.span_most = self.span_most.max(before.saturating_sub(self.from));
        (self.began, self.from) = (now, before);
        if now.saturating_duration_since(self.span_began) >= SPAN {
            self.end_span(now);
        }
        if now.saturating_duration_since(self.period_began) >= PERIOD {
            self.period_began = now;
            self.told = true;
            self.fullest = [[0; FULLEST], self.fullest[0]];
        }
    }

    fn end_span(&mut self, now: Instant) {
        let mut most = std::mem::take(&mut self.span_most);
        for kept in &mut self.fullest[0] {
            if most > *kept {
                std::mem::swap(&mut most, kept);
            }
        }
        self.span_began = now;
    }

    /// Bytes of a full interval beyond what `rate` brings in each.
    pub(super) fn beyond(&self, rate: &Rate, interval: Duration) -> f64 {
        let mut all = [0; 2 * FULLEST];
        all.iter_mut().zip(self.fullest.iter().flatten()).for_each(|(to, bytes)| *to = *bytes);
        all.sort_unstable();
        let full = all[FULLEST] as f64;
        let beyond = rate.bytes.mul_add(-interval.as_secs_f64(), full);
        let beyond = beyond.clamp(0.0, rate.bytes.max(0.0) * SECONDS_MAX);
        if self.told { beyond } else { beyond.max(Self::typical(rate)) }
    }

    /// The same of a stream that has not told yet.
    pub(super) const fn typical(rate: &Rate) -> f64 {
        rate.bytes * TYPICAL_SECONDS
    }
}

/// Bursts of all who play, stream by stream. Lives on: its shard. Crosses by: never.
#[derive(Clone, Debug, Default)]
pub(super) struct Bursts {
    of: HashMap<StreamName, f64>,
    /// The sum of their squares, kept so that nobody who joins is compared with all streams.
    squares: f64,
}

impl Bursts {
    pub(super) fn clear(&mut self) {
        self.of.clear();
        self.squares = 0.0;
    }

    /// Who plays `stream` is sent so many bytes more in a burst of it.
    pub(super) fn add(&mut self, stream: &StreamName, bytes: f64) {
        self.squares += self.squares_of(stream, bytes);
        match self.of.get_mut(stream) {
            Some(all) => *all += bytes,
            None => _ = self.of.insert(stream.clone(), bytes),
        }
    }

    pub(super) fn subtract(&mut self, stream: &StreamName, bytes: f64) {
        if let Some(all) = self.of.get_mut(stream) {
            let before = *all;
            *all = (before - bytes).max(0.0);
            self.squares = (self.squares - (before * before - *all * *all)).max(0.0);
        }
    }

    /// Bytes of a burst of all together.
    pub(super) fn all(&self) -> f64 {
        self.squares.sqrt()
    }

    /// The same if those of `stream` were so many more.
    pub(super) fn all_with(&self, stream: &StreamName, more: f64) -> f64 {
        (self.squares + self.squares_of(stream, more)).sqrt()
    }

    /// What the squares are more if those of `stream` are so many more.
    fn squares_of(&self, stream: &StreamName, more: f64) -> f64 {
        let before = self.of.get(stream).copied().unwrap_or(0.0);
        more * 2.0f64.mul_add(before, more)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const INTERVAL: Duration = Duration::from_millis(160);
    /// 25 frames a second, of which every fiftieth is a key frame.
    const FRAME: u64 = 8_000;
    const KEY_FRAME: u64 = 80_000;
    const RATE: Rate = Rate { bytes: (49 * FRAME + KEY_FRAME) as f64 / 2.0, entries: 25.0 };

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    /// Feeds so many frames, of which each `gop`th is a key frame.
    fn feed(burst: &mut Burst, (from, t0): (u64, Instant), frames: Range<u32>, gop: u32) -> u64 {
        let mut end = from;
        for n in frames {
            end += if n % gop == 0 { KEY_FRAME } else { FRAME };
            burst.step(end, t0 + 40 * MS * n, INTERVAL);
        }
        end
    }

    /// An interval with a key frame, beyond the mean.
    fn is_burst(burst: &Burst, rate: &Rate) {
        let full = (KEY_FRAME + 3 * FRAME) as f64;
        let wanted = full - rate.bytes * INTERVAL.as_secs_f64();
        let beyond = burst.beyond(rate, INTERVAL);
        assert!((beyond / wanted - 1.0).abs() < 0.01, "{beyond} instead of {wanted}");
    }

    #[test]
    fn a_burst_is_what_a_key_frame_brings_beyond_the_mean() {
        // Key frames each second, each 10 s as many encoders have it, and each 15 s; at each moment
        // of several periods.
        for gop in [25, 50, 250, 375] {
            let t0 = origin();
            let mut burst = Burst::new(t0);
            let mut end = feed(&mut burst, (5 << 20, t0), 0..1_200, gop);
            let bytes = (u64::from(gop - 1) * FRAME + KEY_FRAME) as f64 * 25.0 / f64::from(gop);
            let rate = Rate { bytes, entries: 25.0 };
            for at in (1_200..6_000).step_by(25) {
                end = feed(&mut burst, (end, t0), at..at + 25, gop);
                is_burst(&burst, &rate);
            }
        }
    }

    #[test]
    fn a_young_stream_is_taken_for_typical() {
        let t0 = origin();
        let mut burst = Burst::new(t0);
        let typical = RATE.bytes * 0.25;
        assert_eq!(burst.beyond(&RATE, INTERVAL), typical);
        // What a stream held before its first player is no burst.
        feed(&mut burst, (5 << 20, t0), 0..49, 50);
        assert_eq!(burst.beyond(&RATE, INTERVAL), typical);
        // Sound alone has none, once that is known.
        let mut even = Burst::new(t0);
        (0..1_200).for_each(|n| even.step(u64::from(n) * 400, t0 + 40 * MS * n, INTERVAL));
        assert!(even.beyond(&Rate { bytes: 10_000.0, entries: 25.0 }, INTERVAL) < 400.0);
        // A log that is read anew, or gathered for longer, tells anew.
        even.step(1_200 * 400, t0 + 40 * MS * 1_200, 2 * INTERVAL);
        assert_eq!(even.beyond(&RATE, 2 * INTERVAL), typical);
    }

    #[test]
    fn what_came_once_is_no_burst_and_what_is_long_ago_is_forgotten() {
        let t0 = origin();
        let mut burst = Burst::new(t0);
        let end = feed(&mut burst, (0, t0), 0..1_300, 50);
        // A publisher that was cut off sends all that it has, over several intervals.
        let flood = |n: u32| end + u64::from(n) * (400 << 10);
        (0..12).for_each(|n| burst.step(flood(n), t0 + 40 * MS * (1_300 + n), INTERVAL));
        let end = feed(&mut burst, (flood(12), t0), 1_312..1_500, 50);
        is_burst(&burst, &RATE);
        // One that always sends at once what it has is no more than its seconds.
        let seconds = |n: u32| end + u64::from(n) * 10 * RATE.bytes as u64;
        let came = |n: u32| t0 + 40 * MS * 1_500 + 10_000 * MS * n;
        (1..40).for_each(|n| burst.step(seconds(n), came(n), INTERVAL));
        assert!(burst.beyond(&RATE, INTERVAL) <= RATE.bytes);
        // Its key frames are smaller now.
        let end = seconds(40);
        let small = |n: u32| came(40) + 40 * MS * n;
        (0..2_600).for_each(|n| burst.step(end + u64::from(n) * FRAME, small(n), INTERVAL));
        assert!(burst.beyond(&Rate { bytes: 200_000.0, ..RATE }, INTERVAL) < FRAME as f64);
    }

    #[test]
    fn streams_burst_independently_and_formats_together() {
        let name = |n: u32| StreamName::parse(&format!("cam{n}")).unwrap();
        let mut bursts = Bursts::default();
        (0..100).for_each(|n| bursts.add(&name(n), 1_000.0));
        assert!((bursts.all() - 10_000.0).abs() < 0.001);
        let mut one = Bursts::default();
        (0..100).for_each(|_| one.add(&name(1), 1_000.0));
        assert!((one.all() - 100_000.0).abs() < 0.001);
        // What it would be is what it is then.
        let cases = [(bursts.clone(), name(3)), (one.clone(), name(1)), (one, name(2))];
        for (mut bursts, stream) in cases {
            let before = bursts.all();
            let would = bursts.all_with(&stream, 500.0);
            bursts.add(&stream, 500.0);
            assert!((bursts.all() - would).abs() < 0.001);
            bursts.subtract(&stream, 500.0);
            assert!((bursts.all() - before).abs() < 0.001);
        }
    }
}
