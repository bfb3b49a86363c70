//! Outbox: commands that wait for room in a shard's mailbox, in their order.

use std::collections::VecDeque;
use std::mem::discriminant;

use dataplane::control::Command;
use dataplane::ids::ShardId;

use super::fleet::Fleet;

/// Commands that wait for all shards together at most, besides one drain and one stop each.
///
/// Shards bound their questions themselves, so this is reached only by one that does not turn; its
/// sessions then see their verdict's deadline pass, which is a refusal.
pub(crate) const WAITING_MAX: usize = 65_536;

/// One queue per shard.
#[derive(Debug)]
pub(crate) struct Outbox {
    queues: Vec<VecDeque<Command>>,
    waiting: usize,
    /// Commands that found no room.
    pub(crate) dropped: u64,
}

impl Outbox {
    pub(crate) fn new(shards: usize) -> Self {
        let queues = (0..shards).map(|_| VecDeque::new()).collect();
        Self { queues, waiting: 0, dropped: 0 }
    }

    /// Sends `command` now, or after those that already wait.
    pub(crate) fn send(&mut self, fleet: &mut impl Fleet, shard: ShardId, command: Command) {
        let queue = &mut self.queues[shard.index()];
        let command = match queue.is_empty() {
            true => match fleet.send(shard, command) {
                Ok(()) => return,
                Err(command) => command,
            },
            false => command,
        };
        // Of directories only the newest matters, and of questions what was used.
        if matches!(command, Command::Directory(_) | Command::Usage { .. }) {
            let (before, kind) = (queue.len(), discriminant(&command));
            queue.retain(|waiting| discriminant(waiting) != kind);
            self.waiting -= before - queue.len();
        }
        let last_word = matches!(command, Command::Drain | Command::Stop);
        if self.waiting >= WAITING_MAX && !last_word {
            self.dropped += 1;
            return;
        }
        queue.push_back(command);
        self.waiting += 1;
    }

    /// Sends what fits.
    pub(crate) fn flush(&mut self, fleet: &mut impl Fleet) {
        for (index, queue) in self.queues.iter_mut().enumerate() {
            let shard = ShardId(u16::try_from(index).expect("shards are at most 64"));
            while let Some(command) = queue.pop_front() {
                if let Err(command) = fleet.send(shard, command) {
                    queue.push_front(command);
                    break;
                }
                self.waiting -= 1;
            }
        }
    }

    /// How many commands wait.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// True if nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Forgets what waits for a shard that is gone.
    pub(crate) fn forget(&mut self, shard: ShardId) {
        self.waiting -= self.queues[shard.index()].drain(..).len();
    }
}
