//! View: the JSON of the API, made of what shards tell.

use std::collections::BTreeMap;

use codecs::media::TrackKind;
use dataplane::control::{
    HeadroomStatus, LogStatus, PoolStatus, Protocol, ShardSnapshot, TrackStatus,
};
use dataplane::metrics::Histogram;
use serde::Serialize;
use utoipa::ToSchema;

use super::room::Room;
use crate::bridge::Gathered;

#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Shards {
    /// What fits into the node, whichever shard takes it.
    room: Option<Room>,
    shards: Vec<Shard>,
    /// Shards that did not answer in time.
    missing: Vec<u16>,
    /// Milliseconds since the shards told these figures.
    figures_age_ms: u64,
}

#[derive(Serialize, ToSchema)]
struct Shard {
    id: u16,
    core: Option<usize>,
    state: &'static str,
    utilisation: f64,
    egress_utilisation: f64,
    egress_turn_share: f64,
    flush_interval_ms: f64,
    loop_lag_ms: Percentiles,
    turn_ms: Percentiles,
    turns_per_second: u64,
    sends_per_second: u64,
    bytes_sent_per_second: u64,
    bytes_received_per_second: u64,
    connections: u64,
    publishers: u64,
    players: u64,
    players_by_protocol: BTreeMap<&'static str, u64>,
    /// Sessions of HLS viewers that began here and go on; 0 where `hls.session` is `off`.
    viewers: u64,
    /// Connections that are sent a segment of HLS at this moment.
    downloads: u64,
    streams: u64,
    bytes_received: u64,
    bytes_sent: u64,
    room: Room,
    headroom: Headroom,
    pools: Vec<Pool>,
}

/// Of the last five to ten seconds, milliseconds.
#[derive(Serialize, ToSchema)]
struct Percentiles {
    p50: f64,
    p99: f64,
    max: f64,
}

/// What the room of a shard was told from.
#[derive(Serialize, ToSchema)]
struct Headroom {
    full: bool,
    players: u64,
    owed_bps: u64,
    in_use: f64,
    /// The same but for viewers of HLS, of an interval in which streams bring their key frames.
    in_burst: f64,
    others: f64,
    send_us: f64,
    byte_ns: f64,
    request_us: f64,
}

#[derive(Serialize, ToSchema)]
struct Pool {
    name: &'static str,
    page_bytes: u64,
    used: u64,
    free: u64,
    peak: u64,
    total: u64,
    resident: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Track {
    id: u8,
    kind: &'static str,
    codec: &'static str,
    codec_string: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    sample_rate: Option<u32>,
    channels: Option<u8>,
    bps: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Log {
    format: &'static str,
    track: u8,
    reader_shards: u32,
    entries: u64,
    bytes: u64,
    held_bytes: u64,
}

impl From<&Gathered> for Shards {
    fn from(gathered: &Gathered) -> Self {
        Self {
            room: Room::of_node(&gathered.snapshots),
            shards: gathered.snapshots.iter().map(Shard::from).collect(),
            missing: gathered.missing.iter().map(|shard| shard.0).collect(),
            figures_age_ms: gathered.age_ms(),
        }
    }
}

impl From<&ShardSnapshot> for Shard {
    fn from(shard: &ShardSnapshot) -> Self {
        let (counters, recent) = (&shard.counters, &shard.recent);
        let players = Protocol::ALL.into_iter().zip(counters.players_of);
        let players = players.filter(|(protocol, _)| protocol.plays());
        Self {
            id: shard.shard.0,
            core: shard.cpu,
            state: if shard.draining { "draining" } else { "running" },
            utilisation: recent.utilisation,
            egress_utilisation: shard.utilisation,
            egress_turn_share: recent.egress_turn_share,
            flush_interval_ms: shard.flush_interval_ms,
            loop_lag_ms: Percentiles::from(&recent.loop_lag_us),
            turn_ms: Percentiles::from(&recent.turn_us),
            turns_per_second: recent.turns,
            sends_per_second: recent.sends,
            bytes_sent_per_second: recent.bytes_sent,
            bytes_received_per_second: recent.bytes_received,
            connections: counters.connections,
            publishers: counters.publishers,
            players: counters.players,
            players_by_protocol: players.map(|(protocol, n)| (protocol.name(), n)).collect(),
            viewers: counters.viewers,
            downloads: counters.downloads,
            streams: counters.streams,
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
            room: Room::of_shard(&shard.headroom),
            headroom: Headroom::from(&shard.headroom),
            pools: shard.pools.iter().map(Pool::from).collect(),
        }
    }
}

impl From<&Histogram> for Percentiles {
    fn from(us: &Histogram) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "lags stay far below 2^52 microseconds")]
        let ms = |us: u64| us as f64 / 1000.0;
        Self { p50: ms(us.quantile(500)), p99: ms(us.quantile(990)), max: ms(us.max) }
    }
}

impl From<&HeadroomStatus> for Headroom {
    fn from(headroom: &HeadroomStatus) -> Self {
        let &HeadroomStatus { full, players, owed_bps, in_use, in_burst, others, .. } = headroom;
        let (send_us, byte_ns) = (headroom.send_s * 1e6, headroom.byte_s * 1e9);
        let request_us = headroom.request_s * 1e6;
        Self { full, players, owed_bps, in_use, in_burst, others, send_us, byte_ns, request_us }
    }
}

impl From<&PoolStatus> for Pool {
    fn from(pool: &PoolStatus) -> Self {
        let &PoolStatus { name, page_bytes, used, peak, total, resident } = pool;
        let free = total.saturating_sub(used);
        Self { name, page_bytes, used, free, peak, total, resident }
    }
}

impl From<&TrackStatus> for Track {
    fn from(track: &TrackStatus) -> Self {
        let config = track.config.as_ref();
        let video = config.and_then(|config| config.video);
        let audio = config.and_then(|config| config.audio);
        let codec_string = config.map(|config| config.codec_string.clone());
        Self {
            id: track.id,
            kind: match track.kind {
                TrackKind::Video => "video",
                TrackKind::Audio => "audio",
                TrackKind::Data => "data",
            },
            codec: track.codec.name(),
            codec_string: codec_string.filter(|text| !text.is_empty()),
            width: video.map(|video| video.width),
            height: video.map(|video| video.height),
            fps: video.and_then(|video| video.fps_milli).map(|milli| f64::from(milli) / 1000.0),
            sample_rate: audio.map(|audio| audio.sample_rate),
            channels: audio.map(|audio| audio.channels),
            bps: track.bps,
        }
    }
}

impl From<&LogStatus> for Log {
    fn from(log: &LogStatus) -> Self {
        let &LogStatus { format, track, reader_shards, entries, bytes, held_bytes } = log;
        Self { format, track, reader_shards, entries, bytes, held_bytes }
    }
}
