//! What is to be done when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things with their times; those of the same time keep their order.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    heap: BinaryHeap<Entry<T>>,
    count: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// When, and the how manyeth it is.
    key: Reverse<(u64, u64)>,
    thing: T,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }
}

impl<T> Schedule<T> {
    /// Adds a thing.
    pub(super) fn push(&mut self, due_ns: u64, thing: T) {
        self.heap.push(Entry { key: Reverse((due_ns, self.count)), thing });
        self.count += 1;
    }

    /// When the next thing is due.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.key.0.0)
    }

    /// The next thing whose time has come, with its time.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<(u64, T)> {
        let due_ns = self.next_ns().filter(|due_ns| *due_ns <= now_ns)?;
        self.heap.pop().map(|entry| (due_ns, entry.thing))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_the_order_of_their_times() {
        let mut schedule = Schedule::default();
        for (due_ns, thing) in [(5, 'c'), (3, 'a'), (5, 'd'), (4, 'b'), (9, 'e')] {
            schedule.push(due_ns, thing);
        }
        assert_eq!(schedule.pop(2), None);
        let due: String = std::iter::from_fn(|| schedule.pop(5)).map(|(_, thing)| thing).collect();
        assert_eq!((due.as_str(), schedule.next_ns()), ("abcd", Some(9)));
    }
}
