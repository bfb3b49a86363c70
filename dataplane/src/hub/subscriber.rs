//! Who reads a log.

use crate::ids::ShardId;

/// A shard that reads a log, for however many players.
///
/// Crosses by: mailbox, with each question for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// The shard.
    pub shard: ShardId,
    /// The slot that it watches: what is marked dirty when the log moves on.
    pub slot: u32,
    /// The number of its question: a later one of the same slot has another, so that a farewell
    /// that went a long way ends no reader but its own.
    pub number: u64,
}
