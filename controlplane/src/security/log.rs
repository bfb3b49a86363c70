//! Log: records on their way to the file or to the log of everything.

use std::io::Write;
use std::path::Path;
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
pub const LINES_WAITING_MAX: usize = 1_024;

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
    target: Arc<Mutex<Target>>,
    /// There is a thread once there was a file.
    writer: Option<(NonBlocking, WorkerGuard)>,
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
            target: Arc::default(),
            writer: None,
        }
    }
}

impl SecurityLog {
    /// Writes to that file from now on, or to the log of everything. Its thread looks at once
    /// whether anybody can write there; it tries again with each line.
    pub fn write_to(&mut self, path: Option<&Path>, bytes_max: u64) {
        let target = Target { path: path.map(Path::to_path_buf), bytes_max };
        let is_file = target.path.is_some();
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        if is_file && self.writer.is_none() {
            let writer = NonBlockingBuilder::default()
                .lossy(true)
                .buffered_lines_limit(LINES_WAITING_MAX)
                .thread_name("grandstand-security")
                .finish(SecurityFile::new(Arc::clone(&self.target), Arc::clone(&self.tally)));
            self.writer = Some(writer);
        }
        if let (true, Some((writer, _))) = (is_file, &mut self.writer) {
            // No line, after which the thread is done with what waited, and looks.
            let _ = writer.write_all(&[]);
        }
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
        let crowded = self.writer.as_ref().map(|(writer, _)| writer.error_counter());
        let crowded = crowded.map_or(0, |counter| counter.dropped_lines() as u64);
        let [written, lost] = [written, lost].map(|count| count.load(Ordering::Relaxed));
        [self.told + written, self.left_out + lost + crowded]
    }

    fn put(&mut self, record: &Record<'_>) {
        let mut line = record.render(SystemTime::now());
        let is_file = self.target.lock().unwrap_or_else(PoisonError::into_inner).path.is_some();
        if let (true, Some((writer, _))) = (is_file, &mut self.writer) {
            line.push('\n');
            // It never waits, and what finds no room is dropped there.
            let _ = writer.write_all(line.as_bytes());
            return;
        }
        self.told += 1;
        // The line is the whole message, so that it is found in either format of the log.
        tracing::info!(target: TARGET, "{line}");
    }
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
