//! Book: the ledger and its rows on the disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dataplane::control::{Usage, UsageBatch, UsageRow};
use tokio::sync::Notify;

use super::hour::{By, Hour};
use super::ledger::{Ledger, Unsaved};
use super::row;
use super::totals::{self, Due, Totals, Whose, totals_max};
use crate::config::UsageSection;
use crate::counts::Counts;
use crate::registry::TenantName;
use crate::store::{Store, StoreError, Table, Write};

/// Rows of one commit, and of one look at the store.
pub(super) const ROWS: usize = 1_000;
/// Tenants that have metrics of their own at most, the first by name.
const TENANTS_SHOWN_MAX: usize = 100;
/// How often it is looked for rows that are too old.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// What was used; clones are one.
///
/// Lives on: the control thread and tasks of it. Crosses by: a lock that is held for no wait.
#[derive(Clone, Debug)]
pub struct Book(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    state: Mutex<State>,
    /// Held while something is written: sums of the store are read before.
    writing: tokio::sync::Mutex<()>,
    /// A total is wanted that is not in memory.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    totals: Totals,
    section: UsageSection,
    flushes_failed: u64,
    /// What tenants that have metrics of their own used since they have.
    shown: BTreeMap<TenantName, Usage>,
}

impl Book {
    /// The book whose rows are in `store`, of a node of so many streams.
    #[must_use]
    pub fn new(store: Store, section: UsageSection, streams_max: u64) -> Self {
        let rows_max = section.rows_max(streams_max);
        let ledger = Ledger::new(usize::try_from(rows_max).unwrap_or(usize::MAX));
        let (totals, shown) = (Totals::new(totals_max(rows_max)), BTreeMap::new());
        let state = Mutex::new(State { ledger, totals, section, flushes_failed: 0, shown });
        let (writing, wanted) = (tokio::sync::Mutex::default(), Notify::new());
        Self(Arc::new(Shared { store, state, writing, wanted }))
    }

    /// Goes on by other values; the rows of an hour are bounded as before.
    pub fn reload(&self, section: UsageSection) {
        self.state().section = section;
    }

    /// Adds what a shard told; `tenant` says whose a row is.
    pub fn add(&self, batch: &UsageBatch, tenant: impl Fn(&UsageRow) -> Option<TenantName>) {
        let (hour, now) = (Hour::of_ms(batch.at_ms), Instant::now());
        let mut state = self.state();
        for row in batch.rows.iter() {
            let tenant = tenant(row);
            if let Some(sum) = tenant.as_ref().and_then(|tenant| state.shown.get_mut(tenant)) {
                *sum = sum.and(row.used);
            }
            let bytes = row.used.bytes_in.saturating_add(row.used.bytes_out);
            state.totals.add(hour, (row.stream.as_ref(), tenant.as_ref()), bytes, now);
            state.ledger.add(hour, tenant, row, now);
        }
    }

    /// Bytes that were used in the period of `hour`, at least: a total that is not in memory is
    /// known a moment later.
    #[must_use]
    pub fn used(&self, whose: &Whose, by: By, hour: Hour) -> u64 {
        let mut state = self.state();
        let used = state.totals.used(whose, by, hour);
        if state.totals.are_wanted() {
            self.0.wanted.notify_one();
        }
        used
    }

    /// These tenants have metrics of their own, the first `TENANTS_SHOWN_MAX` of them.
    pub fn show(&self, tenants: impl Iterator<Item = TenantName>) {
        let mut state = self.state();
        let mut before = std::mem::take(&mut state.shown);
        let tenants = tenants.take(TENANTS_SHOWN_MAX);
        state.shown = tenants
            .map(|tenant| {
                let sum = before.remove(&tenant).unwrap_or_default();
                (tenant, sum)
            })
            .collect();
    }

