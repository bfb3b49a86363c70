//! Ranges of packets that are missing, with the time at which they are asked for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ranges that are missing at most; a packet that would begin another one is not taken.
const RANGES_MAX: usize = 1_024;

/// Packets that are missing, one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    /// The first.
    pub(super) start: u64,
    /// The one after the last.
    pub(super) end: u64,
    /// When something behind it came.
    found: Instant,
    /// When it is asked for.
    nak_at: Instant,
}

/// The ranges, in order; between two of them something came.
#[derive(Debug, Default)]
pub(super) struct Losses {
    ranges: VecDeque<Loss>,
}

impl Losses {
    pub(super) fn has_room(&self) -> bool {
        // One packet may split a range, and begin another behind the last.
        self.ranges.len() + 2 <= RANGES_MAX
    }

    /// The range that holds up everything behind it.
    pub(super) fn first(&self) -> Option<&Loss> {
        self.ranges.front()
    }

    /// Adds what lies behind everything else; it is asked for after `wait`.
    pub(super) fn push(&mut self, (start, end): (u64, u64), now: Instant, wait: Duration) {
        self.ranges.push_back(Loss { start, end, found: now, nak_at: now + wait });
    }

    /// Takes one packet out; tells since when it was missing, if it was.
    pub(super) fn remove(&mut self, number: u64) -> Option<Instant> {
        let at = self.ranges.partition_point(|range| range.end <= number);
        let range = self.ranges.get_mut(at).filter(|range| range.start <= number)?;
        let found = range.found;
        let behind = Loss { start: number + 1, ..*range };
        let is_before_empty = range.start == number;
        range.end = number;
        if behind.start < behind.end {
            if is_before_empty {
                *range = behind;
            } else {
                self.ranges.insert(at + 1, behind);
            }
        } else if is_before_empty {
            self.ranges.remove(at);
        }
        Some(found)
    }

    /// Takes everything before `end` out and tells how many packets that were.
    pub(super) fn remove_before(&mut self, end: u64) -> u64 {
        let mut count = 0;
        while let Some(range) = self.ranges.front_mut().filter(|range| range.start < end) {
            count += range.end.min(end) - range.start;
            if range.end > end {
                range.start = end;
                break;
            }
            self.ranges.pop_front();
        }
        count
    }

    /// Takes what lies in `start..end` out, as far as a split leaves room.
    pub(super) fn remove_range(&mut self, start: u64, end: u64) {
        let mut at = self.ranges.partition_point(|range| range.end <= start);
        while let Some(range) = self.ranges.get_mut(at).filter(|range| range.start < end) {
            let behind = Loss { start: end, ..*range };
            range.end = range.end.min(start);
            let is_before_empty = range.start >= range.end;
            match (is_before_empty, behind.start < behind.end) {
                (true, true) => *range = behind,
                (true, false) => {
                    self.ranges.remove(at);
                    continue;
                }
                (false, true) if self.ranges.len() < RANGES_MAX => {
                    self.ranges.insert(at + 1, behind);
                    return;
                }
                (false, _) => {}
            }
            at += 1;
        }
    }

    /// Takes the next range that is due to be asked for; it is due again after `pause`.
    pub(super) fn take_due(&mut self, now: Instant, pause: Duration) -> Option<Loss> {
        let range = self.ranges.iter_mut().find(|range| range.nak_at <= now)?;
        range.nak_at = now + pause;
        Some(*range)
    }

    /// When something is due to be asked for.
    pub(super) fn next_nak(&self) -> Option<Instant> {
        self.ranges.iter().map(|range| range.nak_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    fn ranges(losses: &Losses) -> Vec<(u64, u64)> {
        losses.ranges.iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn ranges_shrink_and_split() {
        let now = epoch();
        let mut losses = Losses::default();
        losses.push((10, 20), now, Duration::ZERO);
        losses.push((30, 31), now, Duration::ZERO);
        assert!([15, 10, 19].into_iter().all(|number| losses.remove(number) == Some(now)));
        assert!([15, 9, 25].into_iter().all(|number| losses.remove(number).is_none()));
        assert_eq!(ranges(&losses), [(11, 15), (16, 19), (30, 31)]);
        assert!(losses.remove(30).is_some());
        assert_eq!(losses.remove_before(17), 5);
        assert_eq!(ranges(&losses), [(17, 19)]);
        assert_eq!(losses.remove_before(100), 2);
        assert!(losses.first().is_none());
    }

    #[test]
    fn ranges_are_cut_out() {
        let now = epoch();
        for (start, end, expected) in [
            (12, 14, vec![(10, 12), (14, 20), (30, 40)]),
            (0, 5, vec![(10, 20), (30, 40)]),
            (5, 15, vec![(15, 20), (30, 40)]),
            (15, 35, vec![(10, 15), (35, 40)]),
            (10, 20, vec![(30, 40)]),
            (0, 100, vec![]),
            (20, 30, vec![(10, 20), (30, 40)]),
        ] {
            let mut losses = Losses::default();
            losses.push((10, 20), now, Duration::ZERO);
            losses.push((30, 40), now, Duration::ZERO);
            losses.remove_range(start, end);
            assert_eq!(ranges(&losses), expected, "{start} {end}");
        }
    }

    #[test]
    fn each_range_is_due_at_its_own_time() {
        let now = epoch();
        let pause = Duration::from_millis(50);
        let mut losses = Losses::default();
        losses.push((1, 3), now, Duration::ZERO);
        losses.push((5, 6), now, pause / 2);
        assert_eq!(losses.take_due(now, pause).map(|loss| loss.start), Some(1));
        assert!(losses.take_due(now, pause).is_none());
        assert_eq!(losses.next_nak(), Some(now + pause / 2));
        let later = now + pause;
        let due: Vec<_> = std::iter::from_fn(|| losses.take_due(later, pause)).collect();
        assert_eq!(due.len(), 2);
    }

    #[test]
    fn the_table_is_bounded() {
        let now = epoch();
        let mut losses = Losses::default();
        let mut at = 0;
        while losses.has_room() {
            losses.push((at, at + 3), now, Duration::ZERO);
            at += 4;
        }
        losses.remove(1);
        for start in (4..at).step_by(4) {
            losses.remove_range(start + 1, start + 2);
        }
        assert!(losses.ranges.len() <= RANGES_MAX);
    }
}
