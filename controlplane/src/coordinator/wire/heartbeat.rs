//! Heartbeat: how each side knows that the other one is there.

use std::time::Duration;

/// A side sends its heartbeat this often. Documents promise one every thirty seconds, the programs
/// of the family send each twenty, so that one may be lost.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// A side that hears nothing for this long leaves.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
