//! Log: records on their way to the file or to the log of everything.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use dataplane::rates::{Buckets, Rate};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::file::{SecurityFile, Tally, Target};
use super::record::{Happened, Record};

/// Lines of every second at most, for as long as it goes on: so many of penalties, and as many of
/// all else, so that nobody who makes many words hides what came of it.
const LINES_PER_SECOND: u64 = 50;
/// The same at one time.
const LINES_BURST: u64 = 500;
/// Under this name lines are in the log of everything, whatever its level.
pub(crate) const TARGET: &str = "security";
/// Lines that wait for the disk at most; further ones are dropped and counted.
const LINES_WAITING_MAX: usize = 1_024;
/// Threads that write at most: one, and those that wait for disks of files that were named before.
const WRITERS_MAX: usize = 3;
/// Lines that wait for disks at most.
pub const LINES_KEPT_MAX: usize = WRITERS_MAX * LINES_WAITING_MAX;

/// The log. Lives on: the control thread.
#[derive(Debug)]
pub struct SecurityLog {
    penalties: Buckets,
    all_else: Buckets,
    suppressed: u64,
    /// Lines for the log of everything.
    told: u64,
    left_out: u64,
    tally: Arc<Tally>,
    /// There is a thread for each file that is named.
    writer: Option<Writer>,
    /// Each thread that writes has a clone.
    threads: Arc<()>,
    /// Lines that found no room at threads that are gone.
    crowded: u64,
    /// How much was done when something found no room; nothing was since.
    stuck: Option<u64>,
    /// It was told that the disk does not answer.
    told_stuck: bool,
}

/// What gives lines to a thread, for a file.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    target: Arc<Mutex<Target>>,
    lines: NonBlocking,
    /// Looks that found no room among the lines.
    looks: u64,
    _guard: WorkerGuard,
}

impl Writer {
    /// Gives it a line, or none, after which the thread is done with what waited, and looks. False
    /// if there is no room.
    fn put(&mut self, line: &[u8]) -> bool {
        let before = self.lines.error_counter().dropped_lines();
        // It never waits, and what finds no room is dropped there.
        let _ = self.lines.write_all(line);
        let has_room = self.lines.error_counter().dropped_lines() == before;
        self.looks += u64::from(!has_room && line.is_empty());
        has_room
    }

    /// Lines that found no room.
    fn crowded(&self) -> u64 {
        (self.lines.error_counter().dropped_lines() as u64).saturating_sub(self.looks)
    }
}

impl Default for SecurityLog {
    fn default() -> Self {
        Self {
            penalties: Buckets::new(1),
            all_else: Buckets::new(1),
            suppressed: 0,
            told: 0,
            left_out: 0,
            tally: Arc::default(),
            writer: None,
            threads: Arc::default(),
            crowded: 0,
            stuck: None,
            told_stuck: false,
        }
    }
}

impl SecurityLog {
    /// Writes to that file from now on, or to the log of everything. Its thread looks at once
    /// whether anybody can write there; it tries again with each line. Another file has another
    /// thread, because the one before may wait for a disk that does not answer.
    pub fn write_to(&mut self, path: Option<&Path>, bytes_max: u64) {
        if self.writer.as_ref().map(|writer| &*writer.path) != path {
            self.let_go();
            self.writer = path.and_then(|path| self.open(path));
        }
        let Some(writer) = &mut self.writer else { return };
        {
            let mut target = writer.target.lock().unwrap_or_else(PoisonError::into_inner);
            *target = Target { bytes_max, named: target.named + 1 };
        }
        if !writer.put(&[]) {
            self.stuck.get_or_insert(done(&self.tally));
        }
    }

    /// A thread for a file, if there may be one more.
    fn open(&self, path: &Path) -> Option<Writer> {
        if Arc::strong_count(&self.threads) > WRITERS_MAX {
            tracing::error!(
                path = %path.display(),
                "log.security_file is not written: {WRITERS_MAX} files that were named before wait \
                 for disks that do not answer; its lines are here until they do and it is named \
                 again by a reload"
            );
            return None;
        }
        let (target, path) = (Arc::default(), path.to_path_buf());
        let (tally, thread) = (Arc::clone(&self.tally), Arc::clone(&self.threads));
        let file = SecurityFile::new(path.clone(), Arc::clone(&target), tally, thread);
        let (lines, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_WAITING_MAX)
            .thread_name("grandstand-security")
            .finish(file);
        Some(Writer { path, target, lines, looks: 0, _guard: guard })
    }

    /// The thread ends when what waits is written, which nobody waits for.
    fn let_go(&mut self) {
        self.stuck = None;
        let Some(writer) = self.writer.take() else { return };
        self.crowded += writer.crowded();
        let end = std::thread::Builder::new().name("grandstand-security-end".to_owned());
        if let Err(error) = end.spawn(move || drop(writer)) {
            tracing::debug!(%error, "the end of a thread was waited for");
        }
    }

    /// Whether lines are lost because the disk does not answer; `None` if it is as it was at the
    /// last question.
    pub fn hangs(&mut self) -> Option<bool> {
        let done = done(&self.tally);
        self.stuck = self.stuck.filter(|&at| at == done);
        let is_stuck = self.stuck.is_some();
        (std::mem::replace(&mut self.told_stuck, is_stuck) != is_stuck).then_some(is_stuck)
    }

    /// Writes a record, unless too many were written lately; then it is counted.
    pub fn write(&mut self, record: &Record<'_>, now: Instant) {
        let rate = Rate { per_second: LINES_PER_SECOND, burst: LINES_BURST };
        let bucket = match record.event {
            Happened::PenaltyBegun | Happened::PenaltyEnded => &self.penalties,
            _ => &self.all_else,
        };
        if bucket.take((), rate, now).is_err() {
            self.suppressed += record.count.max(1);
            self.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut self.suppressed);
        if left_out > 0 {
            let count = left_out;
            self.put(&Record { whose: None, count, ..suppressed() });
        }
        self.put(record);
    }

