//! Loading: reads hooks, and what waits for them, from the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::carrier::carry;
use super::hook::Hook;
use super::keeper::Keeper;
use super::parcel::{self, Parcel};
use super::spec::{HookSpec, Origin};
use crate::store::{Rows, StoreError, Table, Write};

/// Rows that are read from the store at one time.
const ROWS: usize = 1_024;

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
        for (key, value) in self.rows(Table::Hooks, b"", |_| true).await? {
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

    /// Runs a hook with what waits for it, unless it runs already.
    ///
    /// Errors: the store refused.
    pub(super) async fn add(&self, origin: Origin, spec: HookSpec) -> Result<(), StoreError> {
        let id = spec.id.clone();
        if self.shared.hook(&id).is_some() {
            return Ok(());
        }
        let hook = Arc::new(Hook::new(origin, spec));
        let mine = |key: &[u8]| parcel::number(&id, key).is_some();
        let from = parcel::key(&id, 0);
        let waiting = self.rows(Table::Outbox, &from, mine).await?;
        let letters = self.rows(Table::DeadLetters, &from, mine).await?;
        let numbers = |rows: &Rows| {
            rows.iter().filter_map(|(key, _)| parcel::number(&id, key)).collect::<BTreeSet<_>>()
        };
        let parcels = waiting.iter().filter_map(|(key, value)| Parcel::read(&id, key, value));
        let parcels: Vec<_> = parcels.map(Arc::new).collect();
        let unread = waiting.len() - parcels.len();
        if unread > 0 {
            tracing::error!(hook = id, events = unread, "events cannot be read, they stay");
        }
        let mut work = hook.work();
        work.letters = numbers(&letters);
        // Also the numbers of those that cannot be read are taken.
        let last = numbers(&waiting).last().copied().max(work.letters.last().copied());
        work.next = last.map_or(0, |last| last + 1);
        drop(work);
        hook.push(parcels);
        let (client, files) = (self.shared.client.clone(), Arc::clone(&self.shared.files));
        let told = (Arc::clone(&self.shared.settled), Arc::clone(&self.shared.took));
        tokio::spawn(carry(Arc::clone(&hook), client, files, told));
        self.shared.hooks().insert(id, hook);
        Ok(())
    }

    /// Deletes what waits for hooks that are no more; what waits for those that cannot be read
    /// stays.
    async fn sweep(&self, unread: &BTreeSet<Vec<u8>>) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for table in [Table::Outbox, Table::DeadLetters] {
            let hooks = self.shared.hooks().clone();
            let of_none = |key: &[u8]| {
                let id = key.split(|&byte| byte == 0).next().unwrap_or_default();
                let runs = std::str::from_utf8(id).is_ok_and(|id| hooks.contains_key(id));
                !runs && !unread.contains(id)
            };
            let rows = self.rows(table, b"", |_| true).await?;
            let gone = rows.into_iter().filter(|(key, _)| of_none(key));
            writes.extend(gone.map(|(key, _)| Write { table, key, value: None }));
        }
        if !writes.is_empty() {
            tracing::warn!(rows = writes.len(), "events of hooks that are no more are dropped");
        }
        for some in writes.chunks(ROWS) {
            // CONTROL: keys of rows that go.
            self.shared.store.commit(some.to_vec()).await?;
        }
        Ok(())
    }

    /// The rows of a table from `from` on, while their keys are `mine`.
    ///
    /// Errors: the store refused.
    pub(super) async fn rows(
        &self,
        table: Table,
        from: &[u8],
        mine: impl Fn(&[u8]) -> bool,
    ) -> Result<Rows, StoreError> {
        let (mut all, mut from) = (Vec::new(), from.to_vec());
        loop {
            let rows = self.shared.store.scan(table, from, ROWS).await?;
            let whole = rows.len() == ROWS;
            let before = all.len();
            all.extend(rows.into_iter().take_while(|(key, _)| mine(key)));
            match all.last() {
                Some((key, _)) if whole && all.len() - before == ROWS => {
                    from = [key, [0].as_slice()].concat();
                }
                _ => return Ok(all),
            }
        }
    }
}
