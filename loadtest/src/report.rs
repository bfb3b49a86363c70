//! Results for people and for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::fanout::Measurement;
use crate::mirror::MirrorTotals;
use crate::mpegts::Verdict;
use crate::observe::Machine;
use crate::publisher::PublishSummary;
use crate::scenario::Outcome;
use crate::stats::Percentiles;

/// The results of a run, with what is needed to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report<'a> {
    /// The command.
    pub command: &'a str,
    /// Where it ran.
    pub machine: Machine,
    /// One for each number of players.
    pub measurements: &'a [Measurement],
    /// What was published.
    pub published: Option<PublishSummary>,
    /// What was copied into a folder, if something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<MirrorTotals>,
    /// What is wrong with a transport stream, if one was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'a Verdict>,
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
            "{} of {} held, {} refused, {} failed, {} closed, {} stalls",
            of.held, of.players, of.refused, of.failed, of.closed, of.stalls
        ),
    );
    if let Some(reason) = &of.first_loss {
        line("first loss", reason.clone());
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
    if let Some(fault) = &of.first_transport_fault {
        line("TR 101 290", format!("{} faults, the first: {fault}", of.transport_faults));
    }
    line(
        "frames",
        format!(
            "{} sampled, {} lost, {} duplicated, {} reordered, {} times back, {} bad starts",
            of.frames,
            of.lost,
            of.duplicated,
            of.reordered,
            of.timestamps_back,
            of.undecodable_starts
        ),
    );
    if let Some(server) = &of.server {
        let growth = server.rss_bytes_per_player;
        let growth = growth.map_or(String::new(), |bytes| format!(" (+{bytes:.0} B/player)"));
        line(
            "server",
            format!(
                "{:.2} CPU s, {:.3} CPU s/GB, {:.1} MB RSS{growth}, {} context switches",
                server.cpu_s,
                server.cpu_s_per_gb,
                server.rss_bytes as f64 / 1e6,
                server.context_switches
            ),
        );
    }
    text
}

/// What was published, as one line.
#[must_use]
pub fn published(of: &PublishSummary) -> String {
    format!(
        "{:<12}{} streams, {} frames, {:.1} MB, {} dropped, late {}\n",
        "published",
        of.streams,
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

/// The three numbers of the canonical workload.
#[must_use]
pub fn three_numbers(outcome: &Outcome) -> String {
    let last = outcome.measurements.last();
    let (held, wanted) = last.map_or((0, 0), |of| (of.held, of.players));
    let p99 = last
        .and_then(|of| of.latency)
        .map_or("unknown".to_owned(), |latency| format!("{:.1} ms", latency.p99_ms));
    let lost = last.map_or(0, |of| of.lost);
    format!("players held  {held} of {wanted}\np99 latency   {p99}\nlost frames   {lost}\n")
}

fn percentiles(of: Option<Percentiles>) -> String {
    of.map_or("none".to_owned(), |of| {
        format!(
            "p50 {:.1} p90 {:.1} p99 {:.1} p99.9 {:.1} max {:.1} ms ({})",
            of.p50_ms, of.p90_ms, of.p99_ms, of.p999_ms, of.max_ms, of.count
        )
    })
}
