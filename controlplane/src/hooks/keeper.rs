//! Keeper: the task that writes every event down before it is tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use codecs::time::WallTime;
use tokio::sync::mpsc;

use super::admission::NoRoom;
use super::batch::RETRY_MAX;
use super::hook::{Hook, Settled};
use super::ledger::{HooksError, Shared};
use super::letter::{self, DEAD_LETTERS_MAX, Verdict};
use super::loading::{self, Walk, deletions};
use super::order::{Made, Order};
use super::parcel::{self, Parcel};
use super::spec::{HOOKS_MAX, HookSpec, Origin};
use crate::dialect::{Dialect, NOTES_MAX};
use crate::events::{Cursor, Event, Kind, Told, Wants};
use crate::outbound::backoff;
use crate::registry::Condition;
use crate::store::{StoreError, Table, Write};

/// Events that are written together: at most the lesser number if there are many hooks, and the
/// greater one if there are few, because each has a row of its own.
const TOGETHER: (usize, usize) = (256, 4_096);
/// Rows and bytes of one commit at most; more become several.
pub(super) const COMMIT_MAX: (usize, usize) = (8_192, 1 << 20);
/// Bytes that a row takes beside its value.
const ROW_BYTES: usize = 192;
/// What the keeper has in hand: rows of what is settled and of what is new, the new events, and
/// those that were given up since the last commit.
pub(crate) const KEEPER_BYTES: u64 = 4 * COMMIT_MAX.1 as u64;
/// A store that takes nothing is tried again after this long.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// The task, and what it reads.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    cursor: Cursor,
    orders: mpsc::Receiver<Order>,
    /// What was warned of, by the hook.
    doubts: BTreeMap<String, String>,
}

impl Keeper {
    pub(super) const fn new(
        shared: Arc<Shared>,
        cursor: Cursor,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self { shared, cursor, orders, doubts: BTreeMap::new() }
    }

