//! Back-off: how long an event waits before it is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The wait after the `failures`-th failure in a row: twice as long each time, up to a minute; at
/// least half of that, and by `chance` (0 to 255) up to all of it, so that hooks that failed
/// together do not come back together.
pub(super) fn backoff(failures: u32, chance: u8) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let half = doubled.min(LONGEST) / 2;
    half + half * u32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let seconds = [1, 2, 3, 6, 7, 1_000].map(|n| backoff(n, 255).as_secs());
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
        assert_eq!(backoff(1, 0), Duration::from_millis(500));
    }
}
