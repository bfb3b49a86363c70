//! Ledger: keeps store and queues in step, and the hooks themselves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dataplane::metrics::{Histogram, MICROSECONDS};
use tokio::sync::{Notify, mpsc, oneshot};

use super::allotment::QUEUES_BYTES_MAX;
use super::attempt::{Delivery, attempt};
use super::carrier::UNDER_WAY_MAX;
use super::file::Files;
use super::hook::{Hook, Tally};
use super::keeper::Keeper;
use super::letter;
use super::order::{Fate, Made, Moved, Order};
use super::parcel::{self, Parcel};
use super::spec::{HOOKS_MAX, HookSpec, Origin};
use crate::events::{Bus, Kind};
use crate::outbound::Client;
use crate::registry::{Condition, Version};
use crate::store::{Store, StoreError, Table};

pub use super::order::HooksError;

/// Orders that wait at most.
const ORDERS_MAX: usize = 64;
/// Whoever waits for an order looks after so long whether the store still works.
const STORE_LOOK: Duration = Duration::from_millis(500);
/// The try of a hook that somebody waits for is over within this.
const TEST_TIMEOUT_MS: u64 = 12_000;

/// The hooks. Clones are one.
///
/// Lives on: the control thread.
#[derive(Clone, Debug)]
pub struct Hooks(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    hooks: Mutex<BTreeMap<String, Arc<Hook>>>,
    pub(super) orders: mpsc::Sender<Order>,
    /// The store has something to forget.
    pub(super) settled: Arc<Notify>,
    pub(super) store: Store,
    pub(super) client: Client,
    pub(super) files: Files,
    pub(super) bus: Bus,
    pub(super) took: Arc<Mutex<Histogram>>,
    /// Bytes of the events of all hooks at most.
    pub(super) bytes_max: AtomicU64,
    /// Why segments cannot be fetched, if they cannot.
    unkept: Mutex<Option<&'static str>>,
    /// Events that were gone before they could be kept.
    pub(super) missed: AtomicU64,
    /// Why events are not kept, if they are not.
    trouble: Mutex<Option<String>>,
    /// Why hooks of the file do not run, if some do not.
    unrun: Mutex<Option<String>>,
    /// Makes names of states tell nothing of secrets.
    salt: [u8; 16],
}

/// A hook as it is shown.
#[derive(Clone, Debug)]
pub struct HookState {
    /// Its specification, without what nobody is shown.
    pub spec: HookSpec,
    /// The name of its specification, with that, until the process ends.
    pub version: Version,
    /// Who made it.
    pub origin: Origin,
    /// Events that wait.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Its dead letters.
    pub dead_letters: u64,
    pub(crate) tally: Tally,
}

/// A dead letter as it is shown.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number among those of its hook, which rises.
    pub number: u64,
    /// What failed last.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub at: String,
    /// The event as JSON; `None` if this version cannot read it.
    pub event: Option<String>,
}

impl Hooks {
    /// Runs the hooks of the file and of the store. Files of hooks with a relative path lie below
    /// `files`. Events that are published from now on are theirs.
    #[must_use]
    pub fn start(store: Store, bus: Bus, files: &Path, configured: Vec<HookSpec>) -> Self {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let cursor = bus.keeping_cursor();
        let shared = Arc::new(Shared {
            hooks: Mutex::default(),
            orders,
            settled: Arc::new(Notify::new()),
            store,
            client: Client::new(HOOKS_MAX * (UNDER_WAY_MAX + 2)),
            files: Files::below(files),
            bus,
            took: Arc::new(Mutex::new(Histogram::new(&MICROSECONDS))),
            bytes_max: AtomicU64::new(QUEUES_BYTES_MAX),
            unkept: Mutex::default(),
            missed: AtomicU64::new(0),
            trouble: Mutex::default(),
            unrun: Mutex::default(),
            salt: salt(),
        });
        tokio::spawn(Keeper::new(Arc::clone(&shared), cursor, received).run(configured));
        Self(shared)
    }

