//! Histograms of a fixed number of buckets: plain integers that one thread counts.

/// Buckets of every histogram.
pub const BUCKETS: usize = 64;

/// What a histogram's values are, and where its buckets end.
#[derive(Debug, PartialEq, Eq)]
pub struct Scale {
    /// Upper bounds, ascending; the last one is open.
    pub bounds: [u64; BUCKETS],
    /// Those of them that are exported: whoever draws a histogram needs fewer than whoever
    /// computes a percentile from it.
    pub shown: &'static [u64],
}

/// Microseconds, ten buckets a decade up to eight seconds: a percentile is at most a third too
/// high.
pub static MICROSECONDS: Scale = Scale {
    bounds: decimal_bounds(),
    shown: &[
        50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 2_500_000, 5_000_000,
    ],
};

/// Bytes, four buckets an octave up to 3.5 MiB: a percentile is at most a quarter too high.
pub static BYTES: Scale = Scale {
    bounds: binary_bounds(),
    shown: &[512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 48 << 10, 64 << 10],
};

const fn decimal_bounds() -> [u64; BUCKETS] {
    const TENTHS: [u64; 10] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80];
    let mut bounds = [u64::MAX; BUCKETS];
    (bounds[0], bounds[1], bounds[2]) = (1, 2, 5);
    let (mut at, mut tenth) = (3, 1);
    while at < BUCKETS - 1 {
        bounds[at] = TENTHS[(at - 3) % 10] * tenth;
        at += 1;
        if (at - 3) % 10 == 0 {
            tenth *= 10;
        }
    }
    bounds
}

const fn binary_bounds() -> [u64; BUCKETS] {
    let mut bounds = [u64::MAX; BUCKETS];
    (bounds[0], bounds[1], bounds[2]) = (16, 32, 64);
    let mut at = 3;
    while at < BUCKETS - 1 {
        let (octave, quarter) = ((at - 3) / 4, (at - 3) % 4);
        bounds[at] = (4 + quarter as u64) << (5 + octave);
        at += 1;
    }
    bounds
}

/// How often values of each size were seen. Lives on: its shard. Crosses by: copy, in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// What the values are.
    pub scale: &'static Scale,
    /// Observations per bucket, not cumulative.
    pub counts: [u64; BUCKETS],
    /// Sum of all observations.
    pub sum: u64,
    /// The greatest observation.
    pub max: u64,
}

impl Histogram {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new(scale: &'static Scale) -> Self {
        Self { scale, counts: [0; BUCKETS], sum: 0, max: 0 }
    }

    /// Counts one value.
    pub fn observe(&mut self, value: u64) {
        let at = self.scale.bounds.partition_point(|&bound| bound < value);
        self.counts[at] += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// Counts a duration in microseconds.
    pub fn observe_time(&mut self, time: std::time::Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Observations up to `bound`, which is one of the scale's.
    #[must_use]
    pub fn count_to(&self, bound: u64) -> u64 {
        let end = self.scale.bounds.partition_point(|&other| other <= bound);
        self.counts[..end].iter().sum()
    }

    /// The value that `thousandths` of the observations do not exceed; 0 without observations.
    ///
    /// It is the upper bound of its bucket, but never more than was observed.
    #[must_use]
    pub fn quantile(&self, thousandths: u64) -> u64 {
        let rank = (u128::from(self.count()) * u128::from(thousandths)).div_ceil(1_000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|&count| {
            seen += u128::from(count);
            seen >= rank
        });
        found.map_or(0, |at| self.scale.bounds[at].min(self.max))
    }

    /// Adds the observations of `other`, which has the same scale.
    pub fn add(&mut self, other: &Self) {
        debug_assert!(std::ptr::eq(self.scale, other.scale), "values of one kind are added");
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Forgets all observations.
    pub const fn clear(&mut self) {
        *self = Self::new(self.scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_and_the_shown_ones_are_among_them() {
        for scale in [&MICROSECONDS, &BYTES] {
            assert!(scale.bounds.is_sorted_by(|a, b| a < b), "{:?}", scale.bounds);
            assert_eq!(scale.bounds[BUCKETS - 1], u64::MAX);
            let missing = scale.shown.iter().find(|bound| !scale.bounds.contains(bound));
            assert_eq!(missing, None);
        }
        assert_eq!(MICROSECONDS.bounds[BUCKETS - 2], 8_000_000);
        assert_eq!(BYTES.bounds[BUCKETS - 2], 7 << 19);
    }

    #[test]
    fn a_histogram_counts_each_observation_once() {
        let mut h = Histogram::new(&MICROSECONDS);
        for us in [0, 50, 51, 5_000_000, u64::MAX] {
            h.observe(us);
        }
        assert_eq!((h.count(), h.count_to(50), h.count_to(60)), (5, 2, 3));
        assert_eq!((h.counts[0], h.counts[BUCKETS - 1], h.sum), (1, 1, u64::MAX));
    }

    #[test]
    fn quantiles_are_bounds_of_their_bucket_and_no_more_than_the_greatest() {
        let mut h = Histogram::new(&MICROSECONDS);
        assert_eq!((h.quantile(500), h.quantile(1_000)), (0, 0));
        for us in 1..=1_000 {
            h.observe(us);
        }
        assert_eq!((h.quantile(500), h.quantile(990), h.quantile(1_000)), (500, 1_000, 1_000));
        h.observe(30_000_000);
        assert_eq!((h.quantile(500), h.quantile(1_000)), (600, 30_000_000));
        let mut sum = Histogram::new(&MICROSECONDS);
        sum.add(&h);
        sum.add(&h);
        assert_eq!((sum.count(), sum.quantile(500), sum.max), (2_002, 600, 30_000_000));
        sum.clear();
        assert_eq!(sum, Histogram::new(&MICROSECONDS));
    }
}
