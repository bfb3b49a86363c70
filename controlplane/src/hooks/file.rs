//! File: events as lines of JSON.
//!
//! The file is opened for each batch, so that whoever rotates logs may move it away at any time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Former files that are kept beside the current one, as `.1` (the newest) to `.5`.
const KEPT: u32 = 5;

/// Files that are written at the same time at most: a disk blocks.
pub(crate) const WRITERS_MAX: usize = 8;

/// Where files of hooks lie, and who writes to one now. Clones are one.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: Arc<Path>,
    writers: Arc<Semaphore>,
}

impl Files {
    /// Relative paths begin at `dir`.
    pub(super) fn below(dir: &Path) -> Self {
        Self { dir: dir.into(), writers: Arc::new(Semaphore::new(WRITERS_MAX)) }
    }

    /// Where relative paths begin.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends beside the control thread, as [`Lines::append`] does. A disk that does not answer
    /// holds up other files of hooks at most.
    pub(super) async fn append(&self, lines: Lines, text: String) -> std::io::Result<()> {
        let seat = Arc::clone(&self.writers).acquire_owned().await.map_err(Error::other)?;
        let writing = tokio::task::spawn_blocking(move || {
            // It is kept for as long as the disk takes, whoever waits for it.
            let _seat = seat;
            lines.append(&text)
        });
        writing.await.unwrap_or_else(|_| Err(Error::other("writing it panicked")))
    }
}

/// Where lines go, and how.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) path: PathBuf,
    pub(super) synced: bool,
    pub(super) rotate_bytes: u64,
}

impl Lines {
    /// Appends whole lines, or none. When it returns they are on the disk, if that is wanted.
    ///
    /// Errors: the file cannot be opened or written, or somebody else is writing to it.
    pub(super) fn append(&self, text: &str) -> std::io::Result<()> {
        let is_new = !self.path.exists();
        let mut file = self.open()?;
        let mut length = file.metadata()?.len();
        if self.rotate_bytes > 0 && length > 0 && length + text.len() as u64 > self.rotate_bytes {
            self.rotate()?;
            file = self.open()?;
            length = file.metadata()?.len();
            self.sync_name()?;
        } else if is_new {
            self.sync_name()?;
        }
        // A crash may have cut the last line.
        let mend = if ends_line(&mut file, length)? { "" } else { "\n" };
        let written = file
            .write_all(mend.as_bytes())
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| if self.synced { file.sync_data() } else { Ok(()) });
        if written.is_err() {
            // The events are tried again: half of them must not stay.
            file.set_len(length)?;
        }
        written
    }

    fn open(&self) -> std::io::Result<File> {
        if let Some(dir) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        // Two paths may lead to one file.
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::ResourceBusy, "another writer holds the file"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// A file is there after a crash only if its directory says so.
    fn sync_name(&self) -> std::io::Result<()> {
        match self.path.parent() {
            Some(dir) if self.synced => File::open(dir)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn rotate(&self) -> std::io::Result<()> {
        for number in (1..KEPT).rev() {
            let (from, to) = (beside(&self.path, number), beside(&self.path, number + 1));
            if from.exists() {
                std::fs::rename(from, to)?;
            }
        }
        std::fs::rename(&self.path, beside(&self.path, 1))
    }
}

/// The files that a hook with this path writes to.
pub(super) fn written(path: &Path, rotated: bool) -> Vec<PathBuf> {
    let former = if rotated { KEPT } else { 0 };
    std::iter::once(path.to_owned()).chain((1..=former).map(|n| beside(path, n))).collect()
}

fn beside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn ends_line(file: &mut File, length: u64) -> std::io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_files_turn_over() {
        let dir = std::env::temp_dir().join(format!("grandstand-lines-{}", std::process::id()));
        let path = dir.join("deep/events.jsonl");
        let lines = Lines { path: path.clone(), synced: true, rotate_bytes: 12 };
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        lines.append("one\n").unwrap();
        std::fs::write(&path, "one\ntw").unwrap();
        lines.append("six\n").unwrap();
        assert_eq!(read(&path), "one\ntw\nsix\n");
        for text in ["a\n", "b\n", "c\n", "d\n", "e\n", "f\n", "g\n"] {
            std::fs::write(&path, "0123456789ab").unwrap();
            lines.append(text).unwrap();
        }
        assert_eq!(read(&path), "g\n");
        assert_eq!(read(&beside(&path, KEPT)), "0123456789ab");
        assert!(!beside(&path, KEPT + 1).exists());
        let held = File::open(&path).unwrap();
        held.try_lock().unwrap();
        let busy = lines.append("x\n").unwrap_err();
        assert_eq!(busy.to_string(), "another writer holds the file");
        drop(held);
        let blocked = Lines { path: path.join("below"), ..lines };
        assert!(blocked.append("x\n").is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
