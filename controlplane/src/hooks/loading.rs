//! Loading: reads hooks, and what waits for them, from the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::beat::beat;
use super::carrier::carry;
use super::hook::Hook;
use super::keeper::{Keeper, settle_all};
use super::parcel::{self, Parcel};
use super::spec::{HookSpec, Origin};
use crate::store::{Rows, Store, StoreError, Table, Write};

/// Rows that are read from the store at one time.
const ROWS: usize = 256;

/// A hook in the store.
#[derive(Serialize, Deserialize)]
struct Row {
    /// The version of this form.
    v: u8,
    hook: HookSpec,
}

/// The row of a hook of the API.
pub(super) fn row(spec: &HookSpec) -> Write {
    let row = Row { v: 1, hook: spec.clone() };
    let value = serde_json::to_vec(&row).expect("a hook has text for keys");
    let key = spec.id.clone().into_bytes();
    Write { table: Table::Hooks, key, value: Some(value) }
}

impl Keeper {
    /// Reads the hooks of the store, puts those of the file over them, and runs all that do not run
    /// yet.
    ///
    /// Errors: the store refused; it may be tried again.
    pub(super) async fn load(&self, configured: &[HookSpec]) -> Result<(), StoreError> {
        let mut unread = BTreeSet::new();
        let mut stored = Rows::new();
        let mut hooks = Walk::new(Table::Hooks, Vec::new());
        // There are few.
        while let Some(rows) = hooks.next(&self.shared.store, |_| true).await? {
            stored.extend(rows);
        }
        for (key, value) in stored {
            match serde_json::from_slice::<Row>(&value).map(|row| row.hook) {
                Ok(spec) if !configured.iter().any(|other| other.id == spec.id) => {
                    self.add(Origin::Api, spec).await?;
                }
                Ok(spec) => tracing::warn!(hook = spec.id, "the file has a hook of this id, too"),
                Err(error) => {
                    let hook = String::from_utf8_lossy(&key).into_owned();
                    tracing::error!(hook, reason = %error, "a hook cannot be read, it waits");
                    unread.insert(key);
                }
            }
        }
        for spec in configured {
            self.add(Origin::Config, spec.clone()).await?;
        }
        self.sweep(&unread).await
    }

    /// Runs a hook with what waits for it, unless it runs already; the one that runs.
    ///
    /// Errors: the store refused.
    pub(super) async fn add(
        &self,
        origin: Origin,
        spec: HookSpec,
    ) -> Result<Arc<Hook>, StoreError> {
        let id = spec.id.clone();
        if let Some(known) = self.shared.hook(&id) {
            return Ok(known);
        }
        let hook = Arc::new(Hook::new(origin, spec));
        self.shared.hooks().insert(id.clone(), Arc::clone(&hook));
        self.shared.allot();
        if let Err(error) = self.fill(&id, &hook).await {
            self.shared.hooks().remove(&id);
            self.shared.allot();
            return Err(error);
        }
        let (client, node) = (self.shared.client.clone(), self.shared.bus.node().to_owned());
        tokio::spawn(beat(Arc::clone(&hook), client, node));
        let (client, files) = (self.shared.client.clone(), self.shared.files.clone());
        let told = (Arc::clone(&self.shared.settled), Arc::clone(&self.shared.took));
        tokio::spawn(carry(Arc::clone(&hook), client, files, told));
        Ok(hook)
    }

    /// Reads what waits for a hook, some at a time: what there is no room for any more becomes a
    /// dead letter at once.
    async fn fill(&self, id: &str, hook: &Arc<Hook>) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let mine = |key: &[u8]| parcel::number(id, key).is_some();
        let mut last = None;
        let mut letters = Walk::new(Table::DeadLetters, parcel::key(id, 0));
        while let Some(rows) = letters.next(store, mine).await? {
            let numbers = rows.iter().filter_map(|(key, _)| parcel::number(id, key));
            hook.work().letters.extend(numbers);
        }
        last = last.max(hook.work().letters.last().copied());
        let mut waiting = Walk::new(Table::Outbox, parcel::key(id, 0));
        let mut unread = 0;
        while let Some(rows) = waiting.next(store, mine).await? {
            // Also the numbers of those that cannot be read are taken.
            last = last.max(rows.last().and_then(|(key, _)| parcel::number(id, key)));
            let parcels = rows.iter().filter_map(|(key, value)| Parcel::read(id, key, value));
            let parcels: Vec<_> = parcels.map(Arc::new).collect();
            unread += rows.len() - parcels.len();
            hook.push(parcels);
            while self.shared.make_room() {
                self.bury().await;
            }
            self.bury().await;
        }
        if unread > 0 {
            tracing::error!(hook = id, events = unread, "events cannot be read, they stay");
        }
        hook.work().next = last.map_or(0, |last| last + 1);
        Ok(())
    }

    /// Writes down what hooks gave up.
    async fn bury(&self) {
        let hooks: Vec<_> = self.shared.hooks().values().cloned().collect();
        let mut more = true;
        while more {
            let mut writes = Vec::new();
            more = settle_all(&hooks, &mut writes);
            self.commit(writes).await;
        }
    }

    /// Deletes what waits for hooks that are no more; what waits for those that cannot be read
    /// stays.
    async fn sweep(&self, unread: &BTreeSet<Vec<u8>>) -> Result<(), StoreError> {
        let mut gone = 0;
        for table in [Table::Outbox, Table::DeadLetters] {
            let hooks = self.shared.hooks().clone();
            let of_none = |key: &[u8]| {
                let id = key.split(|&byte| byte == 0).next().unwrap_or_default();
                let runs = std::str::from_utf8(id).is_ok_and(|id| hooks.contains_key(id));
                !runs && !unread.contains(id)
            };
            let mut all = Walk::new(table, Vec::new());
            while let Some(rows) = all.next(&self.shared.store, |_| true).await? {
                let writes = deletions(table, rows.into_iter().filter(|(key, _)| of_none(key)));
                gone += writes.len();
                if !writes.is_empty() {
                    self.shared.store.commit(writes).await?;
                }
            }
        }
        if gone > 0 {
            tracing::warn!(rows = gone, "events of hooks that are no more are dropped");
        }
        Ok(())
    }
}

/// What deletes rows.
pub(super) fn deletions(
    table: Table,
    rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Vec<Write> {
    rows.map(|(key, _)| Write { table, key, value: None }).collect()
}

/// The rows of a table, some at a time. What is deleted meanwhile skips none.
pub(super) struct Walk {
    table: Table,
    /// The next ones have this key, or a greater one; `None` when all were seen.
    from: Option<Vec<u8>>,
}

impl Walk {
    pub(super) const fn new(table: Table, from: Vec<u8>) -> Self {
        Self { table, from: Some(from) }
    }

    /// The next rows, while their keys are `mine`.
    ///
    /// Errors: the store refused.
    pub(super) async fn next(
        &mut self,
        store: &Store,
        mine: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Rows>, StoreError> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let mut rows = store.scan(self.table, from, ROWS).await?;
        let read = rows.len();
        let foreign = rows.iter().position(|(key, _)| !mine(key));
        rows.truncate(foreign.unwrap_or(read));
        let whole = read == ROWS && foreign.is_none();
        let last = rows.last().filter(|_| whole);
        // The least key after the last one.
        self.from = last.map(|(key, _)| [key, [0].as_slice()].concat());
        Ok((!rows.is_empty()).then_some(rows))
    }
}
