//! Thread: takes orders in groups, so that many commits cost one fsync.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use dataplane::metrics::{Histogram, MICROSECONDS};
use tokio::sync::oneshot;

use super::database::Database;
use super::file;
use super::mending::{Condition, Mending, Opening};
use super::order::{Order, Rows, StoreError, Table, Write, weigh};
use crate::error::{Error, reason};

/// Orders that wait at most.
pub const ORDERS_MAX: usize = 1_024;
/// Bytes of commits that wait at most.
pub const QUEUED_BYTES_MAX: usize = 8 << 20;
/// Orders that are carried out together at most.
const GROUP_MAX: usize = 256;

/// A handle on the store; the thread ends when the last one is gone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    orders: Option<SyncSender<Order>>,
    counts: Arc<Counts>,
    condition: Arc<Condition>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the handles count together.
struct Counts {
    queued_bytes: AtomicUsize,
    commits: AtomicU64,
    syncs: AtomicU64,
    busy: AtomicU64,
    latency_us: Mutex<Histogram>,
}

impl Counts {
    fn new() -> Self {
        Self {
            queued_bytes: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            latency_us: Mutex::new(Histogram::new(&MICROSECONDS)),
        }
    }

    /// Locked by the control thread alone, and for no wait.
    fn latency(&self) -> MutexGuard<'_, Histogram> {
        self.latency_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `dir`, which is made if it is missing.
    ///
    /// Errors: another process has it open, the file is damaged, or the system refuses it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let database = file::open(dir)?;
        let path = dir.join(file::FILE);
        let started = Self::start(database, Box::new(move || file::open_again(&path)));
        started.map_err(|error| Error::System {
            what: "cannot start the store",
            reason: reason(&error),
            mend: "the system must give one more thread",
        })
    }

    /// Runs the store on `database`, which `open` opens again after its disk failed.
    pub(super) fn start(database: Database, open: Opening) -> std::io::Result<Self> {
        let (orders, waiting) = sync_channel(ORDERS_MAX);
        let (counts, condition) = (Arc::new(Counts::new()), Arc::new(Condition::default()));
        let shared = Arc::clone(&counts);
        let mending = Mending::new(database, open, Arc::clone(&condition));
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(mending, &waiting, &shared))?;
        Ok(Self(Arc::new(Inner { orders: Some(orders), counts, condition, thread: Some(thread) })))
    }

    /// Why nothing can be kept or read now; `None` while the store works.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.0.condition.failure()
    }

    /// Writes all rows or none; returns when they are on the disk.
    ///
    /// A commit whose future is dropped may still be carried out.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let asked = Instant::now();
        let outcome = self.commit_now(writes).await;
        if outcome.is_ok() {
            self.0.counts.latency().observe_time(asked.elapsed());
        }
        outcome
    }

    async fn commit_now(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let bytes = weigh(&writes)?;
        let queued = self.0.counts.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > QUEUED_BYTES_MAX {
            self.0.counts.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.0.counts.busy.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Busy);
        }
        let sent = self.order(|reply| Order::Commit { writes, bytes, reply });
        if sent.is_err() {
            self.0.counts.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent?.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The row of `key`; commits that were acknowledged before are seen.
    pub async fn get(&self, table: Table, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        let sent = self.order(|reply| Order::Get { table, key, reply });
        sent?.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Up to `limit` rows, ascending, whose key is at least `from`.
    pub async fn scan(
        &self,
        table: Table,
        from: Vec<u8>,
        limit: usize,
    ) -> Result<Rows, StoreError> {
        let sent = self.order(|reply| Order::Scan { table, from, limit, reply });
        sent?.await.unwrap_or_else(|_| Err(gone()))
    }

    /// What the store counts.
    pub fn count(&self, into: &mut crate::counts::Counts) {
        let (commits, syncs, busy) = self.counters();
        into.counter("store_commits_total", "Commits that are on the disk.", commits);
        into.counter("store_syncs_total", "Fsyncs, each of a group of commits.", syncs);
        let help = "Orders refused because too much waited.";
        into.counter("store_refused_total", help, busy);
        let help = "From the order of a commit to its acknowledgement.";
        into.histogram("store_commit_seconds", help, &self.0.counts.latency());
        let works = self.failure().is_none();
        into.gauge("store_up", "1 while the store can be read and written.", f64::from(works));
        let help = "How often the store went from working to failed.";
        into.counter("store_failures_total", help, self.0.condition.failures());
    }

    /// Commits acknowledged, fsyncs that took, and orders refused because too much waited.
    #[must_use]
    pub fn counters(&self) -> (u64, u64, u64) {
        let Counts { commits, syncs, busy, .. } = &*self.0.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(commits), read(syncs), read(busy))
    }

    fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<oneshot::Receiver<T>, StoreError> {
        use std::sync::mpsc::TrySendError;
        // Nobody waits behind a disk that is being tried again.
        if let Some(reason) = self.failure() {
            return Err(StoreError::Failed(reason));
        }
        let (reply, answer) = oneshot::channel();
        let orders = self.0.orders.as_ref().expect("orders are closed by the last drop alone");
        match orders.try_send(order(reply)) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => {
                self.0.counts.busy.fetch_add(1, Ordering::Relaxed);
                Err(StoreError::Busy)
            }
            Err(TrySendError::Disconnected(_)) => Err(gone()),
        }
    }
}

