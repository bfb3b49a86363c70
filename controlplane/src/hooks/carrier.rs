//! Carrier: brings the events of one hook to its receiver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataplane::metrics::Histogram;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

use super::allotment::{RECORD_BYTES, under_way_max};
use super::attempt::{Delivery, attempt};
use super::batch::{Batch, Batching, Setback};
use super::file::Files;
use super::hook::{Hook, Settled};
use super::spec::{HookKind, HookSpec};
use crate::outbound::Client;

/// Requests of one hook that are under way at most.
pub(super) const UNDER_WAY_MAX: usize = 8;
/// After so many failures in a row a receiver is taken for dead and gets one request at a time,
/// until one succeeds.
const FAILURES_MAX: u32 = 8;

/// Delivers until the hook is over; `settled` is told when the store has something to forget.
pub(super) async fn carry(
    hook: Arc<Hook>,
    client: Client,
    files: Files,
    (settled, took): (Arc<Notify>, Arc<Mutex<Histogram>>),
) {
    let mut attempts: JoinSet<Delivery> = JoinSet::new();
    let mut under_way: HashMap<Id, (Batch, Arc<HookSpec>)> = HashMap::new();
    let mut failures = 0_u32;
    while !hook.is_over() {
        let spec = hook.spec();
        let bytes_max = under_way_max(hook.part());
        let batching = Batching {
            events_max: spec.events_max(),
            bytes_max,
            added_bytes: RECORD_BYTES + spec.metadata_bytes(),
            patience: spec.patience(),
        };
        let seats = match spec.kind {
            HookKind::Http if failures < FAILURES_MAX => UNDER_WAY_MAX,
            // A file has one end.
            HookKind::Http | HookKind::File => 1,
        };
        let has_seat = |under_way: &HashMap<Id, (Batch, Arc<HookSpec>)>| {
            let bytes: u64 =
                under_way.values().map(|(batch, _)| batch.weight(batching.added_bytes)).sum();
            spec.enabled && under_way.len() < seats && (bytes < bytes_max || under_way.is_empty())
        };
        while has_seat(&under_way) {
            let Some(batch) = hook.work().queue.take(Instant::now(), batching) else { break };
            let (client, files) = (client.clone(), files.clone());
            // CONTROL: references, so that an attempt that panics leaves the batch here.
            let (parcels, terms) = (batch.parcels.clone(), Arc::clone(&spec));
            let task = attempts
                .spawn(async move { attempt(&client, &files, &terms, &parcels).await })
                .id();
            under_way.insert(task, (batch, Arc::clone(&spec)));
        }
        let due = if has_seat(&under_way) { hook.work().queue.due(batching) } else { None };
        let due_at = due.unwrap_or_else(Instant::now);
        tokio::select! {
            Some(done) = attempts.join_next_with_id() => {
                let (task, delivery) = done.unwrap_or_else(|error| (error.id(), panicked()));
                let Some((batch, spec)) = under_way.remove(&task) else { continue };
                failures = if delivery.failure.is_some() { failures + 1 } else { 0 };
                let mut took = took.lock().unwrap_or_else(PoisonError::into_inner);
                took.observe_time(delivery.took);
                drop(took);
                settle(&hook, batch, &spec, delivery);
                settled.notify_one();
            }
            () = hook.wake.notified() => {}
            () = tokio::time::sleep_until(due_at.into()), if due.is_some() => {}
        }
    }
}

fn panicked() -> Delivery {
    let failure = Some(("panic", "the attempt panicked, which is a bug".to_owned()));
    Delivery { status: None, failure, took: Duration::ZERO }
}

fn settle(hook: &Hook, batch: Batch, spec: &HookSpec, delivery: Delivery) {
    let events = batch.parcels.len() as u64;
    let refused = delivery.is_refused();
    let mut work = hook.work();
    let work = &mut *work;
    let Some((word, reason)) = delivery.failure else {
        work.settled.extend(batch.parcels.iter().map(|parcel| Settled::Delivered(parcel.number)));
        work.queue.delivered(&batch);
        work.tally.delivered += events;
        work.tally.failing = None;
        return;
    };
    let mut chance = [128];
    // Without random numbers every wait is the middle one.
    let _ = getrandom::fill(&mut chance);
    let (now, retries_max) = (Instant::now(), spec.retries_max);
    let setback = Setback { refused, retries_max, now, chance: chance[0] };
    let gone = work.queue.failed(batch, setback);
    work.tally.failed += events;
    work.tally.given_up += gone.len() as u64;
    if work.tally.failing.is_none() || !gone.is_empty() {
        let (hook, given_up) = (&spec.id, gone.len());
        tracing::warn!(hook, outcome = word, %reason, given_up, "events are not taken");
    }
    work.settled.extend(gone.into_iter().map(|gone| Settled::GivenUp {
        parcel: gone.parcel,
        attempts: gone.attempts,
        reason: reason.clone(),
    }));
    work.tally.failing = Some(reason);
}
