//! Books: what is known of the files of recordings, in memory alone.
//!
//! Files are old by when they ended, in milliseconds of this run's clock: those that earlier runs
//! left ended at 0 or before, whatever the clock of the host says of them.
//!
//! Lives on: behind the lock of the shelf.
//! Limits: `recording.files_max` files and [`SLACK`], and those that are being deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dataplane::ids::StreamName;

use super::file_id::FileId;
use super::room::Refused;
use super::shelf::Kept;
use crate::config::RecordingSection;

/// Files of earlier runs that are known beyond `recording.files_max` until one of them is deleted.
const SLACK: usize = 16;

/// A file, and which one of that name: the clock may have shown a second twice, and two streams may
/// have a file of it.
pub(super) type Key = (FileId, u32);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) terms: RecordingSection,
    files: BTreeMap<Key, Entry>,
    /// Those that are being written.
    open: BTreeMap<Key, Arc<AtomicU64>>,
    /// Those that may go, by their end.
    whole: BTreeSet<(i64, Key)>,
    /// Those that the disk did not let go.
    stuck: BTreeSet<(i64, Key)>,
    /// Those that are being deleted: they count no more.
    going: usize,
    /// Bytes of those that are whole and not being deleted.
    bytes: u64,
    /// Bytes that were written, all told, and files that are whole, failed, or went for others.
    pub(super) written: Arc<AtomicU64>,
    pub(super) finished: u64,
    pub(super) failed: u64,
    pub(super) removed: u64,
}

/// A file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stream: StreamName,
    pub(super) state: State,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum State {
    Written(Arc<AtomicU64>),
    Whole { bytes: u64, duration_ms: u64, ended_ms: i64 },
}

/// A file that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doomed {
    pub(super) key: Key,
    pub(super) stream: StreamName,
}

impl Books {
    /// Those in which nothing is known yet.
    pub(super) fn new(terms: RecordingSection) -> Self {
        Self { terms, ..Self::default() }
    }

    /// A file is being written; false if one is called that.
    pub(super) fn open(
        &mut self,
        id: &FileId,
        stream: &StreamName,
        bytes: &Arc<AtomicU64>,
    ) -> bool {
        if self.get(id).is_some() {
            return false;
        }
        let (key, state) = ((id.clone(), 0), State::Written(Arc::clone(bytes)));
        self.open.insert(key.clone(), Arc::clone(bytes));
        self.files.insert(key, Entry { stream: stream.clone(), state });
        true
    }

    /// A file that was being written is not any more.
    pub(super) fn close(&mut self, id: &FileId, (bytes, duration_ms): (u64, u64), ended_ms: i64) {
        let key = (id.clone(), 0);
        self.open.remove(&key);
        if let Some(entry) = self.files.get_mut(&key) {
            entry.state = State::Whole { bytes, duration_ms, ended_ms };
            self.bytes += bytes;
            self.whole.insert((ended_ms, key));
        }
    }

    /// Takes in a whole file; `None` if it is known, or there is no room for it.
    pub(super) fn adopt(
        &mut self,
        (stream, id): (&StreamName, &FileId),
        (bytes, duration_ms): (u64, u64),
        ended_ms: i64,
    ) -> Option<Key> {
        let is_full = self.files.len() >= self.terms.files_max as usize + SLACK;
        if is_full || self.knows(id, stream) {
            return None;
        }
        let number = self.of(id).next_back().map_or(0, |((_, number), _)| number + 1);
        let key = (id.clone(), number);
        let state = State::Whole { bytes, duration_ms, ended_ms };
        self.files.insert(key.clone(), Entry { stream: stream.clone(), state });
        self.bytes += bytes;
        self.whole.insert((ended_ms, key.clone()));
        Some(key)
    }

    /// True if that file of the stream is known.
    pub(super) fn knows(&self, id: &FileId, stream: &StreamName) -> bool {
        self.of(id).any(|(_, entry)| entry.stream == *stream)
    }

    /// The first file of that name.
    pub(super) fn get(&self, id: &FileId) -> Option<(&Key, &Entry)> {
        self.of(id).next()
    }

    fn of(&self, id: &FileId) -> impl DoubleEndedIterator<Item = (&Key, &Entry)> {
        self.files.range((id.clone(), 0)..=(id.clone(), u32::MAX))
    }

    /// All files behind `after`.
    pub(super) fn after(&self, after: Option<&FileId>) -> impl Iterator<Item = (&Key, &Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |id| Excluded((id.clone(), u32::MAX)));
        self.files.range((from, Unbounded))
    }

    /// Files that are there, and stay.
    pub(super) fn count(&self) -> usize {
        self.files.len() - self.going
    }

    /// Bytes of those.
    pub(super) fn total(&self) -> u64 {
        let open = self.open.values().map(|bytes| bytes.load(Ordering::Relaxed));
        self.bytes + open.sum::<u64>()
    }

    /// Why `more` files do not fit, if they do not.
    pub(super) fn lack(&self, more: u32) -> Option<Refused> {
        let RecordingSection { bytes_max, files_max, .. } = self.terms;
        // What is full is full before it is more than full: the next frame would be.
        if bytes_max > 0 && self.total() >= bytes_max {
            return Some(Refused::Bytes { bytes_max });
        }
        let files = self.count() as u64 + u64::from(more);
        (files > u64::from(files_max)).then_some(Refused::Files { files_max })
    }

    /// Has the oldest whole file deleted, if it `goes` by its end.
    pub(super) fn doom_oldest(&mut self, goes: impl Fn(i64) -> bool) -> Option<Doomed> {
        let (ended_ms, key) = self.whole.first()?;
        if !goes(*ended_ms) {
            return None;
        }
        let key = key.clone();
        self.doom(&key).ok()
    }

    /// Has a file deleted.
    ///
    /// Errors: it is being written, or deleted already, or nobody knows of it.
    pub(super) fn doom(&mut self, key: &Key) -> Result<Doomed, Kept> {
        let Entry { stream, state } = self.files.get(key).ok_or(Kept::Unknown)?;
        let State::Whole { bytes, ended_ms, .. } = *state else { return Err(Kept::Written) };
        let place = (ended_ms, key.clone());
        if !self.whole.remove(&place) && !self.stuck.remove(&place) {
            return Err(Kept::Busy);
        }
        self.bytes -= bytes;
        self.going += 1;
        Ok(Doomed { key: key.clone(), stream: stream.clone() })
    }

    /// The disk did not let a doomed file go: it counts again, and is left alone for a while.
    pub(super) fn spare(&mut self, doomed: &Doomed) {
        let Some(entry) = self.files.get(&doomed.key) else { return };
        if let State::Whole { bytes, ended_ms, .. } = entry.state {
            self.going -= 1;
            self.bytes += bytes;
            self.stuck.insert((ended_ms, doomed.key.clone()));
        }
    }

    /// A doomed file is gone.
    pub(super) fn gone(&mut self, doomed: &Doomed) {
        if self.files.remove(&doomed.key).is_some() {
            self.going -= 1;
        }
    }

    /// Nothing came of a file that was to be written.
    pub(super) fn cancel(&mut self, id: &FileId) {
        let key = (id.clone(), 0);
        if self.open.remove(&key).is_some() {
            self.files.remove(&key);
        }
    }

    /// What the disk did not let go may be tried again.
    pub(super) fn try_stuck(&mut self) {
        self.whole.append(&mut self.stuck);
    }
}
