//! Shelf: the files of recordings, those that are being written and those that are whole.
//!
//! Only files that are called what recordings are called, in folders that are called what streams
//! are, belong to it: nothing else below `recording.dir` is listed, counted or deleted.
//!
//! Beside a file of which nobody was told yet is an empty one, its mark: whatever ends the process,
//! the next start tells of it.
//!
//! Lives on: every thread of recordings, the janitor and the control thread. Its lock is never held
//! while a disk is waited for.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dataplane::ids::StreamName;
use tokio::sync::oneshot;

use super::books::{Books, Doomed, Entry, State};
use super::file_id::FileId;
use super::janitor::Errands;
use super::mode::RecordMode;
use super::room::Refused;
use crate::config::RecordingSection;
use crate::counts::Counts;

/// Bytes of one file that is known.
pub(crate) const FILE_BYTES: u64 = 448;
/// How the names of marks end.
pub(super) const UNTOLD: &str = "untold";
/// Files of one second at most.
const NUMBERS_MAX: u32 = 999_999;
/// Names that somebody else's files have already are passed over this often.
const TAKEN_MAX: u32 = 1_024;
/// Folders that somebody else removes while a file is made in them are made again this often.
const ATTEMPTS_MAX: u32 = 8;
/// Files that the disk does not let go at most, until it is taken at its word.
const FAILURES_MAX: u32 = 4;

