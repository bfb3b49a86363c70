//! Results for people, in lines.

use std::fmt::Write;

use super::html::Unit;
use super::section::Section;
use crate::impair::{DirectionTotals, ImpairSummary};
use crate::measurement::{Measurement, PartMeasurement};
use crate::observe::ServerCost;
use crate::publisher::PublishSummary;
use crate::scenario::{Knee, Soak, StepVerdict};
use crate::stats::Percentiles;

/// Threads that are named in a line.
const THREADS_NAMED_MAX: usize = 6;

/// What a relay did, as a few lines.
#[must_use]
pub fn impaired(of: &ImpairSummary) -> String {
    let direction = |name: &str, of: &DirectionTotals| {
        format!(
            "{name:<12}{} packets, {:.1} MB; {} forwarded, {:.1} MB; {} lost, {} duplicated, \
             {} reordered, {} overflowed, {} unsent\n",
            of.packets,
            of.bytes as f64 / 1e6,
            of.forwarded,
            of.forwarded_bytes as f64 / 1e6,
            of.lost,
            of.duplicated,
            of.reordered,
            of.overflowed,
            of.unsent
        )
    };
    let ImpairSummary { clients, refused, failed, cut, up, down, lateness } = of;
    format!(
        "clients     {clients}, {refused} refused, {failed} failed, {cut} cut\n\
         {}{}lateness    {}\n",
        direction("up", up),
        direction("down", down),
        percentiles(*lateness)
    )
}

/// What sampled players found of frames.
fn frames(of: &Measurement) -> String {
    format!(
        "{} of {} sampled players, {} lost, {} corrupt, {} duplicated, {} reordered, \
         {} times back, {} bad starts, {} unstamped",
        of.frames,
        of.sampled,
        of.lost,
        of.corrupt,
        of.duplicated,
        of.reordered,
        of.timestamps_back,
        of.undecodable_starts,
        of.unstamped
    )
}

/// What players of SRT found of packets.
fn packets(of: &Measurement) -> String {
    let Measurement { packets, packets_recovered, packets_lost, packets_useless, .. } = of;
    format!(
        "{packets}, {packets_recovered} recovered, {packets_lost} lost, {packets_useless} useless"
    )
}

/// A measurement as a few lines.
#[must_use]
pub fn measurement(of: &Measurement) -> String {
    let mut text = String::new();
    let rate = of.received_bytes as f64 * 8.0 / of.window_s.max(1e-9) / 1e6;
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line(
        "players",
        format!(
            "{} of {} held, {} refused, {} failed, {} closed, {} unjoined, {} stalls",
            of.held, of.players, of.refused, of.failed, of.closed, of.unjoined, of.stalls
        ),
    );
    if let Some(reason) = &of.first_loss {
        line("first loss", reason.clone());
    }
    if of.reconnects > 0 {
        line("reconnects", format!("{}, after an end between two answers", of.reconnects));
    }
    let megabytes = of.received_bytes as f64 / 1e6;
    line("received", format!("{megabytes:.1} MB in {:.1} s, {rate:.1} Mb/s", of.window_s));
    line("join", percentiles(of.join));
    line("first video", percentiles(of.first_video));
    line("latency", percentiles(of.latency));
    if of.playlist.is_some() || of.segment.is_some() {
        line("playlist", percentiles(of.playlist));
        line("segment", format!("{}, {} missed", percentiles(of.segment), of.missed_segments));
    }
    if of.packets > 0 {
        line("packets", packets(of));
    }
    if let Some(fault) = &of.first_transport_fault {
        line("TR 101 290", format!("{} faults, the first: {fault}", of.transport_faults));
    }
    line("frames", frames(of));
    for part in of.parts.iter().filter(|_| of.parts.len() > 1) {
        line(&part.name, self::part(part));
    }
    let generator = of.generator;
    line(
        "generator",
        format!(
            "{:.2} CPU s of players, {:.2} of publishers, sweeps late {}",
            generator.players_cpu_s,
            generator.publishers_cpu_s,
            percentiles(generator.sweep_late)
        ),
    );
    if let Some(server) = &of.server {
        line("server", self::server(server));
    }
    text
}

