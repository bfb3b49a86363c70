//! Snapshots: what a shard with nothing on it tells, for tests to build on.

use dataplane::control::ShardSnapshot;
use dataplane::ids::ShardId;
use dataplane::metrics::{Recent, ShardCounters};

/// A shard without streams and sessions.
pub(crate) fn empty(shard: ShardId, id: u64) -> ShardSnapshot {
    ShardSnapshot {
        shard,
        id,
        counters: ShardCounters::default(),
        operations: Vec::new(),
        system_calls: Vec::new(),
        incidents: Vec::new(),
        cpu: None,
        draining: false,
        recent: Recent::default(),
        audiences: Vec::new(),
        pools: Vec::new(),
        utilisation: 0.0,
        flush_interval_ms: 0.0,
        headroom: crate::api::room::tests::HEADROOM,
        streams: Vec::new(),
        inputs: Vec::new(),
        sessions: Vec::new(),
    }
}
