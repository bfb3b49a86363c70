//! `[recording]`: where streams are recorded, and how much of it is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::field::{Auto, words};
use super::key::{Key, Section};
use crate::record::RecordMode;

/// `[recording]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingSection {
    /// The directory.
    pub dir: Auto<PathBuf>,
    /// How streams are recorded of which the application says so.
    pub policy: RecordMode,
    /// A file is cut at the first keyframe after this; 0 never.
    pub segment: Duration,
    /// And after so many bytes; 0 never.
    pub file_bytes_max: u64,
    /// Recordings at one time.
    pub active_max: u32,
    /// Files that are kept.
    pub files_max: u32,
    /// Bytes that are kept; 0 for as many as there is room.
    pub bytes_max: u64,
    /// Bytes of the disk that are left free.
    pub free_min: u64,
    /// Hours that files are kept; 0 for ever.
    pub keep_hours: u64,
}

impl Default for RecordingSection {
    fn default() -> Self {
        Self {
            dir: Auto::Auto,
            policy: RecordMode::Off,
            segment: Duration::ZERO,
            file_bytes_max: 0,
            active_max: 8,
            files_max: 4_096,
            bytes_max: 0,
            free_min: 1 << 30,
            keep_hours: 0,
        }
    }
}

impl RecordingSection {
    /// The directory in force, of a server that keeps its data in `data`, as an absolute path.
    #[must_use]
    pub fn directory(&self, data: &Path) -> PathBuf {
        let dir = match &self.dir {
            Auto::Set(dir) => dir.clone(),
            Auto::Auto => data.join("recordings"),
        };
        std::path::absolute(&dir).unwrap_or(dir)
    }

    /// True if streams may be recorded: somebody said where, or that they are.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        matches!(self.dir, Auto::Set(_)) || !matches!(self.policy, RecordMode::Off)
    }

    /// How long files are kept; `None` for ever.
    #[must_use]
    pub fn keep(&self) -> Option<Duration> {
        (self.keep_hours > 0).then(|| Duration::from_secs(self.keep_hours.saturating_mul(3_600)))
    }
}

words!(RecordMode {
    "off" => RecordMode::Off,
    "flv" => RecordMode::Flv,
});

const DAY: u64 = 86_400_000;

const KEYS: &[Key] = &[
    Key::new(
        "dir",
        "The directory, with a folder for each stream. \"auto\" is recordings below data.dir, and \
         nothing is recorded unless the policy is set, too.",
        |s| &mut s.recording.dir,
    ),
    Key::new(
        "policy",
        "How a stream is recorded that says nothing of it itself, and of which the application \
         said x-record: true: \"flv\" or \"off\".",
        |s| &mut s.recording.policy,
    )
    .now(),
    Key::new("segment_ms", "A file ends before the first keyframe after this; 0 is never.", |s| {
        &mut s.recording.segment
    })
    .range(0, 30 * DAY)
    .millis()
    .now(),
    Key::new(
        "file_bytes_max",
        "And before the first keyframe after so many bytes; 0 is never.",
        |s| &mut s.recording.file_bytes_max,
    )
    .bytes()
    .now(),
    Key::new(
        "active_max",
        "Streams that are recorded at one time, each by a thread; further ones wait for a place.",
        |s| &mut s.recording.active_max,
    )
    .range(1, 1_024),
    Key::new("files_max", "Files that are kept at most; the oldest go.", |s| {
        &mut s.recording.files_max
    })
    .range(2, 1_000_000),
    Key::new(
        "bytes_max",
        "Bytes of all files at most; the oldest go. 0 is as many as there is room.",
        |s| &mut s.recording.bytes_max,
    )
    .bytes()
    .now(),
    Key::new(
        "free_min",
        "With less than this free on the disk nothing is recorded; no file goes for it.",
        |s| &mut s.recording.free_min,
    )
    .bytes()
    .now(),
    Key::new("keep_hours", "Files go so many hours after their end; 0 is never.", |s| {
        &mut s.recording.keep_hours
    })
    .range(0, 876_000)
    .now(),
];

pub(super) fn section() -> Section {
    Section::new(
        "recording",
        "Files of streams that say record = \"flv\", or of which the application says so.",
        KEYS,
    )
}
