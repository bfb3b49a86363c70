//! Janitor: looks at the files that earlier runs left, mends those that were cut short, and deletes
//! what is to go.
//!
//! Limits: [`ERRANDS_MAX`] errands wait.

use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use dataplane::ids::StreamName;
use tokio::sync::oneshot;

use super::books::Doomed;
use super::file_id::FileId;
use super::flv_file::{Known, look, mend};
use super::report::{Report, Word};
use super::shelf::{Shelf, UNTOLD, mark};

/// Errands that wait at most.
const ERRANDS_MAX: usize = 1_024;
/// How often it is looked for files that are too old.
const PACE: Duration = Duration::from_secs(30);
/// Folders within each other at most: a stream's name has no more parts.
const DEPTH_MAX: usize = 128;

/// What is asked of the disk.
#[derive(Debug)]
enum Errand {
    /// A file is to be deleted; who waits for that.
    Remove(Doomed, oneshot::Sender<Option<String>>),
    /// A mark is to be, because somebody was told.
    Unmark(PathBuf),
}

/// What others want the janitor to do.
#[derive(Debug, Default)]
pub(super) struct Errands {
    waiting: Mutex<Vec<Errand>>,
    /// Those and the ones in hand.
    pending: AtomicUsize,
    thread: OnceLock<Thread>,
}

impl Errands {
    /// Has a file deleted; `None` if too many are.
    pub(super) fn remove(&self, doomed: Doomed) -> Option<oneshot::Receiver<Option<String>>> {
        let (reply, answer) = oneshot::channel();
        self.push(Errand::Remove(doomed, reply)).then_some(answer)
    }

    /// Has a mark deleted. With too many errands it stays: the next start tells of its file again.
    pub(super) fn told(&self, mark: PathBuf) {
        self.push(Errand::Unmark(mark));
    }

    /// True if nothing is left to be done.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    fn push(&self, errand: Errand) -> bool {
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= ERRANDS_MAX {
                return false;
            }
            waiting.push(errand);
            self.pending.fetch_add(1, Ordering::AcqRel);
        }
        self.wake();
        true
    }

    /// Has the janitor look at once.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn take(&self) -> Vec<Errand> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks after the files of `shelf` for as long as the process lives; `tell` hears of those that
/// were mended.
pub(super) fn run(shelf: &Shelf, tell: impl Fn(Report)) {
    let _ = shelf.errands().thread.set(std::thread::current());
    // What is whole is known soon; what is torn may take long to mend.
    for pass in [Pass::Whole, Pass::Torn] {
        Walk { shelf, pass, tell: &tell }.folder(shelf.dir(), "", DEPTH_MAX);
    }
    loop {
        serve(shelf);
        shelf.try_stuck();
        shelf.expire(Instant::now());
        // Without a recording nobody else looks whether there are too many.
        let _ = shelf.make_room(0);
        std::thread::park_timeout(PACE);
    }
}

/// Does what is asked of the disk.
fn serve(shelf: &Shelf) {
    let errands = shelf.errands();
    for errand in errands.take() {
        match errand {
            Errand::Remove(doomed, reply) => {
                let failed = shelf.remove_asked(&doomed).err().map(|error| error.to_string());
                // Whoever asked may be gone.
                drop(reply.send(failed));
            }
            Errand::Unmark(mark) => match std::fs::remove_file(&mark) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let mark = mark.display();
                    tracing::warn!(%mark, %error, "told again at the next start; delete it");
                }
                _ => {}
            },
        }
        errands.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Which files are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Whole,
    Torn,
}

/// One look at all files.
struct Walk<'a, T> {
    shelf: &'a Shelf,
    pass: Pass,
    tell: &'a T,
}

