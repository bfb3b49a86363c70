//! The logs that players of this shard read, and who those players are.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::burst::{self, Burst};
use super::flush::BUCKETS;
use super::headroom::{Place, Rate};
use super::lateness::LateMark;
use super::meter::{Mark, Meter};
use crate::config::EgressConfig;
use crate::ids::{SecretDigest, ShardId, StreamName};
use crate::log::{Succession, Trail};
use crate::session::{LogKey, Use};

/// One log as this shard reads it. Lives on: the reading shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Reader {
    pub stream: StreamName,
    pub key: LogKey,
    pub usage: Use,
    pub home: ShardId,
    /// The number of its question.
    pub number: u64,
    pub state: ReaderState,
    /// Connection slots, spread over the parts of the flush interval.
    pub subscribers: [Vec<u32>; BUCKETS],
    /// Those of them that want every frame at once.
    pub low_latency: Vec<u32>,
    /// Those of them that nobody is told of.
    pub unlisted: Vec<u32>,
    /// A player that was found in the first of several logs.
    pub behind: Option<u32>,
    /// Players before it are too far behind.
    pub late: LateMark,
    /// When its latest bytes came.
    pub trail: Trail,
    /// How many came at once.
    pub burst: Burst,
    /// Buckets that have not been flushed since the log moved.
    pub pending: u16,
    /// It is in the list of those that gather.
    listed: bool,
    /// Buckets with a player for whom something waits for its next move.
    held: u16,
    /// When the first of that is sent.
    held_until: Option<Instant>,
    /// The log ended: new players ask anew.
    pub retired: bool,
    /// Those who waited for the log are being started.
    pub starting: bool,
    /// Viewers who wait for the first window.
    pub waiting: Vec<u32>,
    /// Viewers who are sent a segment.
    pub serving: u32,
    /// When a viewer last asked or had its answer.
    pub asked_at: Instant,
    /// The key that the stream is published with.
    pub key_published: Option<SecretDigest>,
    /// What one second of the log is, as far as it has told.
    pub rate: Rate,
    meter: Meter,
}

/// How far the subscription is.
#[derive(Debug)]
pub(super) enum ReaderState {
    /// The home shard was asked; these connections wait.
    Asked(Vec<u32>),
    /// The log is readable, and what goes on from it.
    Reading(Succession),
}

impl Reader {
    /// Lets go of the logs that hold nothing from `offset` on.
    pub(super) fn leave_before(&mut self, offset: u64) {
        if let ReaderState::Reading(logs) = &mut self.state {
            logs.leave_before(offset);
        }
    }

    /// The log, and what goes on from it.
    pub(super) const fn logs(&self) -> Option<&Succession> {
        match &self.state {
            ReaderState::Reading(logs) => Some(logs),
            ReaderState::Asked(_) => None,
        }
    }

    /// Finds what one second of the log is at `now`.
    pub(super) fn weigh(&mut self, now: Instant) {
        let ReaderState::Reading(logs) = &self.state else { return };
        let Some(newest) = logs.newest_entry() else { return };
        let mark = Mark { at: now, end: newest.end(), entry: newest.number };
        if let Some(rate) = self.meter.read(mark, Rate::of(logs)) {
            self.rate = rate;
        }
    }

    /// What one of its players takes of the shard.
    pub(super) fn place(&self, egress: &EgressConfig, low_latency: bool) -> Place {
        Place {
            stream: self.stream.clone(),
            work: self.rate.player(egress, low_latency),
            burst: self.burst_beyond(egress),
            live: true,
        }
    }

    /// Bytes of an interval with a burst beyond those of any other.
    pub(super) fn burst_beyond(&self, egress: &EgressConfig) -> f64 {
        self.burst.beyond(&self.rate, burst::interval(egress))
    }

    /// Buckets with a player for whom something waits for its next move.
    pub(super) const fn held(&self) -> u16 {
        self.held
    }

    /// True if no player reads it and no answer is awaited. Viewers come and go.
    pub(super) fn is_unused(&self) -> bool {
        let nobody = self.subscribers.iter().all(Vec::is_empty);
        self.usage == Use::Live && self.logs().is_some() && !self.starting && nobody
    }

    pub(super) fn add(&mut self, slot: u32, low_latency: bool, unlisted: bool) {
        if low_latency {
            self.low_latency.push(slot);
        }
        if unlisted {
            self.unlisted.push(slot);
        }
        self.subscribers[slot as usize % BUCKETS].push(slot);
    }

