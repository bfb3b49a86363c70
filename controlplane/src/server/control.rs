//! Control plane: what the running server keeps to reload itself.

use crate::config::{Loaded, Plan};
use crate::logging::Logging;

/// The configuration in force, and the log that follows it.
pub(super) struct ControlPlane {
    /// The configuration in force; keys that need a restart may be newer than what runs.
    pub(super) loaded: Loaded,
    /// What the node was started with.
    pub(super) plan: Plan,
    /// The log.
    pub(super) logging: Logging,
}
