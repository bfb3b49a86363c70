//! Janitor: looks at the files that earlier runs left, mends those that were cut short, and deletes
//! what is to go.
//!
//! Limits: [`ERRANDS_MAX`] files wait to be deleted.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use dataplane::ids::StreamName;
use tokio::sync::oneshot;

use super::file_id::FileId;
use super::flv_file::{Known, look, mend};
use super::report::{Report, Word};
use super::shelf::Shelf;

/// Files that wait to be deleted at most.
const ERRANDS_MAX: usize = 1_024;
/// How often it is looked for files that are too old.
const PACE: Duration = Duration::from_secs(30);
/// Folders within each other at most: a stream's name has no more parts.
const DEPTH_MAX: usize = 128;

/// A file, and who waits for its end.
type Errand = (PathBuf, oneshot::Sender<Option<String>>);

/// What others want the janitor to do.
#[derive(Debug, Default)]
pub(super) struct Errands {
    doomed: Mutex<Vec<Errand>>,
    thread: OnceLock<Thread>,
}

impl Errands {
    /// Has a file deleted; `None` if too many are.
    pub(super) fn remove(&self, path: PathBuf) -> Option<oneshot::Receiver<Option<String>>> {
        let (reply, answer) = oneshot::channel();
        {
            let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
            if doomed.len() >= ERRANDS_MAX {
                return None;
            }
            doomed.push((path, reply));
        }
        self.wake();
        Some(answer)
    }

    /// Has the janitor look at once.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn take(&self) -> Vec<Errand> {
        std::mem::take(&mut *self.doomed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks after the files of `shelf` for as long as the process lives; `tell` hears of those that
/// were mended.
pub(super) fn run(shelf: &Shelf, tell: impl Fn(Report)) {
    let _ = shelf.errands().thread.set(std::thread::current());
    walk(shelf, shelf.dir(), "", DEPTH_MAX, &tell);
    loop {
        for (path, reply) in shelf.errands().take() {
            let failed = shelf.remove_file(&path).err().map(|error| error.to_string());
            // Whoever asked may be gone.
            drop(reply.send(failed));
        }
        shelf.expire(SystemTime::now());
        // Without a recording nobody else looks whether there are too many.
        let _ = shelf.make_room(0);
        std::thread::park_timeout(PACE);
    }
}

/// Looks at the files of a folder, whose streams' names begin with `prefix`.
fn walk(shelf: &Shelf, folder: &Path, prefix: &str, depth: usize, tell: &impl Fn(Report)) {
    // Where nothing was recorded yet, there is none.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
            continue;
        };
        if kind.is_dir() && depth > 0 {
            let below = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if StreamName::parse(&below).is_some() {
                walk(shelf, &entry.path(), &below, depth - 1, tell);
            }
        } else if kind.is_file()
            && let Some(stream) = StreamName::parse(prefix)
            && let Some(id) = name.strip_suffix(".flv").and_then(FileId::parse)
        {
            take(shelf, (&stream, &id), &entry, tell);
        }
    }
}

/// Takes in a file that an earlier run left.
fn take(
    shelf: &Shelf,
    (stream, id): (&StreamName, &FileId),
    entry: &DirEntry,
    tell: &impl Fn(Report),
) {
    if shelf.knows(id) {
        return;
    }
    let path = entry.path();
    let shown = path.display();
    let ended = entry.metadata().and_then(|metadata| metadata.modified());
    let ended = ended.unwrap_or_else(|_| SystemTime::now());
    let known = match look(&path) {
        Ok(Known::Whole(duration_ms)) => {
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            shelf.adopt((stream, id), (bytes, duration_ms), ended);
            return;
        }
        Ok(Known::Torn) => mend(&path),
        Ok(Known::Foreign) => return,
        Err(error) => Err(error),
    };
    match known {
        Ok(Some((bytes, duration_ms))) => {
            tracing::info!(%stream, path = %shown, bytes, "a torn recording is mended");
            if shelf.adopt((stream, id), (bytes, duration_ms), ended) {
                let (id, reason) = (id.clone(), "interrupted");
                let word = Word::Finished { id, path: path.clone(), bytes, duration_ms, reason };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RecordingSection;
    use std::cell::RefCell;

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
        walk(&shelf, &dir, "", DEPTH_MAX, &|report| told.borrow_mut().push(report));
        assert_eq!((shelf.list(None, None, 9).0, told.into_inner()), (Vec::new(), Vec::new()));
        let is_there = |path: &str| dir.join(path).exists();
        assert!(is_there("a/b/20260504T030201Z-1.flv") && is_there("a/notes.txt"));
        assert!(is_there("a b/20260504T030201Z-3.flv"), "no stream is called that");
        assert!(!is_there("a/b/20260504T030201Z-2.flv"), "it had no frame");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
