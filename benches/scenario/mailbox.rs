//! Between shards, on one thread: letters and dirty bits, without the wake-up.

use dataplane::ids::ShardId;
use dataplane::shard::mailbox::{Inboxes, MailboxLimits, Outboxes, mesh};
use dataplane::shard::wake::Wakes;

use super::Scenario;

const READER: ShardId = ShardId(1);
const LETTERS: u64 = 1_000;
const LIMITS: MailboxLimits = MailboxLimits { letters_max: 256, answers_max: 64 };
/// Logs that the reading shard follows.
const SLOTS: u32 = 1_024;

/// What stands in a letter, about as large as those of shards.
type Letter = [u64; 4];

struct SendReceive {
    sender: Outboxes<Letter>,
    receiver: Inboxes<Letter>,
}

/// Letters from one shard of four to another, read in batches.
pub(super) fn send_receive() -> Box<dyn Scenario> {
    let mut ends = mesh(4, LIMITS);
    let receiver = ends.remove(READER.index()).1;
    let sender = ends.remove(0).0;
    Box::new(SendReceive { sender, receiver })
}

impl Scenario for SendReceive {
    fn run(&mut self) {
        let mut received = 0;
        for n in 0..LETTERS {
            self.sender.send(READER, [n; 4]).expect("it was emptied before");
            if n % 100 == 99 {
                while let Some((_, letter)) = self.receiver.recv() {
                    received += u64::from(letter[0] <= n);
                }
            }
        }
        assert_eq!(received, LETTERS);
    }
}

struct MarkDrain {
    wakes: Wakes,
}

/// Every eighth of a thousand logs got something new.
pub(super) fn mark_drain() -> Box<dyn Scenario> {
    Box::new(MarkDrain { wakes: Wakes::new(2, SLOTS) })
}

impl Scenario for MarkDrain {
    fn run(&mut self) {
        for slot in (0..SLOTS).step_by(8) {
            assert!(!self.wakes.mark(READER, slot), "nobody sleeps");
        }
        let mut seen = 0;
        self.wakes.drain(READER, |_| seen += 1);
        assert_eq!(seen, SLOTS / 8);
    }
}
