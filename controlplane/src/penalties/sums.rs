//! Sums: what happens often, told once in a while.
//!
//! Limits: [`SUMS_MAX`] sums; what has none is one sum for each reason.

use std::time::{Duration, Instant};

use dataplane::config::AddrRange;

use crate::security::Happened;

/// Sums at one time.
const SUMS_MAX: usize = 64;
/// Sums of what has none of its own: one for each of the few reasons.
const OTHERS_MAX: usize = 16;
/// They are told this long after the first of them.
const EVERY: Duration = Duration::from_secs(1);

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) event: Happened,
    pub(super) whose: Option<AddrRange>,
    pub(super) listener: Option<&'static str>,
    pub(super) reason: &'static str,
}

/// The sums since the last were told. Lives on: the control thread.
#[derive(Debug, Default)]
pub(super) struct Sums {
    sums: Vec<(Sum, u64)>,
    due: Option<Instant>,
}

impl Sums {
    pub(super) fn add(&mut self, sum: Sum, count: u64, now: Instant) {
        self.due.get_or_insert(now + EVERY);
        let others = Sum { whose: None, listener: None, ..sum };
        for (sum, room) in [(sum, SUMS_MAX), (others, SUMS_MAX + OTHERS_MAX)] {
            if let Some((_, held)) = self.sums.iter_mut().find(|(same, _)| *same == sum) {
                *held += count;
                return;
            }
            if self.sums.len() < room {
                self.sums.push((sum, count));
                return;
            }
        }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be told now.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(Sum, u64)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        std::mem::take(&mut self.sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::rates::address_of;

    #[test]
    fn nothing_is_lost_in_a_flood_and_little_is_told() {
        let (mut sums, now) = (Sums::default(), Instant::now());
        for n in 0..1_000_u32 {
            let whose = Some(address_of(n.to_be_bytes().into()));
            let event = Happened::RateLimited;
            let sum = Sum { event, whose, listener: Some("rtmp"), reason: "penalty" };
            sums.add(sum, 2, now);
        }
        assert!(sums.take(now).is_empty());
        let told = sums.take(sums.due().unwrap());
        assert_eq!(told.len(), SUMS_MAX + 1);
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 2_000);
        assert_eq!(sums.due(), None);
    }
}
