//! Carrier: brings the events of one hook to its receiver.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dataplane::metrics::Histogram;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::attempt::{Delivery, attempt};
use super::hook::{Hook, Settled};
use super::queue::{Batch, Batching};
use super::spec::{HookKind, HookSpec};
use crate::outbound::Client;

/// Requests of one hook that are under way at most.
pub(super) const UNDER_WAY_MAX: usize = 8;
/// After so many failures in a row a receiver is taken for dead and gets one request at a time,
/// until one succeeds.
const FAILURES_MAX: u32 = 8;

/// What came of one batch.
type Done = (Batch, Arc<HookSpec>, Delivery);

/// Delivers until the hook is over; `settled` is told when the store has something to forget.
pub(super) async fn carry(
    hook: Arc<Hook>,
    client: Client,
    files: Arc<Path>,
    (settled, took): (Arc<Notify>, Arc<Mutex<Histogram>>),
) {
    let mut under_way: JoinSet<Done> = JoinSet::new();
    let mut failures = 0_u32;
    while !hook.is_over() {
        let spec = hook.spec();
        let batching = Batching { events_max: spec.batch_max as usize, patience: spec.patience() };
        let seats = match spec.kind {
            HookKind::Http if failures < FAILURES_MAX => UNDER_WAY_MAX,
            // A file has one end.
            HookKind::Http | HookKind::File => 1,
        };
        while spec.enabled && under_way.len() < seats {
            let Some(batch) = hook.work().queue.take(Instant::now(), batching) else { break };
            let (client, files, spec) = (client.clone(), Arc::clone(&files), Arc::clone(&spec));
            under_way.spawn(async move {
                let delivery = attempt(&client, &files, &spec, &batch.parcels).await;
                (batch, spec, delivery)
            });
        }
        let open = spec.enabled && under_way.len() < seats;
        let due = if open { hook.work().queue.due(batching) } else { None };
        let due_at = due.unwrap_or_else(Instant::now);
        tokio::select! {
            Some(done) = under_way.join_next() => {
                // An attempt that panicked takes its batch along: it is in the store until the
                // next start.
                if let Ok(done) = done {
                    failures = if done.2.failure.is_some() { failures + 1 } else { 0 };
                    let mut took = took.lock().unwrap_or_else(PoisonError::into_inner);
                    took.observe_time(done.2.took);
                    drop(took);
                    settle(&hook, done);
                    settled.notify_one();
                }
            }
            () = hook.wake.notified() => {}
            () = tokio::time::sleep_until(due_at.into()), if due.is_some() => {}
        }
    }
}

fn settle(hook: &Hook, (batch, spec, delivery): Done) {
    let events = batch.parcels.len() as u64;
    let mut work = hook.work();
    let work = &mut *work;
    let Some((word, reason)) = delivery.failure else {
        work.settled.extend(batch.parcels.iter().map(|parcel| Settled::Delivered(parcel.number)));
        work.queue.delivered(batch);
        work.tally.delivered += events;
        work.tally.failing = None;
        return;
    };
    let mut chance = [128];
    // Without random numbers every wait is the middle one.
    let _ = getrandom::fill(&mut chance);
    let gone = work.queue.failed(batch, spec.retries_max, Instant::now(), chance[0]);
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