impl<T: Fn(Report)> Walk<'_, T> {
    /// Looks at the files of a folder, whose streams' names begin with `prefix`.
    fn folder(&self, folder: &Path, prefix: &str, depth: usize) {
        // Where nothing was recorded yet, there is none.
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            // Whoever asks does not wait for all of them.
            serve(self.shelf);
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            if kind.is_dir() && depth > 0 {
                let below = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                if StreamName::parse(&below).is_some() {
                    self.folder(&entry.path(), &below, depth - 1);
                }
            } else if kind.is_file()
                && let Some(stream) = StreamName::parse(prefix)
                && let Some((id, ending)) = name.split_once('.')
                && let Some(id) = FileId::parse(id)
            {
                match ending {
                    "flv" => self.file((&stream, &id), &entry),
                    UNTOLD => self.mark((&stream, &id)),
                    _ => {}
                }
            }
        }
    }

    /// Takes in a file that an earlier run left.
    fn file(&self, (stream, id): (&StreamName, &FileId), entry: &DirEntry) {
        let Self { shelf, pass, tell } = self;
        if shelf.knows(id, stream) {
            return;
        }
        let path = entry.path();
        let shown = path.display();
        let (len, age) = entry.metadata().map_or((0, Duration::ZERO), |metadata| {
            // A time to come is that of a clock that was wrong, then or now.
            let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
            (metadata.len(), age.unwrap_or_default())
        });
        let known = match (look(&path), pass) {
            (Ok(Known::Whole(duration_ms)), Pass::Whole) => Ok(Some((len, duration_ms))),
            (Ok(Known::Torn), Pass::Torn) => mend(&path),
            (Err(error), Pass::Torn) => Err(error),
            _ => return,
        };
        match known {
            Ok(Some((bytes, duration_ms))) => {
                let is_untold = *pass == Pass::Torn || mark(&path).exists();
                if *pass == Pass::Torn {
                    tracing::info!(%stream, path = %shown, bytes, "a torn recording is mended");
                }
                if shelf.adopt((stream, id), (bytes, duration_ms), age) && is_untold {
                    let (id, reason) = (id.clone(), "interrupted");
                    let path = path.clone();
                    let word = Word::Finished { id, path, bytes, duration_ms, reason };
                    tell(Report { number: 0, stream: stream.clone(), word });
                }
            }
            Ok(None) => {
                // No frame was written: nobody was told of it, and nobody misses it.
                let _ = shelf.remove_file(&path);
            }
            Err(error) => {
                tracing::warn!(%stream, path = %shown, %error, "a torn recording cannot be mended");
            }
        }
    }

    /// Removes a mark whose file is gone.
    fn mark(&self, (stream, id): (&StreamName, &FileId)) {
        let path = self.shelf.path(stream, id);
        if !self.shelf.knows(id, stream) && !path.exists() {
            let _ = self.shelf.remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RecordingSection;
    use std::cell::RefCell;
    use std::fs::File;
    use std::time::SystemTime;

    use super::super::flv_file::tests::ten_pictures;

    fn walk(shelf: &Shelf, tell: &impl Fn(Report)) {
        for pass in [Pass::Whole, Pass::Torn] {
            Walk { shelf, pass, tell }.folder(shelf.dir(), "", DEPTH_MAX);
        }
    }

    #[test]
    fn files_of_an_earlier_run_are_known_and_others_left_alone() {
        let name = format!("grandstand-janitor-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let file = |path: &str, text: &[u8]| {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        file("a/b/20260504T030201Z-1.flv", b"a text of somebody");
        file("a/b/20260504T030201Z-2.flv", b"FLV\x01\x05");
        file("a/notes.txt", b"mine");
        file("a b/20260504T030201Z-3.flv", b"");
        std::os::unix::fs::symlink(dir.join("a"), dir.join("link")).unwrap();
        let shelf = Shelf::new(dir.clone(), RecordingSection::default());
        let told = RefCell::new(Vec::new());
        walk(&shelf, &|report| told.borrow_mut().push(report));
        assert_eq!((shelf.list(None, None, 9).0, told.into_inner()), (Vec::new(), Vec::new()));
        let is_there = |path: &str| dir.join(path).exists();
        assert!(is_there("a/b/20260504T030201Z-1.flv") && is_there("a/notes.txt"));
        assert!(is_there("a b/20260504T030201Z-3.flv"), "no stream is called that");
        assert!(!is_there("a/b/20260504T030201Z-2.flv"), "it had no frame");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_is_told_of_until_somebody_was() {
        let dir = std::env::temp_dir().join(format!("grandstand-untold-{}", std::process::id()));
        let terms = RecordingSection { free_min: 0, ..RecordingSection::default() };
        let stream = StreamName::parse("cam").unwrap();
        let id = {
            let shelf = Shelf::new(dir.clone(), terms.clone());
            let begun = shelf.begin(&stream, SystemTime::now()).unwrap();
            let measures = ten_pictures(begun.file).finish().unwrap();
            shelf.finish(&begun.id, measures);
            begun.id
        };
        // The process ended before anybody heard of it; once, and then once more.
        for (round, count) in [(0, 1), (1, 1), (2, 0)] {
            let shelf = Shelf::new(dir.clone(), terms.clone());
            let told = RefCell::new(Vec::new());
            walk(&shelf, &|report| told.borrow_mut().push(report));
            let told = told.into_inner();
            assert_eq!(told.len(), count, "{round}: {told:?}");
            assert_eq!(shelf.get(&id).unwrap().duration_ms, Some(400));
            if round == 1 {
                shelf.told(&stream, &id);
                assert!(!shelf.is_settled());
                serve(&shelf);
                assert!(shelf.is_settled());
            }
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn whoever_asks_does_not_wait_for_the_first_look_at_all_files() {
        let dir = std::env::temp_dir().join(format!("grandstand-asked-{}", std::process::id()));
        let terms = RecordingSection { free_min: 0, ..RecordingSection::default() };
        let shelf = Shelf::new(dir.clone(), terms);
        let stream = StreamName::parse("cam").unwrap();
        let [kept, asked] = [0, 1].map(|_| {
            let begun = shelf.begin(&stream, SystemTime::now()).unwrap();
            shelf.finish(&begun.id, ten_pictures(begun.file).finish().unwrap());
            begun.id
        });
        let mut answer = shelf.delete(&asked).unwrap();
        walk(&shelf, &|report| panic!("nothing to be told: {report:?}"));
        assert_eq!(answer.try_recv(), Ok(None), "it is gone");
        assert!(shelf.get(&asked).is_none() && shelf.get(&kept).is_some());
        assert!(!shelf.path(&stream, &asked).exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn of_too_many_files_the_newest_stay_in_whatever_order_they_are_found() {
        let dir = std::env::temp_dir().join(format!("grandstand-walk-{}", std::process::id()));
        for (files_max, bytes_max) in [(3, 0), (1_000, 2_500)] {
            let terms = RecordingSection { free_min: 0, ..RecordingSection::default() };
            let now = SystemTime::now();
            let sizes: Vec<_> = (0..40_u64)
                .map(|number| {
                    let folder = dir.join(format!("cam{}", number * 7 % 40));
                    std::fs::create_dir_all(&folder).unwrap();
                    let path = folder.join("20260504T030201Z-1.flv");
                    let file = File::create(&path).unwrap();
                    let (bytes, _) = ten_pictures(file).finish().unwrap();
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_modified(now - Duration::from_secs(100 * number)).unwrap();
                    bytes
                })
                .collect();
            let terms = RecordingSection { files_max, bytes_max, ..terms };
            let shelf = Shelf::new(dir.clone(), terms);
            walk(&shelf, &|report| panic!("nothing to be told: {report:?}"));
            let mut left: Vec<_> =
                shelf.list(None, None, 99).0.iter().map(|file| file.stream.to_string()).collect();
            left.sort_unstable();
            let stay = match bytes_max {
                0 => 3,
                _ => (bytes_max - 1) / sizes[0],
            };
            let mut expected: Vec<_> =
                (0..stay).map(|number| format!("cam{}", number * 7 % 40)).collect();
            expected.sort_unstable();
            assert_eq!(left, expected, "{files_max} files, {bytes_max} bytes");
            assert_eq!(std::fs::read_dir(&dir).unwrap().count() as u64, stay);
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
}
