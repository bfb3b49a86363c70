//! Keeper: brings changes to the disk, one after the other, and then into force.
//!
//! ```text
//!   change --plan--> rows --commit--> disk --adopt--> registry --drops--> shards
//!                                       |
//!                                       +--> the answer
//! ```
//!
//! One change is under way at a time, so that what was planned against the registry is true when it
//! is adopted; a bulk is one change. A change that could not be stored changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use dataplane::ids::StreamName;
use tokio::sync::oneshot;

use super::ask::{Made, RegistryAsk};
use super::change::{Change, FileStreams, Plan, Refused, Subject};
use super::condition::Condition;
use super::crowd::Crowd;
use super::desired::Registry;
use super::effect::Effect;
use super::record;
use super::spec::{StreamSpec, Template};
use super::tenant::{Tenant, TenantName};
use crate::error::Error;
use crate::events::{Backlog, Bus};
use crate::store::{FILE, Store, StoreError, Table};
use crate::troubles::{Trouble, Troubles};

/// Changes that wait at most.
pub const WAITING_MAX: usize = 64;
/// The next change is made while at most so many events of those before it wait to be told: a
/// change of a template makes one for each of its streams.
const NEWS_MAX: usize = 10_000;
/// What is said of the file while it waits for the changes before it.
const FILE_WAITS: &str = "the streams of the file are not in force yet: changes that were made \
                          before are on their way to the disk of data.dir; see to that disk if it \
                          stays so";
/// Rows that are read at one time.
const ROWS: usize = 1_000;

type Reply = Option<oneshot::Sender<Result<Made, Refused>>>;
type Commit = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// A change that waits for its turn.
struct Waiting {
    change: Change,
    condition: Condition,
    reply: Reply,
}

/// A change on its way to the disk.
struct Flight {
    planned: Planned,
    commit: Commit,
    reply: Reply,
}

/// A change that was found good.
struct Planned {
    plan: Plan,
    subject: Option<Subject>,
    created: bool,
}

/// What changes the registry.
///
/// Lives on: the control thread.
pub struct Keeper {
    store: Store,
    waiting: VecDeque<Waiting>,
    flight: Option<Flight>,
    /// Who is dropped by each change that was made and told to no shard yet.
    drops: Vec<Vec<Effect>>,
    /// Streams that changed since the shards were told last where to fetch them.
    touched: BTreeSet<StreamName>,
    bus: Option<Bus>,
    troubles: Option<Troubles>,
    news: Backlog,
}

impl Keeper {
    /// Reads the desired streams of the store and of the file, which take `bytes_max` of memory at
    /// most.
    ///
    /// Errors: a row that this version cannot read.
    pub async fn load(
        store: Store,
        file: FileStreams,
        bytes_max: u64,
    ) -> Result<(Self, Registry), Error> {
        let mut streams = BTreeMap::new();
        for (key, value) in rows(&store, Table::Streams).await? {
            let name = StreamName::parse(&key).ok_or_else(|| unreadable(Table::Streams, &key))?;
            let spec = StreamSpec::read(&name, value);
            streams.insert(name, spec.map_err(|_| unreadable(Table::Streams, &key))?);
        }
        let mut templates = BTreeMap::new();
        for (key, value) in rows(&store, Table::Templates).await? {
            let template = Template::read(&key, value);
            let template = template.map_err(|_| unreadable(Table::Templates, &key))?;
            templates.insert(key, template);
        }
        let mut tenants = BTreeMap::new();
        for (key, value) in rows(&store, Table::Tenants).await? {
            let name = TenantName::parse(&key).ok_or_else(|| unreadable(Table::Tenants, &key))?;
            let tenant = Tenant::read(&name, value);
            tenants.insert(name, tenant.map_err(|_| unreadable(Table::Tenants, &key))?);
        }
        // What was declared before is served also where it is too much: it may become less then.
        let (bytes_any, crowd_max) = (u64::MAX, Crowd::ANY);
        let mut registry = Registry { bytes_max: bytes_any, crowd_max, ..Registry::default() };
        let misfit = |refused: Refused| Error::System {
            what: "cannot take the declared streams",
            reason: refused.to_string(),
            mend: "mend what the file declares",
        };
        registry.apply(Change::Stored { streams, templates, tenants }).map_err(misfit)?;
        registry.apply(Change::File(file)).map_err(misfit)?;
        (registry.bytes_max, registry.crowd_max) = (bytes_max, Crowd::MAX);
        if registry.bytes > bytes_max {
            tracing::warn!(
                bytes = registry.bytes,
                bytes_max,
                "what is declared takes more than streams.declared_bytes_max, so that it can only \
                 become less; delete some, or raise it"
            );
        }
        for (what, max, count) in Crowd::MAX.excess(registry.crowd()) {
            tracing::warn!(
                count,
                max,
                "there are more {what} than fit, so that they can only become fewer; delete some"
            );
        }
        for code in registry.incomplete() {
            tracing::warn!(template = code, "is gone, so that its streams are refused; make it");
        }
        let (waiting, drops, news) = (VecDeque::new(), Vec::new(), Backlog::default());
        let (flight, bus, troubles, touched) = (None, None, None, BTreeSet::new());
        let keeper = Self { store, waiting, flight, drops, touched, bus, troubles, news };
        Ok((keeper, registry))
    }

