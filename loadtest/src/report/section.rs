//! A measurement with what was seen of the server meanwhile.

use serde::Serialize;

use crate::measurement::Measurement;
use crate::observe::{Buckets, ServerSample};

/// A measurement, and what belongs to it of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// What players saw, and what the server spent.
    #[serde(flatten)]
    pub measurement: Measurement,
    /// When its players began to connect, in seconds since the run began.
    pub from_s: f64,
    /// When its window began.
    pub window_from_s: f64,
    /// When its window ended.
    pub window_to_s: f64,
    /// What was seen once a second, in its window.
    pub observed: Observed,
}

/// What was seen of the server once a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Observed {
    /// Growth of the server's resident memory since the run began, for each player held: with the
    /// windows of the streams in it.
    pub rss_growth_bytes_per_player: Option<f64>,
    /// The most that the kernel kept in TCP buffers of the whole machine.
    pub tcp_bytes_max: Option<u64>,
    /// Loop lag of all shards.
    pub loop_lag: Option<Bounds>,
    /// Each shard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardCost>,
}

/// What a shard told of itself in a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardCost {
    /// Its number.
    pub shard: u16,
    /// The CPU that it stays on.
    pub cpu: Option<u64>,
    /// Players at the end.
    pub players: u64,
    /// Mean share of the time spent in turns of its loop.
    pub utilisation: Option<f64>,
    /// Mean share of the time spent in sending.
    pub egress_utilisation: Option<f64>,
    /// Mean sends a second.
    pub sends_per_s: Option<f64>,
    /// Mean time that it gathered frames.
    pub flush_interval_ms: Option<f64>,
    /// Bytes of pool pages in use at the end.
    pub pool_bytes: u64,
    /// How late its loop did what was due.
    pub loop_lag: Option<Bounds>,
    /// How long its turns were.
    pub turn: Option<Bounds>,
}

/// Percentiles of a histogram of the server's: each is the upper bound of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Median.
    pub p50_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// The largest.
    pub max_ms: f64,
}

impl Bounds {
    fn of(buckets: &Buckets) -> Option<Self> {
        let ms = |per_mille| buckets.quantile_s(per_mille).map(|seconds| seconds * 1e3);
        Some(Self { p50_ms: ms(500)?, p99_ms: ms(990)?, max_ms: ms(1000)? })
    }
}

impl Observed {
    /// What samples of a window tell; `rss_before` is what the server had when the run began.
    #[must_use]
    pub fn of(samples: &[ServerSample], held: usize, rss_before: Option<u64>) -> Self {
        let Some(last) = samples.last() else { return Self::default() };
        let rss = last.process.as_ref().map(|process| process.rss_bytes);
        let growth = rss.zip(rss_before).filter(|_| held > 0);
        let mut lag = Buckets::default();
        for shard in samples.iter().flat_map(|sample| &sample.shards) {
            lag.add(&shard.lag);
        }
        let sockets = samples.iter().filter_map(|sample| sample.sockets);
        Self {
            rss_growth_bytes_per_player: growth
                .map(|(after, before)| (after as f64 - before as f64) / held as f64),
            tcp_bytes_max: sockets.map(|sockets| sockets.tcp_bytes).max(),
            loop_lag: Bounds::of(&lag),
            shards: last
                .shards
                .iter()
                .map(|last| ShardCost::of(samples, last.reading.shard))
                .collect(),
        }
    }
}

impl ShardCost {
    fn of(samples: &[ServerSample], shard: u16) -> Self {
        let told = || {
            let shards = samples.iter().flat_map(|sample| &sample.shards);
            shards.filter(|told| told.reading.shard == shard)
        };
        let (mut lag, mut turn) = (Buckets::default(), Buckets::default());
        for sample in told() {
            lag.add(&sample.lag);
            turn.add(&sample.turn);
        }
        let last = told().next_back();
        Self {
            shard,
            cpu: last.and_then(|last| last.reading.cpu),
            players: last.map_or(0, |last| last.reading.players),
            utilisation: mean(told().filter_map(|sample| sample.reading.utilisation)),
            egress_utilisation: mean(told().filter_map(|sample| sample.reading.egress_utilisation)),
            sends_per_s: mean(told().filter_map(|sample| sample.reading.sends_per_s)),
            flush_interval_ms: mean(told().filter_map(|sample| sample.reading.flush_interval_ms)),
            pool_bytes: last.map_or(0, |last| last.reading.pool_bytes),
            loop_lag: Bounds::of(&lag),
            turn: Bounds::of(&turn),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