    /// How many play it, of those who are told of.
    pub(super) fn players(&self) -> usize {
        self.served() - self.unlisted.len()
    }

    /// How many are sent it.
    pub(super) fn served(&self) -> usize {
        self.subscribers.iter().map(Vec::len).sum()
    }

    /// A viewer does not wait any more.
    pub(super) fn forget_viewer(&mut self, slot: u32) {
        if let ReaderState::Asked(waiting) = &mut self.state {
            waiting.retain(|&s| s != slot);
        }
        self.waiting.retain(|&s| s != slot);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        if let ReaderState::Asked(waiting) = &mut self.state {
            waiting.retain(|&s| s != slot);
        }
        let Self { subscribers, low_latency, unlisted, .. } = self;
        for list in [&mut subscribers[slot as usize % BUCKETS], low_latency, unlisted] {
            if let Some(at) = list.iter().position(|&s| s == slot) {
                list.swap_remove(at);
            }
        }
    }
}

/// What a new reader is for, and the connection that waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub stream: &'a StreamName,
    pub key: LogKey,
    pub usage: Use,
    pub home: ShardId,
    pub asker: u32,
}

/// All readers of a shard; a slot number is the dirty bit that the home shard sets.
#[derive(Debug)]
pub(super) struct Readers {
    slots: Vec<Option<Reader>>,
    /// Slots without a reader.
    free: Vec<u32>,
    /// Slots whose reader has, or had until now, buckets to flush.
    gathering: Vec<u32>,
    /// Slots whose reader has something that waits for its next move, by when that is sent.
    held: VecDeque<(Instant, u32)>,
    by_log: HashMap<(StreamName, LogKey, Use), u32>,
    /// Retired readers of segments that can still be had.
    superseded: HashMap<(StreamName, LogKey), u32>,
    /// Questions asked.
    asked: u64,
    max: usize,
}

