//! Fleet: the shards, as the bridge sees them.

use dataplane::control::{Command, Event};
use dataplane::ids::{ShardId, StreamName};

/// The mailboxes of all shards.
pub trait Fleet {
    /// How many shards there are.
    fn shards(&self) -> usize;
    /// The home of a stream in the map: what is asked of a stream is asked there.
    fn home(&self, stream: &StreamName) -> ShardId;
    /// The next event of any shard.
    fn next_event(&mut self) -> Option<(ShardId, Event)>;
    /// Puts a command into a shard's mailbox, or gives it back when that is full.
    fn send(&mut self, shard: ShardId, command: Command) -> Result<(), Command>;
}
