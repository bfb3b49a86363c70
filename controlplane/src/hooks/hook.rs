//! Hook: one hook as it runs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::parcel::Parcel;
use super::queue::Queue;
use super::spec::{HookSpec, Origin};

/// Bytes that an event is taken to have, until it is there.
const EVENT_BYTES: u64 = 1 << 10;

/// What the store is to be told of.
#[derive(Debug)]
pub(super) enum Settled {
    /// The event with this number was taken.
    Delivered(u64),
    /// An event was given up.
    GivenUp { parcel: Arc<Parcel>, attempts: u32, reason: String },
}

/// What a hook counted since the start.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) given_up: u64,
    /// Dead letters that had to go for newer ones.
    pub(crate) lost: u64,
    /// Why the newest try failed, until one succeeds.
    pub(crate) failing: Option<String>,
}

/// What changes while a hook runs.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) queue: Queue,
    pub(super) settled: Vec<Settled>,
    /// The numbers of its dead letters.
    pub(super) letters: BTreeSet<u64>,
    /// The number of the next event.
    pub(super) next: u64,
    pub(super) tally: Tally,
}

/// One hook as it runs. Lives on: the control thread; each lock is held for a moment.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) origin: Origin,
    spec: Mutex<Arc<HookSpec>>,
    work: Mutex<Work>,
    /// There is something new for its carrier.
    pub(super) wake: Notify,
    over: AtomicBool,
}

impl Hook {
    pub(super) fn new(origin: Origin, spec: HookSpec) -> Self {
        let tally = Tally { delivered: 0, failed: 0, given_up: 0, lost: 0, failing: None };
        let work = Work {
            queue: Queue::default(),
            settled: Vec::new(),
            letters: BTreeSet::new(),
            next: 0,
            tally,
        };
        Self {
            origin,
            spec: Mutex::new(Arc::new(spec)),
            work: Mutex::new(work),
            wake: Notify::new(),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn spec(&self) -> Arc<HookSpec> {
        Arc::clone(&self.spec.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with another specification; what waits stays.
    pub(super) fn respecify(&self, spec: HookSpec) {
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
        self.shrink();
        self.wake.notify_one();
    }

    pub(super) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events that are in the store.
    pub(super) fn push(&self, parcels: Vec<Arc<Parcel>>) {
        let now = Instant::now();
        let mut work = self.work();
        for parcel in parcels {
            work.queue.push(parcel, now);
        }
        drop(work);
        self.shrink();
        self.wake.notify_one();
    }

    /// Events that it can take before any of them are given up; as many as there are if it takes
    /// none anyhow, because it is off or its receiver fails.
    pub(super) fn vacancy(&self) -> u64 {
        let spec = self.spec();
        let work = self.work();
        if !spec.enabled || work.tally.failing.is_some() {
            return u64::MAX;
        }
        let events = u64::from(spec.queue_max).saturating_sub(work.queue.len() as u64);
        let bytes = spec.queue_bytes_max.saturating_sub(work.queue.bytes());
        events.min(bytes / EVENT_BYTES)
    }

    /// Gives up the oldest events if more wait than may.
    fn shrink(&self) {
        let spec = self.spec();
        let mut work = self.work();
        let gone = work.queue.shrink(spec.queue_max as usize, spec.queue_bytes_max);
        work.tally.given_up += gone.len() as u64;
        work.settled.extend(gone.into_iter().map(|gone| Settled::GivenUp {
            parcel: gone.parcel,
            attempts: gone.attempts,
            reason: "more events waited than may".to_owned(),
        }));
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
