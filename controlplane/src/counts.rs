//! Counts: what the rooms of the control plane count, on its way to `/metrics`.
//!
//! A room keeps plain integers and [`Histogram`]s of its own and writes them here when it is asked.
//! Names are without the prefix `grandstand_` and end in their unit; labels are words of a closed
//! set or names of the configuration, never what a peer sent.

use dataplane::metrics::Histogram;

/// One value, or how often values of each size were seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// It only grows; the name ends in `_total`.
    Counter(u64),
    /// It is so now.
    Gauge(f64),
    /// Of microseconds, which are shown as seconds, or of bytes.
    Histogram(Box<Histogram>),
}

/// The value of one word of a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The label and its word, if the family has one.
    pub label: Option<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// Values of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the prefix of all names.
    pub name: &'static str,
    /// A sentence.
    pub help: &'static str,
    /// One for each word of the label, else one.
    pub samples: Vec<Sample>,
}

/// What was counted until now. Lives on: the control thread. Crosses by: never.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    families: Vec<Family>,
}

impl Counts {
    /// Something that only grows; `name` ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.family(name, help, vec![Sample { label: None, value: Value::Counter(value) }]);
    }

    /// Something that only grows, by the words of `label`.
    pub fn counter_by<W: Into<String>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (W, u64)>,
    ) {
        let sample = |(word, value): (W, u64)| Sample {
            label: Some((label, word.into())),
            value: Value::Counter(value),
        };
        self.family(name, help, values.into_iter().map(sample).collect());
    }

    /// Something that is so now.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.family(name, help, vec![Sample { label: None, value: Value::Gauge(value) }]);
    }

    /// Something that is so now, by the words of `label`.
    pub fn gauge_by<W: Into<String>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (W, f64)>,
    ) {
        let sample = |(word, value): (W, f64)| Sample {
            label: Some((label, word.into())),
            value: Value::Gauge(value),
        };
        self.family(name, help, values.into_iter().map(sample).collect());
    }

    /// How often values of each size were seen; `name` ends in `_seconds` for microseconds, else in
    /// `_bytes`.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, histogram: &Histogram) {
        let value = Value::Histogram(Box::new(histogram.clone()));
        self.family(name, help, vec![Sample { label: None, value }]);
    }

    /// Everything, in the order in which it was written.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    fn family(&mut self, name: &'static str, help: &'static str, samples: Vec<Sample>) {
        debug_assert!(self.families.iter().all(|family| family.name != name), "{name} twice");
        // What has no value yet has no kind either.
        if !samples.is_empty() {
            self.families.push(Family { name, help, samples });
        }
    }
}
