//! Origin: moments as nanoseconds since the first one, so that an atomic holds them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The moment that a table counts from: the first that it was asked about.
#[derive(Debug, Default)]
pub(super) struct Origin(OnceLock<Instant>);

impl Origin {
    /// Nanoseconds until `at`; 0 for what was before.
    pub(super) fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(*self.0.get_or_init(|| at));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The same, for a moment that lies `ahead` of `at`.
    pub(super) fn nanos_after(&self, at: Instant, ahead: Duration) -> u64 {
        let ahead = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
        self.nanos(at).saturating_add(ahead)
    }
}
