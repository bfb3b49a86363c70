//! Meter: what came of a log in the last seconds of the shard's own clock.
//!
//! Timestamps are the publisher's word. By an encoder whose clock runs ten times as fast, a stream
//! is a tenth of what it is, and its players would find room that is not there.
//!
//! Shape: two marks take turns, so that the span from the older one on is of four to eight seconds,
//! and shorter only at first.

use std::time::{Duration, Instant};

use super::headroom::Rate;

/// A span shorter than this does not tell a rate.
const SPAN_MIN: Duration = Duration::from_secs(1);
/// Marks are this far apart.
const STEP: Duration = Duration::from_secs(4);

/// How far a log was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    pub at: Instant,
    /// Where its newest entry ended.
    pub end: u64,
    /// The number of that entry.
    pub entry: u64,
}

/// The last seconds of one log. Lives on: the reading shard. Crosses by: never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    /// The older mark and the newer one.
    marks: Option<(Mark, Mark)>,
    /// When something came last.
    moved: Option<Mark>,
    told: bool,
}

impl Meter {
    /// What a second of the log is now that it is as far as `now` says; `None` if it is what it was
    /// before.
    ///
    /// Until a second has passed, it is what its timestamps say. A log to which nothing comes stays
    /// what it was: it may go on.
    pub(super) fn read(&mut self, now: Mark, by_timestamps: Option<Rate>) -> Option<Rate> {
        let (from, last) = *self.marks.get_or_insert((now, now));
        let moved = *self.moved.insert(self.moved.filter(|at| at.end == now.end).unwrap_or(now));
        let silent = now.at.saturating_duration_since(moved.at);
        if silent >= STEP {
            self.marks = Some((now, now));
            return None;
        }
        if now.at.saturating_duration_since(last.at) >= STEP {
            self.marks = Some((last, now));
        }
        let span = now.at.saturating_duration_since(from.at);
        if span < SPAN_MIN {
            return by_timestamps.filter(|_| !self.told);
        }
        if silent >= SPAN_MIN {
            return None;
        }
        self.told = true;
        let bytes = now.end.saturating_sub(from.end) as f64;
        let entries = now.entry.saturating_sub(from.entry) as f64;
        let seconds = span.as_secs_f64();
        Some(Rate { bytes: bytes / seconds, entries: entries / seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    const SAYS: Rate = Rate { bytes: 10_000.0, entries: 3.0 };

    /// A log of 100,000 bytes and 30 entries a second, after so many milliseconds.
    fn at(origin: Instant, ms: u64) -> Mark {
        Mark { at: origin + Duration::from_millis(ms), end: ms * 100, entry: ms * 3 / 100 }
    }

    fn is_about(rate: Option<Rate>, bytes: f64, entries: f64) -> bool {
        rate.is_some_and(|rate| {
            (rate.bytes - bytes).abs() < bytes / 20.0
                && (rate.entries - entries).abs() < entries / 20.0
        })
    }

    #[test]
    fn an_encoder_whose_clock_runs_fast_counts_by_ours() {
        let (origin, mut meter) = (origin(), Meter::default());
        for ms in [0, 250, 500, 750] {
            assert_eq!(meter.read(at(origin, ms), Some(SAYS)), Some(SAYS), "after {ms} ms");
        }
        for ms in (1_000..60_000).step_by(250) {
            let rate = meter.read(at(origin, ms), Some(SAYS));
            assert!(is_about(rate, 100_000.0, 30.0), "{rate:?} after {ms} ms");
        }
    }

    #[test]
    fn what_was_eight_seconds_ago_is_forgotten() {
        let (origin, mut meter) = (origin(), Meter::default());
        for ms in (0..=20_000).step_by(250) {
            meter.read(at(origin, ms), Some(SAYS));
        }
        // From here on it is a tenth.
        let slow = |ms: u64| {
            let Mark { end, entry, .. } = at(origin, 20_000 + (ms - 20_000) / 10);
            Mark { at: origin + Duration::from_millis(ms), end, entry }
        };
        let mut rate = None;
        for ms in (20_250..=28_000).step_by(250) {
            rate = meter.read(slow(ms), Some(SAYS));
        }
        assert!(is_about(rate, 10_000.0, 3.0), "{rate:?}");
    }

    #[test]
    fn a_stream_that_falls_silent_stays_what_it_was() {
        let (origin, mut meter) = (origin(), Meter::default());
        for ms in (0..=8_000).step_by(250) {
            meter.read(at(origin, ms), Some(SAYS));
        }
        let silent = |ms: u64| Mark { at: origin + Duration::from_millis(ms), ..at(origin, 8_000) };
        for ms in (8_250..=60_000).step_by(250) {
            if let Some(rate) = meter.read(silent(ms), Some(SAYS)) {
                assert!(ms < 9_000 && rate.bytes > 75_000.0, "{rate:?} after {ms} ms");
            }
        }
        // It goes on, and its timestamps are not believed again.
        let back = Mark { at: origin + Duration::from_millis(60_250), ..at(origin, 8_250) };
        assert_eq!(meter.read(back, Some(SAYS)), None);
    }
}