impl Drop for Inner {
    /// Waits for what was ordered, so that the file is free for the next process.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was told by the thread itself.
            let _ = thread.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::Failed("its thread is over".to_owned())
}

/// Carries orders out until nobody can order any more.
///
/// The commits of a group go first, by one fsync, then its reads: they waited together, so that
/// either order is a legal one, and this one costs least.
fn serve(mut mending: Mending, waiting: &Receiver<Order>, counts: &Counts) {
    while let Some(first) = next(&mut mending, waiting) {
        let mut commits = Vec::new();
        let mut replies = Vec::new();
        let mut reads = Vec::new();
        let mut total = 0;
        for order in std::iter::once(first).chain(waiting.try_iter().take(GROUP_MAX - 1)) {
            match order {
                Order::Commit { writes, bytes, reply } => {
                    commits.push(writes);
                    replies.push(reply);
                    total += bytes;
                }
                read => reads.push(read),
            }
        }
        if !commits.is_empty() {
            let result = mending.commit(&commits, Instant::now());
            if result.is_ok() {
                counts.commits.fetch_add(replies.len() as u64, Ordering::Relaxed);
                counts.syncs.fetch_add(1, Ordering::Relaxed);
            }
            counts.queued_bytes.fetch_sub(total, Ordering::Relaxed);
            for reply in replies {
                // Whoever asked may be gone; the rows are written all the same.
                let _ = reply.send(result.clone());
            }
        }
        for read in reads {
            answer(&mut mending, read);
        }
    }
}

