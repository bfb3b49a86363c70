//! Epochs: when what was taken out of a log may be used again.

use std::collections::VecDeque;

use crossbeam_utils::CachePadded;

use super::preamble::Preamble;
use crate::ids::ShardId;
use crate::segment::Window;
use crate::slab::{PageId, Pool};
use crate::sync::{AtomicU64, Ordering, fence};

/// The epoch of a shard that reads nothing.
const ASLEEP: u64 = u64::MAX;

/// The global epoch and each shard's own; the argument is in the documentation of [`super`].
///
/// Lives on: every shard. Crosses by: cloning an `Arc`.
#[derive(Debug)]
pub struct Epochs {
    global: CachePadded<AtomicU64>,
    shards: Box<[CachePadded<AtomicU64>]>,
}

impl Epochs {
    /// Epochs of `shards` shards, all asleep.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let asleep = || CachePadded::new(AtomicU64::new(ASLEEP));
        Self {
            global: CachePadded::new(AtomicU64::new(0)),
            shards: (0..shards).map(|_| asleep()).collect(),
        }
    }

    /// `shard` woke: from here on it may read logs.
    pub fn enter(&self, shard: ShardId) {
        let now = self.global.load(Ordering::Acquire);
        self.shards[shard.index()].store(now, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// `shard` ended a turn: it holds no address of a page, and goes on with the next turn.
    pub fn advance(&self, shard: ShardId) {
        let now = self.global.load(Ordering::Acquire);
        self.shards[shard.index()].store(now, Ordering::Release);
    }

    /// `shard` ended a turn and is about to wait: it reads nothing until it enters again.
    pub fn sleep(&self, shard: ShardId) {
        self.shards[shard.index()].store(ASLEEP, Ordering::Release);
    }

    /// A tag for what was just taken out; free once [`Self::passed`] is greater.
    fn tag(&self) -> u64 {
        self.global.fetch_add(1, Ordering::AcqRel)
    }

    /// The lowest epoch of a shard that is awake.
    fn passed(&self) -> u64 {
        fence(Ordering::SeqCst);
        let epochs = self.shards.iter().map(|epoch| epoch.load(Ordering::Acquire));
        epochs.min().unwrap_or(ASLEEP)
    }
}

/// Things that were taken out of sight and wait until every shard has looked away.
///
/// Lives on: the shard that took them out.
/// Limits: whoever retires bounds it; room for that many is reserved once.
#[derive(Debug)]
pub struct Limbo<T> {
    /// Oldest first, each with its tag.
    waiting: VecDeque<(u64, T)>,
    /// How many of the newest have no tag yet.
    untagged: usize,
}

impl<T> Limbo<T> {
    /// Room for `capacity` things.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(capacity), untagged: 0 }
    }

    /// Takes `thing`, which no reader can find any more from here on.
    pub fn retire(&mut self, thing: T) {
        self.waiting.push_back((ASLEEP, thing));
        self.untagged += 1;
    }

    /// Hands what every shard has looked away from to `free`; returns how many that were.
    pub fn collect(&mut self, epochs: &Epochs, mut free: impl FnMut(T)) -> usize {
        if self.untagged > 0 {
            let tag = epochs.tag();
            self.waiting.iter_mut().rev().take(self.untagged).for_each(|(t, _)| *t = tag);
            self.untagged = 0;
        }
        if self.waiting.is_empty() {
            return 0;
        }
        let passed = epochs.passed();
        let mut freed = 0;
        while let Some((_, thing)) = self.waiting.pop_front_if(|(tag, _)| *tag < passed) {
            free(thing);
            freed += 1;
        }
        freed
    }

    /// Things that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// What logs retire.
#[derive(Debug)]
pub(super) enum Retired {
    Page(PageId),
    Preamble(Box<Preamble>),
    Window(Box<Window>),
}

/// The retired pages, preambles and windows of the logs of one shard.
///
/// Lives on: its shard. Limits: the pages of the shard's pool.
#[derive(Debug)]
pub struct Gc {
    limbo: Limbo<Retired>,
}

impl Gc {
    /// Room for every page of `pool`.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        use crate::slab::PageClass::{Large, Small};
        let pages = pool.usage(Large).total as usize + pool.usage(Small).total as usize;
        Self { limbo: Limbo::with_capacity(pages + super::PREAMBLES_MAX) }
    }

    pub(super) fn retire(&mut self, retired: Retired) {
        self.limbo.retire(retired);
    }

    /// Frees what every shard has passed; once per turn. Returns how many things that were.
    pub fn collect(&mut self, epochs: &Epochs, pool: &Pool) -> usize {
        self.limbo.collect(epochs, |retired| match retired {
            Retired::Page(page) => pool.free(page),
            Retired::Preamble(preamble) => drop(preamble),
            Retired::Window(window) => drop(window),
        })
    }

    /// Things that wait to be freed.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.limbo.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(limbo: &mut Limbo<u32>, epochs: &Epochs) -> Vec<u32> {
        let mut freed = Vec::new();
        limbo.collect(epochs, |x| freed.push(x));
        freed
    }

    #[test]
    fn what_was_retired_waits_for_every_shard_that_is_awake() {
        let (a, b) = (ShardId(0), ShardId(1));
        let epochs = Epochs::new(2);
        let mut limbo = Limbo::with_capacity(4);
        limbo.retire(1);
        assert_eq!(collect(&mut limbo, &epochs), [1], "everybody sleeps");
        epochs.enter(a);
        epochs.enter(b);
        limbo.retire(2);
        assert_eq!(collect(&mut limbo, &epochs), []);
        epochs.advance(a);
        limbo.retire(3);
        assert_eq!(collect(&mut limbo, &epochs), [], "b still reads");
        epochs.advance(b);
        assert_eq!(collect(&mut limbo, &epochs), [2], "a has not passed the retirement of 3");
        epochs.sleep(b);
        assert_eq!(collect(&mut limbo, &epochs), []);
        epochs.advance(a);
        assert_eq!(collect(&mut limbo, &epochs), [3]);
        assert!(limbo.is_empty());
    }
}
