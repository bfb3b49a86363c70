//! What the peer misses of what was sent, and what was sent again lately.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::ranges::Ranges;

/// Packets of which it is known when they were sent again, at most.
const RECENT_MAX: usize = 512;
/// Packets that are found to be sent lately at a time: a peer may ask for all of them in each
/// datagram.
const SKIPPED_MAX: usize = 64;
/// A packet is not sent again for this long at most: round trips are the peer's word.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The queue of what is to be sent again.
#[derive(Debug, Default)]
pub(super) struct Retransmissions {
    /// What finds no room is asked for again by a peer that needs it.
    ranges: Ranges,
    /// Number and time, in the order of time.
    recent: VecDeque<(u64, Instant)>,
    /// The same numbers.
    is_recent: HashSet<u64>,
}

impl Retransmissions {
    /// Adds what the peer misses.
    pub(super) fn add(&mut self, lost: Range<u64>) {
        self.ranges.add(lost);
    }

    /// A packet that was to be sent again did not leave.
    pub(super) fn put_back(&mut self, number: u64) {
        if self.is_recent.remove(&number) {
            self.recent.retain(|(recent, _)| *recent != number);
        }
        self.ranges.add(number..number + 1);
    }

    /// Forgets what lies before `end`.
    pub(super) fn remove_before(&mut self, end: u64) {
        self.ranges.remove_before(end);
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.ranges.bytes()
            + self.recent.capacity() * size_of::<(u64, Instant)>()
            + self.is_recent.capacity() * 2 * size_of::<u64>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The next packet to send again. One that was sent less than `pause` ago is left out: the
    /// peer's word left before it could arrive. `None` may mean that many were left out.
    pub(super) fn next(&mut self, now: Instant, pause: Duration) -> Option<u64> {
        let pause = pause.min(PAUSE_MAX);
        while self.recent.front().is_some_and(|(_, at)| *at + pause <= now) {
            self.forget_one();
        }
        for _ in 0..=SKIPPED_MAX {
            let number = self.ranges.pop()?;
            if self.is_recent.insert(number) {
                if self.recent.len() == RECENT_MAX {
                    self.forget_one();
                }
                self.recent.push_back((number, now));
                return Some(number);
            }
        }
        None
    }

    fn forget_one(&mut self) {
        if let Some((number, _)) = self.recent.pop_front() {
            self.is_recent.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    fn ranges(queue: &Retransmissions) -> Vec<(u64, u64)> {
        queue.ranges.pairs()
    }

    #[test]
    fn what_did_not_leave_waits_for_no_pause() {
        let now = epoch();
        let pause = Duration::from_millis(40);
        let mut queue = Retransmissions::default();
        queue.add(5..8);
        assert_eq!([(); 3].map(|()| queue.next(now, pause)), [Some(5), Some(6), Some(7)]);
        queue.put_back(6);
        queue.add(5..8);
        assert_eq!(queue.next(now, pause), Some(6), "the others are under way");
        assert_eq!(queue.next(now, pause), None);
        assert_eq!((queue.recent.len(), queue.is_recent.len()), (3, 3));
    }

    #[test]
    fn what_is_under_way_is_not_sent_again() {
        let now = epoch();
        let pause = Duration::from_millis(40);
        let mut queue = Retransmissions::default();
        queue.add(5..7);
        assert_eq!(queue.next(now, pause), Some(5));
        assert_eq!(queue.next(now, pause), Some(6));
        queue.add(5..8);
        assert_eq!(queue.next(now + pause / 2, pause), Some(7));
        assert_eq!(queue.next(now + pause / 2, pause), None);
        queue.add(5..6);
        assert_eq!(queue.next(now + pause, pause), Some(5));
    }

    #[test]
    fn asking_for_what_was_just_sent_costs_little() {
        let now = epoch();
        let pause = Duration::from_secs(10);
        let mut queue = Retransmissions::default();
        let count = RECENT_MAX as u64;
        queue.add(0..count + 100);
        assert!((0..count).all(|number| queue.next(now, pause) == Some(number)));
        queue.remove_before(count + 100);
        queue.add(0..count);
        let skipped = SKIPPED_MAX as u64 + 1;
        assert_eq!(queue.next(now, pause), None);
        assert_eq!(ranges(&queue), [(skipped, count)], "the rest is looked at another time");
        assert_eq!(queue.next(now, pause), None);
        assert_eq!(ranges(&queue), [(2 * skipped, count)]);
        // A peer whose way is as long as it says waits no longer than a second.
        queue.add(5..6);
        assert_eq!(queue.next(now + PAUSE_MAX, pause), Some(5));
    }

    #[test]
    fn only_the_last_packets_are_remembered() {
        let now = epoch();
        let pause = Duration::from_secs(1);
        let mut queue = Retransmissions::default();
        let count = RECENT_MAX as u64;
        queue.add(0..count + 1);
        while queue.next(now, pause).is_some() {}
        assert_eq!((queue.recent.len(), queue.is_recent.len()), (RECENT_MAX, RECENT_MAX));
        queue.add(0..2);
        assert_eq!(queue.next(now, pause), Some(0), "it is the oldest, and forgotten");
        assert_eq!(queue.next(now, pause), Some(1), "so is this one now");
        queue.add(count..count + 1);
        assert_eq!(queue.next(now, pause), None);
    }
}
