//! When datagrams leave whose time has come.
//!
//! All packets of a picture have one time, and a keyframe has many: at a blow they would ask
//! buffers on the way to hold it whole. What waits is spread over [`SPREAD_TICKS`] ticks instead, a
//! few datagrams in each; while it does not get less, more follow in each. So any rate of a stream
//! passes, and nothing is later than that because of it.
//!
//! Units: datagrams, ticks of [`TICK`].

use std::time::{Duration, Instant};

/// A tick: timers are not finer.
const TICK: Duration = Duration::from_millis(2);
/// What waits is spread over so many.
const SPREAD_TICKS: u64 = 10;
/// Ticks that are made up for at most when a turn was long.
const MISSED_TICKS_MAX: u64 = 4;

/// The pace of one push.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// When the tick began.
    since: Instant,
    /// Datagrams that may leave in it.
    left: u64,
    /// Datagrams of each tick until nothing waits; 0 while nothing does.
    each: u64,
}

impl Pacer {
    /// Nothing waits yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now.checked_sub(TICK).unwrap_or(now), left: 0, each: 0 }
    }

    /// True if one more may leave. `waiting` says how many wait, and is asked once a tick.
    pub(super) fn is_open(&mut self, now: Instant, waiting: impl FnOnce() -> u64) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if passed >= TICK {
            let ticks = (passed.as_nanos() / TICK.as_nanos()).min(MISSED_TICKS_MAX.into()) as u64;
            // Time in which nothing waited is not made up for.
            let ticks = if self.each == 0 { 1 } else { ticks };
            self.each = self.each.max(waiting().div_ceil(SPREAD_TICKS));
            (self.since, self.left) = (now, self.each.saturating_mul(ticks));
        }
        self.left > 0
    }

    /// One left.
    pub(super) const fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Nothing waits any more.
    pub(super) const fn rest(&mut self) {
        self.each = 0;
    }

    /// When the next tick begins.
    pub(super) fn opens(&self) -> Instant {
        self.since + TICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    /// A queue that `comes` says what is put in at each millisecond, looked at each `step`: how
    /// many left at each look, and how many are left.
    fn run(comes: impl Fn(u64) -> u64, millis: u64, step: u64) -> (Vec<u64>, u64) {
        let start = epoch();
        let (mut pacer, mut queue, mut left) = (Pacer::new(start), 0, Vec::new());
        for ms in 0..millis {
            queue += comes(ms);
            if ms % step != 0 {
                continue;
            }
            let now = start + Duration::from_millis(ms);
            let before = queue;
            while queue > 0 && pacer.is_open(now, || queue) {
                pacer.spend();
                queue -= 1;
            }
            if queue == 0 {
                pacer.rest();
            }
            left.push(before - queue);
        }
        (left, queue)
    }

    #[test]
    fn a_keyframe_leaves_in_many_pieces_and_soon() {
        for datagrams in [1, 7, 152, 3_000] {
            let (left, rest) = run(|ms| if ms == 0 { datagrams } else { 0 }, 21, 1);
            assert_eq!((left.iter().sum::<u64>(), rest), (datagrams, 0));
            assert!(left.iter().all(|&each| each <= datagrams.div_ceil(SPREAD_TICKS)), "{left:?}");
        }
    }

    #[test]
    fn every_rate_passes_and_none_is_late() {
        for rate in [1, 10, 200] {
            let (left, rest) = run(|_| rate, 2_000, 1);
            assert!(rest <= rate * 21, "{rate}: {rest} wait");
            assert!(left.iter().all(|&each| each <= rate * 8), "{rate}: {left:?}");
        }
    }

    #[test]
    fn long_turns_are_made_up_for_but_no_pause_is() {
        let (left, rest) = run(|ms| u64::from(ms == 0) * 100, 100, 10);
        assert_eq!((left.iter().sum::<u64>(), rest), (100, 0));
        assert!(left.iter().all(|&each| each <= 40), "{left:?}");
        let (left, _) = run(|ms| if ms == 500 { 100 } else { 0 }, 600, 1);
        assert!(left.iter().all(|&each| each <= 10), "a pause earns nothing: {left:?}");
    }

    #[test]
    fn how_many_wait_is_asked_once_a_tick() {
        let now = epoch();
        let (mut pacer, mut asked) = (Pacer::new(now), 0);
        for _ in 0..100 {
            pacer.is_open(now, || {
                asked += 1;
                1_000
            });
        }
        assert_eq!(asked, 1);
        assert_eq!(pacer.opens(), now + TICK);
    }
}