    /// Every hook, by id.
    #[must_use]
    pub fn list(&self) -> Vec<HookState> {
        self.0.hooks().values().map(|hook| self.0.state(hook)).collect()
    }

    /// The hook of that id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<HookState> {
        self.0.hook(id).map(|hook| self.0.state(&hook))
    }

    /// Makes or replaces a hook of the API, if `condition` holds when it is its turn. What is
    /// masked stays as it is then.
    ///
    /// Errors: the condition does not hold, a mask stands for nothing, another hook writes to its
    /// file, a field cannot be used, the hook is in the configuration file, or the store refused.
    pub async fn put(&self, spec: HookSpec, condition: Condition) -> Result<Made, HooksError> {
        self.order(|reply| Order::Put { spec: Box::new(spec), condition, reply }).await?
    }

    /// Deletes a hook of the API, with what waits and its dead letters, if `condition` holds when
    /// it is its turn.
    ///
    /// Errors: there is none, the condition does not hold, it is in the file, or the store refused.
    pub async fn delete(&self, id: &str, condition: Condition) -> Result<(), HooksError> {
        self.order(|reply| Order::Delete { id: id.to_owned(), condition, reply }).await?
    }

    /// Tries a hook with an event of its own; what came of it.
    ///
    /// Errors: there is none.
    pub async fn test(&self, id: &str) -> Result<Delivery, HooksError> {
        let hook = self.0.hook(id).ok_or(HooksError::Unknown)?;
        let mut spec = HookSpec::clone(&hook.spec());
        spec.timeout_ms = spec.timeout_ms.min(TEST_TIMEOUT_MS);
        if !spec.dialect.is_native() {
            let why = format!("the dialect {:?} has no word for a test", spec.dialect.name());
            let failure = Some(("dialect", why));
            return Ok(Delivery { status: None, failure, took: Duration::ZERO });
        }
        let event = self.0.bus.unpublished(None, Kind::HookTest { hook: id.to_owned() });
        let parcels = [Arc::new(Parcel::new(0, &event))];
        Ok(attempt(&self.0.client, &self.0.files, &spec, &parcels).await)
    }

    /// Up to `limit` dead letters of a hook whose number is at least `from`.
    ///
    /// Errors: there is no such hook, or the store refused.
    pub async fn letters(
        &self,
        id: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, HooksError> {
        self.0.hook(id).ok_or(HooksError::Unknown)?;
        let from = parcel::key(id, from);
        let rows = self.0.store.scan(Table::DeadLetters, from, limit).await?;
        let mine = rows.iter().map_while(|(key, value)| Some((parcel::number(id, key)?, value)));
        Ok(mine.map(|(number, value)| dead_letter(number, value)).collect())
    }

    /// Tries one dead letter, or all, again after what waits; how many. What cannot be read stays.
    ///
    /// Errors: there is no such hook or letter, it cannot be read, or the store refused.
    pub async fn retry(&self, id: &str, letter: Option<u64>) -> Result<Moved, HooksError> {
        self.letters_order(id, letter, Fate::Retry).await
    }

    /// Deletes one dead letter, or all; how many.
    ///
    /// Errors: there is no such hook or letter, or the store refused.
    pub async fn discard(&self, id: &str, letter: Option<u64>) -> Result<Moved, HooksError> {
        self.letters_order(id, letter, Fate::Delete).await
    }

    /// All hooks together hold so many bytes of events at most from now on.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.0.set_bytes_max(bytes_max);
    }

    /// Says why segments cannot be fetched, if they cannot: it is warned of hooks of the API that
    /// are told of them. Those of the file are warned of where that is read.
    pub fn set_unkept(&self, why: Option<&'static str>) {
        *self.0.unkept.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Returns when every event that was published is delivered or in the store. What is under way
    /// comes again after the next start.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.0.orders.send(Order::Close(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// True if a hook that hears of the end of this node is not told everything yet.
    #[must_use]
    pub fn waits_for_end(&self) -> bool {
        let hooks = self.0.hooks();
        hooks.values().any(|hook| {
            let spec = hook.spec();
            let hears = spec.enabled && spec.hears("on_server_exited");
            hears && hook.work().queue.len() > 0
        })
    }

    /// How long tries took, of all hooks.
    pub(super) fn took(&self) -> Histogram {
        self.0.took.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events that were gone before they could be kept.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.0.missed.load(Ordering::Relaxed)
    }

    /// Why events are not kept at this moment, if they are not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let told = |told: &Mutex<Option<String>>| {
            told.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        told(&self.0.trouble).or_else(|| told(&self.0.unrun)).or_else(|| {
            let error = self.0.works().err()?;
            // Without hooks there is nobody to keep events for.
            let heard = !self.0.hooks().is_empty();
            heard.then(|| format!("events cannot be kept: {error}"))
        })
    }

    async fn letters_order(
        &self,
        id: &str,
        letter: Option<u64>,
        fate: Fate,
    ) -> Result<Moved, HooksError> {
        let hook = id.to_owned();
        self.order(|reply| Order::Letters { hook, letter, fate, reply }).await?
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, HooksError> {
        self.0.works()?;
        let (reply, mut answer) = oneshot::channel();
        self.0.orders.try_send(order(reply)).map_err(|_| HooksError::Gone)?;
        loop {
            if let Ok(answer) = tokio::time::timeout(STORE_LOOK, &mut answer).await {
                return answer.map_err(|_| HooksError::Gone);
            }
            // Orders wait behind events that the store does not take.
            self.0.works()?;
        }
    }
}