fn server(of: &ServerCost) -> String {
    let growth = of.rss_bytes_per_player;
    let growth = growth.map_or(String::new(), |bytes| format!(" (+{bytes:.0} B/player)"));
    format!(
        "{:.2} CPU s, {:.3} CPU s/GB, {:.1} MB RSS{growth}, {} context switches",
        of.cpu_s,
        of.cpu_s_per_gb,
        of.rss_bytes as f64 / 1e6,
        of.context_switches
    )
}

fn part(of: &PartMeasurement) -> String {
    format!(
        "{} held, {} gone, {} stalls, {:.1} MB, {} sampled, {} lost, {} corrupt, late {}",
        of.held,
        of.lost_players,
        of.stalls,
        of.received_bytes as f64 / 1e6,
        of.frames,
        of.lost,
        of.corrupt,
        percentiles(of.latency)
    )
}

/// What was seen of the server meanwhile, as a few lines; nothing if it was not watched.
#[must_use]
pub fn observed(of: &Section) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    let window_s = of.measurement.window_s.max(1e-9);
    if let Some(server) = &of.measurement.server {
        let busy = server.threads.iter().filter(|thread| thread.cpu_s / window_s >= 0.001);
        let threads = busy.take(THREADS_NAMED_MAX).map(|thread| {
            format!("{} {}", thread.name, Unit::Share.write(thread.cpu_s / window_s))
        });
        line("threads", threads.collect::<Vec<_>>().join(", "));
        line(
            "switches",
            format!(
                "{} waits, {} preemptions",
                server.voluntary_switches, server.involuntary_switches
            ),
        );
        let bytes = |of: Option<u64>| of.map_or("?".to_owned(), |of| Unit::Bytes.write(of as f64));
        let growth = of.observed.rss_growth_bytes_per_player;
        let growth = growth
            .map_or(String::new(), |bytes| format!(", grown by {bytes:.0} B for each player held"));
        line(
            "memory",
            format!(
                "{} proportional, {} anonymous{growth}",
                bytes(server.pss_bytes),
                bytes(server.anonymous_bytes)
            ),
        );
    }
    if let Some(bytes) = of.observed.tcp_bytes_max {
        line(
            "kernel",
            format!("{} in TCP buffers of both ends at most", Unit::Bytes.write(bytes as f64)),
        );
    }
    for shard in &of.observed.shards {
        let share = shard.utilisation.map_or("?".to_owned(), |of| Unit::Share.write(of));
        let lag = shard.loop_lag.map_or("unknown".to_owned(), |of| {
            format!("p99 {} max {}", Unit::Ms.write(of.p99_ms), Unit::Ms.write(of.max_ms))
        });
        line(
            &format!("shard {}", shard.shard),
            format!("{} players, busy {share}, loop lag at most {lag}", shard.players),
        );
    }
    text
}

/// What was published, as one line.
#[must_use]
pub fn published(of: &PublishSummary) -> String {
    let packets = match (of.resent_packets, of.late_packets) {
        (0, 0) => String::new(),
        (again, late) => format!("{again} packets sent again, {late} too late, "),
    };
    format!(
        "{:<12}{} streams, {} lost, {} frames, {:.1} MB, {} dropped, {packets}late {}\n",
        "published",
        of.streams,
        of.lost,
        of.frames,
        of.bytes as f64 / 1e6,
        of.dropped,
        percentiles(of.lateness)
    )
}

/// The table of a fan-out: a line for each number of players.
#[must_use]
pub fn table(measurements: &[Measurement]) -> String {
    let mut text = String::from(
        " players    held   MB/s  CPU s/GB  RSS MB  B/player  p50 ms  p99 ms  lost  stalls\n",
    );
    for of in measurements {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let server = of.server.as_ref();
        let _ = writeln!(
            text,
            "{:>8}{:>8}{:>7.1}{:>10}{:>8}{:>10}{:>8}{:>8}{:>6}{:>8}",
            of.players,
            of.held,
            of.received_bytes as f64 / of.window_s.max(1e-9) / 1e6,
            number(server.map(|server| server.cpu_s_per_gb), 3),
            number(server.map(|server| server.rss_bytes as f64 / 1e6), 1),
            number(server.and_then(|server| server.rss_bytes_per_player), 0),
            number(of.latency.map(|latency| latency.p50_ms), 1),
            number(of.latency.map(|latency| latency.p99_ms), 1),
            of.lost,
            of.stalls,
        );
    }
    text
}

