//! The tree of `/proc`, and how its small files are read.
//!
//! Spec: `proc(5)`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where the kernel tells of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcTree {
    root: PathBuf,
}

impl Default for ProcTree {
    fn default() -> Self {
        Self::at(PathBuf::from("/proc"))
    }
}

impl ProcTree {
    /// A tree at another place, such as one that a test wrote.
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// A place in it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// The text of a file in it.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(&self, inside: &str) -> Result<String> {
        read(&self.path(inside))
    }
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The first number behind a name at the start of a line.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
