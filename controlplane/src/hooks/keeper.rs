//! Keeper: the task that writes every event down before it is tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use codecs::time::WallTime;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::carrier::carry;
use super::hook::{Hook, Settled};
use super::ledger::{HooksError, Shared};
use super::letter::{self, DEAD_LETTERS_MAX, Verdict};
use super::order::{Fate, Order};
use super::parcel::{self, Parcel};
use super::spec::{HOOKS_MAX, HookSpec, Origin};
use crate::events::{Cursor, Kind};
use crate::store::{StoreError, Table, Write};

/// Events that are written together at most.
const TOGETHER_MAX: usize = 512;
/// Rows and bytes of one commit at most; more become several.
const COMMIT_MAX: (usize, usize) = (8_192, 8 << 20);
/// Rows that are read from the store at one time.
const ROWS: usize = 1_024;
/// A store that takes nothing is tried again after this long.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// A hook in the store.
#[derive(Serialize, Deserialize)]
struct Row {
    /// The version of this form.
    v: u8,
    hook: HookSpec,
}

/// The task, and what it reads.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    cursor: Cursor,
    orders: mpsc::Receiver<Order>,
}

impl Keeper {
    pub(super) const fn new(
        shared: Arc<Shared>,
        cursor: Cursor,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self { shared, cursor, orders }
    }