impl Shared {
    pub(super) fn hooks(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Hook>>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why segments cannot be fetched, if they cannot.
    pub(super) fn unkept(&self) -> Option<&'static str> {
        *self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hook(&self, id: &str) -> Option<Arc<Hook>> {
        self.hooks().get(id).cloned()
    }

    /// Another hook that writes to the file of `spec`.
    pub(super) fn writer_of(&self, spec: &HookSpec) -> Option<String> {
        let shares = |(id, hook): &(&String, &Arc<Hook>)| {
            **id != spec.id && hook.spec().shares_file(spec, self.files.dir())
        };
        self.hooks().iter().find(shares).map(|(id, _)| id.clone())
    }

    /// Errors: the store failed.
    fn works(&self) -> Result<(), StoreError> {
        self.store.failure().map_or(Ok(()), |reason| Err(StoreError::Failed(reason)))
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn set_unrun(&self, unrun: Option<String>) {
        *self.unrun.lock().unwrap_or_else(PoisonError::into_inner) = unrun;
    }

    /// The name of a specification. Who is shown it may know all but the secrets.
    pub(super) fn version(&self, spec: &HookSpec) -> Version {
        let json = serde_json::to_vec(spec).expect("a hook has text for keys");
        Version::of_bytes(&[self.salt.as_slice(), &json].concat())
    }

    pub(super) fn state(&self, hook: &Hook) -> HookState {
        let spec = hook.spec();
        let work = hook.work();
        let now = Instant::now();
        HookState {
            version: self.version(&spec),
            spec: spec.masked(),
            origin: hook.origin,
            waiting: work.queue.len() as u64,
            waiting_bytes: work.queue.bytes(),
            oldest: work.queue.oldest().map(|since| now.saturating_duration_since(since)),
            dead_letters: work.letters.len() as u64,
            tally: work.tally.clone(),
        }
    }
}

fn dead_letter(number: u64, value: &[u8]) -> DeadLetter {
    match letter::read(value) {
        Some((verdict, event)) => DeadLetter {
            number,
            reason: verdict.reason,
            attempts: verdict.attempts,
            at: verdict.at,
            event: Some(parcel::bare(event).into_owned()),
        },
        None => DeadLetter {
            number,
            reason: "it is not of a form that this version knows".to_owned(),
            attempts: 0,
            at: String::new(),
            event: None,
        },
    }
}

/// Random bytes of this process.
fn salt() -> [u8; 16] {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).expect("the system has chance: the token was made of it");
    salt
}
