//! The measurement: a crowd of a given size is held, then watched for a window.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::observe::{ProcessReading, RssBefore, Served, ServerCost, ServerProcess};
use crate::player::{Part, Tally};
use crate::run::{JOIN_NS_MAX, Joining, News, Passage, Run, Stage};
use crate::socket::monotonic_ns;
use crate::stats::{Bin, Histogram, Percentiles};

/// What the bursts of joining may take to pass.
pub const SETTLE_NS: u64 = 1_000_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// One step: how many players, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Players in all.
    pub players: usize,
    /// Players that connect in a second.
    pub ramp_per_s: u64,
    /// How long they are watched.
    pub window_ns: u64,
}

/// What was seen in a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Players that were wanted.
    pub players: usize,
    /// Players that played at the end of the window.
    pub held: usize,
    /// Those among them who checked all that they got.
    pub sampled: usize,
    /// Players lost because the server refused them.
    pub refused: u64,
    /// Players lost because a connection failed.
    pub failed: u64,
    /// Players lost because the server closed the connection.
    pub closed: u64,
    /// Players that still waited for their first frame when nobody waited for them any more.
    pub unjoined: u64,
    /// Connections that players opened after their first one: the server had ended the one before
    /// between two answers, or led elsewhere.
    pub reconnects: u64,
    /// Times that a player got nothing for two seconds, or ran out of segments.
    pub stalls: u64,
    /// From the first connection of this step until everybody played or was lost.
    pub join_s: f64,
    /// Players that joined, for each second from the first connection until the last of them had
    /// its first frame; `None` if it was not seen.
    pub connects_per_s: Option<f64>,
    /// Length of the window.
    pub window_s: f64,
    /// Bytes that all players received in it.
    pub received_bytes: u64,
    /// From connecting to the first frame, of the players that joined in this step; one that is
    /// unjoined counts with [`JOIN_NS_MAX`], which it waited at least.
    pub join: Option<Percentiles>,
    /// From connecting to the start of the first picture, of the same; of segments it is unknown.
    pub first_video: Option<Percentiles>,
    /// From a frame's stamp to its last byte, of sampled players.
    pub latency: Option<Percentiles>,
    /// How often which latency was seen.
    pub latency_bins: Vec<Bin>,
    /// Frames of sampled players.
    pub frames: u64,
    /// Missing frames of sampled players.
    pub lost: u64,
    /// Frames whose content is not what was published, since the step began: of sampled players,
    /// and of all players' first frames. Of transport streams it is not checked.
    pub corrupt: u64,
    /// Frames of sampled players without a stamp: their latency and loss are unknown.
    pub unstamped: u64,
    /// Repeated frames of sampled players.
    pub duplicated: u64,
    /// Frames of sampled players that came after a later one.
    pub reordered: u64,
    /// Messages of sampled players whose time went back.
    pub timestamps_back: u64,
    /// From asking for a playlist to its last byte, of all players.
    pub playlist: Option<Percentiles>,
    /// From asking for a segment to its last byte, of all players.
    pub segment: Option<Percentiles>,
    /// Segments that were gone before a player had them.
    pub missed_segments: u64,
    /// Packets that players of SRT got, since the step began.
    pub packets: u64,
    /// Those of them that came after a later one: lost on the way, and sent again.
    pub packets_recovered: u64,
    /// Packets that players of SRT did not get in time.
    pub packets_lost: u64,
    /// Packets that players of SRT had got before, or that came too late.
    pub packets_useless: u64,
    /// Faults by TR 101 290 in the transport streams of sampled players.
    pub transport_faults: u64,
    /// The first of them.
    pub first_transport_fault: Option<String>,
    /// Players whose stream did not begin with configuration and keyframe.
    pub undecodable_starts: u64,
    /// What the server spent, if its process is known.
    pub server: Option<ServerCost>,
    /// Why the first player was lost, if one was.
    pub first_loss: Option<String>,
    /// Players lost, by reason.
    pub losses: BTreeMap<String, u64>,
    /// The same of each part of the players.
    pub parts: Vec<PartMeasurement>,
    /// What this generator spent in the window.
    pub generator: GeneratorCost,
}

