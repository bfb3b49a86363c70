//! Shelf: the files of recordings, those that are being written and those that are whole.
//!
//! Only files that are called what recordings are called, in folders that are called what streams
//! are, belong to it: nothing else below `recording.dir` is listed, counted or deleted.
//!
//! Lives on: every thread of recordings, the janitor and the control thread. Its lock is never held
//! while a disk is waited for.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dataplane::ids::StreamName;
use tokio::sync::oneshot;

use super::file_id::FileId;
use super::janitor::Errands;
use super::mode::RecordMode;
use super::room::Refused;
use crate::config::RecordingSection;
use crate::counts::Counts;

/// Bytes of one file that is known.
pub(crate) const FILE_BYTES: u64 = 384;
/// Files of one second at most.
const NUMBERS_MAX: u32 = 999_999;
/// Folders that somebody else removes while a file is made in them are made again this often.
const ATTEMPTS_MAX: u32 = 8;

/// All files. Clones are one.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    books: Mutex<Books>,
    errands: Errands,
}

#[derive(Debug, Default)]
struct Books {
    terms: RecordingSection,
    files: BTreeMap<FileId, Entry>,
    /// Bytes of those that are whole.
    bytes: u64,
    /// Bytes that were written, all told, and files that are whole, failed, or went for others.
    written: Arc<AtomicU64>,
    finished: u64,
    failed: u64,
    removed: u64,
}

#[derive(Debug)]
struct Entry {
    stream: StreamName,
    state: State,
}

#[derive(Debug)]
enum State {
    Written(Arc<AtomicU64>),
    Whole { bytes: u64, duration_ms: u64, ended: SystemTime },
}

/// A file, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfFile {
    /// Its name.
    pub id: FileId,
    /// The stream.
    pub stream: StreamName,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes until now.
    pub bytes: u64,
    /// How long it plays, once it is whole.
    pub duration_ms: Option<u64>,
}

/// Why a file is not deleted.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is being written.
    Written,
    /// There is none of that name.
    Unknown,
    /// Too many are being deleted.
    Busy,
}

/// A file that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Its bytes until now.
    pub(super) bytes: Arc<AtomicU64>,
}

