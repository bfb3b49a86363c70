//! Counts: what every shard counts in plain integers.

use dataplane::control::ShardSnapshot;

use super::text::{Text, seconds};

pub(super) fn counters(text: &mut Text, shards: &[ShardSnapshot], first: &ShardSnapshot) {
    for (index, (name, help, _)) in first.counters.counters().enumerate() {
        let name = format!("{name}_total");
        text.family(&name, "counter", help);
        for shard in shards {
            let value = shard.counters.counters().nth(index).map_or(0, |(_, _, value)| value);
            text.sample(&name, format_args!("shard=\"{}\"", shard.shard), value);
        }
    }
    for (index, (name, help, _)) in first.counters.gauges().enumerate() {
        text.family(name, "gauge", help);
        for shard in shards {
            let value = shard.counters.gauges().nth(index).map_or(0, |(_, _, value)| value);
            text.sample(name, format_args!("shard=\"{}\"", shard.shard), value);
        }
    }
}

/// Sums of time, in seconds.
pub(super) fn times(text: &mut Text, shards: &[ShardSnapshot], first: &ShardSnapshot) {
    for (index, (name, help, _)) in first.counters.times().enumerate() {
        let name = format!("{}_seconds_total", name.trim_end_matches("_ns"));
        text.family(&name, "counter", help);
        for shard in shards {
            let ns = shard.counters.times().nth(index).map_or(0, |(_, _, ns)| ns);
            text.sample(&name, format_args!("shard=\"{}\"", shard.shard), seconds(ns / 1_000));
        }
    }
}

pub(super) fn histograms(text: &mut Text, shards: &[ShardSnapshot], first: &ShardSnapshot) {
    for (index, (name, help, _)) in first.counters.histograms().enumerate() {
        // Prometheus counts time in seconds, everything else as it is.
        let time = name.strip_suffix("_us");
        let name = time.map_or_else(|| name.to_owned(), |name| format!("{name}_seconds"));
        let value = |value| if time.is_some() { seconds(value) } else { value.to_string() };
        text.family(&name, "histogram", help);
        for shard in shards {
            let Some((_, _, histogram)) = shard.counters.histograms().nth(index) else { continue };
            let shard = format!("shard=\"{}\"", shard.shard);
            let bucket = format!("{name}_bucket");
            for &bound in histogram.scale.shown {
                let labels = format_args!("{shard},le=\"{}\"", value(bound));
                text.sample(&bucket, labels, histogram.count_to(bound));
            }
            text.sample(&bucket, format_args!("{shard},le=\"+Inf\""), histogram.count());
            text.sample(&format!("{name}_sum"), &shard, value(histogram.sum));
            text.sample(&format!("{name}_count"), &shard, histogram.count());
        }
    }
}