    /// Lines that were written, and that were not: there were too many, or the disk failed.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        let Tally { written, lost } = &*self.tally;
        let crowded = self.crowded + self.writer.as_ref().map_or(0, Writer::crowded);
        let [written, lost] = [written, lost].map(|count| count.load(Ordering::Relaxed));
        [self.told + written, self.left_out + lost + crowded]
    }

    fn put(&mut self, record: &Record<'_>) {
        let mut line = record.render(SystemTime::now());
        if let Some(writer) = &mut self.writer {
            line.push('\n');
            if !writer.put(line.as_bytes()) {
                self.stuck.get_or_insert(done(&self.tally));
            }
            return;
        }
        self.told += 1;
        // The line is the whole message, so that it is found in either format of the log.
        tracing::info!(target: TARGET, "{line}");
    }
}

/// Lines that a thread is done with.
fn done(tally: &Tally) -> u64 {
    let Tally { written, lost } = tally;
    written.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed)
}

/// What is told of lines that were left out.
const fn suppressed() -> Record<'static> {
    Record {
        event: Happened::Suppressed,
        whose: None,
        listener: None,
        proto: None,
        stream: None,
        reason: Some("too_many_lines"),
        count: 0,
        until: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_storm_is_cut_and_its_rest_is_told() {
        let dir = std::env::temp_dir().join(format!("grandstand-storm-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("security.log");
        let (mut log, now) = (SecurityLog::default(), Instant::now());
        log.write_to(Some(&path), 1 << 20);
        let record = Record::once(Happened::AuthRefused, [192, 0, 2, 7].into());
        for _ in 0..LINES_BURST + 1_000 {
            log.write(&record, now);
        }
        // What came of it has room of its own, and what was left out is told with it.
        log.write(&Record::once(Happened::PenaltyBegun, [192, 0, 2, 7].into()), now);
        log.write(&record, now + Duration::from_secs(1));
        assert_eq!(log.left_out, 1_000);
        // Ending the writer ends its thread, once everything is in the file.
        drop(log.writer.take());
        assert_eq!(log.counts(), [LINES_BURST + 3, 1_000]);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len() as u64, LINES_BURST + 3);
        assert!(lines[lines.len() - 2].contains("penalty_begun"));
        let told: serde_json::Value = serde_json::from_str(lines[lines.len() - 3]).unwrap();
        assert_eq!(
            (told["event"].as_str(), told["count"].as_u64()),
            (Some("suppressed"), Some(1_000))
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_hangs_is_told_and_left_for_another() {
        let dir = std::env::temp_dir().join(format!("grandstand-stuck-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (pipe, good) = (dir.join("pipe.log"), dir.join("security.log"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let (mut log, mut now) = (SecurityLog::default(), Instant::now());
        // Nobody reads there.
        log.write_to(Some(&pipe), 1 << 20);
        let record = Record::once(Happened::AuthRefused, [192, 0, 2, 7].into());
        // One may be on its way, and the look may be there still.
        for _ in 0..LINES_WAITING_MAX + 10 {
            now += Duration::from_secs(1);
            log.write(&record, now);
        }
        let [written, lost] = log.counts();
        assert!(written == 0 && (9..=11).contains(&lost), "{lost}");
        assert_eq!([log.hangs(), log.hangs()], [Some(true), None]);
        // A look for which there is no room is no line that was lost.
        log.write_to(Some(&pipe), 1 << 20);
        assert_eq!(log.counts(), [0, lost]);
        log.write_to(Some(&good), 1 << 20);
        assert_eq!(log.hangs(), Some(false));
        log.write(&record, now + Duration::from_secs(1));
        drop(log.writer.take());
        assert_eq!(log.counts(), [1, lost]);
        assert_eq!(std::fs::read_to_string(&good).unwrap().lines().count(), 1);
        while Arc::strong_count(&log.threads) > 2 {
            std::thread::yield_now();
        }
        // The one that hangs has a thread still, and no more than some may hang.
        for nth in 1..WRITERS_MAX {
            assert!(log.writer.is_none());
            let more = dir.join(format!("{nth}.log"));
            let made = std::process::Command::new("mkfifo").arg(&more).status().unwrap();
            assert!(made.success());
            log.write_to(Some(&more), 1 << 20);
            assert!(log.writer.is_some());
            log.write_to(None, 0);
        }
        log.write_to(Some(&good), 1 << 20);
        assert!(log.writer.is_none(), "its lines are in the log of everything");
        log.write(&record, now + Duration::from_secs(2));
        assert_eq!(log.counts(), [2, lost]);
        // A disk that answers gives its thread back.
        let mut reader = std::fs::File::open(&pipe).unwrap();
        while Arc::strong_count(&log.threads) > WRITERS_MAX {
            std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        }
        log.write_to(Some(&good), 1 << 20);
        assert!(log.writer.is_some());
        // Its thread looks at the file, and is waited for.
        drop(log.writer.take());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn lines_of_a_file_that_cannot_be_written_count_as_left_out() {
        let dir = std::env::temp_dir().join(format!("grandstand-nowhere-{}", std::process::id()));
        let mut log = SecurityLog::default();
        log.write_to(Some(&dir.join("none").join("security.log")), 1 << 20);
        let record = Record::once(Happened::AuthRefused, [192, 0, 2, 7].into());
        for _ in 0..3 {
            log.write(&record, Instant::now());
        }
        drop(log.writer.take());
        assert_eq!(log.counts(), [0, 3]);
    }
}