    pub(super) async fn run(mut self, configured: Vec<HookSpec>) {
        self.begin(configured).await;
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

    /// Reads the hooks until they are read. What is asked of them meanwhile is refused; events wait
    /// in the ring.
    async fn begin(&mut self, mut configured: Vec<HookSpec>) {
        let mut failures = 0;
        while let Err(error) = self.load(&configured).await {
            failures += 1;
            tracing::error!(reason = %error, failures, "hooks cannot be read, it is tried again");
            self.shared.set_trouble(Some(format!("hooks cannot be read: {error}")));
            // Chance spreads many; there is one.
            let until = Instant::now() + backoff(failures, RETRY_MAX, u8::MAX);
            while let Ok(Some(order)) =
                tokio::time::timeout_at(until.into(), self.orders.recv()).await
            {
                match order {
                    Order::Configure(specs) => configured = specs,
                    order => order.refuse(&error),
                }
            }
        }
        self.shared.set_trouble(None);
        let hooks: Vec<_> = self.shared.hooks().values().cloned().collect();
        self.want(&hooks);
    }

    /// Writes down what is new and forgets what is settled, in one commit, then lets it go; true if
    /// there was something new.
    pub(super) async fn turn(&mut self) -> bool {
        let hooks: Vec<_> = self.shared.hooks().values().cloned().collect();
        self.want(&hooks);
        let mut writes = Vec::new();
        // What was given up leaves the memory before more comes into it.
        while settle_all(&hooks, &mut writes) {
            self.commit(std::mem::take(&mut writes)).await;
        }
        let told = self.read(&hooks);
        let node = self.shared.bus.node();
        if let Some(missed) = told.missed {
            let missed = missed.unwrap_or(1);
            self.shared.missed.fetch_add(missed, Ordering::Relaxed);
            tracing::error!(
                missed,
                "events came faster than they could be kept; raise events.ring_max"
            );
        }
        let mut fresh = Vec::new();
        for hook in &hooks {
            let spec = hook.spec();
            let mut work = hook.work();
            let wanted = told.events.iter().filter(|event| spec.wants(event));
            let parcels = wanted.flat_map(|event| {
                let parcels = parcels(&spec, node, work.next, event);
                work.next += parcels.len() as u64;
                writes.extend(parcels.iter().map(|parcel| parcel.keep(&spec.id)));
                parcels
            });
            fresh.push(parcels.collect::<Vec<_>>());
        }
        self.commit(writes).await;
        for (hook, parcels) in hooks.iter().zip(fresh) {
            if !parcels.is_empty() {
                hook.push(parcels);
            }
        }
        while self.shared.make_room() {
            let mut writes = Vec::new();
            settle_all(&hooks, &mut writes);
            self.commit(writes).await;
        }
        let part = self.shared.part(&hooks);
        let vacancy = hooks.iter().map(|hook| hook.vacancy(part)).min();
        self.cursor.kept(vacancy.unwrap_or(u64::MAX));
        if hooks.iter().any(|hook| !hook.work().settled.is_empty()) {
            self.shared.settled.notify_one();
        }
        !told.events.is_empty()
    }

    /// The next events, of which each hook has its rows and all of them fit one commit.
    fn read(&mut self, hooks: &[Arc<Hook>]) -> Told {
        let rows = |hook: &Arc<Hook>| if hook.spec().dialect.is_native() { 1 } else { NOTES_MAX };
        let rows = hooks.iter().map(rows).sum::<usize>().max(1);
        let together = COMMIT_MAX.0 / rows;
        let mut told = self.cursor.read(together.clamp(TOGETHER.0, TOGETHER.1));
        let mut bytes = 0;
        let fits = told.events.iter().take_while(|event| {
            let begins = bytes == 0;
            let each = usize::try_from(event.bytes()).unwrap_or(COMMIT_MAX.1);
            bytes += (each + ROW_BYTES) * rows;
            begins || bytes <= COMMIT_MAX.1
        });
        let fitting = fits.count();
        self.cursor.unread(told.events.len() - fitting);
        told.events.truncate(fitting);
        told
    }

    /// Has that told, and kept to be told, which a hook says.
    fn want(&mut self, hooks: &[Arc<Hook>]) {
        let hears = |call| {
            let specs = hooks.iter().map(|hook| hook.spec());
            specs.into_iter().any(|spec| spec.enabled && spec.hears(call))
        };
        self.shared.bus.want(Wants {
            claims: hooks.iter().any(|hook| !hook.spec().dialect.is_native()),
            segments: hears("on_hls"),
            connections: hears("on_close"),
            players: Dialect::OF_PLAYERS.into_iter().any(hears),
        });
        self.doubt(hooks);
    }

    /// Warns once of hooks of the API that are told of segments which nobody can fetch.
    fn doubt(&mut self, hooks: &[Arc<Hook>]) {
        let of_api = hooks.iter().filter(|hook| hook.origin == Origin::Api).map(|hook| hook.spec());
        let why = self.shared.unkept();
        let doubts: BTreeMap<_, _> =
            of_api.filter_map(|spec| Some((spec.id.clone(), spec.doubt(why?)?))).collect();
        for (id, doubt) in &doubts {
            if self.doubts.get(id) != Some(doubt) {
                tracing::warn!("{doubt}");
            }
        }
        self.doubts = doubts;
    }

    /// Writes until it is written: events are not tried before.
    pub(super) async fn commit(&self, writes: Vec<Write>) {
        let mut rest = writes.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(write) =
                rest.next_if(|_| some.len() < COMMIT_MAX.0 && bytes < COMMIT_MAX.1)
            {
                bytes += weight(&write);
                some.push(write);
            }
            // CONTROL: a commit may have to be tried again.
            while let Err(error) = self.shared.store.commit(some.clone()).await {
                // A disk that failed is told by the store, once.
                if error == StoreError::TooLarge {
                    tracing::error!(reason = %error, "events cannot be kept, hooks wait");
                    self.shared.set_trouble(Some(format!("events cannot be kept: {error}")));
                }
                tokio::time::sleep(STORE_PAUSE).await;
            }
            self.shared.set_trouble(None);
        }
    }

    async fn obey(&mut self, order: Order) {
        if order.is_abandoned() {
            return;
        }
        // Whoever asked may go meanwhile: then nobody misses the answer.
        match order {
            Order::Put { spec, condition, reply } => {
                drop(reply.send(self.put(*spec, &condition).await));
            }
            Order::Delete { id, condition, reply } => {
                drop(reply.send(self.delete(&id, &condition).await));
            }
            Order::Letters { hook, letter, fate, reply } => {
                drop(reply.send(self.decide(&hook, letter, fate).await));
            }
            Order::Configure(specs) => self.configure(specs).await,
            Order::Close(reply) => {
                // Nobody publishes any more: this ends.
                while self.turn().await {}
                let _ = reply.send(());
            }
        }
    }

    async fn put(&self, mut spec: HookSpec, condition: &Condition) -> Result<Made, HooksError> {
        let known = self.shared.hook(&spec.id);
        match &known {
            Some(hook) if hook.origin == Origin::Config => return Err(HooksError::ReadOnly),
            None if self.shared.hooks().len() >= HOOKS_MAX => return Err(HooksError::Full),
            _ => {}
        }
        let before = known.as_ref().map(|hook| hook.spec());
        let version = before.as_deref().map(|spec| self.shared.version(spec));
        condition.check(version.as_ref()).map_err(HooksError::Unmet)?;
        spec.unmask(before.as_deref()).map_err(HooksError::Masked)?;
        spec.check(Origin::Api).map_err(HooksError::Misfit)?;
        if let Some(other) = self.shared.writer_of(&spec) {
            return Err(HooksError::FileTaken(other));
        }
        self.shared.store.commit(vec![loading::row(&spec)]).await?;
        let (id, created) = (spec.id.clone(), known.is_none());
        let hook = match known {
            Some(known) => {
                known.respecify(spec);
                known
            }
            None => self.add(Origin::Api, spec).await?,
        };
        let bus = &self.shared.bus;
        match created {
            true => bus.publish(None, None, Kind::HookCreated { hook: id }),
            false => bus.publish(None, None, Kind::HookUpdated { hook: id }),
        }
        Ok(Made { created, state: self.shared.state(&hook) })
    }

