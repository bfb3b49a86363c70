//! Gather: one question to every shard, and the answers so far.

use std::time::{Duration, Instant};

use dataplane::control::ShardSnapshot;
use dataplane::ids::ShardId;
use tokio::sync::oneshot;

/// A shard that does not answer within this is reported as missing.
pub const GATHER_DEADLINE: Duration = Duration::from_secs(1);

/// What the shards answered.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// The answers, by shard.
    pub snapshots: Vec<ShardSnapshot>,
    /// Shards that did not answer in time.
    pub missing: Vec<ShardId>,
}

/// For whom a question was asked.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A request of the API.
    Api(oneshot::Sender<Gathered>),
    /// The list of streams.
    Directory,
}

/// One question under way.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(crate) id: u64,
    pub(crate) asker: Asker,
    pub(crate) deadline: Instant,
    waiting: Vec<ShardId>,
    snapshots: Vec<ShardSnapshot>,
}

impl Gather {
    pub(crate) fn new(id: u64, asker: Asker, shards: Vec<ShardId>, now: Instant) -> Self {
        let snapshots = Vec::with_capacity(shards.len());
        Self { id, asker, deadline: now + GATHER_DEADLINE, waiting: shards, snapshots }
    }

    /// Takes an answer.
    pub(crate) fn answer(&mut self, snapshot: ShardSnapshot) {
        let asked = self.waiting.len();
        self.waiting.retain(|&shard| shard != snapshot.shard);
        if self.waiting.len() < asked {
            self.snapshots.push(snapshot);
        }
    }

    /// True if nothing more is to come.
    pub(crate) const fn complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The answers in the order of the shards, and who asked.
    pub(crate) fn finish(self) -> (Asker, Gathered) {
        let Self { asker, waiting, mut snapshots, .. } = self;
        snapshots.sort_by_key(|snapshot| snapshot.shard);
        (asker, Gathered { snapshots, missing: waiting })
    }
}
