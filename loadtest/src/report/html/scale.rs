//! Scales: from numbers to places on an axis, and the marks on it.

/// Marks on an axis, about.
const TICKS: f64 = 5.0;

/// Marks on a logarithmic axis before it shows powers of ten only.
const LOG_TICKS_MAX: usize = 9;

/// An axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal steps.
    Linear { from: f64, to: f64 },
    /// Equal ratios; both ends are positive.
    Log { from: f64, to: f64 },
}

impl Scale {
    /// From zero to a round number that is at least `largest`.
    pub(super) fn from_zero(largest: f64) -> Self {
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let step = step(largest / TICKS);
        Self::Linear { from: 0.0, to: (largest / step).ceil() * step }
    }

    /// Between two numbers, both of which are positive, to the next 1, 2 or 5.
    pub(super) fn log(smallest: f64, largest: f64) -> Self {
        let from = round_down(smallest.max(1e-6));
        let mut to = from;
        while to < largest {
            to = next_round(to);
        }
        if to <= from {
            to = next_round(from);
        }
        Self::Log { from, to }
    }

    /// Where a number is, from 0 at the start to 1 at the end.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { from, to } => (value - from) / (to - from).max(f64::MIN_POSITIVE),
            Self::Log { from, to } => {
                (value.max(from) / from).ln() / (to / from).ln().max(f64::MIN_POSITIVE)
            }
        };
        place.clamp(0.0, 1.0)
    }

    /// Round numbers along it.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { from, to } => {
                let step = step((to - from) / TICKS);
                let first = (from / step).ceil() as i64;
                let last = (to / step + 1e-9).floor() as i64;
                (first..=last).map(|at| at as f64 * step).collect()
            }
            Self::Log { from, to } => {
                let mut ticks = Vec::new();
                let mut at = from;
                while at <= to * (1.0 + 1e-9) {
                    ticks.push(at);
                    at = next_round(at);
                }
                if ticks.len() > LOG_TICKS_MAX {
                    ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-6);
                }
                ticks
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn step(least: f64) -> f64 {
    let least = least.max(1e-9);
    let power = 10f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= least * 0.999_999);
    times.unwrap_or(10.0) * power
}

fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let times = [5.0, 2.0, 1.0].into_iter().find(|times| times * power <= value * 1.000_001);
    times.unwrap_or(1.0) * power
}

fn next_round(value: f64) -> f64 {
    step(value * 1.01)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(Scale::from_zero(812.0), Scale::Linear { from: 0.0, to: 1000.0 });
        assert_eq!(Scale::from_zero(812.0).ticks(), [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        assert_eq!(Scale::from_zero(0.0), Scale::Linear { from: 0.0, to: 1.0 });
        let log = Scale::log(2.4, 61.0);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        for (tick, wanted) in log.ticks().into_iter().zip([2.0, 5.0, 10.0, 20.0, 50.0, 100.0]) {
            assert!(close(tick, wanted), "{tick} for {wanted}");
        }
        assert!(close(log.place(2.0), 0.0) && close(log.place(100.0), 1.0));
        let wide = Scale::log(0.1, 10_000.0).ticks();
        assert_eq!(wide.len(), 6, "powers of ten: {wide:?}");
    }

    #[test]
    fn places_stay_on_the_axis() {
        for scale in [Scale::from_zero(10.0), Scale::log(1.0, 10.0), Scale::log(3.0, 3.0)] {
            for value in [-1.0, 0.0, 0.5, 5.0, 1e9] {
                assert!((0.0..=1.0).contains(&scale.place(value)), "{scale:?} {value}");
            }
            assert!(scale.ticks().len() >= 2, "{scale:?}");
        }
    }
}