    async fn delete(&self, id: &str, condition: &Condition) -> Result<(), HooksError> {
        let hook = self.shared.hook(id).ok_or(HooksError::Unknown)?;
        if hook.origin == Origin::Config {
            return Err(HooksError::ReadOnly);
        }
        let version = self.shared.version(&hook.spec());
        condition.check(Some(&version)).map_err(HooksError::Unmet)?;
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
        self.shared.allot();
        for table in [Table::Outbox, Table::DeadLetters] {
            let mine = |key: &[u8]| parcel::number(id, key).is_some();
            let mut walk = Walk::new(table, parcel::key(id, 0));
            // What cannot be read now is swept at the next start.
            while let Ok(Some(rows)) = walk.next(&self.shared.store, mine).await {
                self.commit(deletions(table, rows.into_iter())).await;
            }
        }
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
        let (mut unrun, hooks_max) = (Vec::new(), HOOKS_MAX.max(hooks.len()));
        for spec in specs {
            let id = spec.id.clone();
            let (known, bus) = (hooks.get(&id), &self.shared.bus);
            match known {
                Some(hook) if hook.origin == Origin::Config => {
                    if *hook.spec() != spec {
                        hook.respecify(spec);
                        bus.publish(None, None, Kind::HookUpdated { hook: id });
                    }
                    continue;
                }
                _ => {}
            }
            // There was room when the file was read; orders may have come before it.
            let added = match self.shared.room_for(&spec, hooks_max) {
                Ok(()) => self.add(Origin::Config, spec).await.map_err(|error| error.to_string()),
                Err(NoRoom { what, mend }) => Err(format!("{what}; {mend}")),
            };
            match added {
                // Another writer of its file is one of the API: each line is whole all the same,
                // because files are locked.
                Ok(_) => bus.publish(None, None, Kind::HookCreated { hook: id }),
                Err(reason) => {
                    tracing::error!(hook = id, reason, "hook is not run");
                    unrun.push(format!("hook {id} of the file is not run: {reason}"));
                }
            }
        }
        self.shared.set_unrun((!unrun.is_empty()).then(|| unrun.join("; ")));
    }
}

/// What a hook is told of an event, the first of it as its `number`-th.
fn parcels(spec: &HookSpec, node: &str, number: u64, event: &Event) -> Vec<Arc<Parcel>> {
    if spec.dialect.is_native() {
        return vec![Arc::new(Parcel::new(number, event))];
    }
    let notes = spec.notes(node, event).into_iter().zip(number..);
    notes.map(|(note, number)| Arc::new(Parcel::noted(number, event, &note))).collect()
}

/// Bytes of memory that a row takes.
pub(super) fn weight(write: &Write) -> usize {
    ROW_BYTES + write.value.as_ref().map_or(0, Vec::len)
}

/// What the hooks settled, as rows of one commit; true if more is settled.
pub(super) fn settle_all(hooks: &[Arc<Hook>], writes: &mut Vec<Write>) -> bool {
    let mut left = COMMIT_MAX.1;
    hooks.iter().any(|hook| {
        let before = writes.len();
        settle(&hook.spec().id, hook, writes, left);
        left = left.saturating_sub(writes[before..].iter().map(weight).sum());
        left == 0
    })
}

/// What a hook settled first, as rows of so many bytes or a little more.
fn settle(id: &str, hook: &Hook, writes: &mut Vec<Write>, bytes_max: usize) {
    let mut work = hook.work();
    let mut bytes = 0;
    while bytes < bytes_max
        && let Some(settled) = work.settled.pop_front()
    {
        let before = writes.len();
        match settled {
            Settled::Delivered(number) => writes.push(Parcel::forget(id, number)),
            Settled::GivenUp { parcel, attempts, reason } => {
                let verdict = Verdict::new(reason, attempts, now().to_string());
                writes.push(Parcel::forget(id, parcel.number));
                writes.push(letter::bury(id, &parcel, &verdict));
                work.letters.insert(parcel.number);
            }
        }
        bytes += writes[before..].iter().map(weight).sum::<usize>();
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
