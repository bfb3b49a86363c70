//! The timers of a shard.

use std::time::{Duration, Instant};

use dataplane::shard::timer::TimerWheel;

use super::Scenario;

const TIMERS: u32 = 1_000;
/// The last of them fires after so long.
const SPAN_MS: u32 = 30_000;
/// A turn of the shard each so often.
const TURN_MS: u64 = 33;

struct Wheel {
    wheel: TimerWheel<u32>,
    now: Instant,
}

/// A thousand deadlines are set, put off, and fire.
pub(super) fn wheel() -> Box<dyn Scenario> {
    let now = Instant::now();
    Box::new(Wheel { wheel: TimerWheel::new(now, 2 * TIMERS as usize), now })
}

impl Scenario for Wheel {
    fn run(&mut self) {
        for n in 0..TIMERS {
            // Every one is put off once, as a deadline is that a peer's bytes move.
            let at = self.now + Duration::from_millis(u64::from(n * SPAN_MS / TIMERS));
            let id = self.wheel.insert(at, n).expect("the wheel has room");
            assert!(self.wheel.replace(id, at + Duration::from_millis(TURN_MS)));
        }
        let mut fired = 0;
        while !self.wheel.is_empty() {
            self.now += Duration::from_millis(TURN_MS);
            self.wheel.advance(self.now);
            while self.wheel.pop().is_some() {
                fired += 1;
            }
        }
        assert_eq!(fired, TIMERS);
    }
}
