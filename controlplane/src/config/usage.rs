//! `[usage]`: what is kept of who used how much.

use std::time::Duration;

use super::key::{Key, Section};

/// `[usage]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageSection {
    /// How long rows are kept.
    pub retention_days: u32,
    /// Rows of one hour.
    pub rows_per_hour_max: u64,
    /// How often they are written.
    pub flush: Duration,
}

impl Default for UsageSection {
    fn default() -> Self {
        Self { retention_days: 400, rows_per_hour_max: 4_096, flush: Duration::from_secs(5) }
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "retention_days",
        "Days for which it is kept, hour by hour, who used how much.",
        |s| &mut s.usage.retention_days,
    )
    .range(1, 3_660)
    .now(),
    Key::new(
        "rows_per_hour_max",
        "Rows of one hour, each of a stream and a protocol, of about 200 bytes on the disk; \
         streams that come later in the hour are counted together, by tenant.",
        |s| &mut s.usage.rows_per_hour_max,
    )
    .range(16, 100_000),
    Key::new("flush_ms", "How often it is written down; a crash loses what came since.", |s| {
        &mut s.usage.flush
    })
    .millis()
    .range(100, 60_000)
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("usage", "What streams and tenants used, to be billed: bytes and time.", KEYS)
}