    pub(super) async fn run(mut self, configured: Vec<HookSpec>) {
        if let Err(error) = self.load(configured).await {
            tracing::error!(reason = %error, "hooks cannot be read, none is run");
            return;
        }
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => {
                    // What happened before the order is judged by what held before it.
                    self.turn().await;
                    self.obey(order).await;
                }
                () = self.shared.settled.notified() => {}
                () = self.cursor.ready() => {}
            }
            self.turn().await;
        }
    }

    /// Reads the hooks of the store, puts those of the file over them, and runs all.
    async fn load(&self, configured: Vec<HookSpec>) -> Result<(), StoreError> {
        let rows = self.rows(Table::Hooks, b"", |_| true).await?;
        for (_, value) in rows {
            match serde_json::from_slice::<Row>(&value).map(|row| row.hook) {
                Ok(spec) if !configured.iter().any(|other| other.id == spec.id) => {
                    self.add(Origin::Api, spec).await?;
                }
                Ok(spec) => tracing::warn!(hook = spec.id, "the file has a hook of this id, too"),
                Err(error) => tracing::error!(reason = %error, "a hook cannot be read"),
            }
        }
        for spec in configured {
            self.add(Origin::Config, spec).await?;
        }
        self.sweep().await
    }

    /// Runs a hook with what waits for it.
    async fn add(&self, origin: Origin, spec: HookSpec) -> Result<(), StoreError> {
        let id = spec.id.clone();
        let hook = Arc::new(Hook::new(origin, spec));
        let mine = |key: &[u8]| parcel::number(&id, key).is_some();
        let from = parcel::key(&id, 0);
        let waiting = self.rows(Table::Outbox, &from, mine).await?;
        let letters = self.rows(Table::DeadLetters, &from, mine).await?;
        let parcels = waiting.iter().filter_map(|(key, value)| Parcel::read(&id, key, value));
        let parcels: Vec<_> = parcels.map(Arc::new).collect();
        let mut work = hook.work();
        work.letters = letters.iter().filter_map(|(key, _)| parcel::number(&id, key)).collect();
        let last = parcels.last().map(|parcel| parcel.number).max(work.letters.last().copied());
        work.next = last.map_or(0, |last| last + 1);
        drop(work);
        hook.push(parcels);
        let (client, files) = (self.shared.client.clone(), Arc::clone(&self.shared.files));
        let told = (Arc::clone(&self.shared.settled), Arc::clone(&self.shared.took));
        tokio::spawn(carry(Arc::clone(&hook), client, files, told));
        self.shared.hooks().insert(id, hook);
        Ok(())
    }

    /// Deletes what waits for hooks that are no more.
    async fn sweep(&self) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for table in [Table::Outbox, Table::DeadLetters] {
            let hooks = self.shared.hooks().clone();
            let of_none = |key: &[u8]| {
                let id = key.split(|&byte| byte == 0).next().unwrap_or_default();
                !std::str::from_utf8(id).is_ok_and(|id| hooks.contains_key(id))
            };
            let rows = self.rows(table, b"", |_| true).await?;
            let gone = rows.into_iter().filter(|(key, _)| of_none(key));
            writes.extend(gone.map(|(key, _)| Write { table, key, value: None }));
        }
        if !writes.is_empty() {
            tracing::warn!(rows = writes.len(), "events of hooks that are no more are dropped");
        }
        self.commit(writes).await;
        Ok(())
    }

    /// The rows of a table from `from` on, while their keys are `mine`.
    async fn rows(
        &self,
        table: Table,
        from: &[u8],
        mine: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
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

    /// Writes down what is new and forgets what is settled, in one commit, then lets it go.
    async fn turn(&mut self) {
        let told = self.cursor.read(TOGETHER_MAX);
        if let Some(missed) = told.missed {
            let missed = missed.unwrap_or(1);
            self.shared.missed.fetch_add(missed, Ordering::Relaxed);
            tracing::error!(
                missed,
                "events came faster than they could be kept; raise events.ring_max"
            );
        }
        let hooks: Vec<_> = self.shared.hooks().values().cloned().collect();
        let (mut writes, mut fresh) = (Vec::new(), Vec::new());
        for hook in &hooks {
            let spec = hook.spec();
            settle(&spec.id, hook, &mut writes);
            let mut work = hook.work();
            let wanted = told.events.iter().filter(|event| spec.wants(event));
            let parcels = wanted.map(|event| {
                let parcel = Arc::new(Parcel::new(work.next, event));
                work.next += 1;
                writes.push(parcel.keep(&spec.id));
                parcel
            });
            fresh.push(parcels.collect::<Vec<_>>());
        }
        self.commit(writes).await;
        for (hook, parcels) in hooks.iter().zip(fresh) {
            if !parcels.is_empty() {
                hook.push(parcels);
            }
        }
        if hooks.iter().any(|hook| !hook.work().settled.is_empty()) {
            self.shared.settled.notify_one();
        }
    }

    /// Writes until it is written: events are not tried before.
    async fn commit(&self, writes: Vec<Write>) {
        let mut rest = writes.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(write) =
                rest.next_if(|_| some.len() < COMMIT_MAX.0 && bytes < COMMIT_MAX.1)
            {
                bytes += write.value.as_ref().map_or(0, Vec::len);
                some.push(write);
            }
            // CONTROL: a commit may have to be tried again.
            while let Err(error) = self.shared.store.commit(some.clone()).await {
                if error != StoreError::Busy {
                    tracing::error!(reason = %error, "events cannot be kept, hooks wait");
                }
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        // Whoever asked may be gone: then nobody misses the answer.
        match order {
            Order::Put { spec, reply } => drop(reply.send(self.put(*spec).await)),
            Order::Delete { id, reply } => drop(reply.send(self.delete(&id).await)),
            Order::Letters { hook, letter, fate, reply } => {
                drop(reply.send(self.letters(&hook, letter, fate).await));
            }
            Order::Configure(specs) => self.configure(specs).await,
            Order::Close(reply) => {
                self.turn().await;
                let _ = reply.send(());
            }
        }
    }

    async fn put(&self, spec: HookSpec) -> Result<bool, HooksError> {
        let known = self.shared.hook(&spec.id);
        match &known {
            Some(hook) if hook.origin == Origin::Config => return Err(HooksError::ReadOnly),
            None if self.shared.hooks().len() >= HOOKS_MAX => return Err(HooksError::Full),
            _ => {}
        }
        let row = Row { v: 1, hook: spec.clone() };
        let value = serde_json::to_vec(&row).expect("a hook has text for keys");
        let key = spec.id.clone().into_bytes();
        let write = Write { table: Table::Hooks, key, value: Some(value) };
        self.shared.store.commit(vec![write]).await?;
        let (hook, created) = (spec.id.clone(), known.is_none());
        match known {
            Some(known) => known.respecify(spec),
            None => self.add(Origin::Api, spec).await?,
        }
        let bus = &self.shared.bus;
        match created {
            true => bus.publish(None, None, Kind::HookCreated { hook }),
            false => bus.publish(None, None, Kind::HookUpdated { hook }),
        }
        Ok(created)
    }

    async fn delete(&self, id: &str) -> Result<(), HooksError> {
        let hook = self.shared.hook(id).ok_or(HooksError::Unknown)?;
        if hook.origin == Origin::Config {
            return Err(HooksError::ReadOnly);
        }
        let key = id.as_bytes().to_vec();
        let write = Write { table: Table::Hooks, key, value: None };
        self.shared.store.commit(vec![write]).await?;
        self.end(id, &hook).await;
        Ok(())
    }

    /// Ends a hook, and forgets what waited for it.
    async fn end(&self, id: &str, hook: &Hook) {
        hook.end();
        self.shared.hooks().remove(id);
        let mut writes = Vec::new();
        let from = parcel::key(id, 0);
        for table in [Table::Outbox, Table::DeadLetters] {
            let mine = |key: &[u8]| parcel::number(id, key).is_some();
            // What cannot be read now is swept at the next start.
            let rows = self.rows(table, &from, mine).await.unwrap_or_default();
            writes.extend(rows.into_iter().map(|(key, _)| Write { table, key, value: None }));
        }
        self.commit(writes).await;
        self.shared.bus.publish(None, None, Kind::HookDeleted { hook: id.to_owned() });
    }

    async fn configure(&self, specs: Vec<HookSpec>) {
        let hooks = self.shared.hooks().clone();
        let of_file: BTreeMap<_, _> =
            hooks.iter().filter(|(_, hook)| hook.origin == Origin::Config).collect();
        for (id, hook) in &of_file {
            if !specs.iter().any(|spec| spec.id == **id) {
                self.end(id, hook).await;
            }
        }
        for spec in specs {
            let id = spec.id.clone();
            let (known, bus) = (hooks.get(&id), &self.shared.bus);
            match known {
                Some(hook) if hook.origin == Origin::Config => {
                    if *hook.spec() != spec {
                        hook.respecify(spec);
                        bus.publish(None, None, Kind::HookUpdated { hook: id });
                    }
                }
                Some(_) => tracing::error!(hook = id, "the API made a hook of this id already"),
                None => match self.add(Origin::Config, spec).await {
                    Ok(()) => bus.publish(None, None, Kind::HookCreated { hook: id }),
                    Err(error) => tracing::error!(hook = id, reason = %error, "hook is not run"),
                },
            }
        }
    }

    async fn letters(&self, id: &str, letter: Option<u64>, fate: Fate) -> Result<u64, HooksError> {
        let hook = self.shared.hook(id).ok_or(HooksError::Unknown)?;
        let numbers: Vec<u64> = match letter {
            Some(number) if hook.work().letters.contains(&number) => vec![number],
            Some(_) => return Err(HooksError::UnknownLetter),
            None => hook.work().letters.iter().copied().collect(),
        };
        let (mut writes, mut parcels) = (Vec::new(), Vec::new());
        for &number in &numbers {
            writes.push(letter::exhume(id, number));
            if fate == Fate::Delete {
                continue;
            }
            let key = parcel::key(id, number);
            let value = self.shared.store.get(Table::DeadLetters, key).await?.unwrap_or_default();
            let mut work = hook.work();
            let event = letter::read(&value).map(|(_, event)| event);
            if let Some(parcel) = event.and_then(|event| Parcel::parse(work.next, event)) {
                work.next += 1;
                writes.push(parcel.keep(id));
                parcels.push(Arc::new(parcel));
            }
        }
        self.shared.store.commit(writes).await?;
        let mut work = hook.work();
        for number in &numbers {
            work.letters.remove(number);
        }
        drop(work);
        hook.push(parcels);
        Ok(numbers.len() as u64)
    }
}

/// What a hook settled, as rows.
fn settle(id: &str, hook: &Hook, writes: &mut Vec<Write>) {
    let mut work = hook.work();
    for settled in std::mem::take(&mut work.settled) {
        match settled {
            Settled::Delivered(number) => writes.push(Parcel::forget(id, number)),
            Settled::GivenUp { parcel, attempts, reason } => {
                let verdict = Verdict::new(reason, attempts, now().to_string());
                writes.push(Parcel::forget(id, parcel.number));
                writes.push(letter::bury(id, &parcel, &verdict));
                work.letters.insert(parcel.number);
            }
        }
    }
    while work.letters.len() > DEAD_LETTERS_MAX
        && let Some(oldest) = work.letters.pop_first()
    {
        writes.push(letter::exhume(id, oldest));
        work.tally.lost += 1;
    }
}

fn now() -> WallTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}
