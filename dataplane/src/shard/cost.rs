//! What a shard's work costs it, fitted while it works.
//!
//! ```text
//!   CPU time of a span = base x seconds + a x sends + b x bytes + c x requests + ...
//! ```
//!
//! Spec: recursive least squares with exponential forgetting (Ljung, "System Identification",
//! 11.2).
//!
//! A calibration tells what each kind of work cost on one machine; what is fitted are factors to
//! it. Where the shard sees one mix of work only, the single factors cannot be told apart: they are
//! drawn to their common mean, which is how much faster or slower this machine is, by a penalty
//! that is never forgotten. So one mix is enough for the scale, several for the single costs.
//!
//! Units: a share is seconds of CPU in a second. Limits: a factor stays between [`FACTOR_MIN`] and
//! [`FACTOR_MAX`].

use std::time::Duration;

/// Kinds of work.
const TERMS: usize = 7;
/// Seconds of CPU that one of each kind costs, in the order of [`Work::counts`]: measured on the
/// machine of `benches/README.md`, from rounds that send frame by frame and gathered.
const CALIBRATION: [f64; TERMS] = [0.005, 4.6e-6, 0.14e-9, 0.2e-9, 20e-6, 1.2e-9, 150e-6];
/// The term of what a shard does anyway, which tells nothing about the speed of the machine.
const BASE: usize = 0;
/// What was measured counts half after this long.
const HALF_LIFE: Duration = Duration::from_secs(20);
/// A share of one second is told by its work up to about this much.
const NOISE: f64 = 0.02;
/// Factors differ from their mean by about this much before anything was measured.
const SPREAD: f64 = 0.3;
/// Machines differ by about this much from the one of the calibration.
const MACHINES: f64 = 1.0;
/// What a shard does anyway differs by about this much from the calibration.
const BASE_SPREAD: f64 = 2.0;
/// Bounds of a factor.
pub(super) const FACTOR_MIN: f64 = 0.1;
pub(super) const FACTOR_MAX: f64 = 10.0;

/// An amount of work: of a span, or of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// How long it took, or 1 for the work of a second.
    pub seconds: f64,
    pub sends: f64,
    pub bytes: f64,
    /// Bytes that are encrypted.
    pub encrypted: f64,
    /// Requests of HTTP.
    pub requests: f64,
    /// Bytes received.
    pub received: f64,
    /// Connections that begin.
    pub opened: f64,
}

impl Work {
    const fn counts(&self) -> [f64; TERMS] {
        let Self { seconds, sends, bytes, encrypted, requests, received, opened } = *self;
        [seconds, sends, bytes, encrypted, requests, received, opened]
    }

    /// What each kind of it costs by the calibration, seconds.
    fn terms(&self) -> [f64; TERMS] {
        let counts = self.counts();
        std::array::from_fn(|i| counts[i] * CALIBRATION[i])
    }

    /// So many times as much.
    pub(super) fn times(&self, n: f64) -> Self {
        let [seconds, sends, bytes, encrypted, requests, received, opened] =
            self.counts().map(|count| count * n);
        Self { seconds, sends, bytes, encrypted, requests, received, opened }
    }

    /// Both together, in the time of the first.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            seconds: self.seconds,
            sends: self.sends + other.sends,
            bytes: self.bytes + other.bytes,
            encrypted: self.encrypted + other.encrypted,
            requests: self.requests + other.requests,
            received: self.received + other.received,
            opened: self.opened + other.opened,
        }
    }
}

/// The fitted costs of one shard. Lives on: its shard. Crosses by: never.
#[derive(Clone, Debug)]
pub(super) struct CostModel {
    /// Sums over the past, each second less than the next: of products of terms, and of terms and
    /// the share that was spent.
    products: [[f64; TERMS]; TERMS],
    answers: [f64; TERMS],
    factors: [f64; TERMS],
}

impl Default for CostModel {
    fn default() -> Self {
        Self { products: [[0.0; TERMS]; TERMS], answers: [0.0; TERMS], factors: [1.0; TERMS] }
    }
}