impl Shelf {
    /// An empty one; its files are below `dir`, an absolute path.
    #[must_use]
    pub fn new(dir: PathBuf, terms: RecordingSection) -> Self {
        let books = Mutex::new(Books { terms, ..Books::default() });
        Self(Arc::new(Inner { dir, books, errands: Errands::default() }))
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// What holds from now on; files that are there already are looked at by the janitor.
    pub fn set_terms(&self, terms: RecordingSection) {
        self.books().terms = terms;
        self.0.errands.wake();
    }

    pub(super) fn terms(&self) -> RecordingSection {
        self.books().terms.clone()
    }

    /// How streams are recorded of which the application says so.
    #[must_use]
    pub fn policy(&self) -> RecordMode {
        self.books().terms.policy
    }

    pub(super) fn errands(&self) -> &Errands {
        &self.0.errands
    }

    /// Where a file is.
    pub(super) fn path(&self, stream: &StreamName, id: &FileId) -> PathBuf {
        self.0.dir.join(stream.as_str()).join(format!("{id}.flv"))
    }

    /// Begins a file of `stream`.
    ///
    /// Errors: there is no room, or the disk refuses.
    pub(super) fn begin(&self, stream: &StreamName, now: SystemTime) -> Result<Begun, Refused> {
        std::fs::create_dir_all(self.dir())?;
        self.make_room(1)?;
        let bytes = Arc::<AtomicU64>::default();
        let mut attempts = 0;
        for number in 1..=NUMBERS_MAX {
            let id = FileId::new(now, number);
            {
                let mut books = self.books();
                if books.files.contains_key(&id) {
                    continue;
                }
                let state = State::Written(Arc::clone(&bytes));
                books.files.insert(id.clone(), Entry { stream: stream.clone(), state });
            }
            let path = self.path(stream, &id);
            loop {
                match create(&path) {
                    Ok(file) => return Ok(Begun { id, path, file, bytes }),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
                    Err(error) => {
                        // Whoever deleted the last file of the stream took its folder along.
                        attempts += 1;
                        if error.kind() != io::ErrorKind::NotFound || attempts > ATTEMPTS_MAX {
                            self.books().files.remove(&id);
                            return Err(error.into());
                        }
                    }
                }
            }
            self.books().files.remove(&id);
        }
        let error = io::Error::other("the second has no number left");
        Err(error.into())
    }

    /// A file is whole.
    pub(super) fn finish(&self, id: &FileId, (bytes, duration_ms): (u64, u64)) {
        let mut books = self.books();
        books.finished += 1;
        if let Some(entry) = books.files.get_mut(id) {
            let ended = SystemTime::now();
            entry.state = State::Whole { bytes, duration_ms, ended };
            books.bytes += bytes;
        }
    }

    /// A file came to nothing.
    pub(super) fn drop_file(&self, id: &FileId) {
        self.books().files.remove(id);
    }

    /// A recording failed.
    pub(super) fn failed(&self) {
        self.books().failed += 1;
    }

    /// Counts bytes that were written.
    pub(super) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.books().written)
    }

    /// Takes in a whole file that an earlier run left; false if it is known.
    pub(super) fn adopt(
        &self,
        (stream, id): (&StreamName, &FileId),
        (bytes, duration_ms): (u64, u64),
        ended: SystemTime,
    ) -> bool {
        let mut books = self.books();
        if books.files.contains_key(id) {
            return false;
        }
        let state = State::Whole { bytes, duration_ms, ended };
        books.files.insert(id.clone(), Entry { stream: stream.clone(), state });
        books.bytes += bytes;
        true
    }

    /// True if a file of that name is known, of whichever stream.
    pub(super) fn knows(&self, id: &FileId) -> bool {
        self.books().files.contains_key(id)
    }

    /// Deletes the oldest whole files until `more` files fit, and all bytes.
    ///
    /// Errors: there is no room, and nothing that could go.
    pub(super) fn make_room(&self, more: u32) -> Result<(), Refused> {
        loop {
            let oldest = {
                let mut books = self.books();
                let Books { ref terms, .. } = *books;
                let (bytes_max, files_max) = (terms.bytes_max, terms.files_max);
                let files = books.files.len() as u64 + u64::from(more);
                let crowded = files > u64::from(files_max);
                // What is full is full before it is more than full: the next frame would be.
                let heavy = bytes_max > 0 && books.total() >= bytes_max;
                if !crowded && !heavy {
                    break;
                }
                match books.take_oldest(|_| true) {
                    Some(oldest) => oldest,
                    None if heavy => return Err(Refused::Bytes { bytes_max }),
                    None => return Err(Refused::Files { files_max }),
                }
            };
            self.unlink(&oldest);
        }
        let free_min = self.books().terms.free_min;
        let free = free_bytes(self.dir())?;
        if free < free_min {
            return Err(Refused::Disk { free, free_min });
        }
        Ok(())
    }

    /// Deletes whole files that are older than they may be.
    pub(super) fn expire(&self, now: SystemTime) {
        let Some(keep) = self.books().terms.keep() else { return };
        let is_old = |ended: SystemTime| now.duration_since(ended).is_ok_and(|age| age > keep);
        loop {
            let oldest = self.books().take_oldest(is_old);
            let Some(oldest) = oldest else { return };
            self.unlink(&oldest);
        }
    }

    fn unlink(&self, (stream, id): &(StreamName, FileId)) {
        let path = self.path(stream, id);
        tracing::info!(%stream, path = %path.display(), "a recording is deleted to make room");
        if let Err(error) = self.remove_file(&path) {
            let path = path.display();
            tracing::warn!(%stream, %path, %error, "a recording cannot be deleted; delete it");
        }
    }

    /// Deletes a file, and the folders that are empty then.
    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let folders = path.ancestors().skip(1).take_while(|&folder| folder != self.dir());
        for folder in folders {
            // One that is not empty stays.
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The files after `after`, of `stream` if one is named, at most `limit` of them; whether there
    /// are more.
    #[must_use]
    pub fn list(
        &self,
        after: Option<&FileId>,
        stream: Option<&StreamName>,
        limit: usize,
    ) -> (Vec<ShelfFile>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let books = self.books();
        let from = after.map_or(Unbounded, Excluded);
        let rest = books.files.range((from, Unbounded));
        let mut rest = rest.filter(|(_, entry)| stream.is_none_or(|name| entry.stream == *name));
        let page = rest.by_ref().take(limit).map(|(id, entry)| self.show(id, entry)).collect();
        (page, rest.next().is_some())
    }

    /// One file.
    #[must_use]
    pub fn get(&self, id: &FileId) -> Option<ShelfFile> {
        let books = self.books();
        books.files.get_key_value(id).map(|(id, entry)| self.show(id, entry))
    }

    /// Deletes a file that is whole; the answer comes when the disk gave one.
    pub fn delete(&self, id: &FileId) -> Result<oneshot::Receiver<Option<String>>, Kept> {
        let mut books = self.books();
        let path = match books.files.get(id) {
            None => return Err(Kept::Unknown),
            Some(Entry { state: State::Written(_), .. }) => return Err(Kept::Written),
            Some(entry) => self.path(&entry.stream, id),
        };
        let answer = self.0.errands.remove(path).ok_or(Kept::Busy)?;
        books.forget(id);
        Ok(answer)
    }

    /// What is counted of files.
    pub fn count(&self, into: &mut Counts) {
        let books = self.books();
        let (files, total) = (books.files.len(), books.total());
        let written = books.written.load(Ordering::Relaxed);
        into.gauge("recording_files", "Files of recordings below recording.dir.", files as f64);
        into.gauge("recording_files_bytes", "Bytes of those.", total as f64);
        let help = "Bytes that recordings wrote.";
        into.counter("recording_written_bytes_total", help, written);
        let outcomes =
            [("finished", books.finished), ("failed", books.failed), ("removed", books.removed)];
        let help = "Files of recordings, by what became of them; failed are recordings that could \
                    not go on.";
        into.counter_by("recordings_total", help, "outcome", outcomes);
    }

    fn show(&self, id: &FileId, entry: &Entry) -> ShelfFile {
        let (bytes, duration_ms) = match &entry.state {
            State::Written(bytes) => (bytes.load(Ordering::Relaxed), None),
            State::Whole { bytes, duration_ms, .. } => (*bytes, Some(*duration_ms)),
        };
        let path = self.path(&entry.stream, id);
        ShelfFile { id: id.clone(), stream: entry.stream.clone(), path, bytes, duration_ms }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Whoever panicked left the books whole: each change is one step.
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn total(&self) -> u64 {
        let open = self.files.values().filter_map(|entry| match &entry.state {
            State::Written(bytes) => Some(bytes.load(Ordering::Relaxed)),
            State::Whole { .. } => None,
        });
        self.bytes + open.sum::<u64>()
    }

    /// Takes the oldest whole file out, if it `goes` by the time at which it ended.
    fn take_oldest(&mut self, goes: impl Fn(SystemTime) -> bool) -> Option<(StreamName, FileId)> {
        let found = self.files.iter().find_map(|(id, entry)| match entry.state {
            State::Whole { ended, .. } if goes(ended) => Some((entry.stream.clone(), id.clone())),
            _ => None,
        })?;
        self.forget(&found.1);
        Some(found)
    }

    fn forget(&mut self, id: &FileId) {
        let gone = self.files.remove(id);
        if let Some(Entry { state: State::Whole { bytes, .. }, .. }) = gone {
            self.bytes -= bytes;
            self.removed += 1;
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Bytes that this process may still write there.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("grandstand-shelf-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn shelf(&self, change: impl Fn(&mut RecordingSection)) -> Shelf {
            let mut terms = RecordingSection { free_min: 0, ..RecordingSection::default() };
            change(&mut terms);
            Shelf::new(self.0.clone(), terms)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_777_863_721 + second)
    }

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    /// A whole file of that many bytes.
    fn put(shelf: &Shelf, stream: &str, second: u64, bytes: u64) -> Result<FileId, Refused> {
        let begun = shelf.begin(&name(stream), at(second))?;
        begun.file.set_len(bytes).unwrap();
        shelf.finish(&begun.id, (bytes, 1_000));
        Ok(begun.id)
    }

    #[test]
    fn files_of_one_second_have_a_name_each_and_folders_go_with_their_last_file() {
        let dir = Dir::new("names");
        let shelf = dir.shelf(|_| {});
        // One that is there though nobody knows of it is not written over.
        std::fs::create_dir_all(dir.0.join("a/b")).unwrap();
        std::fs::write(dir.0.join("a/b/20260504T030201Z-1.flv"), "mine").unwrap();
        let ids = ["a/b", "a/b", "c"].map(|stream| put(&shelf, stream, 0, 10).unwrap());
        let ids = ids.each_ref().map(FileId::as_str);
        assert_eq!(ids, ["20260504T030201Z-2", "20260504T030201Z-3", "20260504T030201Z-1"]);
        assert_eq!(std::fs::read(dir.0.join("a/b/20260504T030201Z-1.flv")).unwrap(), b"mine");
        let (page, more) = shelf.list(None, None, 2);
        assert!(more && page.len() == 2 && page[0].path.ends_with("c/20260504T030201Z-1.flv"));
        let (rest, more) = shelf.list(Some(&page[1].id), None, 2);
        assert!(!more && rest.len() == 1 && rest[0].stream == name("a/b"));
        assert_eq!(shelf.list(None, Some(&name("c")), 9).0, page[..1]);
        shelf.remove_file(&page[0].path).unwrap();
        assert!(!dir.0.join("c").exists() && dir.0.join("a/b").exists());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        for (name, files_max, bytes_max) in [("files", 2, 0), ("bytes", 100, 250)] {
            let dir = Dir::new(name);
            let shelf = dir.shelf(|terms| {
                (terms.files_max, terms.bytes_max) = (files_max, bytes_max);
            });
            for second in 0..4 {
                put(&shelf, "cam", second, 100).unwrap();
                shelf.make_room(0).unwrap();
            }
            let (left, _) = shelf.list(None, None, 9);
            let left: Vec<_> = left.iter().map(|file| file.id.as_str()).collect();
            assert_eq!(left, ["20260504T030203Z-1", "20260504T030204Z-1"], "{name}");
            let on_disk = std::fs::read_dir(dir.0.join("cam")).unwrap().count();
            assert_eq!(on_disk, 2, "{name}");
        }
    }

    #[test]
    fn what_is_being_written_never_goes() {
        let dir = Dir::new("open");
        let shelf = dir.shelf(|terms| terms.bytes_max = 250);
        let begun = shelf.begin(&name("cam"), at(0)).unwrap();
        put(&shelf, "cam", 1, 100).unwrap();
        begun.bytes.store(300, Ordering::Relaxed);
        let refused = shelf.make_room(0).unwrap_err();
        assert_eq!(refused.word(), "bytes_max");
        assert!(refused.message().contains("250 B"), "{}", refused.message());
        assert_eq!(shelf.list(None, None, 9).0.len(), 1);
        assert_eq!(shelf.delete(&begun.id).unwrap_err(), Kept::Written);
        assert_eq!(shelf.delete(&FileId::new(at(9), 1)).unwrap_err(), Kept::Unknown);
    }

    #[test]
    fn a_disk_with_too_little_left_is_full() {
        let dir = Dir::new("free");
        let shelf = dir.shelf(|terms| terms.free_min = u64::MAX);
        let refused = shelf.begin(&name("cam"), at(0)).unwrap_err();
        assert_eq!(refused.word(), "disk_full");
        assert!(refused.message().contains("recording.free_min"), "{}", refused.message());
        assert_eq!(shelf.list(None, None, 9), (Vec::new(), false));
    }

    #[test]
    fn files_go_when_they_are_too_old() {
        let dir = Dir::new("old");
        let shelf = dir.shelf(|terms| terms.keep_hours = 1);
        let id = put(&shelf, "cam", 0, 100).unwrap();
        let path = shelf.get(&id).unwrap().path;
        shelf.expire(SystemTime::now() + Duration::from_secs(3_500));
        assert!(path.exists());
        shelf.expire(SystemTime::now() + Duration::from_secs(3_700));
        assert!(!path.exists() && shelf.get(&id).is_none());
    }
}
