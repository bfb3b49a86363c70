//! Samples: what was seen in about a second, of players and of the server.
//!
//! Units: `at_s` is the end of a sample, in seconds since the run began; shares of CPU are CPU
//! seconds a second, so that 1 is a whole core.

use serde::Serialize;

use super::api::ShardReading;
use super::exposition::Buckets;
use super::socket_memory::SocketMemory;
use crate::stats::Percentiles;

/// What players did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlayerSample {
    /// When it ends.
    pub at_s: f64,
    /// How long it is.
    pub interval_s: f64,
    /// Players that play.
    pub held: usize,
    /// Players that have begun to connect, or are about to.
    pub connecting: usize,
    /// Players refused since the run began.
    pub refused: u64,
    /// Players whose connection failed, since the run began.
    pub failed: u64,
    /// Players whose connection the server closed, since the run began.
    pub closed: u64,
    /// Stalls since the run began.
    pub stalls: u64,
    /// Frames that sampled players missed since the run began.
    pub lost: u64,
    /// Bytes received in the sample.
    pub received_bytes: u64,
    /// Latency of the frames that sampled players got in it.
    pub latency: Option<Percentiles>,
}

/// What the server spent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServerSample {
    /// When it ends.
    pub at_s: f64,
    /// How long it is.
    pub interval_s: f64,
    /// What `/proc` tells of the process, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSample>,
    /// What the kernel keeps in sockets of the whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sockets: Option<SocketMemory>,
    /// What its interface tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardSample>,
}

/// What a process spent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessSample {
    /// Share of CPU, with the soft interrupt thread if that was asked for.
    pub cpu: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// The same, pages that several processes have divided by their number.
    pub pss_bytes: Option<u64>,
    /// Resident memory that is no file's.
    pub anonymous_bytes: Option<u64>,
    /// Context switches a second of threads that waited.
    pub voluntary_switches_per_s: f64,
    /// Context switches a second of threads whose time was over.
    pub involuntary_switches_per_s: f64,
    /// The threads, in the order of their ids.
    pub threads: Vec<ThreadSample>,
}

/// What a thread spent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThreadSample {
    /// Its id.
    pub tid: u32,
    /// What it calls itself.
    pub name: String,
    /// Share of CPU.
    pub cpu: f64,
}

/// What a shard told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShardSample {
    /// What its server told.
    #[serde(flatten)]
    pub reading: ShardReading,
    /// Loop lag that 99 % of the readings do not exceed: an upper bound of a bucket.
    pub lag_p99_ms: Option<f64>,
    /// Loop lag in the sample.
    #[serde(skip)]
    pub lag: Buckets,
    /// Length of turns in the sample.
    #[serde(skip)]
    pub turn: Buckets,
}

/// A sample that can take in the next one, when a series grows too long.
pub trait Sample {
    /// Becomes the sample of both times.
    fn join(&mut self, later: Self);
}

impl Sample for PlayerSample {
    fn join(&mut self, later: Self) {
        let earlier = std::mem::replace(self, later);
        self.interval_s += earlier.interval_s;
        self.received_bytes += earlier.received_bytes;
        self.latency = match (earlier.latency, self.latency) {
            (Some(a), Some(b)) => Some(worse(a, b)),
            (a, b) => a.or(b),
        };
    }
}

/// Of two times only their percentiles are known, so the worse ones stand for both.
fn worse(a: Percentiles, b: Percentiles) -> Percentiles {
    Percentiles {
        count: a.count + b.count,
        p50_ms: a.p50_ms.max(b.p50_ms),
        p90_ms: a.p90_ms.max(b.p90_ms),
        p99_ms: a.p99_ms.max(b.p99_ms),
        p999_ms: a.p999_ms.max(b.p999_ms),
        max_ms: a.max_ms.max(b.max_ms),
    }
}

impl Sample for ServerSample {
    fn join(&mut self, later: Self) {
        let earlier = std::mem::replace(self, later);
        let mean = Mean { earlier_s: earlier.interval_s, later_s: self.interval_s };
        self.interval_s += earlier.interval_s;
        if let (Some(process), Some(before)) = (&mut self.process, &earlier.process) {
            process.join(before, mean);
        }
        for shard in &mut self.shards {
            let before =
                earlier.shards.iter().find(|before| before.reading.shard == shard.reading.shard);
            if let Some(before) = before {
                shard.join(before, mean);
            }
        }
    }
}

/// How two rates weigh.
#[derive(Clone, Copy)]
struct Mean {
    earlier_s: f64,
    later_s: f64,
}

impl Mean {
    fn of(self, earlier: f64, later: f64) -> f64 {
        let sum = self.earlier_s + self.later_s;
        if sum > 0.0 { (earlier * self.earlier_s + later * self.later_s) / sum } else { later }
    }
}

impl ProcessSample {
    fn join(&mut self, earlier: &Self, mean: Mean) {
        self.cpu = mean.of(earlier.cpu, self.cpu);
        self.rss_bytes = self.rss_bytes.max(earlier.rss_bytes);
        self.pss_bytes = self.pss_bytes.max(earlier.pss_bytes);
        self.anonymous_bytes = self.anonymous_bytes.max(earlier.anonymous_bytes);
        let (before, now) = (earlier.voluntary_switches_per_s, self.voluntary_switches_per_s);
        self.voluntary_switches_per_s = mean.of(before, now);
        let (before, now) = (earlier.involuntary_switches_per_s, self.involuntary_switches_per_s);
        self.involuntary_switches_per_s = mean.of(before, now);
        for thread in &mut self.threads {
            let before = earlier.threads.iter().find(|before| before.tid == thread.tid);
            thread.cpu = mean.of(before.map_or(0.0, |before| before.cpu), thread.cpu);
        }
    }
}

impl ShardSample {
    fn join(&mut self, earlier: &Self, mean: Mean) {
        let both = |was: Option<f64>, is: Option<f64>| match was.zip(is) {
            Some((was, is)) => Some(mean.of(was, is)),
            None => is,
        };
        let (was, is) = (&earlier.reading, &mut self.reading);
        is.utilisation = both(was.utilisation, is.utilisation);
        is.egress_utilisation = both(was.egress_utilisation, is.egress_utilisation);
        is.sends_per_s = both(was.sends_per_s, is.sends_per_s);
        is.flush_interval_ms = both(was.flush_interval_ms, is.flush_interval_ms);
        is.pool_bytes = is.pool_bytes.max(was.pool_bytes);
        self.lag.add(&earlier.lag);
        self.turn.add(&earlier.turn);
        self.lag_p99_ms = self.lag.quantile_s(990).map(|lag| lag * 1e3);
    }
}
