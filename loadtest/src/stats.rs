//! Counting: a histogram with a bounded error, and what is printed of it.

use serde::Serialize;

/// Sub-buckets of each power of two: 1/64 is the largest relative error.
const SUB_BUCKETS: usize = 64;
const SUB_BITS: u32 = SUB_BUCKETS.ilog2();
/// Bins of each power of two in what is told of a histogram.
pub const BINS_PER_OCTAVE: usize = 8;

const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_BUCKETS;

/// A log-linear histogram of nanoseconds; one that has counted nothing takes no memory.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        if self.counts.is_empty() {
            self.counts.resize(BUCKETS, 0);
        }
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds the values that another one has counted.
    pub fn add(&mut self, other: &Self) {
        if other.total == 0 {
            return;
        }
        self.counts.resize(BUCKETS, 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// Values counted.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.total
    }

    /// True if nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The smallest value that at least `per_mille` thousandths of all values do not exceed, to
    /// the precision of the histogram; 0 if it is empty.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_bound(index).min(self.max);
            }
        }
        self.max
    }

    /// The counts in [`BINS_PER_OCTAVE`] bins for each doubling, from the first that is not empty
    /// to the last.
    #[must_use]
    pub fn bins(&self) -> Vec<Bin> {
        let per_bin = SUB_BUCKETS / BINS_PER_OCTAVE;
        let sums = self.counts.chunks(per_bin).map(|counts| counts.iter().sum::<u64>());
        let bins = sums.enumerate().map(|(at, count)| {
            let from_ns = match at {
                0 => 0,
                _ => upper_bound(at * per_bin - 1).saturating_add(1),
            };
            let to_ns = upper_bound((at + 1) * per_bin - 1).saturating_add(1);
            Bin { from_ms: from_ns as f64 / 1e6, to_ms: to_ns as f64 / 1e6, count }
        });
        let bins: Vec<Bin> = bins.collect();
        let Some(first) = bins.iter().position(|bin| bin.count > 0) else { return Vec::new() };
        let last = bins.iter().rposition(|bin| bin.count > 0).unwrap_or(first);
        bins[first..=last].to_vec()
    }

    /// The usual percentiles in milliseconds, `None` if nothing was counted.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let ms = |ns: u64| ns as f64 / 1e6;
        (!self.is_empty()).then(|| Percentiles {
            count: self.total,
            p50_ms: ms(self.quantile(500)),
            p90_ms: ms(self.quantile(900)),
            p99_ms: ms(self.quantile(990)),
            p999_ms: ms(self.quantile(999)),
            max_ms: ms(self.max),
        })
    }
}

/// A part of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Where it begins.
    pub from_ms: f64,
    /// Where it ends.
    pub to_ms: f64,
    /// Values in it.
    pub count: u64,
}

/// What is told of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Values counted.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 90 %.
    pub p90_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p999_ms: f64,
    /// The largest.
    pub max_ms: f64,
}

fn bucket(value: u64) -> usize {
    if value < SUB_BUCKETS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    (shift as usize + 1) * SUB_BUCKETS + ((value >> shift) as usize - SUB_BUCKETS)
}

fn upper_bound(bucket: usize) -> u64 {
    let (group, sub) = (bucket / SUB_BUCKETS, (bucket % SUB_BUCKETS) as u64);
    if group == 0 {
        return sub;
    }
    let shift = group - 1;
    // The last bucket ends where 64 bits do.
    let end = u128::from(sub + SUB_BUCKETS as u64 + 1) << shift;
    u64::try_from(end - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), None);
        for value in 1..=1000 {
            histogram.record(value * 1_000_000);
        }
        let percentiles = histogram.percentiles().unwrap();
        for (read, truth) in [
            (percentiles.p50_ms, 500.0),
            (percentiles.p90_ms, 900.0),
            (percentiles.p99_ms, 990.0),
            (percentiles.p999_ms, 999.0),
            (percentiles.max_ms, 1000.0),
        ] {
            assert!(read >= truth && read <= truth * 65.0 / 64.0, "{read} for {truth}");
        }
    }

    #[test]
    fn histograms_add_up() {
        let (mut all, mut even, mut odd) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for value in 0..5000 {
            all.record(value);
            if value % 2 == 0 { even.record(value) } else { odd.record(value) }
        }
        even.add(&odd);
        even.add(&Histogram::default());
        assert_eq!(even.percentiles(), all.percentiles());
    }

    #[test]
    fn bins_hold_what_was_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.bins(), []);
        for ns in [1_000_000, 1_000_001, 3_000_000, u64::MAX] {
            histogram.record(ns);
        }
        let bins = histogram.bins();
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), histogram.len());
        assert!(bins[0].from_ms <= 1.0 && bins[0].to_ms > 1.0 && bins[0].count == 2);
        assert!(bins.windows(2).all(|two| two[0].to_ms == two[1].from_ms), "{bins:?}");
        assert!(bins.iter().all(|bin| bin.to_ms <= bin.from_ms * 1.13), "{bins:?}");
    }

    proptest! {
        #[test]
        fn every_value_falls_into_its_bucket(value in any::<u64>()) {
            let index = bucket(value);
            prop_assert!(index < BUCKETS);
            prop_assert!(value <= upper_bound(index));
            prop_assert!(index == 0 || value > upper_bound(index - 1));
            prop_assert!(upper_bound(index) - value <= value / 64 + 1);
        }
    }
}
