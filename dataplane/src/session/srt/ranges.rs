//! Numbers of packets, as ranges that are in order and apart from each other.

use std::collections::VecDeque;
use std::iter;
use std::ops::Range;

/// Ranges at most; what is beyond is not kept.
const RANGES_MAX: usize = 1_024;

/// A set of numbers.
#[derive(Debug, Default)]
pub(super) struct Ranges(VecDeque<Range<u64>>);

impl Ranges {
    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Range<u64>>()
    }

    /// Adds numbers, as long as there is room.
    pub(super) fn add(&mut self, numbers: Range<u64>) {
        let first = self.0.partition_point(|range| range.end < numbers.start);
        let last = self.0.partition_point(|range| range.start <= numbers.end);
        if first == last {
            if self.0.len() < RANGES_MAX {
                self.0.insert(first, numbers);
            }
            return;
        }
        let start = self.0[first].start.min(numbers.start);
        let end = self.0[last - 1].end.max(numbers.end);
        self.0[first] = start..end;
        self.0.drain(first + 1..last);
    }

    /// Forgets what lies before `end`.
    pub(super) fn remove_before(&mut self, end: u64) {
        while let Some(range) = self.0.front_mut().filter(|range| range.start < end) {
            if range.end > end {
                range.start = end;
                return;
            }
            self.0.pop_front();
        }
    }

    /// Takes the lowest number.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let range = self.0.front_mut()?;
        let number = range.start;
        range.start += 1;
        if range.is_empty() {
            self.0.pop_front();
        }
        Some(number)
    }

    /// The parts of `numbers` that are not in here.
    pub(super) fn gaps(&self, numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let Range { start, end } = numbers;
        let first = self.0.partition_point(|range| range.end <= start);
        let inside = self.0.range(first..).take_while(move |range| range.start < end);
        let starts = iter::once(start).chain(inside.clone().map(|range| range.end));
        let ends = inside.map(|range| range.start).chain(iter::once(end));
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// The ranges, as pairs of their ends.
    #[cfg(test)]
    pub(super) fn pairs(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|range| (range.start, range.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_shrink() {
        let mut ranges = Ranges::default();
        ranges.add(10..12);
        ranges.add(20..25);
        ranges.add(15..16);
        ranges.add(12..14);
        assert_eq!(ranges.pairs(), [(10, 14), (15, 16), (20, 25)]);
        assert_eq!(ranges.count(), 10);
        let gaps: Vec<_> = ranges.gaps(5..22).collect();
        assert_eq!(gaps, [5..10, 14..15, 16..20]);
        let gaps: Vec<_> = ranges.gaps(11..30).collect();
        assert_eq!(gaps, [14..15, 16..20, 25..30]);
        assert_eq!(ranges.gaps(20..25).count(), 0);
        assert!(ranges.gaps(30..31).eq(std::iter::once(30..31)));
        ranges.add(11..22);
        assert_eq!(ranges.pairs(), [(10, 25)]);
        ranges.remove_before(23);
        assert_eq!([ranges.pop(), ranges.pop(), ranges.pop()], [Some(23), Some(24), None]);
        ranges.add(1..3);
        ranges.remove_before(30);
        assert!(ranges.is_empty());
        for start in 0..2_000 {
            ranges.add(start * 2..start * 2 + 1);
        }
        assert_eq!(ranges.count(), RANGES_MAX as u64);
    }
}
