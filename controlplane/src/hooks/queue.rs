//! Queue: the events of one hook that wait, in lanes of one stream each.
//!
//! ```text
//!   push --> lane --(first of its stream)--> ready --take--> under way --delivered--> gone
//!              ^                               ^                 |
//!              |                               +-- time passes --+ failed: the lane waits
//!              +------------- later ones of the stream stay behind it
//! ```
//!
//! Pure: time comes in as an argument, nothing here waits.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::ids::StreamName;

use super::backoff::backoff;
use super::parcel::Parcel;

/// Bytes of the events of one request at most, unless one alone is larger.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The stream whose order an event is part of; those of none are in one order, too.
type Lane = Option<StreamName>;

/// How events are put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    pub(super) events_max: usize,
    pub(super) patience: Duration,
}

/// Events that are under way together, in the order of each of their streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) parcels: Vec<Arc<Parcel>>,
    lanes: Vec<Lane>,
}

/// An event that was given up.
#[derive(Clone, Debug)]
pub(super) struct GivenUp {
    pub(super) parcel: Arc<Parcel>,
    pub(super) attempts: u32,
}

#[derive(Debug)]
struct Entry {
    parcel: Arc<Parcel>,
    since: Instant,
    under_way: bool,
}

#[derive(Debug, Default)]
struct Line {
    numbers: VecDeque<u64>,
    failures: u32,
    busy: bool,
    /// When it may be tried again, if it waits.
    until: Option<Instant>,
    /// It failed together with others: now it is sent alone, so that it fails alone.
    alone: bool,
}

