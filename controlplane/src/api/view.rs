//! View: the JSON of the API, made of what shards tell.

use codecs::media::TrackKind;
use dataplane::control::{
    LogStatus, PoolStatus, Role, SessionStatus, ShardSnapshot, StreamState, StreamStatus,
    TrackStatus,
};
use serde::Serialize;

use crate::bridge::Gathered;

#[derive(Serialize)]
pub(crate) struct Version {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Shards {
    shards: Vec<Shard>,
    missing: Vec<u16>,
}

#[derive(Serialize)]
pub(crate) struct Streams {
    streams: Vec<Stream>,
    missing: Vec<u16>,
}

#[derive(Serialize)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    missing: Vec<u16>,
}

#[derive(Serialize)]
struct Shard {
    id: u16,
    cpu: Option<usize>,
    utilisation: f64,
    flush_interval_ms: f64,
    connections: u64,
    publishers: u64,
    players: u64,
    streams: u64,
    bytes_received: u64,
    bytes_sent: u64,
    pools: Vec<Pool>,
}

#[derive(Serialize)]
struct Pool {
    name: &'static str,
    page_bytes: u64,
    used: u64,
    peak: u64,
    total: u64,
}

#[derive(Serialize)]
struct Stream {
    name: String,
    shard: u16,
    state: &'static str,
    publisher: Option<String>,
    protocol: &'static str,
    age_ms: u64,
    players: usize,
    tracks: Vec<Track>,
    logs: Vec<Log>,
    bytes_in: u64,
    units_in: u64,
    timestamps_repaired: u64,
}

#[derive(Serialize)]
struct Track {
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

#[derive(Serialize)]
struct Log {
    format: &'static str,
    track: u8,
    reader_shards: u32,
    entries: u64,
    bytes: u64,
    held_bytes: u64,
}

#[derive(Serialize)]
struct Session {
    id: String,
    shard: u16,
    protocol: &'static str,
    role: Option<&'static str>,
    stream: Option<String>,
    peer: String,
    agent: String,
    tls: Option<&'static str>,
    state: &'static str,
    age_ms: u64,
    bytes_in: u64,
    bytes_out: u64,
    jumps: u64,
}

fn missing(gathered: &Gathered) -> Vec<u16> {
    gathered.missing.iter().map(|shard| shard.0).collect()
}

impl From<Gathered> for Shards {
    fn from(gathered: Gathered) -> Self {
        let shards = gathered.snapshots.iter().map(Shard::from).collect();
        Self { shards, missing: missing(&gathered) }
    }
}

impl From<Gathered> for Streams {
    fn from(gathered: Gathered) -> Self {
        let mut players = std::collections::HashMap::new();
        for session in gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions) {
            if let (Some(Role::Play), Some(stream)) = (session.role, &session.stream) {
                *players.entry(stream).or_insert(0) += 1;
            }
        }
        let streams = gathered.snapshots.iter().flat_map(|snapshot| &snapshot.streams);
        let streams = streams
            .map(|stream| Stream::new(stream, players.get(&stream.name).copied().unwrap_or(0)));
        Self { streams: streams.collect(), missing: missing(&gathered) }
    }
}

impl From<Gathered> for Sessions {
    fn from(gathered: Gathered) -> Self {
        let sessions = gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions);
        Self { sessions: sessions.map(Session::from).collect(), missing: missing(&gathered) }
    }
}

impl From<&ShardSnapshot> for Shard {
    fn from(shard: &ShardSnapshot) -> Self {
        let counters = &shard.counters;
        Self {
            id: shard.shard.0,
            cpu: shard.cpu,
            utilisation: shard.utilisation,
            flush_interval_ms: shard.flush_interval_ms,
            connections: counters.connections,
            publishers: counters.publishers,
            players: counters.players,
            streams: counters.streams,
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
            pools: shard.pools.iter().map(Pool::from).collect(),
        }
    }
}

impl From<&PoolStatus> for Pool {
    fn from(pool: &PoolStatus) -> Self {
        let &PoolStatus { name, page_bytes, used, peak, total } = pool;
        Self { name, page_bytes, used, peak, total }
    }
}

impl Stream {
    fn new(stream: &StreamStatus, players: usize) -> Self {
        Self {
            name: stream.name.to_string(),
            shard: stream.shard.0,
            state: match stream.state {
                StreamState::Live => "live",
                StreamState::Grace => "grace",
            },
            publisher: stream.publisher.map(|session| session.to_string()),
            protocol: stream.protocol.name(),
            age_ms: stream.age_ms,
            players,
            tracks: stream.tracks.iter().map(Track::from).collect(),
            logs: stream.logs.iter().map(Log::from).collect(),
            bytes_in: stream.bytes_in,
            units_in: stream.units_in,
            timestamps_repaired: stream.timestamps_repaired,
        }
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

impl From<&SessionStatus> for Session {
    fn from(session: &SessionStatus) -> Self {
        Self {
            id: session.id.to_string(),
            shard: session.shard.0,
            protocol: session.protocol.name(),
            role: session.role.map(Role::name),
            stream: session.stream.as_ref().map(ToString::to_string),
            peer: session.peer.to_string(),
            agent: session.agent.to_string(),
            tls: session.tls,
            state: session.state,
            age_ms: session.age_ms,
            bytes_in: session.bytes_in,
            bytes_out: session.bytes_out,
            jumps: session.jumps,
        }
    }
}
