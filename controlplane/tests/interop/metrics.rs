//! The text format of Prometheus, as far as tests ask.

use std::collections::BTreeMap;

/// Samples by name, with the labels as they were written.
pub(crate) struct Metrics(BTreeMap<String, Vec<(String, f64)>>);

impl Metrics {
    /// Reads a page.
    pub(crate) fn parse(text: &str) -> Self {
        let mut samples: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = key.split_once('{').unwrap_or((key, ""));
            let value = value.parse().unwrap_or_else(|_| panic!("no number in `{line}`"));
            samples.entry(name.to_owned()).or_default().push((labels.to_owned(), value));
        }
        Self(samples)
    }

    /// The sum over all labels; `name` without `grandstand_`.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// The sum over the samples whose labels contain `label`.
    pub(crate) fn sum_where(&self, name: &str, label: &str) -> f64 {
        let name = format!("grandstand_{name}");
        let samples = self.0.get(&name).unwrap_or_else(|| panic!("no metric {name}"));
        samples.iter().filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }
}
