//! Tables: the numbers that the plots are made of, and all that JSON holds.

use std::fmt::Write;

use serde_json::Value;

use super::markup::escape;
use super::unit::Unit;
use crate::report::Section;
use crate::stats::Percentiles;

/// Samples that are shown one by one.
const ROWS_MAX: usize = 1000;

/// A row of the comparison: a name, and how a section tells its value.
type Row = (&'static str, fn(&Section) -> Option<String>);

const COMPARISON: [Row; 20] = [
    ("players held", |of| Some(Unit::Count.write(of.measurement.held as f64))),
    ("refused, failed, closed", |of| {
        let of = &of.measurement;
        Some(format!("{}, {}, {}", of.refused, of.failed, of.closed))
    }),
    ("join p50 / p99", |of| Some(pair(of.measurement.join?))),
    ("latency p50", |of| Some(Unit::Ms.write(of.measurement.latency?.p50_ms))),
    ("latency p90", |of| Some(Unit::Ms.write(of.measurement.latency?.p90_ms))),
    ("latency p99", |of| Some(Unit::Ms.write(of.measurement.latency?.p99_ms))),
    ("latency p99.9", |of| Some(Unit::Ms.write(of.measurement.latency?.p999_ms))),
    ("latency max", |of| Some(Unit::Ms.write(of.measurement.latency?.max_ms))),
    ("stalls", |of| Some(Unit::Count.write(of.measurement.stalls as f64))),
    ("lost frames of sampled players", |of| Some(Unit::Count.write(of.measurement.lost as f64))),
    ("SRT packets, recovered, lost", |of| {
        let of = &of.measurement;
        let packets = [of.packets, of.packets_recovered, of.packets_lost];
        let [all, recovered, lost] = packets.map(|count| Unit::Count.write(count as f64));
        (of.packets > 0).then(|| format!("{all}, {recovered}, {lost}"))
    }),
    ("received", |of| Some(Unit::Bytes.write(of.measurement.received_bytes as f64))),
    ("rate", |of| {
        let of = &of.measurement;
        Some(Unit::BitsPerSecond.write(of.received_bytes as f64 * 8.0 / of.window_s.max(1e-9)))
    }),
    ("server CPU", |of| {
        let seconds = of.measurement.server.as_ref()?.cpu_s;
        Some(Unit::Core.write(seconds / of.measurement.window_s.max(1e-9)))
    }),
    ("CPU seconds per GB", |of| {
        Some(format!("{:.3}", of.measurement.server.as_ref()?.cpu_s_per_gb))
    }),
    ("resident memory", |of| {
        Some(Unit::Bytes.write(of.measurement.server.as_ref()?.rss_bytes as f64))
    }),
    ("memory per player more", |of| {
        Some(Unit::Bytes.write(of.measurement.server.as_ref()?.rss_bytes_per_player?.round()))
    }),
    ("context switches per second", |of| {
        let switches = of.measurement.server.as_ref()?.context_switches as f64;
        Some(Unit::Count.write((switches / of.measurement.window_s.max(1e-9)).round()))
    }),
    ("kernel TCP buffers, both ends, most", |of| {
        Some(Unit::Bytes.write(of.observed.tcp_bytes_max? as f64))
    }),
    ("loop lag p99 / max, at most", |of| {
        let lag = of.observed.loop_lag?;
        Some(format!("{} / {}", Unit::Ms.write(lag.p99_ms), Unit::Ms.write(lag.max_ms)))
    }),
];

/// How a section is called: by its players, and by its number if it is one of several.
pub(super) fn name(at: usize, section: &Section, sections: usize) -> String {
    let players = Unit::Count.write(section.measurement.players as f64);
    if sections > 1 {
        format!("{}. {players} players", at + 1)
    } else {
        format!("{players} players")
    }
}

fn pair(of: Percentiles) -> String {
    format!("{} / {}", Unit::Ms.write(of.p50_ms), Unit::Ms.write(of.p99_ms))
}

/// Sections beside each other; rows of which nothing is known are left out.
pub(super) fn comparison(sections: &[Section]) -> String {
    let mut text = String::from("<div class=\"wide\"><table>\n<thead><tr><th></th>");
    for (at, section) in sections.iter().enumerate() {
        let _ = write!(text, "<th>{}</th>", name(at, section, sections.len()));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (name, value) in COMPARISON {
        let values: Vec<Option<String>> = sections.iter().map(value).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "<tr><th>{name}</th>");
        for value in values {
            let _ = write!(text, "<td>{}</td>", value.unwrap_or_else(|| "\u{2013}".to_owned()));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody></table></div>\n"
}

/// Why players were lost, and how many.
pub(super) fn losses(section: &Section) -> String {
    if section.measurement.losses.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>reason</th><th>players</th></tr></thead>\n\
         <tbody>\n",
    );
    for (reason, players) in &section.measurement.losses {
        let (reason, players) = (escape(reason), Unit::Count.write(*players as f64));
        let _ = writeln!(text, "<tr><th>{reason}</th><td>{players}</td></tr>");
    }
    text + "</tbody></table></div>\n"
}

/// What those saw who play alike, if there are several kinds of players.
pub(super) fn parts(section: &Section) -> String {
    let parts = &section.measurement.parts;
    if parts.len() < 2 {
        return String::new();
    }
    let mut text = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>players</th><th>held</th><th>gone</th>\
         <th>stalls</th><th>received</th><th>join p50 / p99</th><th>latency p50 / p99</th>\
         <th>frames sampled</th><th>lost frames</th></tr></thead>\n<tbody>\n",
    );
    let times = |of: Option<Percentiles>| of.map_or("\u{2013}".to_owned(), pair);
    for part in parts {
        let _ = writeln!(
            text,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td></tr>",
            escape(&part.name),
            Unit::Count.write(part.held as f64),
            Unit::Count.write(part.lost_players as f64),
            Unit::Count.write(part.stalls as f64),
            Unit::Bytes.write(part.received_bytes as f64),
            times(part.join),
            times(part.latency),
            Unit::Count.write(part.frames as f64),
            Unit::Count.write(part.lost as f64),
        );
    }
    text + "</tbody></table></div>\n"
}

/// What each thread of the server spent.
pub(super) fn threads(section: &Section) -> String {
    let Some(server) = &section.measurement.server else { return String::new() };
    let mut text = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>thread</th><th>id</th><th>CPU</th>\
         <th>CPU seconds</th><th>waits</th><th>preemptions</th></tr></thead>\n<tbody>\n",
    );
    for thread in &server.threads {
        let _ = writeln!(
            text,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{:.3}</td><td>{}</td><td>{}</td></tr>",
            escape(&thread.name),
            thread.tid,
            Unit::Core.write(thread.cpu_s / section.measurement.window_s.max(1e-9)),
            thread.cpu_s,
            Unit::Count.write(thread.voluntary_switches as f64),
            Unit::Count.write(thread.involuntary_switches as f64),
        );
    }
    text + "</tbody></table></div>\n"
}

