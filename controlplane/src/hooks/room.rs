//! Room: the events of one class that wait, in lanes whose order is kept.
//!
//! ```text
//!   push --> line --(none of its lane is in a batch)--> ready --compose--> under way
//!             ^                                                             |    |
//!             |                                    delivered, given up <----+    | failed
//!             +--- alone: refused together --- sealed, until its time <----------+
//!                                                |
//!                                                +--> again, the same batch --> under way
//! ```
//!
//! A batch that failed is tried again as it was, because its receiver may have taken it though it
//! did not say so, and knows it by its key. One whose receiver said no is taken apart, so that one
//! bad event does not take the others along.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::batch::{Batch, Batching, GivenUp, RETRY_MAX, Setback};
use super::lane::Lane;
use super::parcel::Parcel;
use crate::outbound::backoff;

#[derive(Debug)]
struct Entry {
    parcel: Arc<Parcel>,
    since: Instant,
    /// How often it failed together with others; from then on it goes alone.
    failures: u32,
}

/// The events of one lane that are in no batch, in their order.
#[derive(Debug, Default)]
struct Line {
    numbers: VecDeque<u64>,
    /// Earlier ones are in a batch.
    busy: bool,
    /// Its place among those that are ready.
    ticket: Option<u64>,
}

/// A batch that failed.
#[derive(Debug)]
struct Sealed {
    batch: Batch,
    until: Instant,
    /// It is taken apart then.
    apart: bool,
}

/// The events of one class that wait.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Those that are in no batch, by number.
    entries: BTreeMap<u64, Entry>,
    lines: HashMap<Lane, Line>,
    /// Lanes that have something to send, by their tickets.
    ready: BTreeMap<u64, Lane>,
    tickets: u64,
    /// Batches that failed, by the number of their first event.
    sealed: BTreeMap<u64, Sealed>,
    waiting: BTreeSet<(Instant, u64)>,
    /// Those whose time has come.
    again: VecDeque<u64>,
    under_way: BTreeMap<u64, Instant>,
    events: usize,
    bytes: u64,
}

impl Room {
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True if something could be given up.
    pub(super) fn can_shrink(&self) -> bool {
        !self.entries.is_empty() || !self.sealed.is_empty()
    }

