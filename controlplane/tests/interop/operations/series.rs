//! Series: what a scrape of one node gives, as a Prometheus server keeps it.

use std::collections::{BTreeMap, BTreeSet};

/// Labels that the server of Prometheus adds to every series of a target.
const OF_TARGET: [&str; 2] = ["instance", "job"];

/// Metrics with the values of each of their labels.
pub(super) struct Series(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Series {
    /// Those of a page, and `up`, which tells how its scrape went.
    pub(super) fn parse(page: &str) -> Self {
        let mut metrics: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        metrics.insert("up".to_owned(), BTreeMap::new());
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let metric = metrics.entry(name.to_owned()).or_default();
            // No value of ours holds a comma or a quote.
            for label in labels.trim_end_matches('}').split_terminator(',') {
                let (label, value) = label.split_once('=').expect("a label has a value");
                let value = value.trim_matches('"').to_owned();
                metric.entry(label.to_owned()).or_default().insert(value);
            }
        }
        Self(metrics)
    }

    /// True if there is a metric of that name.
    pub(super) fn has(&self, metric: &str) -> bool {
        self.0.contains_key(metric)
    }

    /// True if series of the metric have the label.
    pub(super) fn has_label(&self, metric: &str, label: &str) -> bool {
        OF_TARGET.contains(&label)
            || self.0.get(metric).is_some_and(|labels| labels.contains_key(label))
    }

    /// True if a series of the metric has this value of the label.
    pub(super) fn has_value(&self, metric: &str, label: &str, value: &str) -> bool {
        let values = self.0.get(metric).and_then(|labels| labels.get(label));
        OF_TARGET.contains(&label) || values.is_some_and(|values| values.contains(value))
    }

    /// Every metric.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