/// The events of one hook that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BTreeMap<u64, Entry>,
    lines: HashMap<Lane, Line>,
    ready: VecDeque<Lane>,
    waiting: BTreeSet<(Instant, Lane)>,
    bytes: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Since when the oldest event waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(_, entry)| entry.since)
    }

    /// Adds an event after those of its stream.
    pub(super) fn push(&mut self, parcel: Arc<Parcel>, now: Instant) {
        let (number, lane) = (parcel.number, parcel.stream.clone());
        self.bytes += parcel.json.len() as u64;
        self.entries.insert(number, Entry { parcel, since: now, under_way: false });
        let line = self.lines.entry(lane.clone()).or_default();
        line.numbers.push_back(number);
        if line.numbers.len() == 1 {
            self.ready.push_back(lane);
        }
    }

    /// The next events to be sent, if there are any and they have waited long enough.
    pub(super) fn take(&mut self, now: Instant, batching: Batching) -> Option<Batch> {
        self.wake(now);
        let first = self.ready.front()?.clone();
        if self.lines.get(&first).is_some_and(|line| line.alone) || batching.events_max == 1 {
            self.ready.pop_front();
            let mut batch = Batch::default();
            self.load(&mut batch, first, 1, &mut 0);
            return Some(batch);
        }
        if self.full_at(batching)? > now {
            return None;
        }
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for _ in 0..self.ready.len() {
            let room = batching.events_max - batch.parcels.len();
            if room == 0 || bytes >= BATCH_BYTES_MAX {
                break;
            }
            let Some(lane) = self.ready.pop_front() else { break };
            if self.lines.get(&lane).is_some_and(|line| line.alone) {
                self.ready.push_back(lane);
                continue;
            }
            self.load(&mut batch, lane, room, &mut bytes);
        }
        Some(batch)
    }

    /// When [`Self::take`] has something, as far as is known now.
    pub(super) fn due(&self, batching: Batching) -> Option<Instant> {
        let waiting = self.waiting.first().map(|&(until, _)| until);
        let ready = if self.ready.is_empty() { None } else { self.full_at(batching) };
        [waiting, ready].into_iter().flatten().min()
    }

    /// The events were taken by the receiver.
    pub(super) fn delivered(&mut self, batch: Batch) {
        for parcel in &batch.parcels {
            self.remove(parcel.number);
        }
        for lane in batch.lanes {
            self.settle(lane, |line| (line.failures, line.alone) = (0, false));
        }
    }

    /// The events were not taken. Those that were tried often enough are gone from here.
    pub(super) fn failed(
        &mut self,
        batch: Batch,
        retries_max: u32,
        now: Instant,
        chance: u8,
    ) -> Vec<GivenUp> {
        let mut given_up = Vec::new();
        let together = batch.parcels.len() > 1;
        for lane in batch.lanes {
            let Some(line) = self.lines.get_mut(&lane) else { continue };
            line.failures = line.failures.saturating_add(1);
            line.alone = together || line.alone;
            let attempts = line.failures;
            if attempts <= retries_max {
                let until = now + backoff(attempts, chance);
                line.until = Some(until);
                line.busy = false;
                self.waiting.insert((until, lane.clone()));
                for parcel in batch.parcels.iter().filter(|parcel| parcel.stream == lane) {
                    if let Some(entry) = self.entries.get_mut(&parcel.number) {
                        entry.under_way = false;
                    }
                }
                continue;
            }
            for parcel in batch.parcels.iter().filter(|parcel| parcel.stream == lane) {
                self.remove(parcel.number);
                given_up.push(GivenUp { parcel: Arc::clone(parcel), attempts });
            }
            self.settle(lane, |line| (line.failures, line.alone) = (0, false));
        }
        given_up
    }

    /// Takes the oldest events out until the rest fits; those under way stay.
    pub(super) fn shrink(&mut self, events_max: usize, bytes_max: u64) -> Vec<GivenUp> {
        let mut given_up = Vec::new();
        while self.entries.len() > events_max || self.bytes > bytes_max {
            let oldest = self.entries.values().find(|entry| !entry.under_way);
            let Some(parcel) = oldest.map(|entry| Arc::clone(&entry.parcel)) else { break };
            self.remove(parcel.number);
            let attempts = self.lines.get(&parcel.stream).map_or(0, |line| line.failures);
            if self.lines.get(&parcel.stream).is_some_and(|line| line.numbers.is_empty()) {
                self.leave(&parcel.stream);
            }
            given_up.push(GivenUp { parcel, attempts });
        }
        given_up
    }

    /// Moves lanes whose time has come to those that are ready.
    fn wake(&mut self, now: Instant) {
        while let Some((until, _)) = self.waiting.first()
            && *until <= now
        {
            let Some((_, lane)) = self.waiting.pop_first() else { return };
            if let Some(line) = self.lines.get_mut(&lane) {
                line.until = None;
            }
            self.ready.push_back(lane);
        }
    }

    /// When a batch is full or has waited long enough.
    fn full_at(&self, batching: Batching) -> Option<Instant> {
        let first = self.lines.get(self.ready.front()?)?;
        let oldest = self.entries.get(first.numbers.front()?)?.since;
        let lines = self.ready.iter().filter_map(|lane| self.lines.get(lane));
        let mut events = 0;
        for line in lines {
            events += line.numbers.len();
            if events >= batching.events_max || line.alone {
                return Some(oldest);
            }
        }
        Some(oldest + batching.patience)
    }

    /// Puts up to `room` events of a lane into `batch`.
    fn load(&mut self, batch: &mut Batch, lane: Lane, room: usize, bytes: &mut usize) {
        let Some(line) = self.lines.get_mut(&lane) else { return };
        let room = if line.alone { 1 } else { room };
        let before = batch.parcels.len();
        for number in line.numbers.iter().take(room) {
            let Some(entry) = self.entries.get_mut(number) else { continue };
            if *bytes > 0 && *bytes + entry.parcel.json.len() > BATCH_BYTES_MAX {
                break;
            }
            entry.under_way = true;
            *bytes += entry.parcel.json.len();
            batch.parcels.push(Arc::clone(&entry.parcel));
        }
        line.busy = batch.parcels.len() > before;
        match line.busy {
            true => batch.lanes.push(lane),
            false => self.ready.push_back(lane),
        }
    }

    /// An event leaves, wherever it stands.
    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        self.bytes -= entry.parcel.json.len() as u64;
        if let Some(line) = self.lines.get_mut(&entry.parcel.stream) {
            match line.numbers.front() == Some(&number) {
                true => drop(line.numbers.pop_front()),
                false => line.numbers.retain(|&other| other != number),
            }
        }
    }

    /// A lane is no longer under way.
    fn settle(&mut self, lane: Lane, change: impl FnOnce(&mut Line)) {
        let Some(line) = self.lines.get_mut(&lane) else { return };
        line.busy = false;
        change(line);
        match line.numbers.is_empty() {
            true => self.leave(&lane),
            false => self.ready.push_back(lane),
        }
    }

    /// A lane without events is forgotten, unless it is under way.
    fn leave(&mut self, lane: &Lane) {
        let Some(line) = self.lines.get(lane) else { return };
        if line.busy {
            return;
        }
        match line.until {
            Some(until) => drop(self.waiting.remove(&(until, lane.clone()))),
            None => self.ready.retain(|other| other != lane),
        }
        self.lines.remove(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Batching = Batching { events_max: 1, patience: Duration::ZERO };
    const THREE: Batching = Batching { events_max: 3, patience: Duration::from_secs(1) };

    fn parcel(number: u64, stream: &str) -> Arc<Parcel> {
        let stream = StreamName::parse(stream);
        Arc::new(Parcel { number, id: number.to_string().into(), stream, json: "{}".into() })
    }

    fn queue(streams: &[&str], now: Instant) -> Queue {
        let mut queue = Queue::default();
        for (number, stream) in (0..).zip(streams) {
            queue.push(parcel(number, stream), now);
        }
        queue
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.parcels.iter().map(|parcel| parcel.number).collect()
    }

    #[test]
    fn a_failing_event_holds_up_its_own_stream_alone() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b", "a", "", "b"], now);
        let a = queue.take(now, ONE).unwrap();
        let b = queue.take(now, ONE).unwrap();
        let node = queue.take(now, ONE).unwrap();
        assert_eq!([&a, &b, &node].map(numbers), [[0], [1], [3]]);
        assert!(queue.take(now, ONE).is_none(), "one of each stream at a time");
        assert!(queue.failed(a, 3, now, 255).is_empty());
        queue.delivered(b);
        queue.delivered(node);
        let b = queue.take(now, ONE).unwrap();
        assert_eq!(numbers(&b), [4]);
        queue.delivered(b);
        assert_eq!(queue.due(ONE), Some(now + Duration::from_secs(1)));
        assert!(queue.take(now, ONE).is_none());
        let now = now + Duration::from_secs(1);
        let a = queue.take(now, ONE).unwrap();
        assert_eq!(numbers(&a), [0], "the one that failed is first");
        queue.delivered(a);
        let a = queue.take(now, ONE).unwrap();
        assert_eq!(numbers(&a), [2]);
        queue.delivered(a);
        assert_eq!((queue.len(), queue.bytes(), queue.lines.len()), (0, 0, 0));
        assert_eq!(queue.due(ONE), None);
    }

    #[test]
    fn an_event_is_given_up_after_its_retries_and_the_next_one_is_tried() {
        let mut now = Instant::now();
        let mut queue = queue(&["a", "a"], now);
        for attempt in 1..=3 {
            let batch = queue.take(now, ONE).unwrap();
            assert_eq!(numbers(&batch), [0]);
            let given_up = queue.failed(batch, 2, now, 0);
            assert_eq!(given_up.len(), usize::from(attempt == 3));
            now = queue.due(ONE).unwrap().max(now);
        }
        assert_eq!(numbers(&queue.take(now, ONE).unwrap()), [1]);
    }

    #[test]
    fn a_batch_is_full_or_has_waited_and_keeps_the_order_of_streams() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b"], now);
        assert!(queue.take(now, THREE).is_none());
        assert_eq!(queue.due(THREE), Some(now + THREE.patience));
        queue.push(parcel(2, "a"), now);
        queue.push(parcel(3, "a"), now);
        let batch = queue.take(now, THREE).unwrap();
        assert_eq!(numbers(&batch), [0, 2, 3]);
        let later = now + THREE.patience;
        let rest = queue.take(later, THREE).unwrap();
        assert_eq!(numbers(&rest), [1]);
        queue.delivered(batch);
        queue.delivered(rest);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_failed_together_is_tried_alone() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b", "b"], now);
        let batch = queue.take(now, THREE).unwrap();
        assert_eq!(numbers(&batch), [0, 1, 2]);
        assert!(queue.failed(batch, 1, now, 255).is_empty());
        let now = now + Duration::from_secs(1);
        let bad = queue.take(now, THREE).unwrap();
        let good = queue.take(now, THREE).unwrap();
        assert_eq!([&bad, &good].map(numbers), [[0], [1]]);
        queue.delivered(good);
        let given_up = queue.failed(bad, 1, now, 255);
        assert_eq!((given_up[0].parcel.number, given_up[0].attempts), (0, 2));
        assert_eq!(numbers(&queue.take(now + THREE.patience, THREE).unwrap()), [2]);
    }

    #[test]
    fn the_oldest_go_first_but_none_that_is_under_way() {
        let now = Instant::now();
        let mut queue = queue(&["a", "a", "b", "c"], now);
        let batch = queue.take(now, ONE).unwrap();
        let gone = queue.shrink(2, u64::MAX);
        assert_eq!(gone.iter().map(|gone| gone.parcel.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(queue.shrink(0, u64::MAX).len(), 1, "the one under way stays");
        queue.delivered(batch);
        assert_eq!((queue.len(), queue.lines.len(), queue.ready.len()), (0, 0, 0));
        assert_eq!(queue.oldest(), None);
    }
}