impl Readers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            gathering: Vec::new(),
            held: VecDeque::new(),
            by_log: HashMap::new(),
            superseded: HashMap::new(),
            asked: 0,
            max,
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Reader> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Reader> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The stream of a reader, told by slot and number, has a publisher with another key; who plays
    /// from it, unless that reader is no more.
    pub(super) fn rekey(
        &mut self,
        (slot, number): (u32, u64),
        key: Option<SecretDigest>,
    ) -> Option<Vec<u32>> {
        let reader = self.get_mut(slot).filter(|reader| reader.number == number)?;
        reader.key_published = key;
        Some(reader.subscribers.iter().flatten().copied().collect())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Reader> {
        self.slots.iter_mut().flatten()
    }

    /// The reader of a live log, if this shard has one.
    pub(super) fn find(&self, stream: &StreamName, key: LogKey, usage: Use) -> Option<u32> {
        self.by_log.get(&(stream.clone(), key, usage)).copied()
    }

    /// The reader of the last log of a stream that returned, if its segments can still be had.
    pub(super) fn find_superseded(&self, stream: &StreamName, key: LogKey) -> Option<u32> {
        self.superseded.get(&(stream.clone(), key)).copied()
    }

    /// Slots with a reader or without.
    pub(super) const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The readers whose viewers come and go.
    pub(super) fn of_segments(&self) -> Vec<u32> {
        let of_segments = |slot: &Option<Reader>| {
            slot.as_ref().is_some_and(|reader| reader.usage == Use::Segments)
        };
        let slots = self.slots.iter().zip(0..).filter(|(slot, _)| of_segments(slot));
        slots.map(|(_, at)| at).collect()
    }

    /// The readers of logs that were sealed and go on in others.
    pub(super) fn of_sealed(&self) -> Vec<u32> {
        let sealed = |reader: &Reader| reader.logs().is_some_and(Succession::has_sealed);
        let slots = self.slots.iter().zip(0..);
        slots.filter(|(slot, _)| slot.as_ref().is_some_and(sealed)).map(|(_, at)| at).collect()
    }

    /// A new reader with one waiting connection; `None` if there is no slot.
    pub(super) fn ask(&mut self, question: Question<'_>, now: Instant) -> Option<u32> {
        let Question { stream, key, usage, home, asker } = question;
        self.asked += 1;
        let reader = Reader {
            stream: stream.clone(),
            key,
            usage,
            home,
            number: self.asked,
            state: ReaderState::Asked(vec![asker]),
            subscribers: [const { Vec::new() }; BUCKETS],
            low_latency: Vec::new(),
            unlisted: Vec::new(),
            behind: None,
            late: LateMark::default(),
            trail: Trail::new(now),
            burst: Burst::new(now),
            pending: 0,
            listed: false,
            held: 0,
            held_until: None,
            retired: false,
            starting: false,
            waiting: Vec::new(),
            serving: 0,
            asked_at: now,
            key_published: None,
            rate: Rate::TYPICAL,
            meter: Meter::default(),
        };
        let slot = match self.free.pop() {
            Some(free) => free,
            None if self.slots.len() < self.max => {
                self.slots.push(None);
                // Room for all of them to gather, so that a turn that gathers takes no memory.
                self.gathering.reserve(self.slots.len() - self.gathering.len());
                self.held.reserve(self.slots.len() - self.held.len());
                u32::try_from(self.slots.len() - 1).expect("readers are bounded by the dirty bits")
            }
            None => return None,
        };
        self.slots[slot as usize] = Some(reader);
        self.by_log.insert((stream.clone(), key, usage), slot);
        Some(slot)
    }

    /// New players of this log ask the home shard anew.
    pub(super) fn retire(&mut self, slot: u32) {
        let Some(reader) = self.slots[slot as usize].as_mut() else { return };
        reader.retired = true;
        let key = (reader.stream.clone(), reader.key, reader.usage);
        if self.by_log.get(&key) == Some(&slot) {
            self.by_log.remove(&key);
            if key.2 == Use::Segments {
                self.superseded.insert((key.0, key.1), slot);
            }
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Reader> {
        self.retire(slot);
        let reader = self.slots[slot as usize].take()?;
        self.free.push(slot);
        let key = (reader.stream.clone(), reader.key);
        if self.superseded.get(&key) == Some(&slot) {
            self.superseded.remove(&key);
        }
        if reader.listed {
            self.gathering.retain(|&listed| listed != slot);
        }
        if let Some(until) = reader.held_until {
            unlist(&mut self.held, (until, slot));
        }
        Some(reader)
    }

    /// The log of this reader moved: every bucket with a subscriber waits for its flush.
    pub(super) fn gather(&mut self, slot: u32) {
        let Some(reader) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        for (bucket, subscribers) in reader.subscribers.iter().enumerate() {
            if !subscribers.is_empty() {
                reader.pending |= 1 << bucket;
            }
        }
        if reader.pending != 0 && !reader.listed {
            reader.listed = true;
            self.gathering.push(slot);
        }
    }

    /// `buckets` of this reader were looked at: in those of `held` something waits for the next
    /// move of its log, the first of it until `until`.
    pub(super) fn hold(&mut self, slot: u32, buckets: u16, (held, until): (u16, Option<Instant>)) {
        let Some(reader) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let others = reader.held & !buckets;
        let before = reader.held_until;
        // What waits in the others alone is not known: it is looked at when the first was due.
        let until = if others == 0 { until } else { earlier(before, until) };
        reader.held = others | held;
        reader.held_until = until;
        if until == before {
            return;
        }
        if let Some(before) = before {
            unlist(&mut self.held, (before, slot));
        }
        if let Some(until) = until {
            let at = self.held.partition_point(|&listed| listed < (until, slot));
            self.held.insert(at, (until, slot));
        }
    }

    /// When to look for what is [`Self::due`].
    pub(super) fn release_at(&self) -> Option<Instant> {
        self.held.front().map(|&(at, _)| at)
    }

    /// A reader with something that has waited long enough by `now`.
    pub(super) fn due(&self, now: Instant) -> Option<u32> {
        self.held.front().filter(|&&(at, _)| at <= now).map(|&(_, slot)| slot)
    }

    /// How many readers gather.
    pub(super) const fn gathering(&self) -> usize {
        self.gathering.len()
    }

    /// The `nth` of the readers that gather.
    pub(super) fn gathers(&self, nth: usize) -> u32 {
        self.gathering[nth]
    }

    /// Forgets the readers that have nothing left to flush.
    pub(super) fn settle(&mut self) {
        let Self { slots, gathering, .. } = self;
        gathering.retain(|&slot| {
            let Some(reader) = slots[slot as usize].as_mut() else { return false };
            reader.listed = reader.pending != 0;
            reader.listed
        });
    }
}

/// Takes one entry out of a list that is in order.
fn unlist(held: &mut VecDeque<(Instant, u32)>, entry: (Instant, u32)) {
    if let Ok(at) = held.binary_search(&entry) {
        held.remove(at);
    }
}

/// The earlier of two times, if there are any.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Dialect, Format};

    const KEY: LogKey = LogKey { format: Format::Flv, dialect: Dialect::Native, track: 0 };

    fn readers(names: &[&str]) -> (Readers, Vec<u32>) {
        let mut readers = Readers::new(names.len());
        let slots = names.iter().map(|name| ask(&mut readers, name).unwrap()).collect();
        (readers, slots)
    }

    fn ask(readers: &mut Readers, name: &str) -> Option<u32> {
        let stream = &StreamName::parse(name).unwrap();
        let (usage, home, asker) = (Use::Live, ShardId(0), 7);
        readers.ask(Question { stream, key: KEY, usage, home, asker }, origin())
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_slot_is_used_again_and_there_are_no_more_than_allowed() {
        let (mut readers, slots) = readers(&["a", "b", "c"]);
        assert_eq!(slots, [0, 1, 2]);
        assert_eq!(ask(&mut readers, "d"), None);
        assert!(readers.remove(1).is_some());
        assert!(readers.remove(1).is_none(), "a slot is freed once");
        assert_eq!(ask(&mut readers, "d"), Some(1));
        assert_eq!(ask(&mut readers, "e"), None);
        assert_eq!(readers.find(&StreamName::parse("d").unwrap(), KEY, Use::Live), Some(1));
    }

    #[test]
    fn what_waits_is_due_at_its_time_the_first_first() {
        let (mut readers, slots) = readers(&["a", "b", "c"]);
        let (start, ms) = (origin(), std::time::Duration::from_millis);
        assert_eq!((readers.release_at(), readers.due(start)), (None, None));
        let held = |ms| (1 << 3, Some(start + ms));
        for (&slot, wait) in slots.iter().zip([20, 10, 30]) {
            readers.hold(slot, u16::MAX, held(ms(wait)));
        }
        assert_eq!(readers.release_at(), Some(start + ms(10)));
        assert_eq!(readers.due(start + ms(9)), None);
        assert_eq!(readers.due(start + ms(25)), Some(slots[1]));
        readers.hold(slots[1], u16::MAX, (0, None));
        assert_eq!(readers.due(start + ms(25)), Some(slots[0]));
        // Its log moves, and something else waits.
        readers.hold(slots[0], u16::MAX, held(ms(60)));
        assert_eq!(readers.due(start + ms(25)), None);
        assert_eq!(readers.release_at(), Some(start + ms(30)));
        readers.remove(slots[2]);
        assert_eq!(readers.due(start + ms(50)), None);
        assert_eq!(readers.release_at(), Some(start + ms(60)));
        readers.hold(slots[0], u16::MAX, (0, None));
        assert_eq!(readers.release_at(), None);
    }

    #[test]
    fn a_bucket_waits_on_when_others_are_looked_at() {
        let (mut readers, slots) = readers(&["a"]);
        let (start, ms) = (origin(), std::time::Duration::from_millis);
        let (low, high) = (0x00ff, 0xff00);
        let held = |readers: &Readers| (readers.get(slots[0]).unwrap().held, readers.release_at());
        readers.hold(slots[0], low, (1, Some(start + ms(30))));
        readers.hold(slots[0], high, (1 << 9, Some(start + ms(40))));
        assert_eq!(held(&readers), (1 | 1 << 9, Some(start + ms(30))));
        readers.hold(slots[0], high, (0, None));
        assert_eq!(held(&readers), (1, Some(start + ms(30))), "the first still waits");
        readers.hold(slots[0], low, (0, None));
        assert_eq!(held(&readers), (0, None));
    }

    #[test]
    fn readers_gather_once_until_all_their_buckets_are_flushed() {
        let (mut readers, slots) = readers(&["a", "b", "c"]);
        readers.gather(slots[2]);
        assert_eq!(readers.gathering(), 0, "nobody subscribed");
        for &slot in &slots {
            readers.get_mut(slot).unwrap().add(3, false, false);
            readers.get_mut(slot).unwrap().add(4, false, false);
            readers.gather(slot);
            readers.gather(slot);
        }
        assert_eq!(readers.gathering(), 3);
        readers.remove(slots[1]);
        assert_eq!(readers.gathering(), 2);
        readers.get_mut(slots[0]).unwrap().pending = 0;
        readers.get_mut(slots[2]).unwrap().pending &= !(1 << 3);
        readers.settle();
        assert_eq!((readers.gathering(), readers.gathers(0)), (1, slots[2]));
        readers.gather(slots[0]);
        assert_eq!(readers.gathering(), 2);
    }
}