/// What each shard told of itself.
pub(super) fn shards(section: &Section) -> String {
    if section.observed.shards.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>shard</th><th>CPU</th><th>players</th>\
         <th>busy</th><th>sending</th><th>sends/s</th><th>flush interval</th><th>pages in use</th>\
         <th>loop lag p99 / max</th><th>turn p99 / max</th></tr></thead>\n<tbody>\n",
    );
    let none = || "\u{2013}".to_owned();
    for shard in &section.observed.shards {
        let bounds = |of: Option<crate::report::Bounds>| {
            of.map_or_else(none, |of| {
                format!("{} / {}", Unit::Ms.write(of.p99_ms), Unit::Ms.write(of.max_ms))
            })
        };
        let _ = writeln!(
            text,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            shard.shard,
            shard.cpu.map_or_else(none, |cpu| cpu.to_string()),
            Unit::Count.write(shard.players as f64),
            shard.utilisation.map_or_else(none, |of| Unit::Share.write(of)),
            shard.egress_utilisation.map_or_else(none, |of| Unit::Share.write(of)),
            shard.sends_per_s.map_or_else(none, |of| Unit::Count.write(of.round())),
            shard.flush_interval_ms.map_or_else(none, |of| Unit::Ms.write(of)),
            Unit::Bytes.write(shard.pool_bytes as f64),
            bounds(shard.loop_lag),
            bounds(shard.turn),
        );
    }
    text + "</tbody></table></div>\n"
}

/// Every value below a name, with its path, as JSON writes it.
pub(super) fn everything(value: &Value) -> String {
    let mut text = String::from("<div class=\"wide\"><table>\n<tbody>\n");
    let mut found = Vec::new();
    leaves("", value, &mut found);
    for (path, shown) in found {
        let (path, shown) = (escape(&path), escape(&shown));
        let _ = writeln!(text, "<tr><th>{path}</th><td class=\"word\">{shown}</td></tr>");
    }
    text + "</tbody></table></div>\n"
}

/// Samples, a row for each and a column for each of their values; nothing if there are none.
pub(super) fn samples(samples: &Value) -> String {
    let Some(samples) = samples.as_array().filter(|samples| !samples.is_empty()) else {
        return String::new();
    };
    if samples.len() > ROWS_MAX {
        let count = samples.len();
        return format!("<p>There are {count}: see the JSON in this page's source.</p>\n");
    }
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::with_capacity(samples.len());
    for sample in samples {
        let mut found = Vec::new();
        leaves("", sample, &mut found);
        let mut row: Vec<Option<String>> = vec![None; columns.len()];
        for (path, shown) in found {
            match columns.iter().position(|column| *column == path) {
                Some(at) => row[at] = Some(shown),
                None => {
                    columns.push(path);
                    row.push(Some(shown));
                }
            }
        }
        rows.push(row);
    }
    let mut text = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for column in &columns {
        let _ = write!(text, "<th>{}</th>", escape(column));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        text.push_str("<tr>");
        for at in 0..columns.len() {
            let shown = row.get(at).cloned().flatten().unwrap_or_default();
            let _ = write!(text, "<td>{}</td>", escape(&shown));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody></table></div>\n"
}

/// Every value that is not made of others, with the way to it.
fn leaves(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, found);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                leaves(&format!("{path}[{at}]"), value, found);
            }
        }
        Value::Null => {}
        Value::String(words) => found.push((path.to_owned(), words.clone())),
        other => found.push((path.to_owned(), other.to_string())),
    }
}
