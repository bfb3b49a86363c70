//! Counts: what every shard counts in plain integers.

use dataplane::control::ShardSnapshot;

use super::histogram::write_histogram;
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
        let time = name.strip_suffix("_us").map(|name| format!("{name}_seconds"));
        let name = time.unwrap_or_else(|| name.to_owned());
        text.family(&name, "histogram", help);
        for shard in shards {
            if let Some((_, _, histogram)) = shard.counters.histograms().nth(index) {
                let label = format!("shard=\"{}\"", shard.shard);
                write_histogram(text, &name, &label, histogram);
            }
        }
    }
}
