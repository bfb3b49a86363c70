//! How long the way there and back takes.
//!
//! Spec: draft-sharabayko-srt 4.10: smoothed by 1/8, its variance by 1/4.

use std::collections::VecDeque;

/// What is believed before anything was measured.
const FIRST_US: u32 = 100_000;

/// Acknowledgements whose answer is still awaited, at most.
const AWAITED_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct RoundTrip {
    rtt_us: u32,
    variance_us: u32,
    /// Numbers of acknowledgements, and when they were sent.
    awaited: VecDeque<(u32, u64)>,
    measured: bool,
}

impl Default for RoundTrip {
    fn default() -> Self {
        let awaited = VecDeque::new();
        Self { rtt_us: FIRST_US, variance_us: FIRST_US / 2, awaited, measured: false }
    }
}

impl RoundTrip {
    pub(super) const fn rtt_us(&self) -> u32 {
        self.rtt_us
    }

    pub(super) const fn variance_us(&self) -> u32 {
        self.variance_us
    }

    /// An acknowledgement goes out.
    pub(super) fn sent(&mut self, number: u32, now_us: u64) {
        if self.awaited.len() == AWAITED_MAX {
            self.awaited.pop_front();
        }
        self.awaited.push_back((number, now_us));
    }

    /// Its answer has come.
    pub(super) fn answered(&mut self, number: u32, now_us: u64) {
        let Some(at) = self.awaited.iter().position(|(sent, _)| *sent == number) else { return };
        let (_, sent_us) = self.awaited[at];
        // What was sent before it will not be answered any more.
        self.awaited.drain(..=at);
        let taken_us = u32::try_from(now_us.saturating_sub(sent_us)).unwrap_or(u32::MAX);
        self.learn(taken_us);
    }

    /// The peer has measured it.
    pub(super) fn told(&mut self, rtt_us: u32, variance_us: u32) {
        (self.rtt_us, self.variance_us, self.measured) = (rtt_us, variance_us, true);
    }

    fn learn(&mut self, taken_us: u32) {
        if !self.measured {
            (self.rtt_us, self.variance_us, self.measured) = (taken_us, taken_us / 2, true);
            return;
        }
        let smooth = |old: u32, new: u32, parts: u64| {
            let mean = (u64::from(old) * (parts - 1) + u64::from(new)) / parts;
            u32::try_from(mean).unwrap_or(u32::MAX)
        };
        self.variance_us = smooth(self.variance_us, self.rtt_us.abs_diff(taken_us), 4);
        self.rtt_us = smooth(self.rtt_us, taken_us, 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_learnt_from_answers_alone() {
        let mut way = RoundTrip::default();
        way.sent(1, 1_000);
        way.sent(2, 2_000);
        way.answered(2, 42_000);
        assert_eq!((way.rtt_us(), way.variance_us()), (40_000, 20_000));
        way.answered(1, 43_000);
        way.answered(2, 43_000);
        assert_eq!(way.rtt_us(), 40_000, "an answer counts once");
        way.sent(3, 50_000);
        way.answered(3, 98_000);
        assert_eq!((way.rtt_us(), way.variance_us()), (41_000, 17_000));
        for number in 0..1_000 {
            way.sent(number, 100_000);
        }
        assert_eq!(way.awaited.len(), AWAITED_MAX);
    }
}
