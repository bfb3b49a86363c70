//! Ranges of packets that are missing, with the time at which they are asked for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ranges that are missing at most; a packet that would make another one is not taken.
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
    /// When that is due: these are not waited for any longer.
    pub(super) due: Instant,
    /// When it is asked for.
    nak_at: Instant,
}

/// The ranges, in order; between two of them something came or was given up.
#[derive(Debug, Default)]
pub(super) struct Losses {
    ranges: VecDeque<Loss>,
    /// Where [`Self::take_due`] goes on: one round looks at each range once.
    cursor: u64,
}

impl Losses {
    /// True if the range that a packet at `number` makes finds room, where everything before `end`
    /// came or is missing.
    pub(super) fn has_room_for(&self, number: u64, end: u64) -> bool {
        let is_inside = |range: &Loss| range.start < number && number + 1 < range.end;
        let makes_one = number > end || self.find(number).is_some_and(is_inside);
        !makes_one || self.ranges.len() < RANGES_MAX
    }

    fn find(&self, number: u64) -> Option<&Loss> {
        let at = self.ranges.partition_point(|range| range.end <= number);
        self.ranges.get(at).filter(|range| range.start <= number)
    }

    /// True if that packet is waited for.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.find(number).is_some()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Loss>()
    }

    /// The range that holds up everything behind it.
    pub(super) fn first(&self) -> Option<&Loss> {
        self.ranges.front()
    }

    /// Adds what lies behind everything else; it is asked for after `wait`.
    pub(super) fn push(
        &mut self,
        (start, end): (u64, u64),
        now: Instant,
        due: Instant,
        wait: Duration,
    ) {
        self.ranges.push_back(Loss { start, end, found: now, due, nak_at: now + wait });
    }

    /// Takes one packet out that is due at `due`; tells since when it was missing, if it was.
    pub(super) fn remove(&mut self, number: u64, due: Instant) -> Option<Instant> {
        let at = self.ranges.partition_point(|range| range.end <= number);
        let range = self.ranges.get_mut(at).filter(|range| range.start <= number)?;
        let found = range.found;
        let behind = Loss { start: number + 1, ..*range };
        let is_before_empty = range.start == number;
        (range.end, range.due) = (number, due);
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

    /// Takes the first range out, and tells how many packets that were.
    pub(super) fn remove_first(&mut self) -> u64 {
        self.ranges.pop_front().map_or(0, |range| range.end - range.start)
    }

    /// Takes what lies in `start..end` out, and more if a split finds no room; tells how many
    /// packets that were.
    pub(super) fn remove_range(&mut self, start: u64, end: u64) -> u64 {
        let mut count = 0;
        let mut at = self.ranges.partition_point(|range| range.end <= start);
        let has_room = self.ranges.len() < RANGES_MAX;
        while let Some(range) = self.ranges.get_mut(at).filter(|range| range.start < end) {
            let before = range.end - range.start;
            let behind = Loss { start: end, ..*range };
            range.end = range.end.min(start).max(range.start);
            let left = range.end - range.start;
            let has_behind = behind.start < behind.end && (has_room || left == 0);
            let kept = left + if has_behind { behind.end - behind.start } else { 0 };
            count += before - kept;
            match (left > 0, has_behind) {
                (false, true) => *range = behind,
                (true, true) => {
                    self.ranges.insert(at + 1, behind);
                    break;
                }
                (false, false) => {
                    self.ranges.remove(at);
                    continue;
                }
                (true, false) => {}
            }
            at += 1;
        }
        count
    }

    /// Takes the next range that is due to be asked for; it is due again after `pause`. `None`
    /// ends a round.
    pub(super) fn take_due(&mut self, now: Instant, pause: Duration) -> Option<Loss> {
        let seen = self.ranges.partition_point(|range| range.start < self.cursor);
        let due = self.ranges.range_mut(seen..).find(|range| range.nak_at <= now);
        let Some(range) = due else {
            self.cursor = 0;
            return None;
        };
        range.nak_at = now + pause;
        self.cursor = range.end;
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
        losses.push((10, 20), now, now, Duration::ZERO);
        losses.push((30, 31), now, now, Duration::ZERO);
        assert!([15, 10, 19].into_iter().all(|number| losses.remove(number, now) == Some(now)));
        assert!([15, 9, 25].into_iter().all(|number| losses.remove(number, now).is_none()));
        assert_eq!(ranges(&losses), [(11, 15), (16, 19), (30, 31)]);
        assert!([11, 14, 16, 18, 30].into_iter().all(|number| losses.contains(number)));
        assert!(![10, 15, 19, 29, 31].into_iter().any(|number| losses.contains(number)));
        assert!(losses.remove(30, now).is_some());
        assert_eq!((losses.remove_first(), losses.remove_first()), (4, 3));
        assert!(losses.first().is_none());
        assert_eq!(losses.remove_first(), 0);
    }

    #[test]
    fn a_range_is_due_with_what_follows_it() {
        let now = epoch();
        let at = |ms| now + Duration::from_millis(ms);
        let mut losses = Losses::default();
        losses.push((10, 20), now, at(20), Duration::ZERO);
        losses.remove(14, at(14));
        assert_eq!(
            losses.ranges.iter().map(|range| range.due).collect::<Vec<_>>(),
            [at(14), at(20)]
        );
        losses.remove(13, at(13));
        losses.remove(10, at(10));
        assert_eq!(ranges(&losses), [(11, 13), (15, 20)]);
        assert_eq!(losses.first().map(|range| range.due), Some(at(13)));
        losses.remove_range(16, 18);
        assert_eq!(
            losses.ranges.iter().map(|range| range.due).collect::<Vec<_>>(),
            [at(13), at(20), at(20)]
        );
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
            losses.push((10, 20), now, now, Duration::ZERO);
            losses.push((30, 40), now, now, Duration::ZERO);
            let count = losses.remove_range(start, end);
            assert_eq!(ranges(&losses), expected, "{start} {end}");
            let left: u64 = expected.iter().map(|(start, end)| end - start).sum();
            assert_eq!(count, 20 - left, "{start} {end}");
        }
    }

    #[test]
    fn each_range_is_due_at_its_own_time() {
        let now = epoch();
        let pause = Duration::from_millis(50);
        let mut losses = Losses::default();
        losses.push((1, 3), now, now, Duration::ZERO);
        losses.push((5, 6), now, now, pause / 2);
        assert_eq!(losses.take_due(now, pause).map(|loss| loss.start), Some(1));
        assert!(losses.take_due(now, pause).is_none());
        assert_eq!(losses.next_nak(), Some(now + pause / 2));
        let later = now + pause;
        let due: Vec<_> = std::iter::from_fn(|| losses.take_due(later, pause)).collect();
        assert_eq!(due.len(), 2);
    }

    #[test]
    fn a_round_ends_even_if_everything_is_due_again_at_once() {
        let now = epoch();
        let mut losses = Losses::default();
        (0..5).for_each(|at| losses.push((at * 4, at * 4 + 2), now, now, Duration::ZERO));
        for _ in 0..2 {
            let round: Vec<_> =
                std::iter::from_fn(|| losses.take_due(now, Duration::ZERO)).collect();
            let starts: Vec<_> = round.iter().map(|loss| loss.start).collect();
            assert_eq!(starts, [0, 4, 8, 12, 16]);
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let now = epoch();
        let mut losses = Losses::default();
        let mut at = 0;
        while losses.has_room_for(at + 3, at) {
            losses.push((at, at + 3), now, now, Duration::ZERO);
            at += 4;
        }
        assert_eq!(losses.ranges.len(), RANGES_MAX);
        // What needs no range of its own is taken: the edges of one, and what comes in order.
        assert!([0, 2, 4, 6, at].into_iter().all(|number| losses.has_room_for(number, at)));
        assert!(![1, 5, at + 1].into_iter().any(|number| losses.has_room_for(number, at)));
        // The tail of a split that finds no room is given up.
        assert_eq!(losses.remove_range(5, 6), 2);
        assert!(losses.contains(4) && !losses.contains(5) && !losses.contains(6));
        assert_eq!(losses.ranges.len(), RANGES_MAX);
        losses.remove(0, now);
        losses.remove_range(1, 3);
        assert_eq!(losses.remove_range(9, 10), 1, "there is room for one again");
        assert!(losses.contains(8) && losses.contains(10));
        assert_eq!(losses.ranges.len(), RANGES_MAX);
    }
}
