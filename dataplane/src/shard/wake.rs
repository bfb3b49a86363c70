//! Wake-ups between shards: "something changed" is a level, not a message.
//!
//! Shape: per reading shard one dirty bit per slot (a log that it reads), a summary bit per word of
//! dirty bits, and the word `sleeping`.
//!
//! ```text
//!   writer:  publish; set bit; fence; sleeping? -> swap it, wake once
//!   sleeper: sleeping = true; fence; any bit or message? -> stay, else wait
//! ```
//!
//! Of the two fences one is first, so either the writer sees the sleeper or the sleeper the bit.
//! Limits: slots per shard are fixed at start; marking and draining never allocate.
//! Not here: how a waiting shard is woken (`reactor/`), what a slot means (`shard/egress.rs`).

use crossbeam_utils::CachePadded;

use crate::ids::ShardId;
use crate::sync::{AtomicBool, AtomicU64, Ordering, fence};

const BITS: usize = u64::BITS as usize;

/// The dirty bits and sleepers of all shards.
///
/// Lives on: every shard. Crosses by: cloning an `Arc`.
#[derive(Debug)]
pub struct Wakes {
    shards: Box<[CachePadded<Level>]>,
}

#[derive(Debug)]
struct Level {
    sleeping: AtomicBool,
    /// Bit n: word n of `dirty` may have a bit.
    summary: Box<[AtomicU64]>,
    dirty: Box<[AtomicU64]>,
}

impl Wakes {
    /// Nothing dirty, nobody asleep.
    #[must_use]
    pub fn new(shards: usize, slots_per_shard: u32) -> Self {
        let words = (slots_per_shard as usize).div_ceil(BITS).max(1);
        let zeros = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        let level = || {
            CachePadded::new(Level {
                sleeping: AtomicBool::new(false),
                summary: zeros(words.div_ceil(BITS)),
                dirty: zeros(words),
            })
        };
        Self { shards: (0..shards).map(|_| level()).collect() }
    }

    /// Marks `slot` of `shard` dirty, after what it stands for was published.
    ///
    /// True if the caller must wake the shard: told to one caller per sleep.
    #[must_use = "a sleeping shard that is not woken stays asleep"]
    pub fn mark(&self, shard: ShardId, slot: u32) -> bool {
        let level = &*self.shards[shard.index()];
        let word = slot as usize / BITS;
        let bit = 1 << (slot as usize % BITS);
        // Always a read-modify-write: whoever clears the bit then sees what this caller published,
        // even if the bit was set by somebody else.
        if level.dirty[word].fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return false;
        }
        level.summary[word / BITS].fetch_or(1 << (word % BITS), Ordering::AcqRel);
        level.must_wake()
    }

    /// True if the caller, who just sent a message to `shard`, must wake it.
    #[must_use = "a sleeping shard that is not woken stays asleep"]
    pub fn alert(&self, shard: ShardId) -> bool {
        self.shards[shard.index()].must_wake()
    }

    /// Clears the dirty slots of `shard` and hands each to `visit`, who then reads what was
    /// published.
    pub fn drain(&self, shard: ShardId, mut visit: impl FnMut(u32)) {
        let level = &*self.shards[shard.index()];
        for (s, summary) in level.summary.iter().enumerate() {
            if summary.load(Ordering::Relaxed) == 0 {
                continue;
            }
            for w in bits(summary.swap(0, Ordering::AcqRel)) {
                let word = s * BITS + w;
                for bit in bits(level.dirty[word].swap(0, Ordering::AcqRel)) {
                    visit(u32::try_from(word * BITS + bit).expect("slots are counted in 32 bits"));
                }
            }
        }
    }

    /// `shard` is about to wait. False if there is work: a dirty slot, or what `pending` finds.
    ///
    /// After true the shard may wait, and calls [`Self::woke`] when it is back.
    #[must_use = "a shard that waits although there is work loses a wake-up"]
    pub fn prepare_sleep(&self, shard: ShardId, pending: impl FnOnce() -> bool) -> bool {
        let level = &*self.shards[shard.index()];
        // A swap, so that a writer's swap of an earlier sleep can never be ordered behind it.
        level.sleeping.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let dirty = level.summary.iter().any(|word| word.load(Ordering::Relaxed) != 0);
        if dirty || pending() {
            level.sleeping.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// `shard` is back, for whatever reason.
    pub fn woke(&self, shard: ShardId) {
        self.shards[shard.index()].sleeping.store(false, Ordering::Relaxed);
    }
}

impl Level {
    fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel)
    }
}

/// The positions of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        (word != 0).then(|| {
            word &= word - 1;
            bit as usize
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: ShardId = ShardId(1);

    fn drained(wakes: &Wakes) -> Vec<u32> {
        let mut slots = Vec::new();
        wakes.drain(READER, |slot| slots.push(slot));
        slots
    }

    #[test]
    fn every_marked_slot_is_drained_once_and_in_order() {
        let wakes = Wakes::new(2, 10_000);
        for slot in [9_999, 0, 63, 64, 4_096, 64, 1] {
            assert!(!wakes.mark(READER, slot), "nobody sleeps");
        }
        assert_eq!(drained(&wakes), [0, 1, 63, 64, 4_096, 9_999]);
        assert_eq!(drained(&wakes), []);
    }

    #[test]
    fn one_sleep_is_woken_once() {
        let wakes = Wakes::new(2, 128);
        assert!(wakes.prepare_sleep(READER, || false));
        assert!(wakes.mark(READER, 100));
        assert!(!wakes.mark(READER, 101), "somebody wakes it already");
        assert!(!wakes.alert(READER));
        wakes.woke(READER);
        assert!(!wakes.prepare_sleep(READER, || false), "there are dirty slots");
        assert_eq!(drained(&wakes), [100, 101]);
        assert!(!wakes.prepare_sleep(READER, || true), "there are messages");
        assert!(wakes.prepare_sleep(READER, || false));
        assert!(wakes.alert(READER));
        assert!(!wakes.alert(READER));
    }
}
