//! Hook: one hook as it runs.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::allotment::{Part, RECORD_BYTES};
use super::batch::GivenUp;
use super::lane::Class;
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
    pub(super) settled: VecDeque<Settled>,
    /// The numbers of its dead letters.
    pub(super) letters: BTreeSet<u64>,
    /// The number of the next event.
    pub(super) next: u64,
    pub(super) tally: Tally,
    /// It gave up events for want of room, and is not down to half of that since.
    overrun: bool,
}

/// One hook as it runs. Lives on: the control thread; each lock is held for a moment.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) origin: Origin,
    spec: Mutex<Arc<HookSpec>>,
    work: Mutex<Work>,
    /// There is something new for its carrier.
    pub(super) wake: Notify,
    /// It is another hook for its beat, or over.
    pub(super) respecified: Notify,
    /// Its part of the bytes that all hooks have.
    part: AtomicU64,
    over: AtomicBool,
}

impl Work {
    /// Events became too many.
    fn give_up(&mut self, gone: Vec<GivenUp>, reason: &str) {
        self.tally.given_up += gone.len() as u64;
        self.overrun |= gone.iter().any(|gone| gone.parcel.lane.class() != Class::Question);
        self.settled.extend(gone.into_iter().map(|gone| Settled::GivenUp {
            parcel: gone.parcel,
            attempts: gone.attempts,
            reason: reason.to_owned(),
        }));
    }
}

impl Hook {
    pub(super) fn new(origin: Origin, spec: HookSpec) -> Self {
        let tally = Tally { delivered: 0, failed: 0, given_up: 0, lost: 0, failing: None };
        let work = Work {
            queue: Queue::default(),
            settled: VecDeque::new(),
            letters: BTreeSet::new(),
            next: 0,
            tally,
            overrun: false,
        };
        Self {
            origin,
            spec: Mutex::new(Arc::new(spec)),
            work: Mutex::new(work),
            wake: Notify::new(),
            respecified: Notify::new(),
            part: AtomicU64::new(u64::MAX),
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
        self.respecified.notify_one();
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

    /// Events that it can take before any of them are given up; as many as there are if nobody is
    /// to wait for it: it is off, its receiver fails, or it gave up events lately, because its
    /// receiver is slower than they come. What strangers cause takes no room here, so that they
    /// cannot hold up anybody.
    pub(super) fn vacancy(&self, part: Part) -> u64 {
        let spec = self.spec();
        let mut work = self.work();
        let held = work.queue.admitted();
        let (events_max, bytes_max) = (u64::from(spec.queue_max), spec.queue_bytes_max);
        work.overrun &= held.events >= events_max.div_ceil(2)
            || held.bytes >= bytes_max / 2
            || held.weight() >= part.bytes / 2;
        if !spec.enabled || work.tally.failing.is_some() || work.overrun {
            return u64::MAX;
        }
        let bytes_left = bytes_max.saturating_sub(held.bytes);
        let shared_left = part.left(held.weight()) / (EVENT_BYTES + RECORD_BYTES);
        events_max.saturating_sub(held.events).min(bytes_left / EVENT_BYTES).min(shared_left)
    }

    /// Its part of the bytes that all hooks have.
    pub(super) fn part(&self) -> u64 {
        self.part.load(Ordering::Relaxed)
    }

    pub(super) fn set_part(&self, part: u64) {
        self.part.store(part, Ordering::Relaxed);
    }

    /// Bytes of memory that its events take.
    pub(super) fn weight(&self) -> u64 {
        self.work().queue.held().weight()
    }

    /// Gives up its oldest event, with those that it was sealed with, for want of room among all
    /// hooks; the bytes that are free since, 0 if all are under way.
    pub(super) fn give_up_oldest(&self) -> u64 {
        let mut work = self.work();
        let before = work.queue.held().weight();
        let gone = work.queue.give_up_oldest();
        let freed = before - work.queue.held().weight();
        work.give_up(gone, "all hooks together held more than events.hooks_bytes_max");
        freed
    }

    /// Gives up the oldest events if more wait than may.
    fn shrink(&self) {
        let spec = self.spec();
        let mut work = self.work();
        let gone = work.queue.shrink(spec.queue_max as usize, spec.queue_bytes_max);
        work.give_up(gone, "more events waited than may");
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.wake.notify_one();
        self.respecified.notify_one();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use super::super::batch::Batching;
    use crate::events::{Bus, Kind, RingLimits};

    /// There are no others.
    const WHOLE: Part = Part { bytes: u64::MAX, free: u64::MAX };

    #[test]
    fn a_hook_that_gave_up_events_is_waited_for_again_when_half_of_its_queue_is_free() {
        let json = serde_json::json!({
            "id": "a", "type": "http", "target": "http://192.0.2.1/", "queue_max": 8,
        });
        let hook = Hook::new(Origin::Api, serde_json::from_value(json).unwrap());
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let push = |number| {
            let event = bus.unpublished(None, Kind::ShardStarted { shard: 0 });
            hook.push(vec![Arc::new(Parcel::new(number, &event))]);
        };
        let deliver = |events_max| {
            let batching = Batching {
                events_max,
                bytes_max: u64::MAX,
                added_bytes: 0,
                patience: Duration::ZERO,
            };
            let batch = hook.work().queue.take(Instant::now(), batching).unwrap();
            assert_eq!(batch.parcels.len(), events_max);
            hook.work().queue.delivered(&batch);
        };
        (0..8).for_each(push);
        assert_eq!(hook.vacancy(WHOLE), 0);
        push(8);
        assert_eq!(hook.vacancy(WHOLE), u64::MAX, "it loses events anyhow");
        deliver(4);
        assert_eq!(hook.vacancy(WHOLE), u64::MAX);
        deliver(1);
        assert_eq!(hook.vacancy(WHOLE), 5);
        (9..14).for_each(push);
        assert_eq!(hook.vacancy(WHOLE), 0);
    }
}