impl CostModel {
    /// Seconds of CPU that `work` costs.
    pub(super) fn cost(&self, work: &Work) -> f64 {
        let terms = work.terms();
        (0..TERMS).map(|i| terms[i] * self.factors[i]).sum()
    }

    /// Learns that `work` took `spent` seconds of CPU.
    pub(super) fn observe(&mut self, work: &Work, spent: f64) {
        if work.seconds <= 0.0 || !spent.is_finite() {
            return;
        }
        // No thread runs longer than the time that passes.
        let spent = spent.clamp(0.0, work.seconds);
        let kept = 0.5_f64.powf(work.seconds / HALF_LIFE.as_secs_f64());
        let shares = work.terms().map(|term| term / work.seconds);
        let share = spent / work.seconds;
        for i in 0..TERMS {
            for j in 0..TERMS {
                self.products[i][j] =
                    self.products[i][j].mul_add(kept, shares[i] * shares[j] * work.seconds);
            }
            self.answers[i] = self.answers[i].mul_add(kept, shares[i] * share * work.seconds);
        }
        self.fit();
    }

    /// Finds the factors that explain the past best, within their bounds.
    fn fit(&mut self) {
        let (mut left, mut right) = (self.products, self.answers);
        let noise = NOISE * NOISE;
        let kinds = (TERMS - 1) as f64;
        for i in (0..TERMS).filter(|&i| i != BASE) {
            // Distance from the mean, and of the mean from the calibration.
            for j in (0..TERMS).filter(|&j| j != BASE) {
                let same = if i == j { 1.0 } else { 0.0 };
                left[i][j] += noise / (SPREAD * SPREAD) * (same - 1.0 / kinds);
                left[i][j] += noise / (MACHINES * MACHINES) / (kinds * kinds);
            }
            right[i] += noise / (MACHINES * MACHINES) / kinds;
        }
        left[BASE][BASE] += noise / (BASE_SPREAD * BASE_SPREAD);
        right[BASE] += noise / (BASE_SPREAD * BASE_SPREAD);
        self.factors = bounded_solution(&left, &right);
    }

    /// What one send, one byte and one request cost, seconds.
    pub(super) fn unit_costs(&self) -> [f64; 3] {
        let one = |work: Work| self.cost(&work);
        [
            one(Work { sends: 1.0, ..Work::default() }),
            one(Work { bytes: 1.0, ..Work::default() }),
            one(Work { requests: 1.0, ..Work::default() }),
        ]
    }
}

/// Solves `left` x = `right` with every x in its bounds: what would leave them is put on its bound,
/// the furthest first, and the rest is solved again.
fn bounded_solution(left: &[[f64; TERMS]; TERMS], right: &[f64; TERMS]) -> [f64; TERMS] {
    let mut fixed = [None; TERMS];
    for _ in 0..TERMS {
        let found = solution(left, right, &fixed);
        let beyond = |x: f64| (FACTOR_MIN - x).max(x - FACTOR_MAX);
        let worst = (0..TERMS).max_by(|&a, &b| beyond(found[a]).total_cmp(&beyond(found[b])));
        match worst {
            Some(worst) if beyond(found[worst]) > 0.0 => {
                fixed[worst] = Some(found[worst].clamp(FACTOR_MIN, FACTOR_MAX));
            }
            _ => return found,
        }
    }
    fixed.map(|bound| bound.unwrap_or(1.0))
}

