//! Window: what came and went in the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dataplane::control::Usage;

/// What a bit rate is measured over.
const WINDOW: Duration = Duration::from_secs(10);
/// Batches of a window at most: a shard tells one a second, and there are 64.
const BATCHES_MAX: usize = 1_024;

/// What was used lately, batch by batch.
#[derive(Debug, Default)]
pub(super) struct Window {
    batches: VecDeque<(Instant, Usage)>,
    sum: Usage,
}

impl Window {
    pub(super) fn add(&mut self, used: Usage, now: Instant) {
        self.sum = self.sum.and(used);
        let full = self.batches.len() >= BATCHES_MAX;
        match self.batches.back_mut().filter(|_| full) {
            Some((_, last)) => *last = last.and(used),
            None => self.batches.push_back((now, used)),
        }
    }

    /// Bytes that came.
    pub(super) const fn bytes_in(&self) -> u64 {
        self.sum.bytes_in
    }

    /// Bits a second since it `began`, over a whole window at most.
    pub(super) fn rates(&mut self, began: Instant, now: Instant) -> Rates {
        while let Some(&(at, used)) = self.batches.front()
            && now.saturating_duration_since(at) >= WINDOW
        {
            self.sum = self.sum.since(used);
            self.batches.pop_front();
        }
        let passed = now.saturating_duration_since(began).min(WINDOW);
        let bps = |bytes: u64| bytes.saturating_mul(8) / passed.as_secs().max(1);
        let (ingress, egress) = (bps(self.sum.bytes_in), bps(self.sum.bytes_out));
        Rates { ingress, egress, whole: passed == WINDOW }
    }
}

/// Bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rates {
    /// That came.
    pub ingress: u64,
    /// That went.
    pub egress: u64,
    /// They are those of a whole window, and no burst.
    pub whole: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_a_whole_window() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut window = Window::default();
        let used = Usage { bytes_in: 1_000, bytes_out: 4_000, ..Usage::default() };
        let rates = |ingress, egress, whole| Rates { ingress, egress, whole };
        for second in 0..10 {
            assert!(!window.rates(began, at(second)).whole, "one burst is no rate");
            window.add(used, at(second));
        }
        assert_eq!(window.rates(began, at(5)), rates(16_000, 64_000, false));
        assert_eq!(
            window.rates(began, at(10)),
            rates(7_200, 28_800, true),
            "the first one is over"
        );
        window.add(used, at(10));
        assert_eq!(window.rates(began, at(10)), rates(8_000, 32_000, true));
        assert_eq!(window.rates(began, at(100)), rates(0, 0, true));
        (0..5_000).for_each(|_| window.add(used, at(101)));
        assert_eq!(window.batches.len(), BATCHES_MAX);
        assert_eq!(window.rates(began, at(102)).ingress, 5_000 * 800);
    }
}
