//! `[usage]`: what is kept of who used how much.

use std::time::Duration;

use super::field::Auto;
use super::key::{Key, Section};

/// `[usage]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageSection {
    /// How long rows are kept.
    pub retention_days: u32,
    /// Rows of one hour.
    pub rows_per_hour_max: Auto<u64>,
    /// How often they are written.
    pub flush: Duration,
}

impl Default for UsageSection {
    fn default() -> Self {
        let (rows_per_hour_max, flush) = (Auto::Auto, Duration::from_secs(5));
        Self { retention_days: 400, rows_per_hour_max, flush }
    }
}

/// Rows of one hour at most, whoever sets them.
const ROWS_MAX: u64 = 100_000;
/// Protocols that a stream is published and played by, for which it has a row each.
const PROTOCOLS: u64 = 4;

impl UsageSection {
    /// Rows of one hour, of a node of so many streams.
    #[must_use]
    pub const fn rows_max(&self, streams_max: u64) -> u64 {
        let rows = streams_max.saturating_mul(PROTOCOLS);
        match self.rows_per_hour_max {
            Auto::Set(rows) => rows,
            Auto::Auto if rows > ROWS_MAX => ROWS_MAX,
            Auto::Auto => rows,
        }
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
        "Rows of one hour, each of a stream and a protocol, of about 200 bytes on the disk and \
         3 kB of memory; streams that come later in the hour are counted together, by tenant. \
         \"auto\" is four for each of limits.streams_max.",
        |s| &mut s.usage.rows_per_hour_max,
    )
    .range(16, ROWS_MAX),
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
