//! Report: what recordings tell the control thread.

use std::path::PathBuf;

use dataplane::ids::StreamName;

use super::file_id::FileId;

/// What one recording tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its number; 0 of files that an earlier run left.
    pub number: u64,
    /// Its stream.
    pub stream: StreamName,
    /// What it tells.
    pub word: Word,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A file is being written.
    Began {
        /// Its name.
        id: FileId,
        /// Where it is.
        path: PathBuf,
    },
    /// A file is whole.
    Finished {
        /// Its name.
        id: FileId,
        /// Where it is.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
        /// How long it plays.
        duration_ms: u64,
        /// Why it ends there.
        reason: &'static str,
    },
    /// It cannot go on.
    Failed {
        /// Why, in a word.
        reason: &'static str,
        /// What went wrong, and the mend.
        message: String,
    },
    /// Its thread is over.
    Over,
}
