//! Book: the ledger and its rows on the disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dataplane::control::{Usage, UsageBatch, UsageRow};

use super::hour::Hour;
use super::ledger::Ledger;
use super::row;
use crate::config::UsageSection;
use crate::counts::Counts;
use crate::registry::TenantName;
use crate::store::{Store, Table, Write};

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
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    section: UsageSection,
    flushes_failed: u64,
    /// What tenants that have metrics of their own used since they have.
    shown: BTreeMap<TenantName, Usage>,
}

impl Book {
    /// The book whose rows are in `store`.
    #[must_use]
    pub fn new(store: Store, section: UsageSection) -> Self {
        let rows_max = usize::try_from(section.rows_per_hour_max).unwrap_or(usize::MAX);
        let ledger = Ledger::new(rows_max);
        let shown = BTreeMap::new();
        let state = Mutex::new(State { ledger, section, flushes_failed: 0, shown });
        Self(Arc::new(Shared { store, state }))
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
            state.ledger.add(hour, tenant, row, now);
        }
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
        loop {
            let pause = self.state().section.flush;
            tokio::time::sleep(pause).await;
            let _ = self.flush().await;
            self.state().ledger.forget(Instant::now());
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
        loop {
            let unsaved = self.state().ledger.unsaved(ROWS);
            if unsaved.is_empty() {
                return true;
            }
            let writes = unsaved.iter().map(|(key, used)| Write {
                table: Table::Usage,
                key: key.to_bytes(),
                value: Some(row::value(used)),
            });
            match self.0.store.commit(writes.collect()).await {
                Ok(()) => self.state().ledger.saved(&unsaved),
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

    /// Deletes the rows that are older than is kept, seen from `now`.
    pub(super) async fn prune(&self, now: Hour) {
        let kept_from = now.days_before(self.state().section.retention_days);
        loop {
            let Ok(rows) = self.0.store.scan(Table::Usage, Vec::new(), ROWS).await else { return };
            let old = |key: &[u8]| {
                key.first_chunk::<4>().is_some_and(|hour| u32::from_be_bytes(*hour) < kept_from.0)
            };
            let old = rows.into_iter().map(|(key, _)| key).take_while(|key| old(key));
            let delete = |key| Write { table: Table::Usage, key, value: None };
            let deletes: Vec<_> = old.map(delete).collect();
            if deletes.is_empty() {
                return;
            }
            let rows = deletes.len();
            if self.0.store.commit(deletes).await.is_err() {
                return;
            }
            tracing::info!(rows, from = %kept_from, "what was used before is kept no longer");
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

    pub(super) fn ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.state().ledger)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it; if one did, its state would still be whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