/// Gaussian elimination with the diagonal as pivots, which a positive definite matrix allows.
fn solution(
    left: &[[f64; TERMS]; TERMS],
    right: &[f64; TERMS],
    fixed: &[Option<f64>; TERMS],
) -> [f64; TERMS] {
    let (mut a, mut b) = (*left, *right);
    for (i, bound) in fixed.iter().enumerate() {
        let Some(bound) = *bound else { continue };
        for j in 0..TERMS {
            b[j] -= a[j][i] * bound;
            a[j][i] = 0.0;
            a[i][j] = 0.0;
        }
        a[i][i] = 1.0;
        b[i] = bound;
    }
    for i in 0..TERMS {
        for j in i + 1..TERMS {
            let factor = a[j][i] / a[i][i];
            let pivot = a[i];
            for (below, above) in a[j].iter_mut().zip(pivot).skip(i) {
                *below -= factor * above;
            }
            b[j] -= factor * b[i];
        }
    }
    for i in (0..TERMS).rev() {
        let known: f64 = (i + 1..TERMS).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that is not that of the calibration.
    const SEND: f64 = 7.5e-6;
    const BYTE: f64 = 0.22e-9;
    const REQUEST: f64 = 35e-6;

    fn spent(work: &Work) -> f64 {
        0.004f64.mul_add(work.seconds, work.sends * SEND)
            + work.bytes * BYTE
            + work.requests * REQUEST
    }

    /// A quarter of a second of `players` of 2 Mb/s that are sent to `per_second` times a second.
    fn live(players: f64, per_second: f64) -> Work {
        Work {
            seconds: 0.25,
            sends: players * per_second / 4.0,
            bytes: players * 250_000.0 / 4.0,
            ..Work::default()
        }
    }

    /// Deterministic noise of a few percent.
    fn noise(n: u32) -> f64 {
        1.0 + (f64::from(n.wrapping_mul(2_654_435_761) >> 16) / 65_536.0 - 0.5) * 0.1
    }

    fn near(value: f64, wanted: f64, tolerance: f64) {
        assert!((value / wanted - 1.0).abs() < tolerance, "{value:e} is not near {wanted:e}");
    }

    #[test]
    fn it_finds_the_costs_from_different_mixes() {
        let mut model = CostModel::default();
        for n in 0..400 {
            let mut work = live(500.0 + f64::from(n % 7) * 300.0, [30.0, 7.7][n as usize / 10 % 2]);
            work.requests = f64::from(n % 5) * 100.0;
            model.observe(&work, spent(&work) * noise(n));
        }
        let [send, byte, request] = model.unit_costs();
        near(send, SEND, 0.05);
        near(byte, BYTE, 0.05);
        near(request, REQUEST, 0.1);
    }

    #[test]
    fn one_mix_is_enough_for_the_speed_of_the_machine() {
        // Twice as slow as the calibration, frame by frame only.
        let calibrated = CostModel::default();
        let mut model = CostModel::default();
        for n in 0..80 {
            let work = live(1_000.0, 30.0);
            model.observe(&work, calibrated.cost(&work) * 2.0 * noise(n));
        }
        // And so it tells what gathered sends will cost, which it has never seen.
        let gathered = live(4_000.0, 7.7);
        near(model.cost(&gathered), calibrated.cost(&gathered) * 2.0, 0.08);
    }

    #[test]
    fn an_idle_shard_believes_the_calibration() {
        let (calibrated, mut model) = (CostModel::default(), CostModel::default());
        for _ in 0..4_000 {
            model.observe(&Work { seconds: 0.25, ..Work::default() }, 0.000_5);
        }
        let work = live(1_000.0, 7.7);
        near(model.cost(&work), calibrated.cost(&work), 0.05);
    }

    #[test]
    fn it_follows_a_machine_that_becomes_slower() {
        let mut model = CostModel::default();
        let work = live(2_000.0, 7.7);
        let feed = |model: &mut CostModel, seconds: u32, factor: f64| {
            (0..seconds * 4).for_each(|n| model.observe(&work, spent(&work) * factor * noise(n)));
        };
        feed(&mut model, 120, 1.0);
        near(model.cost(&work), spent(&work), 0.03);
        feed(&mut model, 120, 1.5);
        near(model.cost(&work), spent(&work) * 1.5, 0.05);
    }

    #[test]
    fn no_measurement_drives_it_out_of_bounds() {
        let mut model = CostModel::default();
        let work = live(1_000.0, 30.0);
        for n in 0..2_000 {
            let nonsense = [0.0, 1e9, f64::NAN, f64::INFINITY, -5.0][n % 5];
            model.observe(&work, nonsense);
            model.observe(&Work::default(), 1.0);
            for factor in model.factors {
                assert!((FACTOR_MIN..=FACTOR_MAX).contains(&factor), "{factor}");
            }
        }
        for n in 0..800 {
            model.observe(&work, spent(&work) * noise(n));
        }
        near(model.cost(&work), spent(&work), 0.1);
    }
}
