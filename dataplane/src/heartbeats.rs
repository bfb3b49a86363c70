//! Heartbeats: whether shards turn, for whoever watches the process from a thread of its own.
//!
//! A shard that has nothing to do still turns several times a second, for its timers. So one that
//! took no turn in a second hangs, or has no core to run on. Nothing is asked of it: a question
//! would wait behind others, and a shard that is flooded turns all the same.
//!
//! Units: turns since the start. Lives on: any thread. Crosses by: one atomic of each shard, which
//! it alone writes.

use std::fmt;
use std::sync::Arc;

use crate::ids::ShardId;
use crate::shard::Load;

/// The heartbeats of a node's shards. Clones are one; the default has no shards.
#[derive(Clone, Default)]
pub struct Heartbeats(Arc<[Load]>);

impl Heartbeats {
    pub(crate) const fn of(loads: Arc<[Load]>) -> Self {
        Self(loads)
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.len()
    }

    /// How many turns a shard took so far; `None` once it has ended as it was told to.
    #[must_use]
    pub fn turns(&self, shard: ShardId) -> Option<u64> {
        self.0[shard.index()].turns()
    }
}

impl fmt::Debug for Heartbeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeats").field("shards", &self.shards()).finish_non_exhaustive()
    }
}
