//! File: where lines of the security log are written.
//!
//! It is opened for each line, so that whoever rotates logs may move it away at any time.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A file that cannot be written is told of this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Lines that came to a file, and that did not.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) written: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// How large the file becomes, and how often it was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) bytes_max: u64,
    pub(super) named: u64,
}

/// Lives on: the thread that writes. Crosses by: the target, behind a lock that nobody holds long.
#[derive(Debug)]
pub(super) struct SecurityFile {
    path: PathBuf,
    target: Arc<Mutex<Target>>,
    tally: Arc<Tally>,
    /// Each thread that writes has a clone.
    _thread: Arc<()>,
    told: Option<Instant>,
    /// How often it was named when it was tried last.
    tried: u64,
}

impl SecurityFile {
    pub(super) fn new(
        path: PathBuf,
        target: Arc<Mutex<Target>>,
        tally: Arc<Tally>,
        thread: Arc<()>,
    ) -> Self {
        Self { path, target, tally, _thread: thread, told: None, tried: 0 }
    }

    fn target(&self) -> Target {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the file was named again since it was tried last; it is tried now.
    fn is_new(&mut self) -> bool {
        let Target { named, .. } = self.target();
        let is_new = self.tried != named;
        if is_new {
            (self.told, self.tried) = (None, named);
        }
        is_new
    }

    /// Tells of a file that cannot be written, now and then.
    fn tell(&mut self, error: &std::io::Error) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY) {
            self.told = Some(now);
            tracing::error!(
                path = %self.path.display(),
                reason = %error,
                "log.security_file cannot be written, its lines are lost; mend the path or its \
                 permissions"
            );
        }
    }

    fn append(&self, line: &[u8]) -> std::io::Result<()> {
        let (path, Target { bytes_max, .. }) = (&self.path, self.target());
        let mut file = open(path)?;
        let length = file.metadata()?.len();
        if length > 0 && length + line.len() as u64 > bytes_max {
            let mut former = path.clone().into_os_string();
            former.push(".1");
            std::fs::rename(path, former)?;
            file = open(path)?;
        }
        file.write_all(line)
    }
}

/// Opens the file, which is made if there is none.
///
/// Errors: nobody can write there.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Write for SecurityFile {
    /// Takes whole lines. A disk that fails loses them, and that is told and counted.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.is_new();
        let appended = self.append(line);
        let counter = if appended.is_ok() { &self.tally.written } else { &self.tally.lost };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = appended {
            self.tell(&error);
        }
        Ok(line.len())
    }

    /// Everything that waited is written: a file that is new is tried, so that who named it hears
    /// what is wrong with it before there is a line for it.
    fn flush(&mut self) -> std::io::Result<()> {
        if self.is_new()
            && let Err(error) = open(&self.path)
        {
            self.tell(&error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_grows_to_its_bound_and_is_kept_once() {
        let dir = std::env::temp_dir().join(format!("grandstand-security-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("security.log");
        let target = Arc::new(Mutex::new(Target { bytes_max: 64, named: 1 }));
        let tally = Arc::<Tally>::default();
        let of =
            |path| SecurityFile::new(path, Arc::clone(&target), Arc::clone(&tally), Arc::default());
        let mut file = of(path.clone());
        for number in 0..20 {
            let line = format!("line {number:04}\n");
            assert_eq!(file.write(line.as_bytes()).unwrap(), 10);
        }
        let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&path).lines().last(), Some("line 0019"));
        let former = dir.join("security.log.1");
        for path in [&path, &former] {
            assert!(std::fs::metadata(path).unwrap().len() <= 64);
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
        // Whoever moves it away gets the next line in a new one.
        std::fs::rename(&path, &former).unwrap();
        file.write_all(b"next\n").unwrap();
        assert_eq!(read(&path), "next\n");
        // A path that is none loses lines, not the writer.
        let mut nowhere = of(dir.join("none").join("security.log"));
        assert_eq!(nowhere.write(b"lost\n").unwrap(), 5);
        assert!(nowhere.told.is_some() && !nowhere.is_new());
        // Who names it again hears of it again.
        target.lock().unwrap().named += 1;
        assert!(nowhere.is_new() && nowhere.told.is_none());
        nowhere.flush().unwrap();
        assert!(nowhere.told.is_none(), "it was tried");
        target.lock().unwrap().named += 1;
        nowhere.flush().unwrap();
        assert!(nowhere.told.is_some());
        let counted = [&tally.written, &tally.lost].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counted, [21, 1]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
