//! Rows of what tests use.

use dataplane::control::{Protocol, Usage, UsageRow};

/// So many bytes were published, and so many sent.
pub(super) fn used(published: u64, sent: u64) -> UsageRow {
    let used = Usage { bytes_in: published, bytes_out: sent, ..Usage::default() };
    UsageRow { stream: None, protocol: Protocol::Rtmp, used, publish_bytes_in: published }
}
