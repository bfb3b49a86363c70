//! Bursts: how much more than its mean a log brings in its fullest intervals.
//!
//! Frames that are gathered go out interval by interval, and the interval with a key frame in it
//! takes several times as long to send as the others. A shard that has time for the mean may not
//! have it for that one, and then latency ends its room before its core is used up.
//!
//! ```text
//!   bytes |      #              #      a burst: the second fullest interval of the last ten to
//!         |      #              #      twenty seconds, beyond the mean
//!         | # #  #  # #  # # #  #  #
//!         +---------------------------> intervals
//! ```
//!
//! Of all streams together: those of one stream come at one moment in each of its formats, and so
//! they add up. Those of different streams come independently of each other, and so their squares
//! do.
//!
//! Units: bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::headroom::Rate;
use crate::ids::StreamName;

/// The fullest intervals of one period are remembered until the end of the next.
const PERIOD: Duration = Duration::from_secs(10);
/// What a burst is taken for before a period has told it: a key frame is as long as so many seconds
/// of its stream.
const TYPICAL_SECONDS: f64 = 0.25;

/// The fullest intervals of one log. Lives on: the reading shard. Crosses by: never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    /// When the interval under way began, and where.
    began: Instant,
    from: u64,
    /// Where the log ends; `None` before it was seen.
    end: Option<u64>,
    period_began: Instant,
    /// A whole period has passed.
    told: bool,
    /// Bytes of the two fullest intervals of this period, and of the one before.
    fullest: [[u64; 2]; 2],
}

impl Burst {
    pub(super) const fn new(now: Instant) -> Self {
        let fullest = [[0; 2]; 2];
        Self { began: now, from: 0, end: None, period_began: now, told: false, fullest }
    }

    /// The log ends at `end` now; frames are gathered for `interval`.
    pub(super) fn step(&mut self, end: u64, now: Instant, interval: Duration) {
        let Some(before) = self.end.replace(end) else {
            // What it held before it was read came at no moment.
            *self = Self { from: end, end: Some(end), ..Self::new(now) };
            return;
        };
        if now.saturating_duration_since(self.began) < interval {
            return;
        }
        let bytes = before.saturating_sub(self.from);
        let [most, second] = &mut self.fullest[0];
        if bytes > *most {
            (*most, *second) = (bytes, *most);
        } else {
            *second = bytes.max(*second);
        }
        (self.began, self.from) = (now, before);
        if now.saturating_duration_since(self.period_began) >= PERIOD {
            self.period_began = now;
            self.told = true;
            self.fullest = [[0; 2], self.fullest[0]];
        }
    }

    /// Bytes of a full interval beyond what `rate` brings in each.
    ///
    /// What came once, a publisher that had been cut off for a while, is no habit: the second
    /// fullest interval counts.
    pub(super) fn beyond(&self, rate: &Rate, interval: Duration) -> f64 {
        let [[most, second], [most_before, second_before]] = self.fullest;
        let full = most.min(most_before).max(second).max(second_before) as f64;
        let beyond = (full - rate.bytes * interval.as_secs_f64()).max(0.0);
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

    /// Feeds so many frames.
    fn feed(burst: &mut Burst, from: (u64, Instant), frames: std::ops::Range<u32>) -> u64 {
        let (mut end, t0) = from;
        for n in frames {
            end += if n % 50 == 0 { KEY_FRAME } else { FRAME };
            burst.step(end, t0 + 40 * MS * n, INTERVAL);
        }
        end
    }

    fn near(value: f64, wanted: u64) {
        assert!((value / wanted as f64 - 1.0).abs() < 0.15, "{value} is not near {wanted}");
    }

    #[test]
    fn a_burst_is_what_a_key_frame_brings_beyond_the_mean() {
        let t0 = origin();
        let mut burst = Burst::new(t0);
        feed(&mut burst, (5 << 20, t0), 0..300);
        assert!(burst.told);
        near(burst.beyond(&RATE, INTERVAL), KEY_FRAME - FRAME);
    }

    #[test]
    fn a_young_stream_is_taken_for_typical() {
        let t0 = origin();
        let mut burst = Burst::new(t0);
        let typical = RATE.bytes * 0.25;
        assert_eq!(burst.beyond(&RATE, INTERVAL), typical);
        // What a stream held before its first player is no burst.
        feed(&mut burst, (5 << 20, t0), 0..49);
        assert_eq!(burst.beyond(&RATE, INTERVAL), typical);
        // Sound alone has none, once that is known.
        let mut even = Burst::new(t0);
        (0..300).for_each(|n| even.step(u64::from(n) * 400, t0 + 40 * MS * n, INTERVAL));
        assert!(even.beyond(&Rate { bytes: 10_000.0, entries: 25.0 }, INTERVAL) < 400.0);
    }

    #[test]
    fn what_came_once_is_no_burst_and_what_is_long_ago_is_forgotten() {
        let t0 = origin();
        let mut burst = Burst::new(t0);
        let end = feed(&mut burst, (0, t0), 0..300);
        // A publisher that was cut off sends all that it has.
        let end = feed(&mut burst, (end + (4 << 20), t0), 300..500);
        near(burst.beyond(&RATE, INTERVAL), KEY_FRAME - FRAME);
        // Its key frames are smaller now.
        let small = |n: u32| t0 + 40 * MS * n;
        (500..1_100).for_each(|n| burst.step(end + u64::from(n - 499) * FRAME, small(n), INTERVAL));
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
