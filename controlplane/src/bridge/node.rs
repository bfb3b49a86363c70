//! The running node as a fleet.

use dataplane::Node;
use dataplane::control::{Command, Event};
use dataplane::ids::{ShardId, StreamName};

use super::fleet::Fleet;

impl Fleet for Node {
    fn shards(&self) -> usize {
        Self::shards(self)
    }
    fn home(&self, stream: &StreamName) -> ShardId {
        Self::home(self, stream)
    }
    fn next_event(&mut self) -> Option<(ShardId, Event)> {
        Self::next_event(self)
    }
    fn send(&mut self, shard: ShardId, command: Command) -> Result<(), Command> {
        Self::send(self, shard, command)
    }
}