/// The next order; meanwhile a failed store is opened again whenever that is due.
fn next(mending: &mut Mending, waiting: &Receiver<Order>) -> Option<Order> {
    while let Some(due) = mending.due() {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            mending.mend(Instant::now());
            continue;
        }
        match waiting.recv_timeout(left) {
            Ok(order) => return Some(order),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    waiting.recv().ok()
}

fn answer(mending: &mut Mending, read: Order) {
    let now = Instant::now();
    match read {
        Order::Get { table, key, reply } => {
            let _ = reply.send(mending.get(table, &key, now));
        }
        Order::Scan { table, from, limit, reply } => {
            let _ = reply.send(mending.scan((table, &from, limit), now));
        }
        Order::Commit { .. } => unreachable!("commits were taken out before"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    use super::super::disk::Disk;
    use super::super::file::{FILE, UNFINISHED};

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("grandstand-store-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn block<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    fn put(key: &str, value: &str) -> Write {
        Write { table: Table::Streams, key: key.into(), value: Some(value.into()) }
    }

    #[test]
    fn rows_are_there_after_the_next_start_in_their_order() {
        let dir = Dir::new("rows");
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let store = Store::open(&dir.0).unwrap();
        assert_eq!((mode(dir.0.clone()), mode(dir.0.join(FILE))), (0o700, 0o600));
        block(store.commit(vec![put("b", "2"), put("a", "1"), put("c", "3")])).unwrap();
        let delete = Write { table: Table::Streams, key: b"c".to_vec(), value: None };
        block(store.commit(vec![delete])).unwrap();
        drop(store);
        std::fs::set_permissions(dir.0.join(FILE), Permissions::from_mode(0o644)).unwrap();
        let store = Store::open(&dir.0).unwrap();
        assert_eq!(mode(dir.0.join(FILE)), 0o600);
        let row = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let scan = |from: &str, limit| block(store.scan(Table::Streams, from.into(), limit));
        assert_eq!(scan("", 9).unwrap(), [row("a", "1"), row("b", "2")]);
        assert_eq!(scan("", 1).unwrap(), [row("a", "1")]);
        assert_eq!(scan("aa", 9).unwrap(), [row("b", "2")]);
        assert_eq!(block(store.get(Table::Streams, b"b".to_vec())).unwrap().unwrap(), b"2");
        assert_eq!(block(store.get(Table::Hooks, b"b".to_vec())).unwrap(), None);
        assert_eq!(store.counters().0, 0);
    }

    #[test]
    fn a_first_start_that_was_cut_short_leaves_nothing_behind() {
        let dir = Dir::new("cut");
        std::fs::create_dir_all(&dir.0).unwrap();
        std::fs::write(dir.0.join(UNFINISHED), [7; 5_000]).unwrap();
        let store = Store::open(&dir.0).unwrap();
        block(store.commit(vec![put("a", "1")])).unwrap();
        assert!(dir.0.join(FILE).exists() && !dir.0.join(UNFINISHED).exists());
    }

    #[test]
    fn a_second_process_is_told_who_holds_it_and_what_to_do() {
        let dir = Dir::new("locked");
        let held = Store::open(&dir.0).unwrap();
        let error = Store::open(&dir.0).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "grandstand.redb: another process has it open; stop that one, or give this one a \
                 data.dir of its own"
            ),
            "{error}"
        );
        drop(held);
        Store::open(&dir.0).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_mend_wherever_it_was_hit() {
        let dir = Dir::new("damaged");
        let store = Store::open(&dir.0).unwrap();
        let rows = (0..200).map(|n| put(&format!("{n:04}"), &"x".repeat(200)));
        block(store.commit(rows.collect())).unwrap();
        drop(store);
        let path = dir.0.join(FILE);
        let sound = std::fs::read(&path).unwrap();
        let text = sound.windows(200).position(|at| at.iter().all(|&b| b == b'x')).unwrap();
        for (at, bytes) in [(0, b"not a store".as_slice()), (text + 7, b"y")] {
            let mut file = sound.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            std::fs::write(&path, &file).unwrap();
            let error = Store::open(&dir.0).unwrap_err().to_string();
            assert!(error.contains("grandstand.redb: it is damaged: "), "{at}: {error}");
            assert!(error.contains("; restore it from a copy, or move it away"), "{error}");
        }
        std::fs::write(&path, &sound).unwrap();
        Store::open(&dir.0).unwrap();
    }

    #[test]
    fn commits_that_wait_together_share_one_sync_and_the_queue_is_bounded() {
        let disk = Disk::default();
        let store = disk.store();
        let held = disk.hold();
        let mut ordered = vec![order(&store, vec![put("first", "")])];
        held.wait();
        ordered.extend((0..ORDERS_MAX).map(|n| order(&store, vec![put(&n.to_string(), "")])));
        assert_eq!(block(store.commit(vec![put("over", "")])), Err(StoreError::Busy));
        drop(held);
        for acknowledged in ordered {
            assert_eq!(block(acknowledged), Ok(()));
        }
        let (commits, syncs, busy) = store.counters();
        assert_eq!((commits, busy), (ORDERS_MAX as u64 + 1, 1));
        assert_eq!(syncs, 1 + (ORDERS_MAX / GROUP_MAX) as u64);
        assert_eq!(block(store.get(Table::Streams, b"over".to_vec())), Ok(None));
    }

    #[test]
    fn the_bytes_that_wait_are_bounded() {
        let disk = Disk::default();
        let store = disk.store();
        let heavy = || vec![Write { value: Some(vec![0; 1 << 20]), ..put("heavy", "") }; 3];
        let held = disk.hold();
        let mut ordered = vec![order(&store, vec![put("first", "")])];
        held.wait();
        ordered.extend([(); 2].map(|()| order(&store, heavy())));
        assert_eq!(block(store.commit(heavy())), Err(StoreError::Busy));
        drop(held);
        for acknowledged in ordered {
            assert_eq!(block(acknowledged), Ok(()));
        }
        block(store.commit(heavy())).unwrap();
    }

    type Ordered = std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>>>>;

    /// A commit that waits in the queue and is not awaited yet.
    fn order(store: &Store, writes: Vec<Write>) -> Ordered {
        let store = store.clone();
        let mut commit = Box::pin(async move { store.commit(writes).await });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(commit.as_mut().poll(&mut context).is_pending());
        commit
    }

    #[test]
    fn a_failed_disk_is_told_at_once_and_used_again_once_it_works() {
        let disk = Disk::default();
        let store = disk.store();
        block(store.commit(vec![put("a", "1")])).unwrap();
        assert_eq!(store.failure(), None);
        disk.fail_after(0);
        for _ in 0..2 {
            let failed = block(store.commit(vec![put("a", "2"), put("b", "2")])).unwrap_err();
            assert!(matches!(failed, StoreError::Failed(_)), "{failed:?}");
        }
        let failed = block(store.get(Table::Streams, b"a".to_vec())).unwrap_err();
        assert!(failed.to_string().contains("the power is off"), "{failed}");
        assert_eq!(store.failure().as_deref(), Some("the power is off"));
        let counted = |store: &Store| {
            let mut counts = crate::counts::Counts::default();
            store.count(&mut counts);
            let value = |name| counts.families().iter().find(|f| f.name == name).unwrap().clone();
            [value("store_up"), value("store_failures_total")].map(|f| f.samples[0].value.clone())
        };
        use crate::counts::Value::{Counter, Gauge};
        assert_eq!(counted(&store), [Gauge(0.0), Counter(1)]);
        disk.repair_for(&store);
        assert_eq!(block(store.get(Table::Streams, b"a".to_vec())), Ok(Some(b"1".to_vec())));
        assert_eq!(block(store.get(Table::Streams, b"b".to_vec())), Ok(None));
        block(store.commit(vec![put("b", "3")])).unwrap();
        assert_eq!(counted(&store), [Gauge(1.0), Counter(1)]);
    }

    #[test]
    fn a_file_that_is_gone_is_never_made_anew_behind_our_back() {
        let dir = Dir::new("gone");
        drop(Store::open(&dir.0).unwrap());
        let path = dir.0.join(FILE);
        assert!(file::open_again(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        let gone = file::open_again(&path).err().unwrap().to_string();
        assert!(gone.contains("no such file"), "{gone}");
        assert!(!path.exists());
    }
}
