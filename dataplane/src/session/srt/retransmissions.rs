//! What the peer misses of what was sent, and what was sent again lately.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Ranges that wait at most; what is beyond is asked for again by a peer that needs it.
const RANGES_MAX: usize = 1_024;
/// Packets of which it is known when they were sent again, at most.
const RECENT_MAX: usize = 4_096;

/// The queue of what is to be sent again.
#[derive(Debug, Default)]
pub(super) struct Retransmissions {
    /// In order, apart from each other.
    ranges: VecDeque<Range<u64>>,
    /// Number and time, in the order of time.
    recent: VecDeque<(u64, Instant)>,
}

impl Retransmissions {
    /// Adds what the peer misses.
    pub(super) fn add(&mut self, lost: Range<u64>) {
        let first = self.ranges.partition_point(|range| range.end < lost.start);
        let last = self.ranges.partition_point(|range| range.start <= lost.end);
        if first == last {
            if self.ranges.len() < RANGES_MAX {
                self.ranges.insert(first, lost);
            }
            return;
        }
        let start = self.ranges[first].start.min(lost.start);
        let end = self.ranges[last - 1].end.max(lost.end);
        self.ranges[first] = start..end;
        self.ranges.drain(first + 1..last);
    }

    /// Forgets what lies before `end`.
    pub(super) fn remove_before(&mut self, end: u64) {
        while let Some(range) = self.ranges.front_mut().filter(|range| range.start < end) {
            if range.end > end {
                range.start = end;
                return;
            }
            self.ranges.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The next packet to send again. One that was sent less than `pause` ago is left out: the
    /// peer's word left before it could arrive.
    pub(super) fn next(&mut self, now: Instant, pause: Duration) -> Option<u64> {
        while self.recent.front().is_some_and(|(_, at)| *at + pause <= now) {
            self.recent.pop_front();
        }
        loop {
            let range = self.ranges.front_mut()?;
            let number = range.start;
            range.start += 1;
            if range.is_empty() {
                self.ranges.pop_front();
            }
            if !self.recent.iter().rev().any(|(recent, _)| *recent == number) {
                if self.recent.len() == RECENT_MAX {
                    self.recent.pop_front();
                }
                self.recent.push_back((number, now));
                return Some(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    fn ranges(queue: &Retransmissions) -> Vec<(u64, u64)> {
        queue.ranges.iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn ranges_merge_and_shrink() {
        let mut queue = Retransmissions::default();
        queue.add(10..12);
        queue.add(20..25);
        queue.add(15..16);
        queue.add(12..14);
        assert_eq!(ranges(&queue), [(10, 14), (15, 16), (20, 25)]);
        queue.add(11..22);
        assert_eq!(ranges(&queue), [(10, 25)]);
        queue.remove_before(24);
        assert_eq!(ranges(&queue), [(24, 25)]);
        queue.remove_before(30);
        assert!(queue.is_empty());
        for start in 0..2_000 {
            queue.add(start * 2..start * 2 + 1);
        }
        assert_eq!(queue.ranges.len(), RANGES_MAX);
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
}