/// The table of a storm: a line for each round.
#[must_use]
pub fn rounds(measurements: &[Measurement]) -> String {
    let mut text = String::from(
        "   round players    held  all after s  connects/s  join p50 ms  p99 ms  refused  lost  \
         unjoined\n",
    );
    for (round, of) in measurements.iter().enumerate() {
        let ms = |pick: fn(&Percentiles) -> f64| {
            of.join.as_ref().map_or("-".to_owned(), |join| format!("{:.1}", pick(join)))
        };
        let name = if round == 0 { "arrival".to_owned() } else { round.to_string() };
        let _ = writeln!(
            text,
            "{name:>8}{:>8}{:>8}{:>13.2}{:>12}{:>13}{:>8}{:>9}{:>6}{:>10}",
            of.players,
            of.held,
            of.join_s,
            of.connects_per_s.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
            ms(|join| join.p50_ms),
            ms(|join| join.p99_ms),
            of.refused,
            of.failed + of.closed,
            of.unjoined,
        );
    }
    text
}

/// How many players hold.
#[must_use]
pub fn knee(of: &Knee) -> String {
    let mut text = String::new();
    for step in &of.steps {
        let told = step.breaches.first().map_or("holds", String::as_str);
        let told = match step.verdict {
            StepVerdict::Unknown => format!("unknown, {told}"),
            StepVerdict::Holds | StepVerdict::Breaks => told.to_owned(),
        };
        let _ = writeln!(text, "tried       {} players, {} held: {told}", step.players, step.held);
    }
    let beyond = match (of.broke_at, of.unknown_at) {
        (_, Some(players)) => {
            let late = of.unknown_by.as_deref().unwrap_or_default();
            format!("{players} are unknown, not the server's limit: {late}")
        }
        (Some(players), None) => format!("{players} do not hold: {}", of.broke_by.join("; ")),
        (None, None) => "more were not tried, see --players-max".to_owned(),
    };
    let _ = writeln!(text, "knee        {} players hold; {beyond}", of.players);
    if of.p99_max_ms.is_none() {
        text.push_str(
            "            by --sampled 0 or --no-stamp, latency and loss were not judged\n",
        );
    }
    text
}

/// How memory grew.
#[must_use]
pub fn soak(of: &Soak) -> String {
    let Some(rss) = of.rss else {
        return "memory      too few samples for a slope; see --duration and --interval\n"
            .to_owned();
    };
    format!(
        "memory      {:+.0} B/min (95 %: +-{:.0}), at most {} allowed; {:.1} to {:.1} MB in \
         {:.0} s, {} samples\n",
        rss.per_minute,
        rss.within_95,
        of.slope_max,
        rss.first / 1e6,
        rss.last / 1e6,
        of.watched_s,
        rss.samples
    )
}

/// The three numbers of the canonical workload: players per core, p99 latency, dropped frames; and
/// what a player costs in memory. Without a view of the server, the players held stand for it.
#[must_use]
pub fn three_numbers(section: &Section) -> String {
    let Section { measurement: of, observed, .. } = section;
    let held = format!("{} of {}", of.held, of.players);
    let p99 = of.latency.map_or("unknown".to_owned(), |of| format!("{:.1} ms", of.p99_ms));
    let seen = format!("p99 latency   {p99}\ndropped       {} of {} frames\n", of.lost, of.frames);
    let loss = of.first_loss.as_deref();
    let loss = loss.map_or(String::new(), |reason| format!("first loss    {reason}\n"));
    let Some(cores) = cores(section).filter(|cores| *cores > 0.0) else {
        return format!(
            "players held  {held}\n{seen}{loss}\
             players/core and memory per player: name the server by --server-pid PID or \
             --server-api URL\n"
        );
    };
    let per_core = of.held as f64 / cores;
    let grown = observed.rss_growth_bytes_per_player.map(|of| format!("{of:.0} B of RSS"));
    let pools = || {
        let bytes: u64 = observed.shards.iter().map(|shard| shard.pool_bytes).sum();
        let is_told = of.held > 0 && !observed.shards.is_empty();
        is_told.then(|| format!("{:.0} B of pool pages", bytes as f64 / of.held as f64))
    };
    let memory = grown.or_else(pools).unwrap_or_else(|| "unknown".to_owned());
    format!(
        "players/core  {per_core:.0} ({held} held by {} of a core)\n{seen}\
         memory        {memory} for each player held, the stream's window in it\n{loss}",
        Unit::Share.write(cores)
    )
}

