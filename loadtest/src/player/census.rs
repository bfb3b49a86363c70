//! What the threads of a crowd tell: a gauge that is always true, and counts when they are asked.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::tally::Tally;
use crate::stats::Histogram;

/// How many players of a thread do what.
///
/// Lives on: a worker, which stores; the crowd loads. Crosses by: plain stores, of which the last
/// one releases.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    playing: AtomicUsize,
    joining: AtomicUsize,
    waiting: AtomicUsize,
    orders_done: AtomicU64,
}

impl Gauge {
    pub(super) fn set(&self, playing: usize, joining: usize, waiting: usize, orders_done: u64) {
        self.playing.store(playing, Ordering::Relaxed);
        self.joining.store(joining, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
        self.orders_done.store(orders_done, Ordering::Release);
    }

    /// Orders that have been followed; what is read afterwards is at least as new.
    pub(super) fn orders_done(&self) -> u64 {
        self.orders_done.load(Ordering::Acquire)
    }

    /// Players that play, that have connected, and that are about to connect.
    pub(super) fn read(&self) -> [usize; 3] {
        [&self.playing, &self.joining, &self.waiting].map(|count| count.load(Ordering::Relaxed))
    }
}

/// What was counted since the last time, on one thread or all of them.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Counts of each part.
    pub tallies: Vec<Tally>,
    /// Players that play, of each part.
    pub playing: Vec<usize>,
    /// Those among them who check all that they get.
    pub sampled: Vec<usize>,
    /// CPU time that the threads have used since they began.
    pub cpu_ns: u64,
    /// How much later than they should quiet players were emptied: a generator that cannot keep
    /// up tells it here.
    pub sweep_late: Histogram,
}

impl Census {
    /// Adds that of another thread.
    pub fn add(&mut self, other: &Self) {
        self.tallies.resize(other.tallies.len(), Tally::default());
        self.playing.resize(other.playing.len(), 0);
        for (sum, more) in self.tallies.iter_mut().zip(&other.tallies) {
            sum.add(more);
        }
        self.sampled.resize(other.sampled.len(), 0);
        let more = other.playing.iter().chain(&other.sampled);
        for (sum, more) in self.playing.iter_mut().chain(&mut self.sampled).zip(more) {
            *sum += more;
        }
        self.cpu_ns += other.cpu_ns;
        self.sweep_late.add(&other.sweep_late);
    }
}
