//! A series: samples of a run of any length, in bounded memory.
//!
//! When it is full, each two samples become one, and from then on each stands for twice the time.
//!
//! Limits: [`SAMPLES_MAX`].

use serde::{Serialize, Serializer};

use super::sample::Sample;

/// Samples that are kept: two hours of seconds, or longer in larger steps.
pub const SAMPLES_MAX: usize = 7200;

/// The samples, in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<T> {
    samples: Vec<T>,
    /// How many samples become one.
    stride: usize,
    /// What is not a whole one yet, and of how many it is made.
    pending: Option<(T, usize)>,
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self { samples: Vec::new(), stride: 1, pending: None }
    }
}

impl<T: Sample> Series<T> {
    /// Takes the next sample.
    pub fn push(&mut self, sample: T) {
        let (sample, count) = match self.pending.take() {
            Some((mut earlier, count)) => {
                earlier.join(sample);
                (earlier, count + 1)
            }
            None => (sample, 1),
        };
        if count < self.stride {
            self.pending = Some((sample, count));
            return;
        }
        self.samples.push(sample);
        if self.samples.len() >= SAMPLES_MAX {
            self.halve();
        }
    }

    fn halve(&mut self) {
        let mut joined: Vec<T> = Vec::with_capacity(SAMPLES_MAX);
        for (at, sample) in self.samples.drain(..).enumerate() {
            match joined.last_mut().filter(|_| at % 2 == 1) {
                Some(last) => last.join(sample),
                None => joined.push(sample),
            }
        }
        self.samples = joined;
        self.stride *= 2;
    }

    /// Adds what is not a whole sample yet: nothing comes any more.
    pub fn finish(&mut self) {
        if let Some((sample, _)) = self.pending.take() {
            self.samples.push(sample);
        }
    }
}

impl<T> Series<T> {
    /// What was kept.
    #[must_use]
    pub fn samples(&self) -> &[T] {
        &self.samples
    }
}

impl<T: Serialize> Serialize for Series<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.samples.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::PlayerSample;

    #[test]
    fn a_series_of_any_length_is_bounded_and_loses_no_bytes() {
        let mut series = Series::default();
        let seconds = SAMPLES_MAX * 3 + 1;
        for at in 1..=seconds {
            let (at_s, held) = (at as f64, at);
            let (interval_s, received_bytes) = (1.0, 10);
            let sample =
                PlayerSample { at_s, interval_s, held, received_bytes, ..Default::default() };
            series.push(sample);
        }
        series.finish();
        let samples = series.samples();
        assert!(samples.len() < SAMPLES_MAX && samples.len() > SAMPLES_MAX / 2);
        let bytes: u64 = samples.iter().map(|sample| sample.received_bytes).sum();
        assert_eq!(bytes, 10 * seconds as u64);
        let mut before_s = 0.0;
        for sample in samples {
            assert!((sample.at_s - sample.interval_s - before_s).abs() < 1e-9, "{sample:?}");
            before_s = sample.at_s;
        }
        assert_eq!(samples.last().map(|sample| sample.held), Some(seconds));
    }
}
