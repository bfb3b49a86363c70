//! Page: everything that this process counts, in one answer.

use dataplane::config::{LimitId, Limits};

use super::text::Text;
use super::{control, counts, load, pools, process, reactor, refusals};
use crate::api::process::Process;
use crate::bridge::Gathered;
use crate::counts::Counts;

/// The page that a Prometheus server reads.
#[must_use]
pub fn render(
    (gathered, rooms): (&Gathered, &Counts),
    limits: &Limits,
    own: &Process,
    log_lines_dropped: usize,
) -> String {
    let mut text = Text::new();
    node(&mut text, gathered, log_lines_dropped);
    let shards = &gathered.snapshots;
    if let Some(first) = shards.first() {
        counts::counters(&mut text, shards, first);
        counts::times(&mut text, shards, first);
        counts::histograms(&mut text, shards, first);
        load::players(&mut text, shards);
        refusals::limits_exceeded(&mut text, shards);
        refusals::tls_failures(&mut text, shards);
        refusals::players_refused(&mut text, shards);
        reactor::operations(&mut text, shards);
        reactor::rare(&mut text, shards);
        pools::pools(&mut text, shards);
        load::load(&mut text, shards);
        load::room(&mut text, shards);
    }
    text.family("limit", "gauge", "Limits in force.");
    for &id in LimitId::ALL {
        text.sample("limit", format_args!("limit=\"{}\"", id.name()), limits.get(id));
    }
    control::rooms(&mut text, rooms);
    process::own_process(&mut text, own);
    text.into_page()
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

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::control::{PoolStatus, Protocol, ShardSnapshot};
    use dataplane::ids::ShardId;
    use dataplane::metrics::{NoRoom, Recent, ShardCounters};

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
            inputs: Vec::new(),
            sessions: Vec::new(),
        }
    }

    #[test]
    fn every_family_is_described_once_and_every_sample_belongs_to_one() {
        let gathered = Gathered {
            snapshots: vec![snapshot(0), snapshot(1)],
            missing: vec![ShardId(2)],
            ..Gathered::default()
        };
        let text =
            render((&gathered, &Counts::default()), &Limits::default(), &Process::default(), 4);
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
            "grandstand_owed_bytes_per_second{shard=\"0\"} 250000000",
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
