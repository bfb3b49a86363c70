//! Bar: for how long nobody may publish a stream whose publisher sent too much.

use std::time::{Duration, Instant};

/// The first time; each time it is twice as long as before.
const BARRED_FOR: Duration = Duration::from_secs(10);
/// Times that it gets longer: up to 320 seconds.
const DOUBLINGS_MAX: u32 = 5;
/// Who sent too much before that is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The bar of a stream. See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bar {
    until: Option<Instant>,
    times: u32,
}

impl Bar {
    /// The publisher was closed because it sent too much.
    pub(super) fn strike(&mut self, now: Instant) {
        let forgiven = self.until.is_none_or(|until| now >= until + FORGIVEN_AFTER);
        self.times = if forgiven { 0 } else { (self.times + 1).min(DOUBLINGS_MAX) };
        self.until = Some(now + BARRED_FOR * 2_u32.pow(self.times));
    }

    /// True while nobody may publish.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// True as long as it is known that somebody sent too much.
    pub(super) fn is_remembered(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until + FORGIVEN_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_again_and_again_is_barred_for_longer_and_forgiven_in_the_end() {
        let mut now = Instant::now();
        let mut bar = Bar::default();
        assert!(!bar.holds(now) && !bar.is_remembered(now));
        for seconds in [10, 20, 40, 80, 160, 320, 320] {
            bar.strike(now);
            let barred = Duration::from_secs(seconds);
            assert!(bar.holds(now + barred - Duration::from_millis(1)));
            now += barred;
            assert!(!bar.holds(now) && bar.is_remembered(now));
        }
        now += FORGIVEN_AFTER;
        assert!(!bar.is_remembered(now));
        bar.strike(now);
        assert!(!bar.holds(now + BARRED_FOR));
    }
}
