//! The logs that players of this shard read, and who those players are.

use std::collections::HashMap;
use std::sync::Arc;

use super::flush::BUCKETS;
use crate::ids::{ShardId, StreamName};
use crate::log::Log;
use crate::session::LogKey;

/// One log as this shard reads it. Lives on: the reading shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Reader {
    pub stream: StreamName,
    pub key: LogKey,
    pub home: ShardId,
    pub state: ReaderState,
    /// Connection slots, spread over the parts of the flush interval.
    pub subscribers: [Vec<u32>; BUCKETS],
    /// Those of them that want every frame at once.
    pub low_latency: Vec<u32>,
    /// Buckets that have not been flushed since the log moved.
    pub pending: u16,
    /// The log ended: new players ask anew.
    pub retired: bool,
    /// Those who waited for the log are being started.
    pub starting: bool,
}

/// How far the subscription is.
#[derive(Debug)]
pub(super) enum ReaderState {
    /// The home shard was asked; these connections wait.
    Asked(Vec<u32>),
    /// The log is readable.
    Reading(Arc<Log>),
}

impl Reader {
    pub(super) fn log(&self) -> Option<&Arc<Log>> {
        match &self.state {
            ReaderState::Reading(log) => Some(log),
            ReaderState::Asked(_) => None,
        }
    }

    /// True if nobody reads it and no answer is awaited.
    pub(super) fn is_unused(&self) -> bool {
        self.log().is_some() && !self.starting && self.subscribers.iter().all(Vec::is_empty)
    }

    pub(super) fn add(&mut self, slot: u32, low_latency: bool) {
        if low_latency {
            self.low_latency.push(slot);
        }
        self.subscribers[slot as usize % BUCKETS].push(slot);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        if let ReaderState::Asked(waiting) = &mut self.state {
            waiting.retain(|&s| s != slot);
        }
        let bucket = &mut self.subscribers[slot as usize % BUCKETS];
        if let Some(at) = bucket.iter().position(|&s| s == slot) {
            bucket.swap_remove(at);
        }
        self.low_latency.retain(|&s| s != slot);
    }
}

/// All readers of a shard; a slot number is the dirty bit that the home shard sets.
#[derive(Debug)]
pub(super) struct Readers {
    slots: Vec<Option<Reader>>,
    by_log: HashMap<(StreamName, LogKey), u32>,
    max: usize,
}

impl Readers {
    pub(super) fn new(max: usize) -> Self {
        Self { slots: Vec::new(), by_log: HashMap::new(), max }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Reader> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Reader> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The reader of a live log, if this shard has one.
    pub(super) fn find(&self, stream: &StreamName, key: LogKey) -> Option<u32> {
        self.by_log.get(&(stream.clone(), key)).copied()
    }

    /// A new reader with one waiting connection; `None` if there is no slot.
    pub(super) fn ask(
        &mut self,
        stream: &StreamName,
        key: LogKey,
        home: ShardId,
        waiting: u32,
    ) -> Option<u32> {
        let reader = Reader {
            stream: stream.clone(),
            key,
            home,
            state: ReaderState::Asked(vec![waiting]),
            subscribers: [const { Vec::new() }; BUCKETS],
            low_latency: Vec::new(),
            pending: 0,
            retired: false,
            starting: false,
        };
        let slot = match self.slots.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.slots.len() < self.max => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return None,
        };
        self.slots[slot] = Some(reader);
        let slot = u32::try_from(slot).expect("readers are bounded by the dirty bits");
        self.by_log.insert((stream.clone(), key), slot);
        Some(slot)
    }

    /// New players of this log ask the home shard anew.
    pub(super) fn retire(&mut self, slot: u32) {
        let Some(reader) = self.slots[slot as usize].as_mut() else { return };
        reader.retired = true;
        let key = (reader.stream.clone(), reader.key);
        if self.by_log.get(&key) == Some(&slot) {
            self.by_log.remove(&key);
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Reader> {
        self.retire(slot);
        self.slots[slot as usize].take()
    }

    /// Every slot, with a reader or without.
    pub(super) fn slots(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.slots.len()).expect("readers are bounded by the dirty bits")
    }

    /// (slot, reader) of every reader.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Reader)> {
        (0_u32..).zip(self.slots.iter_mut()).filter_map(|(i, r)| Some((i, r.as_mut()?)))
    }
}
