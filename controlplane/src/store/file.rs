//! File: the store's file in the data directory, made once and opened again after its disk failed.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use rustix::fs::Advice;

use super::database::{Database, OpenError};
use crate::error::{Error, reason};

/// The file in the data directory.
pub const FILE: &str = "grandstand.redb";
/// Its name until it is whole.
pub(super) const UNFINISHED: &str = "grandstand.redb.new";

/// Opens the store's file in `dir`, which is made if it is missing.
///
/// Errors: another process has it open, the file is damaged, or the system refuses it.
pub(super) fn open(dir: &Path) -> Result<Database, Error> {
    let path = dir.join(FILE);
    let system = |e: std::io::Error| Error::file("open", &path, &e, "name another data.dir");
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(system)?;
    let fresh = dir.join(UNFINISHED);
    let is_new = !path.exists();
    let file = if is_new { make_file(&fresh) } else { open_file(&path).map(Some) };
    let file = file.map_err(system)?.ok_or_else(|| refused(&path, &OpenError::Locked))?;
    let database = tables(file).map_err(|error| refused(&path, &error))?;
    if is_new {
        // Whole now, and there after a crash only if its directory says so.
        let named = std::fs::rename(&fresh, &path);
        named.and_then(|()| File::open(dir)?.sync_all()).map_err(system)?;
    }
    Ok(database)
}

/// Opens the file at `path` after its disk failed; it is never made anew.
///
/// What an fsync failed to write stays readable in the kernel's cache, marked as written, and is
/// gone after the next loss of power. So the cache is written or given up first: what is read
/// from then on is what the disk holds.
pub(super) fn open_again(path: &Path) -> Result<Database, OpenError> {
    let opened = || {
        let file = open_file(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(file)
    };
    let file = opened().map_err(|error: std::io::Error| OpenError::Disk(reason(&error)))?;
    tables(file)
}

fn tables(file: File) -> Result<Database, OpenError> {
    let backend = FileBackend::new(file).map_err(|error| OpenError::Damaged(error.to_string()))?;
    Database::open(backend)
}

/// The file, readable by this user alone.
fn open_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // Somebody may have copied it with wider rights.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// An empty file that gets its name when it is a whole store, so that a start that was cut short
/// leaves nothing that looks damaged; `None` if another process makes it just now.
fn make_file(path: &Path) -> std::io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_len(0)?;
    Ok(Some(file))
}

fn refused(path: &Path, error: &OpenError) -> Error {
    let mend = match error {
        OpenError::Locked => "stop that one, or give this one a data.dir of its own".to_owned(),
        OpenError::Damaged(_) => format!(
            "restore it from a copy, or move it away to start without stored streams: mv {0} \
             {0}.damaged",
            path.display()
        ),
        OpenError::Version => {
            "start that version, or give this one a data.dir of its own".to_owned()
        }
        OpenError::Disk(_) => "mend the disk of data.dir, or name another".to_owned(),
    };
    Error::File { op: "open", path: PathBuf::from(path), reason: error.to_string(), mend }
}
