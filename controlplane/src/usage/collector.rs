//! Collector: asks shards what was used, and takes each batch once.

use std::time::{Duration, Instant};

use dataplane::control::UsageBatch;
use dataplane::ids::ShardId;

/// How often shards are asked: what they tell belongs to the hour in which they tell it.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// Which batch of each shard comes next.
#[derive(Debug)]
pub struct Collector {
    /// By shard: the number of its next batch.
    next: Vec<u64>,
    due: Instant,
}

impl Collector {
    /// Nothing was heard of so many shards yet.
    #[must_use]
    pub fn new(shards: usize, now: Instant) -> Self {
        Self { next: vec![1; shards], due: now + COLLECT_EVERY }
    }

    /// When shards are to be asked.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// The shards and the numbers that they are to be asked for now; a number that was not heard
    /// is asked for again.
    pub fn ask(&mut self, now: Instant) -> Vec<(ShardId, u64)> {
        self.due = now + COLLECT_EVERY;
        let shard = |at: usize| u16::try_from(at).expect("shards are at most 64");
        self.next.iter().enumerate().map(|(at, &number)| (ShardId(shard(at)), number)).collect()
    }

    /// True if `batch` was not heard yet, and is now.
    pub fn take(&mut self, batch: &UsageBatch) -> bool {
        let Some(next) = self.next.get_mut(batch.shard.index()) else { return false };
        let new = batch.number == *next;
        *next += u64::from(new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_heard_once_and_asked_for_until_then() {
        let now = Instant::now();
        let mut collector = Collector::new(2, now);
        assert_eq!(collector.due(), now + COLLECT_EVERY);
        let asks = |collector: &mut Collector| {
            collector.ask(now).iter().map(|&(shard, number)| (shard.0, number)).collect::<Vec<_>>()
        };
        let batch = |shard, number| UsageBatch {
            shard: ShardId(shard),
            number,
            at_ms: 0,
            rows: [].into(),
            more: false,
        };
        assert_eq!(asks(&mut collector), [(0, 1), (1, 1)]);
        assert_eq!(asks(&mut collector), [(0, 1), (1, 1)]);
        assert!(collector.take(&batch(1, 1)));
        assert!(!collector.take(&batch(1, 1)), "it came twice, because it was asked for twice");
        assert!(!collector.take(&batch(0, 2)), "nobody told the one before");
        assert!(!collector.take(&batch(7, 1)), "there is no such shard");
        assert_eq!(asks(&mut collector), [(0, 1), (1, 2)]);
    }
}
