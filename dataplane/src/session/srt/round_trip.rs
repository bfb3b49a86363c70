//! How long a way there and back takes.
//!
//! Spec: draft-sharabayko-srt 4.10: weights of 1/8 and 1/4, as in TCP.

use std::time::Duration;

/// What is taken until something was measured.
const INITIAL: Duration = Duration::from_millis(100);
/// Longer ways are believed to be this long: the word of a peer.
const MAX: Duration = Duration::from_secs(10);

/// An estimate.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrip {
    mean: Duration,
    variance: Duration,
    is_measured: bool,
}

impl RoundTrip {
    pub(super) const fn new() -> Self {
        Self { mean: INITIAL, variance: Duration::from_millis(50), is_measured: false }
    }

    /// Takes a measurement.
    pub(super) fn sample(&mut self, rtt: Duration) {
        let rtt = rtt.min(MAX);
        if self.is_measured {
            self.variance = (self.variance * 3 + self.mean.abs_diff(rtt)) / 4;
            self.mean = (self.mean * 7 + rtt) / 8;
        } else {
            *self = Self { mean: rtt, variance: rtt / 2, is_measured: true };
        }
    }

    pub(super) const fn mean(&self) -> Duration {
        self.mean
    }

    pub(super) const fn variance(&self) -> Duration {
        self.variance
    }

    /// After this time an answer will not come any more.
    pub(super) fn patience(&self) -> Duration {
        self.mean + self.variance * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_measurement_counts_and_later_ones_weigh() {
        let ms = Duration::from_millis;
        let mut trip = RoundTrip::new();
        assert_eq!((trip.mean(), trip.patience()), (ms(100), ms(300)));
        trip.sample(ms(40));
        assert_eq!((trip.mean(), trip.variance()), (ms(40), ms(20)));
        trip.sample(ms(48));
        assert_eq!((trip.mean(), trip.variance()), (ms(41), ms(17)));
        trip.sample(Duration::MAX);
        assert!(trip.mean() < ms(1_300), "{:?}", trip.mean());
    }
}
