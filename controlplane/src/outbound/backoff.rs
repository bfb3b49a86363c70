//! Back-off: how long is waited before something that failed is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);

/// The wait after the `failures`-th failure in a row: twice as long each time, up to `longest`; at
/// least half of that, and by `chance` (0 to 255) up to all of it, so that those who failed
/// together do not come back together.
#[must_use]
pub fn backoff(failures: u32, longest: Duration, chance: u8) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let half = doubled.min(longest) / 2;
    half + half * u32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let minute = Duration::from_secs(60);
        let seconds = [1, 2, 3, 6, 7, 1_000].map(|n| backoff(n, minute, 255).as_secs());
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
        assert_eq!(backoff(1, minute, 0), Duration::from_millis(500));
    }
}
