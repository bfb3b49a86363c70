//! A clock for tests.

use std::time::Instant;

/// Some moment to count from.
#[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}
