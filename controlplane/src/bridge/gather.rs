//! Gather: one question to every shard, and the answers so far.

use std::time::{Duration, Instant};

use dataplane::control::{Detail, ShardSnapshot};
use dataplane::ids::ShardId;
use tokio::sync::oneshot;

use super::gathered::Gathered;
use super::survey::Askers;

/// Questions under way at most; one more is answered with nobody's answers.
const GATHERS_MAX: usize = 64;
/// A shard that does not answer within this is reported as missing.
pub const GATHER_DEADLINE: Duration = Duration::from_secs(1);

/// For whom a question was asked.
#[derive(Debug)]
pub(crate) enum Asker {
    /// Requests of the API that share a survey of this detail.
    Api(Detail, Askers),
    /// The list of streams.
    Directory,
    /// The table of sessions, some of which were lost.
    Resync,
    /// The desk itself, which nobody's questions may delay.
    Desk(oneshot::Sender<Gathered>),
}

/// All questions under way. Lives on: the control thread.
#[derive(Debug, Default)]
pub(crate) struct Gathers {
    underway: Vec<Gather>,
    next_id: u64,
}

impl Gathers {
    /// The number under which `shards` are to be asked; else who is not answered by any of them.
    pub(crate) fn begin(
        &mut self,
        asker: Asker,
        shards: Vec<ShardId>,
        now: Instant,
    ) -> Result<u64, (Asker, Vec<ShardId>)> {
        if self.underway.len() >= GATHERS_MAX {
            return Err((asker, shards));
        }
        let id = self.next_id;
        self.next_id += 1;
        self.underway.push(Gather::new(id, asker, shards, now));
        Ok(id)
    }

    /// Takes a shard's answer; all answers, if it was the last one.
    pub(crate) fn answer(&mut self, snapshot: ShardSnapshot) -> Option<(Asker, Gathered)> {
        let at = self.underway.iter().position(|gather| gather.id == snapshot.id)?;
        self.underway[at].answer(snapshot);
        let complete = self.underway[at].waiting.is_empty();
        complete.then(|| self.underway.swap_remove(at).finish())
    }

    /// The answers to a question whose time is over.
    pub(crate) fn late(&mut self, now: Instant) -> Option<(Asker, Gathered)> {
        let at = self.underway.iter().position(|gather| gather.deadline <= now)?;
        Some(self.underway.swap_remove(at).finish())
    }

    /// When [`Self::late`] has something to give.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.underway.iter().map(|gather| gather.deadline).min()
    }
}

/// One question under way.
#[derive(Debug)]
struct Gather {
    id: u64,
    asker: Asker,
    asked_at: Instant,
    deadline: Instant,
    waiting: Vec<ShardId>,
    snapshots: Vec<ShardSnapshot>,
}

impl Gather {
    fn new(id: u64, asker: Asker, shards: Vec<ShardId>, now: Instant) -> Self {
        let snapshots = Vec::with_capacity(shards.len());
        let deadline = now + GATHER_DEADLINE;
        Self { id, asker, asked_at: now, deadline, waiting: shards, snapshots }
    }

    /// Takes an answer.
    fn answer(&mut self, snapshot: ShardSnapshot) {
        let asked = self.waiting.len();
        self.waiting.retain(|&shard| shard != snapshot.shard);
        if self.waiting.len() < asked {
            self.snapshots.push(snapshot);
        }
    }

    /// The answers in the order of the shards, and who asked.
    fn finish(self) -> (Asker, Gathered) {
        let Self { asker, asked_at, waiting, mut snapshots, .. } = self;
        snapshots.sort_by_key(|snapshot| snapshot.shard);
        let asked_at = Some(asked_at);
        (asker, Gathered { snapshots, missing: waiting, asked_at, ..Gathered::default() })
    }
}