    /// Tells `bus` from now on what is declared, changed and deleted, and lists in `troubles` that
    /// the file says something else.
    pub fn tell(&mut self, bus: Bus, troubles: Troubles) {
        (self.bus, self.troubles) = (Some(bus), Some(troubles));
    }

    /// Takes a question of the API.
    pub fn ask(&mut self, ask: RegistryAsk, registry: &mut Registry) {
        if let Some(RegistryAsk::Change { change, condition, reply, .. }) = registry.answer(ask) {
            if self.waiting.len() >= WAITING_MAX {
                let _ = reply.send(Err(Refused::Busy));
                return;
            }
            self.waiting.push_back(Waiting { change, condition, reply: Some(reply) });
            self.proceed(registry);
        }
    }

    /// Takes what the file says from now on; it comes after the changes that wait. What is to be
    /// said of it, if it waits.
    pub fn reload(&mut self, file: FileStreams, registry: &mut Registry) -> Option<&'static str> {
        self.waiting.retain(|waiting| !matches!(waiting.change, Change::File(_)));
        let (change, condition) = (Change::File(file), Condition::default());
        self.waiting.push_back(Waiting { change, condition, reply: None });
        self.proceed(registry);
        // It was the last one.
        let doubt = (!self.waiting.is_empty()).then_some(FILE_WAITS)?;
        tracing::warn!("{doubt}");
        self.tell_of_file(Some(doubt.to_owned()));
        Some(doubt)
    }

    /// Lists in the troubles what is so of the streams of the file.
    fn tell_of_file(&self, message: Option<String>) {
        if let Some(troubles) = &self.troubles {
            troubles.tell(Trouble::StreamsNotTaken, message);
        }
    }

    /// Returns when the change under way is on the disk, or is not; then comes [`Self::finish`].
    pub async fn committed(&mut self) -> Result<(), StoreError> {
        std::future::poll_fn(|context| match &mut self.flight {
            Some(flight) => flight.commit.as_mut().poll(context),
            None => Poll::Pending,
        })
        .await
    }

    /// Puts the change that is on the disk into force, and takes the next one.
    pub fn finish(&mut self, result: Result<(), StoreError>, registry: &mut Registry) {
        let Some(Flight { planned, reply, .. }) = self.flight.take() else { return };
        match result {
            Ok(()) => self.adopt(planned, reply, registry),
            Err(error) => answer(reply, Err(Refused::Store(error))),
        }
        self.proceed(registry);
    }

    /// Who is to be dropped by the changes that were made since, change by change.
    pub fn drops(&mut self) -> Vec<Vec<Effect>> {
        std::mem::take(&mut self.drops)
    }

    /// The streams that changed since.
    pub fn touched(&mut self) -> BTreeSet<StreamName> {
        std::mem::take(&mut self.touched)
    }

    /// Tells what became of streams as far as there is room, and goes on with the next change
    /// unless more than `NEWS_MAX` events wait.
    pub fn tick(&mut self, now: Instant, registry: &mut Registry) {
        self.tell_news(now);
        self.proceed(registry);
    }

    /// True if more is to be told than there was room for.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        !self.news.is_empty()
    }

    fn tell_news(&mut self, now: Instant) {
        if let Some(bus) = &self.bus {
            self.news.tell(bus, now);
        }
    }

    fn proceed(&mut self, registry: &mut Registry) {
        while self.flight.is_none()
            && self.news.len() <= NEWS_MAX
            && let Some(Waiting { change, condition, reply }) = self.waiting.pop_front()
        {
            let subject = change.subject();
            let is_file = matches!(change, Change::File(_));
            let known = subject.as_ref().and_then(|subject| registry.version(subject));
            let mut plan = match registry.plan_if(change, &condition) {
                Ok(plan) => plan,
                Err(refused) => {
                    tracing::debug!(reason = %refused, "a change is refused");
                    if is_file {
                        self.refuse_file(&refused);
                    }
                    answer(reply, Err(refused));
                    continue;
                }
            };
            if is_file {
                self.tell_of_file(None);
            }
            let writes = std::mem::take(&mut plan.writes);
            let planned = Planned { plan, subject, created: known.is_none() };
            if writes.is_empty() {
                self.adopt(planned, reply, registry);
                continue;
            }
            let store = self.store.clone();
            let commit = Box::pin(async move { store.commit(writes).await });
            self.flight = Some(Flight { planned, commit, reply });
        }
    }

    /// What the file says found room when it was read, and lost it to the changes that it waited
    /// for: whoever reloaded was told so far that it waits.
    fn refuse_file(&self, refused: &Refused) {
        let message = format!(
            "the streams of the file are not taken, those in force stay: {refused}; then reload"
        );
        tracing::error!("{message}");
        self.tell_of_file(Some(message));
    }

    fn adopt(&mut self, planned: Planned, reply: Reply, registry: &mut Registry) {
        let Planned { plan, subject, created } = planned;
        let effects = registry.adopt(plan);
        for difference in &effects.differences {
            let fields = difference.fields.join(" ");
            tracing::debug!(stream = %difference.stream, fields, "a declared stream changed");
            self.touched.insert(difference.stream.clone());
            if let (Some(_), Some(kind)) = (&self.bus, difference.kind()) {
                self.news.push(Some(difference.stream.clone()), kind);
            }
        }
        self.tell_news(Instant::now());
        if !effects.drops.is_empty() {
            self.drops.push(effects.drops.clone());
        }
        let shown = registry.shown(subject.as_ref());
        answer(reply, Ok(Made { created, effects, shown }));
    }
}

