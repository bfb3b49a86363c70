//! Histograms out of the text that a server shows to Prometheus.
//!
//! Spec: Prometheus exposition formats, text 0.0.4: `NAME_bucket{shard="0",le="0.001"} COUNT`, each
//! bucket with the counts of all smaller ones.
//!
//! Limits: [`SHARDS_MAX`], [`BUCKETS_MAX`]; what is beyond is left out.

/// Shards that are told one by one.
pub const SHARDS_MAX: usize = 256;

/// Buckets of a histogram.
pub const BUCKETS_MAX: usize = 64;

/// Counts of a histogram whose buckets somebody else chose.
///
/// Units: seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Upper bound and count of each, ascending, not cumulative.
    counts: Vec<(f64, u64)>,
}

impl Buckets {
    /// What was counted since an earlier reading; all of it if the server began anew.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let is_later = self.counts.len() == earlier.counts.len()
            && self.counts.iter().zip(&earlier.counts).all(|(is, was)| is.1 >= was.1);
        if !is_later {
            return self.clone();
        }
        let pairs = self.counts.iter().zip(&earlier.counts);
        Self { counts: pairs.map(|(is, was)| (is.0, is.1 - was.1)).collect() }
    }

    /// Adds other counts of the same histogram.
    pub fn add(&mut self, other: &Self) {
        for &(bound, count) in &other.counts {
            match self.counts.iter_mut().find(|bucket| bucket.0 == bound) {
                Some(bucket) => bucket.1 += count,
                None => self.counts.push((bound, count)),
            }
        }
        self.counts.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// The bound that so many thousandths of all values do not exceed, `None` if there are none. Of
    /// the open bucket only its lower bound is known.
    #[must_use]
    pub fn quantile_s(&self, per_mille: u64) -> Option<f64> {
        let total: u64 = self.counts.iter().map(|bucket| bucket.1).sum();
        let wanted = (total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let mut finite = None;
        for &(bound, count) in &self.counts {
            finite = Some(bound).filter(|bound| bound.is_finite()).or(finite);
            seen += count;
            if seen >= wanted {
                return finite;
            }
        }
        None
    }
}

/// The histogram of a family, of each shard.
#[must_use]
pub fn histograms(text: &str, family: &str) -> Vec<(u16, Buckets)> {
    let mut found: Vec<(u16, Buckets)> = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(family) else { continue };
        let Some((shard, bound, cumulative)) = rest.strip_prefix("_bucket{").and_then(bucket)
        else {
            continue;
        };
        let at = match found.iter().position(|(id, _)| *id == shard) {
            Some(at) => at,
            None if found.len() < SHARDS_MAX => {
                found.push((shard, Buckets::default()));
                found.len() - 1
            }
            None => continue,
        };
        let counts = &mut found[at].1.counts;
        if counts.len() < BUCKETS_MAX {
            counts.push((bound, cumulative));
        }
    }
    for (_, buckets) in &mut found {
        buckets.counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0;
        for (_, count) in &mut buckets.counts {
            let cumulative = *count;
            *count = cumulative.saturating_sub(below);
            below = cumulative;
        }
    }
    found
}

/// Shard, upper bound and cumulative count of what stands behind the brace.
fn bucket(labels: &str) -> Option<(u16, f64, u64)> {
    let (labels, value) = labels.split_once("} ")?;
    let label = |name: &str| {
        labels.split(',').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix("=\""))
    };
    let shard = label("shard")?.trim_end_matches('"').parse().ok()?;
    let bound = match label("le")?.trim_end_matches('"') {
        "+Inf" => f64::INFINITY,
        bound => bound.parse().ok()?,
    };
    Some((shard, bound, value.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE x_seconds histogram
x_seconds_bucket{shard=\"0\",le=\"0.001\"} 90
x_seconds_bucket{shard=\"0\",le=\"0.01\"} 99
x_seconds_bucket{shard=\"0\",le=\"+Inf\"} 100
x_seconds_sum{shard=\"0\"} 1.5
x_seconds_bucket{shard=\"1\",le=\"0.001\"} 0
x_seconds_bucket{shard=\"1\",le=\"0.01\"} 0
x_seconds_bucket{shard=\"1\",le=\"+Inf\"} 0
x_seconds_more_bucket{shard=\"0\",le=\"0.001\"} 7
x_seconds_bucket{shard=\"none\",le=\"0.001\"} 7
x_seconds_bucket{shard=\"0\"} 7
";

    #[test]
    fn histograms_of_shards_are_read() {
        let found = histograms(TEXT, "x_seconds");
        assert_eq!(found.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 1]);
        let first = &found[0].1;
        let quantiles = [500, 900, 901, 990, 1000].map(|of| first.quantile_s(of));
        assert_eq!(quantiles, [0.001, 0.001, 0.01, 0.01, 0.01].map(Some));
        assert_eq!(found[1].1.quantile_s(990), None);
        assert!(histograms(TEXT, "y").is_empty());
    }

    #[test]
    fn differences_and_sums_are_those_of_counts() {
        let later = TEXT.replace("} 90\n", "} 95\n").replace("} 99\n", "} 104\n");
        let later = later.replace("} 100\n", "} 105\n");
        let (before, after) = (histograms(TEXT, "x_seconds"), histograms(&later, "x_seconds"));
        let mut between = after[0].1.since(&before[0].1);
        assert_eq!(between.counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [5, 0, 0]);
        assert_eq!(before[0].1.since(&after[0].1), before[0].1, "the server began anew");
        between.add(&before[0].1);
        assert_eq!(between, after[0].1);
    }
}