    /// Since when the oldest event waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let line = self.entries.first_key_value().map(|(_, entry)| entry.since);
        let sealed = self.sealed.first_key_value().map(|(_, sealed)| sealed.batch.since);
        let under_way = self.under_way.values().copied();
        under_way.chain(line).chain(sealed).min()
    }

    /// Adds an event after those of its lane.
    pub(super) fn push(&mut self, parcel: Arc<Parcel>, now: Instant) {
        let (number, lane) = (parcel.number, parcel.lane.clone());
        self.events += 1;
        self.bytes += parcel.json.len() as u64;
        self.entries.insert(number, Entry { parcel, since: now, failures: 0 });
        self.lines.entry(lane.clone()).or_default().numbers.push_back(number);
        self.queue(lane);
    }

    /// The next batch, if there is one and it has waited long enough.
    pub(super) fn take(&mut self, now: Instant, batching: Batching) -> Option<Batch> {
        self.wake(now);
        while let Some(first) = self.again.pop_front() {
            // One that was given up meanwhile is not there any more.
            if let Some(Sealed { batch, .. }) = self.sealed.remove(&first) {
                return Some(self.send(batch));
            }
        }
        let (_, lane) = self.ready.first_key_value()?;
        let lonely = batching.events_max == 1 || self.head(lane)?.failures > 0;
        if !lonely && self.full_at(batching)? > now {
            return None;
        }
        let (_, lane) = self.ready.pop_first()?;
        let mut batch = self.begin(&lane)?;
        if batch.failures > 0 {
            return Some(self.send(batch));
        }
        self.fill(&mut batch, &lane, batching);
        // Lanes that go later, because their next event goes alone or finds no room.
        let mut later = Vec::new();
        while batch.parcels.len() < batching.events_max
            && later.len() < batching.events_max
            && let Some((ticket, lane)) = self.ready.pop_first()
        {
            if self.fill(&mut batch, &lane, batching) {
                continue;
            }
            later.push((ticket, lane));
        }
        self.ready.extend(later);
        Some(self.send(batch))
    }

    /// When [`Self::take`] has something, as far as is known now.
    pub(super) fn due(&self, batching: Batching) -> Option<Instant> {
        let again = self.again.front().and_then(|first| Some(self.sealed.get(first)?.until));
        let waiting = self.waiting.first().map(|&(until, _)| until);
        let lonely = |(_, lane): (&u64, &Lane)| {
            self.head(lane).filter(|head| head.failures > 0).map(|head| head.since)
        };
        let lonely = self.ready.first_key_value().and_then(lonely);
        let ready = lonely.or_else(|| self.full_at(batching));
        [again, waiting, ready].into_iter().flatten().min()
    }

    /// The events were taken by the receiver.
    pub(super) fn delivered(&mut self, batch: &Batch) {
        self.under_way.remove(&batch.first());
        self.forget(batch);
    }

    /// The events were not taken, as far as is known. Those that are tried no more are gone.
    pub(super) fn failed(&mut self, mut batch: Batch, setback: Setback) -> Vec<GivenUp> {
        self.under_way.remove(&batch.first());
        batch.failures = batch.failures.saturating_add(1);
        let apart = setback.refused && batch.parcels.len() > 1;
        if batch.failures > setback.retries_max && !apart {
            self.forget(&batch);
            return batch.given_up().collect();
        }
        let wait = backoff(batch.failures, RETRY_MAX, setback.chance);
        let (first, until) = (batch.first(), setback.now + wait);
        self.waiting.insert((until, first));
        self.sealed.insert(first, Sealed { batch, until, apart });
        Vec::new()
    }

    /// Gives up the oldest event, with those that it was sealed with; none that is under way.
    pub(super) fn shrink(&mut self) -> Vec<GivenUp> {
        let line = self.entries.keys().next().copied();
        let sealed = self.sealed.keys().next().copied();
        match (line, sealed) {
            (Some(number), other) if other.is_none_or(|other| number < other) => {
                let Some(Entry { parcel, failures, .. }) = self.leave(number) else {
                    return Vec::new();
                };
                self.events -= 1;
                self.bytes -= parcel.json.len() as u64;
                vec![GivenUp { parcel, attempts: failures }]
            }
            (_, Some(first)) => {
                let Some(Sealed { batch, until, .. }) = self.sealed.remove(&first) else {
                    return Vec::new();
                };
                self.waiting.remove(&(until, first));
                self.forget(&batch);
                batch.given_up().collect()
            }
            (_, None) => Vec::new(),
        }
    }

    /// Batches whose time has come are tried again, or taken apart.
    fn wake(&mut self, now: Instant) {
        while let Some(&(until, first)) = self.waiting.first()
            && until <= now
        {
            self.waiting.pop_first();
            match self.sealed.get(&first).is_some_and(|sealed| sealed.apart) {
                true => self.take_apart(first),
                false => self.again.push_back(first),
            }
        }
    }

    /// Puts the events of a batch back before those of their lanes.
    fn take_apart(&mut self, first: u64) {
        let Some(Sealed { batch, .. }) = self.sealed.remove(&first) else { return };
        let Batch { parcels, since, failures, .. } = batch;
        for parcel in parcels.iter().rev() {
            let line = self.lines.entry(parcel.lane.clone()).or_default();
            line.numbers.push_front(parcel.number);
            let entry = Entry { parcel: Arc::clone(parcel), since, failures };
            self.entries.insert(parcel.number, entry);
        }
        for parcel in &parcels {
            self.release(&parcel.lane);
        }
    }

    /// When a batch is full or has waited long enough.
    fn full_at(&self, batching: Batching) -> Option<Instant> {
        let oldest = self.head(self.ready.first_key_value()?.1)?.since;
        let mut events = 0;
        for line in self.ready.values().filter_map(|lane| self.lines.get(lane)) {
            events += line.numbers.len();
            if events >= batching.events_max {
                return Some(oldest);
            }
        }
        Some(oldest + batching.patience)
    }

    fn head(&self, lane: &Lane) -> Option<&Entry> {
        self.entries.get(self.lines.get(lane)?.numbers.front()?)
    }

    /// Begins a batch with the first event of a lane.
    fn begin(&mut self, lane: &Lane) -> Option<Batch> {
        let line = self.lines.get_mut(lane)?;
        (line.ticket, line.busy) = (None, true);
        let entry = self.entries.remove(&line.numbers.pop_front()?)?;
        Some(Batch::new(entry.parcel, entry.since, entry.failures))
    }

    /// Adds events of a lane as far as they fit; true if there was one.
    fn fill(&mut self, batch: &mut Batch, lane: &Lane, batching: Batching) -> bool {
        let Some(line) = self.lines.get_mut(lane) else { return false };
        let before = batch.parcels.len();
        while let Some(number) = line.numbers.front()
            && let Some(entry) = self.entries.get(number)
            && entry.failures == 0
            && batch.fits(&entry.parcel, batching)
        {
            let Some(entry) = self.entries.remove(number) else { break };
            line.numbers.pop_front();
            batch.add(entry.parcel, entry.since);
        }
        let added = batch.parcels.len() > before;
        if added {
            (line.ticket, line.busy) = (None, true);
        }
        added
    }

    fn send(&mut self, batch: Batch) -> Batch {
        self.under_way.insert(batch.first(), batch.since);
        batch
    }

    /// The events of a batch are gone.
    fn forget(&mut self, batch: &Batch) {
        self.events -= batch.parcels.len();
        self.bytes -= batch.bytes();
        for parcel in &batch.parcels {
            self.release(&parcel.lane);
        }
    }

    /// None of a lane is in a batch any more.
    fn release(&mut self, lane: &Lane) {
        let Some(line) = self.lines.get_mut(lane) else { return };
        line.busy = false;
        match line.numbers.is_empty() {
            true => drop(self.lines.remove(lane)),
            false => self.queue(lane.clone()),
        }
    }

    /// Lets a lane be ready, unless it is already or may not.
    fn queue(&mut self, lane: Lane) {
        let Some(line) = self.lines.get_mut(&lane) else { return };
        if !line.busy && line.ticket.is_none() {
            line.ticket = Some(self.tickets);
            self.ready.insert(self.tickets, lane);
            self.tickets += 1;
        }
    }

    /// The oldest event leaves its line.
    fn leave(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        let lane = &entry.parcel.lane;
        if let Some(line) = self.lines.get_mut(lane) {
            // Numbers of a line rise, so that the oldest of all is the first of its line.
            line.numbers.pop_front();
            if line.numbers.is_empty() && !line.busy {
                if let Some(ticket) = line.ticket {
                    self.ready.remove(&ticket);
                }
                self.lines.remove(lane);
            }
        }
        Some(entry)
    }

    /// True if it holds nothing at all.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let sizes = [self.entries.len(), self.lines.len(), self.ready.len(), self.sealed.len()];
        let more = [self.waiting.len(), self.under_way.len(), self.events];
        sizes.iter().chain(&more).all(|&size| size == 0) && self.bytes == 0
    }
}
