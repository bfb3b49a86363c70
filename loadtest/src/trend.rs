//! Whether something grows: a line through samples, and how sure it is.
//!
//! Shape: least squares; the interval of 95 % is widened by what neighbouring samples have in
//! common, because memory wanders, and samples of something that wanders tell less than their
//! number says.

use serde::Serialize;

const MINUTE_NS: f64 = 60e9;

/// A line through samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Samples.
    pub samples: usize,
    /// Growth in a minute.
    pub per_minute: f64,
    /// The growth is within so much of it, by 95 %.
    pub within_95: f64,
    /// The first sample.
    pub first: f64,
    /// The last sample.
    pub last: f64,
}

impl Trend {
    /// Through samples of time in nanoseconds and value; `None` below three.
    #[must_use]
    pub fn through(samples: &[(u64, f64)]) -> Option<Self> {
        let (&(start_ns, first), &(_, last)) = (samples.first()?, samples.last()?);
        if samples.len() < 3 {
            return None;
        }
        let count = samples.len() as f64;
        let minutes = |at_ns: u64| at_ns.saturating_sub(start_ns) as f64 / MINUTE_NS;
        let mean_x = samples.iter().map(|(at, _)| minutes(*at)).sum::<f64>() / count;
        let mean_y = samples.iter().map(|(_, value)| value).sum::<f64>() / count;
        let spread = samples.iter().map(|(at, _)| (minutes(*at) - mean_x).powi(2)).sum::<f64>();
        if spread <= 0.0 {
            return None;
        }
        let products = samples.iter().map(|(at, value)| (minutes(*at) - mean_x) * (value - mean_y));
        let per_minute = products.sum::<f64>() / spread;
        let residual =
            |(at, value): &(u64, f64)| value - mean_y - per_minute * (minutes(*at) - mean_x);
        let residuals: Vec<f64> = samples.iter().map(residual).collect();
        let squares = residuals.iter().map(|residual| residual * residual).sum::<f64>();
        let freedom = (independent(&residuals, squares) - 2.0).max(1.0);
        let error = (squares / freedom / spread).sqrt();
        let within_95 = error * student_975(freedom);
        Some(Self { samples: samples.len(), per_minute, within_95, first, last })
    }
}

/// How many independent samples tell as much, by what neighbours have in common.
fn independent(residuals: &[f64], squares: f64) -> f64 {
    let count = residuals.len() as f64;
    if squares <= 0.0 {
        return count;
    }
    let common = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / squares;
    let common = common.clamp(0.0, 0.99);
    count * (1.0 - common) / (1.0 + common)
}

/// The 97.5 % quantile of Student's distribution, to a few per cent from 2 degrees of freedom on.
fn student_975(freedom: f64) -> f64 {
    1.96 + 2.372 / freedom + 2.823 / freedom.powi(2) + 3.9 / freedom.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(value: impl Fn(u64) -> f64) -> Trend {
        let samples: Vec<_> = (0..180).map(|at| (7 + at * 10_000_000_000, value(at))).collect();
        Trend::through(&samples).unwrap()
    }

    #[test]
    fn a_line_is_found_exactly() {
        let trend = sampled(|at| 5e6 + 1000.0 * at as f64);
        assert!((trend.per_minute - 6000.0).abs() < 1e-3, "{trend:?}");
        assert!(trend.within_95 < 1e-3, "{trend:?}");
        assert_eq!((trend.first, trend.last), (5e6, 5e6 + 179_000.0));
        assert_eq!(sampled(|_| 3.0).per_minute, 0.0);
    }

    #[test]
    fn noise_is_no_growth_and_what_wanders_tells_less() {
        // A generator of bits is noise enough, and the same every time.
        let noise = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / 1e3;
        let noisy = sampled(noise);
        assert!(noisy.per_minute.abs() < noisy.within_95, "{noisy:?}");
        let wandering = sampled(|at| noise(at / 20));
        assert!(wandering.within_95 > 2.0 * noisy.within_95, "{wandering:?} {noisy:?}");
        let leaking = sampled(|at| noise(at) + 1000.0 * at as f64);
        assert!((leaking.per_minute - 6000.0).abs() < leaking.within_95, "{leaking:?}");
        assert!(leaking.per_minute - leaking.within_95 > 0.0, "{leaking:?}");
    }

    #[test]
    fn few_samples_tell_nothing() {
        assert_eq!(Trend::through(&[]), None);
        assert_eq!(Trend::through(&[(0, 1.0), (1, 2.0)]), None);
        assert_eq!(Trend::through(&[(5, 1.0), (5, 2.0), (5, 3.0)]), None);
    }

    #[test]
    fn quantiles_are_those_of_tables() {
        for (freedom, quantile) in [(2.0, 4.303), (5.0, 2.571), (10.0, 2.228), (1e6, 1.96)] {
            let close: f64 = student_975(freedom) / quantile;
            assert!((close - 1.0).abs() < 0.03, "{freedom}");
        }
    }
}
