//! Who is to be sent something, fairly: deficit round-robin over classes of egress.
//!
//! Spec: Shreedhar and Varghese, "Efficient fair queueing using deficit round robin" (1995). Each
//! class earns its quantum per round and pays for what it sends, so a burst of joins cannot keep
//! live frames waiting, and live frames cannot starve those who catch up.
//!
//! Joins begin by a budget of bytes. Once it is spent they are held back, however many wait: each
//! of them would only be told to come again.

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
    /// Players that are behind, after their join or a stall.
    CatchUp,
    /// Players that begin at a join point, as far as the budget goes.
    Join,
    /// Viewers of segments, which are buffered ahead of what is shown.
    Segments,
}

/// Bytes that each class may send per round: viewers of segments mostly wait until a burst of live
/// frames is sent, but never for all of it.
const QUANTA: [i64; CLASSES] = [256 << 10, 1 << 20, 1 << 20, 512 << 10, 512 << 10, 128 << 10];
const CLASSES: usize = 6;
/// What a send costs beside its bytes: the kernel's work per send in terms of its work per byte.
const SEND_COST: i64 = 24 << 10;

/// Connection slots that wait, by class. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: [VecDeque<u32>; CLASSES],
    deficits: [i64; CLASSES],
    class: usize,
    earned: bool,
    /// Joins wait for the next budget.
    joins_held: bool,
}

impl Queues {
    /// Makes room for so many connections, so that waiting never allocates. A join takes memory
    /// anyway, and most connections never do.
    pub(super) fn reserve(&mut self, connections: usize) {
        for (class, queue) in self.queues.iter_mut().enumerate() {
            if class != Class::Join as usize {
                queue.reserve(connections.saturating_sub(queue.len()));
            }
        }
    }

    /// Appends a connection to a class.
    pub(super) fn push(&mut self, slot: u32, class: Class) {
        self.queues[class as usize].push_back(slot);
    }

    /// The next connection by turn; its cost is told with [`Self::pay`].
    pub(super) fn pop(&mut self) -> Option<u32> {
        // Each round lets every class that waits earn, so one of them is out of debt soon.
        while (0..CLASSES).any(|class| self.is_due(class)) {
            let class = self.class;
            let empty = self.queues[class].is_empty();
            if (empty || self.is_due(class)) && !self.earned {
                self.deficits[class] += QUANTA[class];
                self.earned = true;
            }
            if empty {
                // It saves nothing up, and what it owes is not forgiven: the next one comes soon.
                self.deficits[class] = self.deficits[class].min(0);
            } else if self.is_due(class) && self.deficits[class] > 0 {
                return self.queues[class].pop_front();
            }
            self.class = (class + 1) % QUANTA.len();
            self.earned = false;
        }
        None
    }

    /// True if a connection waits in a class that is not held back.
    fn is_due(&self, class: usize) -> bool {
        let held = self.joins_held && class == Class::Join as usize;
        !held && !self.queues[class].is_empty()
    }

    /// True if the connection that was popped last came to join.
    pub(super) const fn popped_join(&self) -> bool {
        self.class == Class::Join as usize
    }

    /// Holds joins back until [`Self::release_joins`].
    pub(super) const fn hold_joins(&mut self) {
        self.joins_held = true;
    }

    /// Joins may begin again.
    pub(super) const fn release_joins(&mut self) {
        self.joins_held = false;
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

    const CLASS_ORDER: [Class; CLASSES] = [
        Class::Reply,
        Class::LowLatency,
        Class::Live,
        Class::CatchUp,
        Class::Join,
        Class::Segments,
    ];

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
    fn segments_mostly_wait_while_a_burst_of_live_frames_is_sent() {
        let mut queues = Queues::default();
        for slot in 0..2_000 {
            queues.push(slot, if slot < 1_000 { Class::Live } else { Class::Segments });
        }
        let (mut live, mut segments) = (0, 0);
        while live < 1_000 {
            let is_live = queues.pop().unwrap() < 1_000;
            queues.pay(if is_live { 72 << 10 } else { 384 << 10 });
            *(if is_live { &mut live } else { &mut segments }) += 1;
        }
        let (live, segments) = (live * (96 << 10), segments * (408 << 10));
        let share = f64::from(segments) / f64::from(live + segments);
        assert!((0.09..0.13).contains(&share), "{share}");
    }

    #[test]
    fn a_class_whose_connections_come_one_by_one_has_no_more_than_its_share() {
        let mut queues = Queues::default();
        (0..1_000).for_each(|slot| queues.push(slot, Class::Live));
        let (mut live, mut segments, mut since) = (0, 0, 0);
        while live < 1_000 {
            let is_live = queues.pop().unwrap() < 1_000;
            queues.pay(if is_live { 72 << 10 } else { 384 << 10 });
            *(if is_live { &mut live } else { &mut segments }) += 1;
            since = if is_live { since + 1 } else { 0 };
            if since == 3 {
                // It has sent its last and comes again while others are being sent to.
                queues.push(1_000, Class::Segments);
            }
        }
        let (live, segments) = (live * (96 << 10), segments * (408 << 10));
        let share = f64::from(segments) / f64::from(live + segments);
        assert!((0.09..0.13).contains(&share), "{share}");
    }

    #[test]
    fn all_that_was_pushed_is_popped() {
        let mut queues = Queues::default();
        for slot in 0..40 {
            queues.push(slot, CLASS_ORDER[slot as usize % CLASSES]);
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

    #[test]
    fn joins_that_are_held_back_keep_nobody_else_waiting() {
        let mut queues = Queues::default();
        for (slot, class) in (0..).zip(CLASS_ORDER) {
            queues.push(slot, class);
        }
        queues.hold_joins();
        let mut others = Vec::new();
        while let Some(slot) = queues.pop() {
            queues.pay(2 << 20);
            assert!(!queues.popped_join());
            others.push(slot);
        }
        assert_eq!(others, [0, 1, 2, 3, 5]);
        assert!(!queues.is_empty(), "who is held back still waits");
        queues.release_joins();
        assert_eq!(queues.pop(), Some(4));
        assert!(queues.popped_join() && queues.is_empty());
    }
}