/// What was seen of the players who play alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartMeasurement {
    /// Their name: a format, or what they are there for.
    pub name: String,
    /// Players that played at the end of the window.
    pub held: usize,
    /// Those among them who checked all that they got.
    pub sampled: usize,
    /// Players that were refused, failed, or whose connection the server closed.
    pub lost_players: u64,
    /// Times that one of them got nothing for two seconds, or ran out of segments.
    pub stalls: u64,
    /// Bytes that they received in the window.
    pub received_bytes: u64,
    /// From connecting to the first frame, of the players that joined in this step.
    pub join: Option<Percentiles>,
    /// From a frame's stamp to its last byte, of sampled players.
    pub latency: Option<Percentiles>,
    /// Frames of sampled players.
    pub frames: u64,
    /// Missing frames of sampled players.
    pub lost: u64,
    /// Frames whose content is not what was published.
    pub corrupt: u64,
    /// Frames of sampled players without a stamp: their latency and loss are unknown.
    pub unstamped: u64,
    /// Repeated frames of sampled players.
    pub duplicated: u64,
    /// Frames of sampled players that came after a later one.
    pub reordered: u64,
    /// Messages of sampled players whose time went back.
    pub timestamps_back: u64,
    /// Players whose stream did not begin with configuration and keyframe.
    pub undecodable_starts: u64,
    /// Segments that were gone before a player had them.
    pub missed_segments: u64,
    /// Faults by TR 101 290 in the transport streams of sampled players.
    pub transport_faults: u64,
}

/// What the generator spent in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GeneratorCost {
    /// CPU seconds of the players' threads.
    pub players_cpu_s: f64,
    /// CPU seconds of the publishers' threads.
    pub publishers_cpu_s: f64,
    /// How much too late quiet players were emptied: large if the generator cannot keep up.
    pub sweep_late: Option<Percentiles>,
}

/// Grows the crowd, waits until it plays, and watches it.
///
/// The wish to stop ends it early, and so does a server whose process is gone; the measurement
/// tells of what was seen until then.
///
/// # Errors
/// If nobody plays.
pub fn measure(
    run: &mut Run<'_>,
    step: Step,
    cast: &[Part],
    server: Option<ServerProcess>,
    before: Option<RssBefore>,
) -> Result<Measurement> {
    let assembly = assemble(run, step)?;
    run.watch(Stage::Settling, SETTLE_NS)?;
    let joined = run.mark()?;
    let cost_before = read(run, server);
    run.watch(Stage::Watching, step.window_ns)?;
    let cost_after = read(run, server);
    let window = run.mark()?;
    let mut measurement = summarise(&joined, &window, cast);
    (measurement.players, measurement.join_s) = (step.players, assembly.join_s);
    measurement.connects_per_s = connects_per_s(&joined.sum(), assembly.last_joined_ns);
    if !assembly.was_cut {
        measurement.count_unjoined(&joined);
    }
    let served = Served { bytes: measurement.received_bytes, held: measurement.held };
    measurement.server = cost_before
        .zip(cost_after)
        .map(|(first, last)| ServerCost::between(&first, &last, served, before));
    run.tell(News::Measured(&measurement));
    Ok(measurement)
}

/// How a crowd came together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assembly {
    /// Seconds until everybody played or was lost.
    pub join_s: f64,
    last_joined_ns: u64,
    /// The wish to stop ended it.
    was_cut: bool,
}

/// Grows the crowd until everybody plays or is lost. Counts begin with it.
///
/// # Errors
/// If nobody plays.
pub fn assemble(run: &mut Run<'_>, step: Step) -> Result<Assembly> {
    run.mark()?;
    let joining_ns = monotonic_ns();
    let Joining { attendance, last_joined_ns } = run.join(step.players, step.ramp_per_s)?;
    let was_cut = run.is_stopped();
    let join_s = (monotonic_ns() - joining_ns) as f64 / SECOND_NS as f64;
    if attendance.playing == 0 {
        if run.is_stopped() {
            bail!("interrupted before a player got a frame");
        }
        let reason = run.mark()?.sum().first_loss;
        bail!("no player got a frame: {}", reason.as_deref().unwrap_or("nothing came in time"));
    }
    Ok(Assembly { join_s, last_joined_ns, was_cut })
}

/// Reads the server's process, if it is known; a run whose server is gone ends.
pub fn read(run: &mut Run<'_>, server: Option<ServerProcess>) -> Option<ProcessReading> {
    match server?.read().context("the server is gone; did it crash?") {
        Ok(reading) => Some(reading),
        Err(error) => {
            run.fail(error);
            None
        }
    }
}

/// Players that joined, for each second.
fn connects_per_s(joined: &Tally, last_joined_ns: u64) -> Option<f64> {
    let seconds = last_joined_ns as f64 / SECOND_NS as f64;
    (last_joined_ns > 0).then(|| joined.join.len() as f64 / seconds)
}

impl Measurement {
    /// Counts who neither played nor was lost at the end of joining: what never ends takes longest.
    fn count_unjoined(&mut self, joined: &Passage) {
        let sum = joined.sum();
        let playing: usize = joined.playing.iter().sum();
        let unjoined = (self.players as u64).saturating_sub(playing as u64 + sum.lost_players());
        let mut join = sum.join;
        (0..unjoined).for_each(|_| join.record(JOIN_NS_MAX));
        (self.unjoined, self.join) = (unjoined, join.percentiles());
    }
}

