//! Batch: events that are tried together, the same at each try.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::Class;
use super::parcel::Parcel;

/// Bytes of the events of one batch at most, unless one alone is larger.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// One that failed is tried again after this at most.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(60);

/// How events are put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    pub(super) events_max: usize,
    /// Bytes of memory that they take at most, unless one alone takes more.
    pub(super) bytes_max: u64,
    /// Bytes of memory that each takes beside its JSON.
    pub(super) added_bytes: u64,
    /// How long a batch waits to become full.
    pub(super) patience: Duration,
}

/// Events of one class that are under way together, in the order of each of their lanes.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// There is at least one.
    pub(super) parcels: Vec<Arc<Parcel>>,
    pub(super) class: Class,
    /// Since when the oldest of them waits.
    pub(super) since: Instant,
    /// How often it failed.
    pub(super) failures: u32,
    bytes: usize,
}

/// What an attempt that failed means for its batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setback {
    /// The receiver said that it did not take it; otherwise nobody knows whether it did.
    pub(super) refused: bool,
    /// How often it may be tried again.
    pub(super) retries_max: u32,
    pub(super) now: Instant,
    /// Chance spreads the tries of those that failed together.
    pub(super) chance: u8,
}

/// An event that was given up.
#[derive(Clone, Debug)]
pub(super) struct GivenUp {
    pub(super) parcel: Arc<Parcel>,
    pub(super) attempts: u32,
}

impl Batch {
    /// A batch that begins with `parcel`.
    pub(super) fn new(parcel: Arc<Parcel>, since: Instant, failures: u32) -> Self {
        let (class, bytes) = (parcel.lane.class(), parcel.json.len());
        Self { parcels: vec![parcel], class, since, failures, bytes }
    }

    /// True if `parcel` fits, too.
    pub(super) fn fits(&self, parcel: &Parcel, batching: Batching) -> bool {
        let bytes = self.bytes + parcel.json.len();
        let weight = bytes as u64 + (self.parcels.len() as u64 + 1) * batching.added_bytes;
        self.parcels.len() < batching.events_max
            && bytes <= BATCH_BYTES_MAX
            && weight <= batching.bytes_max
    }

    pub(super) fn add(&mut self, parcel: Arc<Parcel>, since: Instant) {
        self.bytes += parcel.json.len();
        self.since = self.since.min(since);
        self.parcels.push(parcel);
    }

    /// The number of its first event, which no other batch has.
    pub(super) fn first(&self) -> u64 {
        self.parcels[0].number
    }

    /// Bytes of its events.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Bytes of memory that its events take, if each takes so many beside its JSON.
    pub(super) const fn weight(&self, added_bytes: u64) -> u64 {
        self.bytes() + self.parcels.len() as u64 * added_bytes
    }

    /// Its events, given up.
    pub(super) fn given_up(self) -> impl Iterator<Item = GivenUp> {
        let attempts = self.failures;
        self.parcels.into_iter().map(move |parcel| GivenUp { parcel, attempts })
    }
}