/// All files. Clones are one.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// When this run began, for all that is told of time.
    since: Instant,
    books: Mutex<Books>,
    errands: Errands,
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
    /// It is being deleted, or too many are.
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
        let books = Mutex::new(Books::new(terms));
        let since = Instant::now();
        Self(Arc::new(Inner { dir, since, books, errands: Errands::default() }))
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

    /// Begins a file of `stream`, of which nobody was told yet.
    ///
    /// Errors: there is no room, or the disk refuses.
    pub(super) fn begin(&self, stream: &StreamName, now: SystemTime) -> Result<Begun, Refused> {
        std::fs::create_dir_all(self.dir())?;
        self.make_room(1)?;
        let bytes = Arc::<AtomicU64>::default();
        let mut taken = 0;
        for number in 1..=NUMBERS_MAX {
            let id = FileId::new(now, number);
            if !self.books().open(&id, stream, &bytes) {
                continue;
            }
            let path = self.path(stream, &id);
            match create(&path) {
                Ok(file) => return Ok(Begun { id, path, file, bytes }),
                Err(error) => {
                    self.books().cancel(&id);
                    taken += 1;
                    if error.kind() != io::ErrorKind::AlreadyExists || taken > TAKEN_MAX {
                        return Err(error.into());
                    }
                }
            }
        }
        let error = io::Error::other("the second has no number left");
        Err(error.into())
    }

    /// A file is whole.
    pub(super) fn finish(&self, id: &FileId, measures: (u64, u64)) {
        self.books().finished += 1;
        self.keep(id, measures);
    }

    /// A file is not written any more, though it does not say so: the next start mends it.
    pub(super) fn keep(&self, id: &FileId, measures: (u64, u64)) {
        let ended_ms = self.ms_at(Instant::now());
        self.books().close(id, measures, ended_ms);
    }

    /// A file came to nothing, and is deleted.
    ///
    /// Errors: of the disk; the file is known then, and goes later.
    pub(super) fn discard(&self, id: &FileId, bytes: u64) -> io::Result<()> {
        self.keep(id, (bytes, 0));
        let doomed = self.books().doom(&(id.clone(), 0));
        doomed.map_or(Ok(()), |doomed| self.remove(&doomed))
    }

    /// Those who hear of recordings have heard that a file is whole.
    pub(crate) fn told(&self, stream: &StreamName, id: &FileId) {
        self.0.errands.told(mark(&self.path(stream, id)));
    }

    /// True if the disk has done all that was asked of it.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.errands.is_settled()
    }

    /// A recording failed.
    pub(super) fn failed(&self) {
        self.books().failed += 1;
    }

    /// Counts bytes that were written.
    pub(super) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.books().written)
    }

    /// Takes in a whole file that an earlier run left and that is so old; the oldest go for it.
    /// True if it is there then, and was not known.
    pub(super) fn adopt(
        &self,
        (stream, id): (&StreamName, &FileId),
        measures: (u64, u64),
        age: Duration,
    ) -> bool {
        let ended_ms = -i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let adopted = self.books().adopt((stream, id), measures, ended_ms);
        let Some(key) = adopted else { return false };
        // What is too much of some files is too much of all: whatever is found later, the oldest of
        // these would go.
        let _ = self.make_room(0);
        if !self.path(stream, id).exists() {
            // It went while it was looked at.
            let mut books = self.books();
            if let Ok(doomed) = books.doom(&key) {
                books.gone(&doomed);
            }
        }
        self.knows(id, stream)
    }

    /// True if that file of the stream is known.
    pub(super) fn knows(&self, id: &FileId, stream: &StreamName) -> bool {
        self.books().knows(id, stream)
    }

    /// Deletes the oldest whole files until `more` files fit, and all bytes.
    ///
    /// Errors: there is no room, and nothing that could go.
    pub(super) fn make_room(&self, more: u32) -> Result<(), Refused> {
        let mut failures = 0;
        loop {
            let oldest = {
                let mut books = self.books();
                let Some(lack) = books.lack(more) else { break };
                books.doom_oldest(|_| true).ok_or(lack)?
            };
            if let Err(error) = self.unlink(&oldest) {
                failures += 1;
                if failures >= FAILURES_MAX {
                    return Err(error.into());
                }
            }
        }
        let free_min = self.books().terms.free_min;
        let free = free_bytes(self.dir())?;
        if free < free_min {
            return Err(Refused::Disk { free, free_min });
        }
        Ok(())
    }

    /// Deletes whole files that are older than they may be.
    pub(super) fn expire(&self, now: Instant) {
        let Some(keep) = self.books().terms.keep() else { return };
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let now_ms = self.ms_at(now);
        let mut failures = 0;
        while failures < FAILURES_MAX {
            let is_old = |ended_ms: i64| now_ms.saturating_sub(ended_ms) > keep_ms;
            let oldest = self.books().doom_oldest(is_old);
            let Some(oldest) = oldest else { return };
            failures += u32::from(self.unlink(&oldest).is_err());
        }
    }

    /// What the disk did not let go may be tried again.
    pub(super) fn try_stuck(&self) {
        self.books().try_stuck();
    }

    fn unlink(&self, doomed: &Doomed) -> io::Result<()> {
        let (stream, path) = (&doomed.stream, self.path(&doomed.stream, &doomed.key.0));
        tracing::info!(%stream, path = %path.display(), "a recording is deleted to make room");
        let removed = self.remove(doomed);
        match &removed {
            Ok(()) => self.books().removed += 1,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%stream, %path, %error, "a recording cannot be deleted; delete it");
            }
        }
        removed
    }

    /// Deletes a doomed file; one that the disk does not let go is known on.
    fn remove(&self, doomed: &Doomed) -> io::Result<()> {
        let removed = self.remove_file(&self.path(&doomed.stream, &doomed.key.0));
        let mut books = self.books();
        match &removed {
            Ok(()) => books.gone(doomed),
            Err(_) => books.spare(doomed),
        }
        removed
    }

    /// Deletes a file that somebody asked to be deleted.
    pub(super) fn remove_asked(&self, doomed: &Doomed) -> io::Result<()> {
        self.remove(doomed)?;
        self.books().removed += 1;
        Ok(())
    }

    /// Deletes a file, and the folders that are empty then.
    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        for path in [path, mark(path).as_path()] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
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

    /// Milliseconds of this run.
    fn ms_at(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.0.since);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
        let books = self.books();
        let named = |entry: &Entry| stream.is_none_or(|name| entry.stream == *name);
        let mut rest = books.after(after).filter(|(_, entry)| named(entry)).peekable();
        let mut page: Vec<ShelfFile> = Vec::new();
        // The few that share a name are on one page.
        let fits = |page: &[ShelfFile], id: &FileId| {
            page.len() < limit || page.last().is_some_and(|last| last.id == *id)
        };
        while let Some(((id, _), entry)) = rest.next_if(|((id, _), _)| fits(&page, id)) {
            page.push(self.show(id, entry));
        }
        (page, rest.peek().is_some())
    }

    /// One file.
    #[must_use]
    pub fn get(&self, id: &FileId) -> Option<ShelfFile> {
        let books = self.books();
        books.get(id).map(|(_, entry)| self.show(id, entry))
    }

    /// Deletes a file that is whole; the answer comes when the disk gave one.
    ///
    /// Errors: why it is not deleted.
    pub fn delete(&self, id: &FileId) -> Result<oneshot::Receiver<Option<String>>, Kept> {
        let mut books = self.books();
        let key = books.get(id).map(|(key, _)| key.clone()).ok_or(Kept::Unknown)?;
        let doomed = books.doom(&key)?;
        let answer = self.0.errands.remove(doomed.clone());
        if answer.is_none() {
            books.spare(&doomed);
        }
        answer.ok_or(Kept::Busy)
    }

    /// What is counted of files.
    pub fn count(&self, into: &mut Counts) {
        let books = self.books();
        let (files, total) = (books.count(), books.total());
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

#[cfg(test)]
impl Shelf {
    /// One that knows of a whole file of that name, on no disk.
    pub(crate) fn knowing(self, stream: &StreamName, id: &FileId) -> Self {
        self.books().open(id, stream, &Arc::default());
        self.keep(id, (1, 1));
        self
    }
}

/// The file beside one of a recording that is there until somebody was told of it.
pub(super) fn mark(path: &Path) -> PathBuf {
    path.with_extension(UNTOLD)
}

fn create(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(path);
    let mut attempts = 0;
    loop {
        let made = match std::fs::create_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let what = format!("{} is no folder; move it away", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, what));
            }
            made => made,
        };
        match made.and_then(|()| OpenOptions::new().write(true).create_new(true).open(path)) {
            // Whoever deleted the last file of the stream took its folder along.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS_MAX => {
                attempts += 1;
            }
            Ok(file) => {
                if let Err(error) = File::create(mark(path)) {
                    // It is empty: nobody misses it.
                    let _ = std::fs::remove_file(path);
                    return Err(error);
                }
                return Ok(file);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Bytes that this process may still write there.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

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
            assert_eq!(on_disk, 4, "{name}: a file and its mark each");
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
        shelf.expire(Instant::now() + Duration::from_secs(3_500));
        assert!(path.exists());
        shelf.expire(Instant::now() + Duration::from_secs(3_700));
        assert!(!path.exists() && shelf.get(&id).is_none());
    }

    #[test]
    fn a_file_that_cannot_be_deleted_is_known_on_and_the_next_one_goes() {
        let dir = Dir::new("stuck");
        let shelf = dir.shelf(|terms| terms.files_max = 3);
        let ids = [0, 1, 2].map(|second| put(&shelf, "cam", second, 100).unwrap());
        // A folder in its place is what no disk removes as a file.
        let stuck = shelf.get(&ids[0]).unwrap().path;
        std::fs::remove_file(&stuck).unwrap();
        std::fs::create_dir(&stuck).unwrap();
        shelf.make_room(1).unwrap();
        let left: Vec<_> = shelf.list(None, None, 9).0.into_iter().map(|file| file.id).collect();
        assert_eq!(left, [ids[0].clone(), ids[2].clone()]);
        assert_eq!(shelf.books().total(), 200);
        let doomed = shelf.books().doom(&(ids[0].clone(), 0)).unwrap();
        assert_eq!(shelf.delete(&ids[0]).unwrap_err(), Kept::Busy, "it is being deleted");
        assert_eq!(shelf.books().total(), 100);
        shelf.remove_asked(&doomed).unwrap_err();
        assert_eq!(shelf.books().total(), 200);
        assert!(shelf.get(&ids[0]).is_some(), "it is known on");
        std::fs::remove_dir(&stuck).unwrap();
        shelf.try_stuck();
        shelf.make_room(2).unwrap();
        assert!(shelf.get(&ids[0]).is_none() && shelf.get(&ids[2]).is_some());
    }

    #[test]
    fn a_file_where_a_folder_should_be_is_told_at_once() {
        let dir = Dir::new("stray");
        let shelf = dir.shelf(|_| {});
        std::fs::create_dir_all(&dir.0).unwrap();
        std::fs::write(dir.0.join("cam"), "mine").unwrap();
        for stream in ["cam", "cam/low"] {
            let refused = shelf.begin(&name(stream), at(0)).unwrap_err();
            assert_eq!(refused.word(), "io", "{stream}");
        }
        let refused = shelf.begin(&name("cam"), at(0)).unwrap_err();
        assert!(refused.message().contains("/cam is no folder"), "{}", refused.message());
        assert_eq!(shelf.list(None, None, 9), (Vec::new(), false));
    }

    #[test]
    fn a_clock_that_goes_back_leaves_what_is_newest() {
        let dir = Dir::new("clock");
        let shelf = dir.shelf(|terms| (terms.files_max, terms.keep_hours) = (2, 1));
        let [old, new] = [(900, "a"), (0, "b")].map(|(second, stream)| {
            let id = FileId::new(at(second), 1);
            let begun = shelf.begin(&name(stream), at(second)).unwrap();
            assert_eq!(begun.id, id);
            id
        });
        shelf.books().close(&old, (100, 1_000), 1_000);
        shelf.books().close(&new, (100, 1_000), 2_000);
        shelf.make_room(1).unwrap();
        assert!(shelf.get(&old).is_none() && shelf.get(&new).is_some());
        // The same second, seen again: a file of another stream that an earlier run left.
        let other = shelf.path(&name("c"), &new);
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::write(&other, "c").unwrap();
        assert!(shelf.adopt((&name("c"), &new), (1, 1), Duration::ZERO));
        assert!(!shelf.adopt((&name("c"), &new), (1, 1), Duration::ZERO), "it is known");
        let (page, more) = shelf.list(None, None, 1);
        assert_eq!((page.len(), more), (2, false), "both, on one page");
        assert_eq!(page[1].stream, name("c"));
    }
}
