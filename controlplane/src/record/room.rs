//! Room: how much may be recorded, and why nothing more is.

use std::io;

use crate::config::human_bytes;

/// Why a file cannot be written.
#[derive(Debug)]
pub enum Refused {
    /// The disk has less room left than is to be left.
    Disk {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to be.
        free_min: u64,
    },
    /// Files that are being written have taken what all may take.
    Bytes {
        /// Bytes that all may take.
        bytes_max: u64,
    },
    /// As many files are being written as may be there.
    Files {
        /// Files that may be there.
        files_max: u32,
    },
    /// The system refuses.
    Io(io::Error),
}

impl Refused {
    /// In a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "disk_full",
            Self::Bytes { .. } => "bytes_max",
            Self::Files { .. } => "files_max",
            Self::Io(error) if is_full(error) => "disk_full",
            Self::Io(_) => "io",
        }
    }

    /// What went wrong, and the mend.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Disk { free, free_min } => format!(
                "the disk of recording.dir has {} left, and recording.free_min is {}; free some of \
                 it, or name another disk",
                human_bytes(*free),
                human_bytes(*free_min)
            ),
            Self::Bytes { bytes_max } => format!(
                "the files that are being written take all of recording.bytes_max, {}; raise it, \
                 or set recording.segment_ms, so that what was recorded first can go",
                human_bytes(*bytes_max)
            ),
            Self::Files { files_max } => format!(
                "all of the {files_max} files of recording.files_max are being written; raise it"
            ),
            Self::Io(error) if is_full(error) => {
                format!("the disk of recording.dir is full ({error}); free some of it")
            }
            Self::Io(error) => {
                format!("recording.dir cannot be written: {error}; see to its folder and its disk")
            }
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
