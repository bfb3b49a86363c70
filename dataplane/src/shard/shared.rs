//! What all shards share: a few atomics and maps that never change.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::arrivals::ConnectRates;
use super::caps::Caps;
use super::placement::Placement;
use super::revoked::RevokedViews;
use super::view_table::ViewTable;
use super::viewers::KnownViewers;
use super::wake::Wakes;
use crate::ids::ShardId;
use crate::log::Epochs;
use crate::rates::Penalties;
use crate::reactor::Waker;

/// Lives on: every shard. Crosses by: atomics.
#[derive(Debug)]
pub(crate) struct Shared {
    pub placement: Placement,
    pub caps: Caps,
    pub connects: ConnectRates,
    /// First handshakes of SRT.
    pub greets: ConnectRates,
    pub penalties: Arc<Penalties>,
    pub viewers: KnownViewers,
    pub views: ViewTable,
    pub revoked: RevokedViews,
    /// The origin of what all shards tell peers of time.
    pub began: Instant,
    pub epochs: Epochs,
    pub wakes: Wakes,
    wakers: Box<[OnceLock<Waker>]>,
    loads: Arc<[Load]>,
}

/// Connections of one shard, for those who place new ones, and its turns, for those who watch it.
#[derive(Debug, Default)]
pub(crate) struct Load(CachePadded<Loaded>);

#[derive(Debug, Default)]
struct Loaded {
    connections: AtomicU32,
    full: AtomicBool,
    /// How many turns it took; [`ENDED`] after the last one.
    turns: AtomicU64,
}

/// No shard takes as many turns.
const ENDED: u64 = u64::MAX;

impl Load {
    pub(super) fn add(&self) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sub(&self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u32 {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// The shard has no room for another player, or has room again.
    pub(super) fn set_full(&self, full: bool) {
        self.0.full.store(full, Ordering::Relaxed);
    }

    /// True if the shard has no room for another player.
    pub(super) fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Relaxed)
    }

    /// The shard begins its next turn. Nobody else writes that, and nothing else is read by it.
    pub(super) fn turn(&self, number: u64) {
        self.0.turns.store(number, Ordering::Relaxed);
    }

    /// The shard has taken its last turn, as it was told to.
    pub(super) fn end(&self) {
        self.0.turns.store(ENDED, Ordering::Relaxed);
    }

    /// How many turns the shard took; `None` once it has ended.
    pub(crate) fn turns(&self) -> Option<u64> {
        Some(self.0.turns.load(Ordering::Relaxed)).filter(|&turns| turns != ENDED)
    }
}

impl Shared {
    pub(crate) fn new(
        shards: usize,
        readers_max: u32,
        views_max: u64,
        placement: Placement,
        penalties: Arc<Penalties>,
        began: Instant,
    ) -> Self {
        Self {
            placement,
            caps: Caps::default(),
            connects: ConnectRates::default(),
            greets: ConnectRates::default(),
            penalties,
            viewers: KnownViewers::default(),
            views: ViewTable::new(views_max),
            revoked: RevokedViews::default(),
            began,
            epochs: Epochs::new(shards),
            wakes: Wakes::new(shards, readers_max),
            wakers: (0..shards).map(|_| OnceLock::new()).collect(),
            loads: (0..shards).map(|_| Load::default()).collect(),
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.loads.len()
    }

    /// The loads alone, for whoever watches from outside.
    pub(crate) fn loads(&self) -> Arc<[Load]> {
        Arc::clone(&self.loads)
    }

    pub(crate) fn load(&self, shard: ShardId) -> &Load {
        &self.loads[shard.index()]
    }

    /// What wakes `shard`.
    ///
    /// # Panics
    /// Before the shard called [`Self::set_waker`]. Only a shard that sleeps is woken, and each
    /// sets its waker before its first turn.
    pub(crate) fn waker(&self, shard: ShardId) -> &Waker {
        self.wakers[shard.index()].get().expect("a shard sets its waker before it sleeps")
    }

    pub(crate) fn set_waker(&self, shard: ShardId, waker: Waker) {
        let first = self.wakers[shard.index()].set(waker).is_ok();
        assert!(first, "a shard sets its waker once");
    }
}