/// The cores that the server kept busy: by its process, or else by what its shards tell.
fn cores(section: &Section) -> Option<f64> {
    let of = &section.measurement;
    let process = of.server.as_ref().map(|server| server.cpu_s / of.window_s.max(1e-9));
    let busy = section.observed.shards.iter().filter_map(|shard| shard.utilisation);
    process.or_else(|| busy.reduce(|sum, share| sum + share))
}

fn percentiles(of: Option<Percentiles>) -> String {
    of.map_or("none".to_owned(), |of| {
        format!(
            "p50 {:.1} p90 {:.1} p99 {:.1} p99.9 {:.1} max {:.1} ms ({})",
            of.p50_ms, of.p90_ms, of.p99_ms, of.p999_ms, of.max_ms, of.count
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::summarise;
    use crate::observe::{ProcessReading, Served};
    use crate::report::{Observed, ShardCost};
    use crate::run::Passage;

    fn section() -> Section {
        let passage = Passage { ns: 10_000_000_000, ..Passage::default() };
        let mut measurement = summarise(&Passage::default(), &passage, &[]);
        (measurement.players, measurement.held) = (1000, 900);
        (measurement.frames, measurement.lost) = (3000, 2);
        let observed = Observed::default();
        Section { measurement, from_s: 0.0, window_from_s: 1.0, window_to_s: 11.0, observed }
    }

    #[test]
    fn three_numbers_are_those_of_the_house() {
        let told = three_numbers(&section());
        assert!(told.starts_with("players held  900 of 1000\np99 latency   unknown\n"), "{told}");
        assert!(told.contains("dropped       2 of 3000 frames\n"), "{told}");
        assert!(told.contains("--server-pid PID or --server-api URL\n"), "{told}");

        let mut seen = section();
        let reading = |cpu_s| ProcessReading { cpu_s, ..ProcessReading::default() };
        let served = Served { bytes: 1, held: 900 };
        let cost = ServerCost::between(&reading(1.0), &reading(4.0), served, None);
        seen.measurement.server = Some(cost);
        seen.measurement.first_loss = Some("it was closed".to_owned());
        seen.observed.rss_growth_bytes_per_player = Some(512.4);
        let told = three_numbers(&seen);
        assert!(told.starts_with("players/core  3000 (900 of 1000 held by 30 % of a core)\n"));
        assert!(told.contains("\nmemory        512 B of RSS for each player held"), "{told}");
        assert!(told.contains("\nfirst loss    it was closed\n"), "{told}");

        let mut shown = section();
        let share = |utilisation| ShardCost { utilisation, pool_bytes: 90_000, ..shard() };
        shown.observed.shards = vec![share(Some(0.25)), share(Some(0.2))];
        let told = three_numbers(&shown);
        assert!(told.starts_with("players/core  2000 (900 of 1000 held by 45 % of a core)\n"));
        assert!(told.contains("\nmemory        200 B of pool pages for each"), "{told}");
    }

    fn shard() -> ShardCost {
        ShardCost {
            shard: 0,
            cpu: None,
            players: 0,
            utilisation: None,
            egress_utilisation: None,
            sends_per_s: None,
            flush_interval_ms: None,
            pool_bytes: 0,
            loop_lag: None,
            turn: None,
        }
    }
}
