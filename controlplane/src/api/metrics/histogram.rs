//! Histogram: the samples of one, cumulative as Prometheus wants them.

use dataplane::metrics::{Histogram, MICROSECONDS};

use super::text::{Text, seconds};

/// The samples of `histogram` as part of the family `name`; microseconds are shown as seconds.
pub(super) fn write_histogram(text: &mut Text, name: &str, label: &str, histogram: &Histogram) {
    let time = std::ptr::eq(histogram.scale, &raw const MICROSECONDS);
    let value = |value| if time { seconds(value) } else { value.to_string() };
    let bucket = format!("{name}_bucket");
    let more = if label.is_empty() { "" } else { "," };
    for &bound in histogram.scale.shown {
        let labels = format_args!("{label}{more}le=\"{}\"", value(bound));
        text.sample(&bucket, labels, histogram.count_to(bound));
    }
    text.sample(&bucket, format_args!("{label}{more}le=\"+Inf\""), histogram.count());
    text.sample(&format!("{name}_sum"), label, value(histogram.sum));
    text.sample(&format!("{name}_count"), label, histogram.count());
}
