//! `[data]`: where the server keeps what must survive a restart.

use std::path::PathBuf;

use super::field::Auto;
use super::key::{Key, Section};

/// `[data]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSection {
    /// The directory.
    pub dir: Auto<PathBuf>,
}

impl Default for DataSection {
    fn default() -> Self {
        Self { dir: Auto::Auto }
    }
}

impl DataSection {
    /// The directory in force: the configured one, the service manager's, or one below the
    /// working directory. A service manager may name several, of which the first is ours.
    #[must_use]
    pub fn directory(&self, state_directory: Option<&str>) -> PathBuf {
        let named = state_directory.and_then(|list| list.split(':').next());
        match (&self.dir, named.filter(|dir| !dir.is_empty())) {
            (Auto::Set(dir), _) => dir.clone(),
            (Auto::Auto, Some(dir)) => PathBuf::from(dir),
            (Auto::Auto, None) => PathBuf::from("./grandstand-data"),
        }
    }
}

const KEYS: &[Key] = &[Key::new(
    "dir",
    "The directory, made with mode 0700. \"auto\" is $STATE_DIRECTORY, else ./grandstand-data.",
    |s| &mut s.data.dir,
)];

pub(super) fn section() -> Section {
    Section::new(
        "data",
        "What must survive a restart: the token of the API, and the store, which one process at a \
         time may open.",
        KEYS,
    )
}
