//! Mending: a database whose disk failed is closed, and opened again until the disk works.
//!
//! ```text
//!   open --a commit or a read fails--> closed --wait, open, take back, prove--> open
//!                                        ^                   |
//!                                        +------- fails -----+
//! ```
//!
//! The library refuses everything after its first failure, and is right: what it has in memory may
//! be another thing than what the disk holds. So the file is read anew. Meanwhile nobody waits:
//! every order is answered at once. What was acknowledged is there afterwards; a commit that was
//! answered by a failure is taken back if it had reached the disk after all.
//!
//! A full disk has room for a few pages almost always, so that a file that could be opened proves
//! little: the store works again when the disk took a commit twice as large as the one that it
//! refused, because pages are rounded up, and of [`PROOF_BYTES_MIN`] at least.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::database::{Database, OpenError};
use super::order::{COMMIT_BYTES_MAX, Rows, StoreError, Table, Write};
use super::undo::{UNDO_BYTES_MAX, Undo};

/// The file is opened again after this long, then after twice as long, and so on.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// And after this long at most; a store that worked for as long begins with the first wait again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(15);
/// Bytes that the disk must take at most before the store works again.
const PROOF_BYTES_MAX: usize = 2 * COMMIT_BYTES_MAX;
/// And at least.
pub(super) const PROOF_BYTES_MIN: usize = 256 << 10;

/// Opens the file once more.
pub(super) type Opening = Box<dyn FnMut() -> Result<Database, OpenError> + Send>;

/// Whether the store works, as everybody may know it.
#[derive(Debug, Default)]
pub(super) struct Condition {
    failed: AtomicBool,
    failures: AtomicU64,
    reason: Mutex<String>,
}

impl Condition {
    /// Why the store takes nothing now; `None` while it works.
    pub(super) fn failure(&self) -> Option<String> {
        let failed = self.failed.load(Ordering::Acquire);
        failed.then(|| self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// How often it failed.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn fail(&self, reason: &str) {
        reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.failed.swap(true, Ordering::Release) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                reason,
                "the store failed: nothing can be kept until the disk of data.dir works, media \
                 goes on"
            );
        }
    }

    fn recover(&self) {
        if self.failed.swap(false, Ordering::Release) {
            tracing::info!("the store works again: what was acknowledged is there");
        }
    }
}

/// The database, or the wait for it.
pub(super) struct Mending {
    database: Option<Database>,
    open: Opening,
    condition: Arc<Condition>,
    /// What takes back the commit that failed.
    back: Option<Undo>,
    /// Bytes of memory for it.
    pub(super) undo_bytes_max: usize,
    /// Bytes of the largest commit that failed since the store worked.
    refused_bytes: usize,
    /// The wait before the next try.
    wait: Duration,
    due: Option<Instant>,
    /// When it was opened again.
    mended: Option<Instant>,
}

impl Mending {
    pub(super) fn new(database: Database, open: Opening, condition: Arc<Condition>) -> Self {
        Self {
            database: Some(database),
            open,
            condition,
            back: None,
            undo_bytes_max: UNDO_BYTES_MAX,
            refused_bytes: 0,
            wait: WAIT_FIRST,
            due: None,
            mended: None,
        }
    }

    /// When the file is to be opened again; `None` while it is open.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Makes all `groups` durable.
    ///
    /// Errors: none of them is there once the store works again.
    pub(super) fn commit(&mut self, groups: &[Vec<Write>], now: Instant) -> Result<(), StoreError> {
        let mut undo = Undo::within(self.undo_bytes_max);
        let is_open = self.database.is_some();
        let done = self.act(now, |database| database.commit(groups, &mut undo));
        match done {
            // A commit that is small proves no more than the one that mending made.
            Ok(()) if self.mended.is_none_or(|mended| now >= mended + WAIT_MAX) => {
                (self.wait, self.mended) = (WAIT_FIRST, None);
            }
            Ok(()) => {}
            // Nobody asked the disk.
            Err(_) if !is_open => {}
            Err(_) => {
                let bytes = groups.iter().flatten().map(Write::bytes).sum();
                self.refused_bytes = self.refused_bytes.max(bytes);
                if self.back.is_none() && !undo.is_empty() {
                    self.back = Some(undo);
                }
            }
        }
        done
    }

    pub(super) fn get(
        &mut self,
        table: Table,
        key: &[u8],
        now: Instant,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.act(now, |database| database.get(table, key))
    }

    pub(super) fn scan(
        &mut self,
        (table, from, limit): (Table, &[u8], usize),
        now: Instant,
    ) -> Result<Rows, StoreError> {
        self.act(now, |database| database.scan(table, from, limit))
    }

    /// Opens the file again, takes back what was not acknowledged, and has the disk prove that it
    /// takes what it refused.
    pub(super) fn mend(&mut self, now: Instant) {
        match self.try_again() {
            Ok(database) => {
                (self.database, self.due) = (Some(database), None);
                (self.refused_bytes, self.mended) = (0, Some(now));
                self.condition.recover();
            }
            Err(reason) => self.fail(&reason, now),
        }
    }

    fn try_again(&mut self) -> Result<Database, String> {
        let database = (self.open)().map_err(|error| error.to_string())?;
        if let Some(back) = &self.back {
            database.take_back(back).map_err(unwritten)?;
        }
        self.back = None;
        let bytes = (2 * self.refused_bytes).clamp(PROOF_BYTES_MIN, PROOF_BYTES_MAX);
        database.prove(bytes).map_err(unwritten)?;
        Ok(database)
    }

    fn act<T>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(database) = &self.database else {
            return Err(StoreError::Failed(self.condition.failure().unwrap_or_default()));
        };
        let done = act(database);
        if let Err(StoreError::Failed(reason)) = &done {
            self.fail(reason, now);
        }
        done
    }

    fn fail(&mut self, reason: &str, now: Instant) {
        // Closed first: the next one needs the lock of the file.
        self.database = None;
        self.due = Some(now + self.wait);
        self.wait = (2 * self.wait).min(WAIT_MAX);
        self.condition.fail(reason);
    }
}

/// Why a file that was opened is of no use yet.
fn unwritten(error: StoreError) -> String {
    match error {
        StoreError::Failed(reason) => format!("it can be read and not written: {reason}"),
        other => other.to_string(),
    }
}
