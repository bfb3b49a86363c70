//! Control: what the rooms of the control plane counted.

use super::histogram::write_histogram;
use super::text::Text;
use crate::counts::{Counts, Sample, Value};

pub(super) fn rooms(text: &mut Text, counts: &Counts) {
    for family in counts.families() {
        let kind = family.samples.first().map_or("counter", |sample| kind(&sample.value));
        text.family(family.name, kind, family.help);
        for Sample { label, value } in &family.samples {
            let label = label
                .as_ref()
                .map_or_else(String::new, |(label, word)| format!("{label}=\"{}\"", escaped(word)));
            match value {
                Value::Counter(value) => text.sample(family.name, label, value),
                Value::Gauge(value) => text.sample(family.name, label, value),
                Value::Histogram(histogram) => {
                    write_histogram(text, family.name, &label, histogram);
                }
            }
        }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Counter(_) => "counter",
        Value::Gauge(_) => "gauge",
        Value::Histogram(_) => "histogram",
    }
}

/// A word between quotes: names of the configuration may hold anything.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::metrics::{Histogram, MICROSECONDS};

    #[test]
    fn counts_become_families() {
        let mut lag = Histogram::new(&MICROSECONDS);
        lag.observe(90);
        let mut counts = Counts::default();
        counts.counter("turns_total", "Turns.", 7);
        counts.gauge("waiting", "Waiting.", 0.5);
        counts.counter_by("asked_total", "Asked.", "hook", [("a\"b\\c\nd", 1), ("e", 2)]);
        counts.gauge_by("depth", "Depth.", "hook", [("e", 3.0)]);
        counts.histogram("lag_seconds", "Lag.", &lag);
        let mut text = Text::new();
        rooms(&mut text, &counts);
        let page = text.into_page();
        for line in [
            "# TYPE grandstand_turns_total counter",
            "grandstand_turns_total 7",
            "# TYPE grandstand_waiting gauge",
            "grandstand_waiting 0.5",
            "grandstand_asked_total{hook=\"a\\\"b\\\\c\\nd\"} 1",
            "grandstand_asked_total{hook=\"e\"} 2",
            "grandstand_depth{hook=\"e\"} 3",
            "# TYPE grandstand_lag_seconds histogram",
            "grandstand_lag_seconds_bucket{le=\"0.00005\"} 0",
            "grandstand_lag_seconds_bucket{le=\"0.0001\"} 1",
            "grandstand_lag_seconds_bucket{le=\"+Inf\"} 1",
            "grandstand_lag_seconds_sum 0.00009",
            "grandstand_lag_seconds_count 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }
}