fn answer(reply: Reply, result: Result<Made, Refused>) {
    if let Some(reply) = reply {
        // The request may be gone; what it wanted is done or refused all the same.
        let _ = reply.send(result);
    }
}

/// Every row of a table.
async fn rows(store: &Store, table: Table) -> Result<Vec<(String, serde_json::Value)>, Error> {
    let mut all = Vec::new();
    let mut from = Vec::new();
    loop {
        let rows = store.scan(table, from, ROWS).await.map_err(|error| Error::System {
            what: "cannot read the store",
            reason: error.to_string(),
            mend: "restore it from a copy, or move it away to start without stored streams",
        })?;
        let Some((last, _)) = rows.last() else { return Ok(all) };
        // The least key after the last one.
        from = [last.as_slice(), &[0]].concat();
        for (key, value) in rows {
            let shown = String::from_utf8_lossy(&key).into_owned();
            all.push(record::read(&key, &value).ok_or_else(|| unreadable(table, &shown))?);
        }
    }
}

fn unreadable(table: Table, key: &str) -> Error {
    Error::File {
        op: "use",
        path: FILE.into(),
        reason: format!("{} {key} is not of a form that this version knows", table.name()),
        mend: "start the version that wrote it, or move the store away to start without stored \
               streams"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DeclaredTables, StreamsSection};
    use crate::events::RingLimits;
    use crate::store::Disk;

    #[tokio::test]
    async fn changes_do_not_wait_for_those_who_are_told_of_them() {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let cursor = bus.keeping_cursor();
        cursor.kept(0);
        assert!(!bus.has_room());
        let store = Disk::default().store();
        let troubles = Troubles::new(store.clone());
        let (mut keeper, mut registry) =
            Keeper::load(store, FileStreams::default(), 1 << 20).await.unwrap();
        keeper.tell(bus, troubles);
        for code in ["a", "b", "c"] {
            let (reply, mut answer) = oneshot::channel();
            let name = StreamName::parse(code).unwrap();
            let change = Change::PutStream { name, value: serde_json::json!({}) };
            let condition = Condition::default();
            let ask = RegistryAsk::Change { change, condition, dry_run: false, reply };
            keeper.ask(ask, &mut registry);
            assert!(keeper.flight.is_some(), "{code} waits");
            let done = keeper.committed().await;
            keeper.finish(done, &mut registry);
            assert!(answer.try_recv().unwrap().is_ok(), "{code}");
        }
        assert_eq!(keeper.news.len(), 3);
    }

    #[tokio::test]
    async fn a_start_takes_more_than_fits_which_can_only_become_less() {
        let store = Disk::default().store();
        let template = |code: String| Change::PutTemplate { code, value: serde_json::json!({}) };
        let of_api = (0..600).map(|nth| template(format!("api{nth}")));
        let plan = Registry::default().plan(Change::All(of_api.collect())).unwrap();
        store.commit(plan.writes).await.unwrap();
        let tables = (0..500).map(|nth| {
            let code = format!("file{nth}");
            (code.clone(), serde_json::json!({ "code": code }))
        });
        let section = StreamsSection {
            template: DeclaredTables(tables.collect()),
            ..StreamsSection::default()
        };
        let file = FileStreams::read(&section).unwrap();
        let (_keeper, mut registry) = Keeper::load(store, file.clone(), 64 << 20).await.unwrap();
        assert_eq!(registry.templates_after(None).count(), 1_100);
        let refused = registry.apply(template("more".to_owned())).unwrap_err();
        assert_eq!(refused.code(), "full");
        registry.apply(Change::File(file)).expect("a reload of the same");
        registry.apply(template("api0".to_owned())).expect("it is there already");
        registry.apply(Change::DeleteTemplate { code: "api1".to_owned() }).unwrap();
        assert_eq!(registry.templates_after(None).count(), 1_099);
    }
}
