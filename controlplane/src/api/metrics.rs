//! Metrics: everything that shards count, in the text format of Prometheus.

use std::fmt::{Display, Write};

use dataplane::config::{LimitId, Limits};
use dataplane::control::{HeadroomStatus, Protocol, ShardSnapshot};
use dataplane::metrics::NoRoom;
use dataplane::session::tls::TlsFailure;

use super::process::Process;
use super::room::Room;
use crate::bridge::Gathered;

/// Text of families, each with its type and help once.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.trim();
        self.line(format_args!("# HELP grandstand_{name} {help}"));
        self.line(format_args!("# TYPE grandstand_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: impl Display, value: impl Display) {
        self.line(format_args!("grandstand_{name}{{{labels}}} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("a text grows");
        self.0.push('\n');
    }
}

/// The page that a Prometheus server reads.
#[must_use]
pub fn render(
    gathered: &Gathered,
    limits: &Limits,
    process: &Process,
    log_lines_dropped: usize,
) -> String {
    let mut text = Text(String::with_capacity(32 << 10));
    node(&mut text, gathered, log_lines_dropped);
    let shards = &gathered.snapshots;
    if let Some(first) = shards.first() {
        counters(&mut text, shards, first);
        times(&mut text, shards, first);
        histograms(&mut text, shards, first);
        players(&mut text, shards);
        limits_exceeded(&mut text, shards);
        tls_failures(&mut text, shards);
        operations(&mut text, shards);
        rare(&mut text, shards);
        pools(&mut text, shards);
        load(&mut text, shards);
        room(&mut text, shards);
    }
    text.family("limit", "gauge", "Limits in force.");
    for &id in LimitId::ALL {
        text.sample("limit", format_args!("limit=\"{}\"", id.name()), limits.get(id));
    }
    own_process(&mut text, process);
    text.0
}

fn node(text: &mut Text, gathered: &Gathered, log_lines_dropped: usize) {
    text.family("info", "gauge", "The version.");
    text.sample("info", concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
    text.family("shard_up", "gauge", "Shards that answered in time.");
    for shard in &gathered.snapshots {
        text.sample("shard_up", format_args!("shard=\"{}\"", shard.shard), 1);
    }
    for shard in &gathered.missing {
        text.sample("shard_up", format_args!("shard=\"{shard}\""), 0);
    }
    text.family("log_lines_dropped_total", "counter", "Log lines that found no room.");
    text.line(format_args!("grandstand_log_lines_dropped_total {log_lines_dropped}"));
}

fn counters(text: &mut Text, shards: &[ShardSnapshot], first: &ShardSnapshot) {
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
fn times(text: &mut Text, shards: &[ShardSnapshot], first: &ShardSnapshot) {
    for (index, (name, help, _)) in first.counters.times().enumerate() {
        let name = format!("{}_seconds_total", name.trim_end_matches("_ns"));
        text.family(&name, "counter", help);
        for shard in shards {
            let ns = shard.counters.times().nth(index).map_or(0, |(_, _, ns)| ns);
            text.sample(&name, format_args!("shard=\"{}\"", shard.shard), seconds(ns / 1_000));
        }
    }
}

fn histograms(text: &mut Text, shards: &[ShardSnapshot], first: &ShardSnapshot) {
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

fn players(text: &mut Text, shards: &[ShardSnapshot]) {
    const NAME: &str = "protocol_players";
    text.family(NAME, "gauge", "Playing sessions by protocol.");
    for shard in shards {
        for (protocol, players) in Protocol::ALL.iter().zip(shard.counters.players_of) {
            if protocol.plays() {
                let (shard, protocol) = (shard.shard, protocol.name());
                text.sample(
                    NAME,
                    format_args!("shard=\"{shard}\",protocol=\"{protocol}\""),
                    players,
                );
            }
        }
    }
}

fn limits_exceeded(text: &mut Text, shards: &[ShardSnapshot]) {
    const NAME: &str = "limit_exceeded_total";
    text.family(NAME, "counter", "Sessions closed or refused because of a limit.");
    for shard in shards {
        for (id, value) in LimitId::ALL.iter().zip(shard.counters.limits) {
            let labels = format_args!("shard=\"{}\",limit=\"{}\"", shard.shard, id.name());
            text.sample(NAME, labels, value);
        }
    }
}

fn tls_failures(text: &mut Text, shards: &[ShardSnapshot]) {
    const NAME: &str = "tls_failures_total";
    text.family(NAME, "counter", "TLS connections that failed, by reason.");
    for shard in shards {
        for (failure, value) in TlsFailure::ALL.iter().zip(shard.counters.tls_failures) {
            let reason = failure.name().trim_start_matches("tls_");
            let labels = format_args!("shard=\"{}\",reason=\"{reason}\"", shard.shard);
            text.sample(NAME, labels, value);
        }
    }
}

fn operations(text: &mut Text, shards: &[ShardSnapshot]) {
    type Column = fn(&(&'static str, u64, u64)) -> u64;
    let columns: [(&str, &str, Column); 2] = [
        ("reactor_operations_total", "Operations submitted.", |row| row.1),
        ("reactor_operations_failed_total", "Operations that failed.", |row| row.2),
    ];
    for (name, help, column) in columns {
        text.family(name, "counter", help);
        for shard in shards {
            for row in &shard.operations {
                let labels = format_args!("shard=\"{}\",opcode=\"{}\"", shard.shard, row.0);
                text.sample(name, labels, column(row));
            }
        }
    }
}

fn rare(text: &mut Text, shards: &[ShardSnapshot]) {
    type Rows = fn(&ShardSnapshot) -> &[(&'static str, u64)];
    let families: [(&str, &str, &str, Rows); 2] = [
        ("reactor_system_calls_total", "System calls of the reactor.", "call", |shard| {
            &shard.system_calls
        }),
        ("reactor_incidents_total", "What should be rare in the reactor.", "kind", |shard| {
            &shard.incidents
        }),
    ];
    for (name, help, label, rows) in families {
        text.family(name, "counter", help);
        for shard in shards {
            for (kind, count) in rows(shard) {
                let labels = format_args!("shard=\"{}\",{label}=\"{kind}\"", shard.shard);
                text.sample(name, labels, count);
            }
        }
    }
}

fn pools(text: &mut Text, shards: &[ShardSnapshot]) {
    type Column = fn(&dataplane::control::PoolStatus) -> u64;
    let columns: [(&str, &str, Column); 5] = [
        ("pool_page_bytes", "Bytes of one page.", |pool| pool.page_bytes),
        ("pool_pages_used", "Pages in use.", |pool| pool.used),
        ("pool_pages_peak", "Most pages ever in use.", |pool| pool.peak),
        ("pool_pages", "Pages in all.", |pool| pool.total),
        ("pool_pages_resident", "Pages that take memory of the machine.", |pool| pool.resident),
    ];
    for (name, help, column) in columns {
        text.family(name, "gauge", help);
        for shard in shards {
            for pool in &shard.pools {
                let labels = format_args!("shard=\"{}\",pool=\"{}\"", shard.shard, pool.name);
                text.sample(name, labels, column(pool));
            }
        }
    }
}

fn load(text: &mut Text, shards: &[ShardSnapshot]) {
    type Value = fn(&ShardSnapshot) -> f64;
    let families: [(&str, &str, Value); 4] = [
        ("utilisation", "Share of the last second spent in turns.", |s| s.recent.utilisation),
        ("egress_utilisation", "Share of the last quarter of a second spent in egress.", |s| {
            s.utilisation
        }),
        (
            "egress_turn_share",
            "Share of the time in turns, of the last second, that egress took.",
            |s| s.recent.egress_turn_share,
        ),
        (
            "flush_interval_seconds",
            "How long frames are gathered now; 0 sends each at once.",
            |s| s.flush_interval_ms / 1000.0,
        ),
    ];
    for (name, help, value) in families {
        text.family(name, "gauge", help);
        for shard in shards {
            text.sample(name, format_args!("shard=\"{}\"", shard.shard), value(shard));
        }
    }
}

fn room(text: &mut Text, shards: &[ShardSnapshot]) {
    const REFUSED: &str = "players_refused_total";
    text.family(REFUSED, "counter", "New players that found no room, by what had none.");
    for shard in shards {
        for (reason, value) in NoRoom::ALL.iter().zip(shard.counters.no_room) {
            let labels = format_args!("shard=\"{}\",reason=\"{}\"", shard.shard, reason.name());
            text.sample(REFUSED, labels, value);
        }
    }
    type Column = fn(&HeadroomStatus) -> f64;
    let columns: [(&str, &str, Column); 6] = [
        ("players_room", "More players of the current mix that fit.", |headroom| {
            Room::of_shard(headroom).players as f64
        }),
        (
            "players_full",
            "1 while the core of the shard has no room for another player.",
            |headroom| f64::from(u8::from(headroom.full)),
        ),
        (
            "owed_bits_per_second",
            "Bit rates of the streams that players play, for each player.",
            |headroom| headroom.owed_bps as f64,
        ),
        (
            "core_in_use",
            "Share of the core in use if frames were gathered as long as allowed.",
            |headroom| headroom.in_use,
        ),
        ("send_cost_seconds", "CPU that one send costs.", |headroom| headroom.send_s),
        ("byte_cost_seconds", "CPU that one byte of a send costs.", |headroom| headroom.byte_s),
    ];
    for (name, help, column) in columns {
        text.family(name, "gauge", help);
        for shard in shards {
            let labels = format_args!("shard=\"{}\"", shard.shard);
            text.sample(name, labels, column(&shard.headroom));
        }
    }
    if let Some(room) = Room::of_node(shards) {
        let help = "More players of the current mix that fit into the node.";
        text.family("node_players_room", "gauge", help);
        text.line(format_args!("grandstand_node_players_room {}", room.players));
    }
}

fn own_process(text: &mut Text, process: &Process) {
    text.family("heap_bytes", "gauge", "Bytes of the heap: held, or kept for the next who asks.");
    text.sample("heap_bytes", "state=\"used\"", process.heap_used_bytes);
    text.sample("heap_bytes", "state=\"kept\"", process.heap_kept_bytes);
    // These names are what every dashboard expects, without our prefix.
    let rows: [(&str, &str, &str, String); 6] = [
        ("resident_memory_bytes", "gauge", "Resident bytes.", process.resident_bytes.to_string()),
        ("virtual_memory_bytes", "gauge", "Mapped bytes.", process.virtual_bytes.to_string()),
        ("cpu_seconds_total", "counter", "Seconds of CPU.", process.cpu_seconds.to_string()),
        ("threads", "gauge", "Threads.", process.threads.to_string()),
        ("open_fds", "gauge", "Open file descriptors.", process.open_fds.to_string()),
        ("max_fds", "gauge", "File descriptors at most.", process.max_fds.to_string()),
    ];
    for (name, kind, help, value) in rows {
        text.line(format_args!("# HELP process_{name} {help}"));
        text.line(format_args!("# TYPE process_{name} {kind}"));
        text.line(format_args!("process_{name} {value}"));
    }
}

/// Microseconds as seconds, exactly.
fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::control::PoolStatus;
    use dataplane::ids::ShardId;
    use dataplane::metrics::{Recent, ShardCounters};

    fn snapshot(shard: u16) -> ShardSnapshot {
        let mut counters = ShardCounters { bytes_sent: 10, players: 3, ..Default::default() };
        counters.limit(LimitId::StreamsMax);
        counters.no_room(NoRoom::Cpu);
        counters.turn_us.observe(60);
        counters.turn_us.observe(2_000_000);
        counters.send_bytes.observe(3_000);
        counters.egress_ns = 1_500_000_000;
        counters.players_of[Protocol::HttpFlv as usize] = 3;
        ShardSnapshot {
            shard: ShardId(shard),
            id: 0,
            counters,
            operations: vec![("SEND", 5, 1)],
            system_calls: vec![("io_uring_enter", 9)],
            incidents: vec![("overflows", 2)],
            cpu: None,
            draining: false,
            recent: Recent { utilisation: 0.5, egress_turn_share: 0.75, ..Recent::default() },
            audiences: Vec::new(),
            pools: vec![PoolStatus {
                name: "small",
                page_bytes: 8192,
                used: 1,
                peak: 2,
                total: 3,
                resident: 2,
            }],
            utilisation: 0.25,
            flush_interval_ms: 20.0,
            headroom: crate::api::room::tests::HEADROOM,
            streams: Vec::new(),
            sessions: Vec::new(),
        }
    }

    #[test]
    fn every_family_is_described_once_and_every_sample_belongs_to_one() {
        let gathered =
            Gathered { snapshots: vec![snapshot(0), snapshot(1)], missing: vec![ShardId(2)] };
        let text = render(&gathered, &Limits::default(), &Process::default(), 4);
        for line in [
            "grandstand_bytes_sent_total{shard=\"1\"} 10",
            "grandstand_players{shard=\"0\"} 3",
            "grandstand_limit_exceeded_total{shard=\"0\",limit=\"streams_max\"} 1",
            "grandstand_reactor_operations_total{shard=\"0\",opcode=\"SEND\"} 5",
            "grandstand_reactor_operations_failed_total{shard=\"1\",opcode=\"SEND\"} 1",
            "grandstand_reactor_system_calls_total{shard=\"0\",call=\"io_uring_enter\"} 9",
            "grandstand_reactor_incidents_total{shard=\"1\",kind=\"overflows\"} 2",
            "grandstand_pool_pages_peak{shard=\"0\",pool=\"small\"} 2",
            "grandstand_turn_seconds_bucket{shard=\"0\",le=\"0.00005\"} 0",
            "grandstand_turn_seconds_bucket{shard=\"0\",le=\"0.0001\"} 1",
            "grandstand_turn_seconds_bucket{shard=\"0\",le=\"+Inf\"} 2",
            "grandstand_turn_seconds_sum{shard=\"0\"} 2.00006",
            "grandstand_turn_seconds_count{shard=\"0\"} 2",
            "grandstand_flush_interval_seconds{shard=\"1\"} 0.02",
            "grandstand_utilisation{shard=\"0\"} 0.5",
            "grandstand_egress_utilisation{shard=\"0\"} 0.25",
            "grandstand_egress_turn_share{shard=\"0\"} 0.75",
            "grandstand_egress_seconds_total{shard=\"0\"} 1.5",
            "grandstand_send_bytes_bucket{shard=\"0\",le=\"2048\"} 0",
            "grandstand_send_bytes_bucket{shard=\"0\",le=\"4096\"} 1",
            "grandstand_send_bytes_sum{shard=\"0\"} 3000",
            "grandstand_loop_lag_seconds_count{shard=\"1\"} 0",
            "grandstand_protocol_players{shard=\"0\",protocol=\"http-flv\"} 3",
            "grandstand_shard_up{shard=\"2\"} 0",
            "grandstand_players_room{shard=\"1\"} 4000",
            "grandstand_node_players_room 8000",
            "grandstand_players_refused_total{shard=\"0\",reason=\"cpu\"} 1",
            "grandstand_owed_bits_per_second{shard=\"0\"} 2000000000",
            "grandstand_limit{limit=\"tracks_max\"} 8",
            "grandstand_log_lines_dropped_total 4",
            "process_threads 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        let mut families = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(families.insert(name.to_owned()), "{name} twice");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let stem = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                assert!(families.contains(name) || families.contains(stem), "{line}");
            }
        }
    }
}