/// Joins are told of the time before the window, media of the window, losses of both.
#[must_use]
pub fn summarise(before: &Passage, passage: &Passage, cast: &[Part]) -> Measurement {
    let (joined, window) = (before.sum(), passage.sum());
    let mut losses = window.losses.clone();
    for (reason, players) in &joined.losses {
        *losses.entry(reason.clone()).or_default() += players;
    }
    let sampled = &window.sampled;
    let mut arrivals = joined.packets;
    arrivals.add(&window.packets);
    Measurement {
        players: 0,
        held: passage.playing.iter().sum(),
        sampled: passage.sampled.iter().sum(),
        refused: joined.refused + window.refused,
        failed: joined.failed + window.failed,
        closed: joined.closed + window.closed,
        unjoined: 0,
        reconnects: joined.reconnects + window.reconnects,
        stalls: joined.stalls + window.stalls,
        join_s: 0.0,
        connects_per_s: None,
        window_s: passage.ns as f64 / SECOND_NS as f64,
        received_bytes: window.received,
        join: joined.join.percentiles(),
        first_video: joined.first_video.percentiles(),
        latency: latency(passage, cast).percentiles(),
        latency_bins: latency(passage, cast).bins(),
        frames: sampled.frames,
        lost: sampled.lost(),
        corrupt: joined.corrupt() + window.corrupt(),
        unstamped: sampled.unstamped,
        duplicated: sampled.duplicated,
        reordered: sampled.reordered,
        timestamps_back: sampled.timestamps_back,
        playlist: window.playlist.percentiles(),
        segment: window.segment.percentiles(),
        missed_segments: joined.missed_segments + window.missed_segments,
        packets: arrivals.packets,
        packets_recovered: arrivals.recovered,
        packets_lost: arrivals.lost,
        packets_useless: arrivals.useless,
        transport_faults: joined.transport_faults + window.transport_faults,
        first_transport_fault: [&joined, &window]
            .iter()
            .find_map(|tally| tally.first_transport_fault.clone()),
        undecodable_starts: joined.undecodable_starts() + window.undecodable_starts(),
        server: None,
        first_loss: joined.first_loss.clone().or_else(|| window.first_loss.clone()),
        losses,
        parts: parts(before, passage, cast),
        generator: GeneratorCost {
            players_cpu_s: passage.players_cpu_ns as f64 / 1e9,
            publishers_cpu_s: passage.publishers_cpu_ns as f64 / 1e9,
            sweep_late: passage.sweep_late.percentiles(),
        },
    }
}

/// The latency of all sampled players who are timely.
fn latency(passage: &Passage, cast: &[Part]) -> Histogram {
    let mut sum = Histogram::default();
    for (tally, is_timely) in passage.tallies.iter().zip(Part::timely(cast)) {
        if is_timely {
            sum.add(&tally.sampled.latency);
        }
    }
    sum
}

fn parts(before: &Passage, passage: &Passage, cast: &[Part]) -> Vec<PartMeasurement> {
    let nothing = Tally::default();
    let part = |(at, part): (usize, &Part)| {
        let joined = before.tallies.get(at).unwrap_or(&nothing);
        let window = passage.tallies.get(at).unwrap_or(&nothing);
        PartMeasurement {
            name: part.name.clone(),
            held: passage.playing.get(at).copied().unwrap_or(0),
            sampled: passage.sampled.get(at).copied().unwrap_or(0),
            lost_players: joined.lost_players() + window.lost_players(),
            stalls: joined.stalls + window.stalls,
            received_bytes: window.received,
            join: joined.join.percentiles(),
            latency: window.sampled.latency.percentiles(),
            frames: window.sampled.frames,
            lost: window.sampled.lost(),
            corrupt: joined.corrupt() + window.corrupt(),
            unstamped: window.sampled.unstamped,
            duplicated: window.sampled.duplicated,
            reordered: window.sampled.reordered,
            timestamps_back: window.sampled.timestamps_back,
            undecodable_starts: joined.undecodable_starts() + window.undecodable_starts(),
            missed_segments: joined.missed_segments + window.missed_segments,
            transport_faults: joined.transport_faults + window.transport_faults,
        }
    };
    cast.iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_joins_counts_among_the_slowest() {
        let mut tally = Tally { refused: 1, ..Tally::default() };
        (0..95).for_each(|_| tally.join.record(1_000_000));
        assert_eq!(connects_per_s(&tally, SECOND_NS / 2), Some(190.0));
        assert_eq!(connects_per_s(&tally, 0), None);
        let joined = Passage { tallies: vec![tally], playing: vec![95], ..Passage::default() };
        let mut of = summarise(&joined, &Passage::default(), &[]);
        of.players = 100;
        of.count_unjoined(&joined);
        let join = of.join.unwrap();
        assert_eq!((of.unjoined, of.refused, join.count), (4, 1, 99));
        assert!(join.p50_ms < 2.0 && join.p99_ms >= 15_000.0 && join.max_ms >= 15_000.0);
    }
}