    /// Writes down what is new, again and again, and deletes what is too old.
    pub async fn run(self) {
        let mut prune = Instant::now();
        let mut flush = Instant::now();
        loop {
            let next = flush + self.state().section.flush;
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.0.wanted.notified() => {
                    self.look_up().await;
                    continue;
                }
            }
            let _ = self.flush().await;
            flush = Instant::now();
            {
                let mut state = self.state();
                state.ledger.forget(flush);
                state.totals.forget(Hour::now());
            }
            if prune <= Instant::now() {
                prune = Instant::now() + PRUNE_EVERY;
                self.prune(Hour::now()).await;
            }
        }
    }

    /// Writes down what is new by `deadline`, because nobody will later.
    pub async fn close(&self, deadline: Instant) {
        let flushed = tokio::time::timeout_at(deadline.into(), self.flush()).await;
        if !flushed.unwrap_or(false) {
            tracing::error!("the disk is too slow: what was used since the last flush is lost");
        }
    }

    /// Writes down what is new; true if everything is on the disk.
    pub async fn flush(&self) -> bool {
        let _writing = self.0.writing.lock().await;
        loop {
            let (unsaved, totals) = {
                let mut state = self.state();
                (state.ledger.unsaved(ROWS), state.totals.due(ROWS))
            };
            if unsaved.is_empty() && totals.is_empty() {
                return true;
            }
            match self.write(&unsaved, totals).await {
                Ok(totals) => {
                    let mut state = self.state();
                    state.ledger.saved(&unsaved);
                    state.totals.saved(&totals);
                }
                Err(error) => {
                    // A disk that failed is told by the store, once.
                    tracing::debug!(reason = %error, "cannot write what was used yet");
                    let mut state = self.state();
                    state.ledger.refused();
                    state.flushes_failed += 1;
                    return false;
                }
            }
        }
    }

    /// Writes rows and totals together; the totals as they are in the store then.
    async fn write(&self, rows: &Unsaved, totals: Vec<Due>) -> Result<Vec<Due>, StoreError> {
        let mut writes = Vec::with_capacity(rows.len() + totals.len());
        writes.extend(rows.iter().map(|(key, used)| Write {
            table: Table::Usage,
            key: key.to_bytes(),
            value: Some(row::value(used)),
        }));
        let mut written = Vec::with_capacity(totals.len());
        for Due { key, saved, more } in totals {
            let saved = match saved {
                Some(saved) => saved,
                None => self.total(&key).await?,
            };
            writes.push(totals::write(&key, saved.saturating_add(more)));
            written.push(Due { key, saved: Some(saved), more });
        }
        self.0.store.commit(writes).await.map(|()| written)
    }

    /// Deletes the rows and totals that are older than is kept, seen from `now`.
    pub(super) async fn prune(&self, now: Hour) {
        let kept_from = now.days_before(self.state().section.retention_days);
        let until = kept_from.0.to_be_bytes();
        self.delete(Table::Usage, Vec::new(), &until).await;
        for by in [By::Day, By::Month] {
            // A period that has begun before may have days that are kept.
            let until = totals::period(by, kept_from.start_of(by));
            self.delete(Table::Totals, totals::period(by, Hour(0)).to_vec(), &until).await;
        }
    }

    /// Deletes the rows of a table from that key on to before what begins with `until`.
    async fn delete(&self, table: Table, from: Vec<u8>, until: &[u8]) {
        loop {
            let Ok(rows) = self.0.store.scan(table, from.clone(), ROWS).await else { return };
            let old = rows.into_iter().map(|(key, _)| key).take_while(|key| key.as_slice() < until);
            let deletes: Vec<_> = old.map(|key| Write { table, key, value: None }).collect();
            if deletes.is_empty() {
                return;
            }
            let rows = deletes.len();
            if self.0.store.commit(deletes).await.is_err() {
                return;
            }
            let table = table.name();
            tracing::info!(rows, table, "what was used before is kept no longer");
        }
    }

    /// Writes what it counts for `/metrics`.
    pub fn count(&self, into: &mut Counts) {
        let state = self.state();
        let (rows, unsaved) = state.ledger.len();
        let (total, merged) = state.ledger.totals();
        let help = "Bytes on sockets of those who publish and play, as they are billed.";
        let bytes = [("in", total.bytes_in), ("out", total.bytes_out)];
        into.counter_by("usage_bytes_total", help, "direction", bytes);
        let help = "Seconds that sessions lasted, as they are billed.";
        let seconds = [("play", total.play_us), ("publish", total.publish_us)];
        let seconds = seconds.map(|(role, us)| (role, us / 1_000_000));
        into.counter_by("usage_session_seconds_total", help, "role", seconds);
        let help = "Bytes of a declared tenant's streams, as they are billed.";
        let of = |bytes: fn(&Usage) -> u64| {
            let shown = state.shown.iter();
            shown.map(move |(tenant, sum)| (tenant.as_str(), bytes(sum))).collect::<Vec<_>>()
        };
        into.counter_by("usage_tenant_in_bytes_total", help, "tenant", of(|sum| sum.bytes_in));
        into.counter_by("usage_tenant_out_bytes_total", help, "tenant", of(|sum| sum.bytes_out));
        let help = "Rows of what was used that are in memory.";
        into.gauge("usage_rows", help, rows as f64);
        let help = "Rows of them that are not on the disk yet.";
        into.gauge("usage_rows_unsaved", help, unsaved as f64);
        let help = "Uses of streams that were counted together: usage.rows_per_hour_max.";
        into.counter("usage_rows_merged_total", help, merged);
        let help = "Times that what was used could not be written; it is tried again.";
        into.counter("usage_flushes_failed_total", help, state.flushes_failed);
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn totals<T>(&self, look: impl FnOnce(&mut Totals) -> T) -> T {
        look(&mut self.state().totals)
    }

    /// Held while something is written.
    pub(super) async fn writing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.writing.lock().await
    }

    pub(super) fn ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.state().ledger)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it; if one did, its state would still be whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
