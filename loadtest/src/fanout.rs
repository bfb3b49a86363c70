//! The measurement: a crowd of a given size is held, then watched for a window.

use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::observe::{RssBefore, Served, ServerCost, ServerProcess};
use crate::player::{Crowd, Tally};
use crate::socket::{interrupted, monotonic_ns};
use crate::stats::Percentiles;

/// What players may take to join beyond their ramp.
const JOIN_NS_MAX: u64 = 15_000_000_000;

/// What the bursts of joining may take to pass.
const SETTLE_NS: u64 = 1_000_000_000;

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
    /// Players lost because the server refused them.
    pub refused: u64,
    /// Players lost because a connection failed.
    pub failed: u64,
    /// Players lost because the server closed the connection.
    pub closed: u64,
    /// Times that a player got nothing for two seconds, or ran out of segments.
    pub stalls: u64,
    /// Length of the window.
    pub window_s: f64,
    /// Bytes that all players received in it.
    pub received_bytes: u64,
    /// From connecting to the first frame, of the players that joined in this step.
    pub join: Option<Percentiles>,
    /// From the server's agreement to the first byte of video, of the same.
    pub first_video: Option<Percentiles>,
    /// From a frame's stamp to its last byte, of sampled players.
    pub latency: Option<Percentiles>,
    /// Frames of sampled players.
    pub frames: u64,
    /// Missing frames of sampled players.
    pub lost: u64,
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
}

/// Grows the crowd, waits until it plays, and watches it.
///
/// An interrupt ends it early; the measurement tells of what was seen until then.
///
/// # Errors
/// If nobody plays, or the server's process is gone.
pub fn measure(
    crowd: &mut Crowd,
    step: Step,
    server: Option<ServerProcess>,
    before: Option<RssBefore>,
) -> Result<Measurement> {
    crowd.reset_tally();
    crowd.grow(step.players);
    let ramp_ns = step.players as u64 * SECOND_NS / step.ramp_per_s.max(1);
    let join_end = monotonic_ns() + ramp_ns + JOIN_NS_MAX;
    while !crowd.is_settled() && monotonic_ns() < join_end && !is_interrupted() {
        crowd.turn(join_end)?;
    }
    if crowd.playing() == 0 {
        if is_interrupted() {
            bail!("interrupted before a player got a frame");
        }
        let reason = crowd.tally().first_loss.clone();
        bail!("no player got a frame: {}", reason.as_deref().unwrap_or("nothing came in time"));
    }
    run_for(crowd, SETTLE_NS)?;
    let joined = crowd.tally().clone();
    crowd.reset_tally();
    let cost_before = server.map(|server| server.read()).transpose()?;
    let started_ns = monotonic_ns();
    run_for(crowd, step.window_ns)?;
    let window_s = (monotonic_ns() - started_ns) as f64 / SECOND_NS as f64;
    let cost_after = server.map(|server| server.read()).transpose()?;
    let mut measurement = summarise(&joined, crowd.tally());
    measurement.players = step.players;
    measurement.held = crowd.playing();
    measurement.window_s = window_s;
    let served = Served { bytes: measurement.received_bytes, held: measurement.held };
    measurement.server = cost_before
        .zip(cost_after)
        .map(|(first, last)| ServerCost::between(&first, &last, served, before));
    Ok(measurement)
}

fn is_interrupted() -> bool {
    interrupted().load(Ordering::Relaxed)
}

fn run_for(crowd: &mut Crowd, ns: u64) -> Result<()> {
    let end = monotonic_ns() + ns;
    while monotonic_ns() < end && !is_interrupted() {
        crowd.turn(end)?;
    }
    Ok(())
}

/// Joins are told of the time before the window, media of the window, losses of both.
fn summarise(joined: &Tally, window: &Tally) -> Measurement {
    let starts = |tally: &Tally| tally.starts.undecodable_starts + tally.sampled.undecodable_starts;
    let sampled = &window.sampled;
    Measurement {
        players: 0,
        held: 0,
        refused: joined.refused + window.refused,
        failed: joined.failed + window.failed,
        closed: joined.closed + window.closed,
        stalls: joined.stalls + window.stalls,
        window_s: 0.0,
        received_bytes: window.received,
        join: joined.join.percentiles(),
        first_video: joined.first_video.percentiles(),
        latency: sampled.latency.percentiles(),
        frames: sampled.frames,
        lost: sampled.lost,
        duplicated: sampled.duplicated,
        reordered: sampled.reordered,
        timestamps_back: sampled.timestamps_back,
        playlist: window.playlist.percentiles(),
        segment: window.segment.percentiles(),
        missed_segments: joined.missed_segments + window.missed_segments,
        transport_faults: joined.transport_faults + window.transport_faults,
        first_transport_fault: [joined, window]
            .iter()
            .find_map(|tally| tally.first_transport_fault.clone()),
        undecodable_starts: starts(joined) + starts(window),
        server: None,
        first_loss: joined.first_loss.clone().or_else(|| window.first_loss.clone()),
    }
}
