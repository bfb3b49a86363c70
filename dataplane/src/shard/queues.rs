//! Who is to be sent something, fairly: deficit round-robin over classes of egress.
//!
//! Spec: Shreedhar and Varghese, "Efficient fair queueing using deficit round robin" (1995). Each
//! class earns its quantum per round and pays for what it sends, so a burst of joins cannot keep
//! live frames waiting, and live frames cannot starve those who catch up.

use std::collections::VecDeque;

/// A class of egress, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Replies of sessions, ingest among them.
    Reply,
    /// Players that asked for every frame at once.
    LowLatency,
    /// Players at the live edge.
    Live,
    /// Players that are behind: joins and stalls.
    CatchUp,
    /// Viewers of segments, which are buffered ahead of what is shown.
    Segments,
}

/// Bytes that each class may send per round.
const QUANTA: [i64; CLASSES] = [256 << 10, 1 << 20, 1 << 20, 512 << 10, 512 << 10];
const CLASSES: usize = 5;
/// What a send costs beside its bytes: the kernel's work per send in terms of its work per byte.
const SEND_COST: i64 = 24 << 10;

/// Connection slots that wait, by class. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: [VecDeque<u32>; CLASSES],
    deficits: [i64; CLASSES],
    class: usize,
    earned: bool,
}

impl Queues {
    /// Makes room for so many connections, so that waiting never allocates.
    pub(super) fn reserve(&mut self, connections: usize) {
        for queue in &mut self.queues {
            queue.reserve(connections.saturating_sub(queue.len()));
        }
    }

    /// Appends a connection to a class.
    pub(super) fn push(&mut self, slot: u32, class: Class) {
        self.queues[class as usize].push_back(slot);
    }

    /// The next connection by turn; its cost is told with [`Self::pay`].
    pub(super) fn pop(&mut self) -> Option<u32> {
        // Each round lets every class that waits earn, so one of them is out of debt soon.
        while !self.is_empty() {
            let class = self.class;
            if self.queues[class].is_empty() {
                self.deficits[class] = 0;
            } else {
                if !self.earned {
                    self.deficits[class] += QUANTA[class];
                    self.earned = true;
                }
                if self.deficits[class] > 0 {
                    return self.queues[class].pop_front();
                }
            }
            self.class = (class + 1) % QUANTA.len();
            self.earned = false;
        }
        None
    }

    /// The connection that comes `n` places after the next one of the class in turn.
    pub(super) fn ahead(&self, n: usize) -> Option<u32> {
        self.queues[self.class].get(n).copied()
    }

    /// The connection that was popped last sent `bytes`.
    pub(super) fn pay(&mut self, bytes: usize) {
        let cost = i64::try_from(bytes).unwrap_or(i64::MAX / 2) + SEND_COST;
        self.deficits[self.class] -= cost;
    }

    /// True if nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_gets_its_share_while_another_floods() {
        let mut queues = Queues::default();
        for slot in 0..1000 {
            queues.push(slot, Class::CatchUp);
        }
        for slot in 1000..1100 {
            queues.push(slot, Class::Live);
        }
        let mut live_done = 0;
        for n in 0..250 {
            let slot = queues.pop().unwrap();
            queues.pay(if slot < 1000 { 64 << 10 } else { 8 << 10 });
            if slot >= 1000 {
                live_done = n;
            }
        }
        assert!((100..200).contains(&live_done), "live ended after {live_done} sends");
    }

    #[test]
    fn all_that_was_pushed_is_popped() {
        let mut queues = Queues::default();
        for slot in 0..40 {
            let classes =
                [Class::Reply, Class::LowLatency, Class::Live, Class::CatchUp, Class::Segments];
            queues.push(slot, classes[slot as usize % CLASSES]);
        }
        let mut seen = Vec::new();
        while let Some(slot) = queues.pop() {
            queues.pay(2 << 20);
            seen.push(slot);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        assert!(queues.is_empty());
    }
}
