//! One shard: a fleet for tests, of one shard that does nothing by itself.

use std::collections::VecDeque;

use dataplane::control::{Command, Event};
use dataplane::ids::{ShardId, StreamName};

use super::fleet::Fleet;

/// One shard, which tells what it is told to and keeps what it hears.
#[derive(Default)]
pub(super) struct OneShard {
    pub(super) events: VecDeque<Event>,
    pub(super) heard: Vec<Command>,
}

impl Fleet for OneShard {
    fn shards(&self) -> usize {
        1
    }
    fn home(&self, _: &StreamName) -> ShardId {
        ShardId(0)
    }
    fn next_event(&mut self) -> Option<(ShardId, Event)> {
        Some((ShardId(0), self.events.pop_front()?))
    }
    fn send(&mut self, _: ShardId, command: Command) -> Result<(), Command> {
        self.heard.push(command);
        Ok(())
    }
}
