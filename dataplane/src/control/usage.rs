//! What streams used: bytes on sockets and time, as shards count it and the control plane keeps it.

use std::sync::Arc;

use super::Protocol;
use crate::ids::{ShardId, StreamName};

/// What was used.
///
/// Units: bytes as the kernel took them from us and gave them to us, so inside TLS those of its
/// records; microseconds that sessions lasted, added up over sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that came.
    pub bytes_in: u64,
    /// Bytes that went.
    pub bytes_out: u64,
    /// How long it was played.
    pub play_us: u64,
    /// How long it was published.
    pub publish_us: u64,
}

impl Usage {
    /// What both used together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
            play_us: self.play_us.saturating_add(other.play_us),
            publish_us: self.publish_us.saturating_add(other.publish_us),
        }
    }

    /// What was used since it was `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            bytes_in: self.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(before.bytes_out),
            play_us: self.play_us.saturating_sub(before.play_us),
            publish_us: self.publish_us.saturating_sub(before.publish_us),
        }
    }

    /// True if nothing was used.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What one stream used by one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The stream; `None` of all those for which a shard had no row.
    pub stream: Option<StreamName>,
    /// How.
    pub protocol: Protocol,
    /// What it used since the batch before.
    pub used: Usage,
    /// Of the bytes that came: those of connections while they published. It bounds publishers and
    /// is not billed.
    pub publish_bytes_in: u64,
}

/// What streams used on one shard since the batch before: each use is in one batch.
///
/// A shard makes the next batch when it is asked for its number, and gives the last one again when
/// it is asked for that: so nothing is lost where an answer was, and nothing is told twice under
/// another number.
#[derive(Clone, Debug)]
pub struct UsageBatch {
    /// The shard.
    pub shard: ShardId,
    /// Its number, from 1 on without a gap.
    pub number: u64,
    /// The calendar when it was made, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was used.
    pub rows: Arc<[UsageRow]>,
    /// More was used than one batch tells: the next one may be asked for at once.
    pub more: bool,
}
