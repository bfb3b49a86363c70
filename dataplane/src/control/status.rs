//! What shards, streams and sessions are at one moment.

use std::net::SocketAddr;
use std::sync::Arc;

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::time::WallTime;

use super::{InputStatus, Protocol, Role};
use crate::config::LimitId;
use crate::ids::{SessionId, ShardId, StreamId, StreamName};
use crate::metrics::{NoRoom, Recent, ShardCounters};
use crate::session::mpegts::TransportProgram;
use crate::session::srt::{Gauges, Statistics};

/// What a shard has room for, as it measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadroomStatus {
    /// Players of the current mix that its core has room for.
    pub players_room: u64,
    /// What bounds them: [`NoRoom::Cpu`] or [`NoRoom::Latency`].
    pub bound: NoRoom,
    /// Players and viewers of HLS of that mix.
    pub players: u64,
    /// New players are refused because the core has no room.
    pub full: bool,
    /// Share of the core that one player of the mix costs.
    pub player_share: f64,
    /// Share of an interval that it costs in which streams bring their key frames.
    pub player_in_burst: f64,
    /// Bits a second of one player of the mix.
    pub player_bps: u64,
    /// Bits a second that players of this shard are owed.
    pub owed_bps: u64,
    /// Share of the core that is in use if frames are gathered as long as allowed.
    pub in_use: f64,
    /// The same but for viewers of HLS, of an interval in which streams bring their key frames;
    /// above 1 it takes longer than it lasts.
    pub in_burst: f64,
    /// Share of the core that others use.
    pub others: f64,
    /// Seconds of CPU that a send costs.
    pub send_s: f64,
    /// Seconds of CPU that a byte of a send costs.
    pub byte_s: f64,
    /// Seconds of CPU that a request of HTTP costs.
    pub request_s: f64,
    /// What limits leave to the whole node: connections, players, bits a second.
    pub node: [(LimitId, u64); 3],
}

/// One shard at one moment.
#[derive(Clone, Debug)]
pub struct ShardSnapshot {
    /// The shard.
    pub shard: ShardId,
    /// The request's id.
    pub id: u64,
    /// The shard's counters.
    pub counters: ShardCounters,
    /// Operations of the reactor: (opcode, submitted, failed).
    pub operations: Vec<(&'static str, u64, u64)>,
    /// System calls of the reactor: (name, calls).
    pub system_calls: Vec<(&'static str, u64)>,
    /// What should be rare in the reactor: (name, count).
    pub incidents: Vec<(&'static str, u64)>,
    /// The pinned CPU.
    pub cpu: Option<usize>,
    /// Page pools.
    pub pools: Vec<PoolStatus>,
    /// Nobody new is accepted any more.
    pub draining: bool,
    /// Share of the last quarter of a second spent in egress, 0 to 1: what the flush interval
    /// follows.
    pub utilisation: f64,
    /// The flush interval in force, milliseconds.
    pub flush_interval_ms: f64,
    /// Rates of the last second, and how the loop kept up over the last seconds.
    pub recent: Recent,
    /// Who plays and views on this shard by stream and format, if streams are asked for; a stream
    /// may be listed several times.
    pub audiences: Vec<Audience>,
    /// How many more players it has room for.
    pub headroom: HeadroomStatus,
    /// Streams whose home is here, if asked for.
    pub streams: Vec<StreamStatus>,
    /// Inputs that this shard fetches, by stream, if streams are asked for.
    pub inputs: Vec<InputStatus>,
    /// Sessions of this shard, if asked for.
    pub sessions: Vec<SessionStatus>,
}

/// Who plays one stream in one format on one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The stream.
    pub stream: StreamName,
    /// The format and dialect.
    pub format: &'static str,
    /// How many play.
    pub players: u64,
    /// How many view it by HLS, and are told apart.
    pub viewers: u64,
}

/// One page pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// Its name in the table of memory terms.
    pub name: &'static str,
    /// Bytes of one page.
    pub page_bytes: u64,
    /// Pages in use.
    pub used: u64,
    /// Most pages ever in use.
    pub peak: u64,
    /// Pages in all.
    pub total: u64,
    /// Pages that take memory of the machine: in use, or free since a short time.
    pub resident: u64,
}

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// A publisher delivers.
    Live,
    /// The publisher was lost; players wait for its return.
    Grace,
}

/// What the first playlist of a publication would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPlaylist {
    /// Pixels of a row of its pictures; 0 if it has none, or if they do not say.
    pub width: u32,
    /// Rows of its pictures.
    pub height: u32,
    /// Pictures in a thousand seconds; 0 if it has none.
    pub fps_milli: u32,
    /// What segments last at most.
    pub target_ms: u32,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Its name.
    pub name: StreamName,
    /// Its publication.
    pub id: Option<StreamId>,
    /// Its home.
    pub shard: ShardId,
    /// Where it is in its life.
    pub state: StreamState,
    /// Who publishes.
    pub publisher: Option<SessionId>,
    /// How it is published.
    pub protocol: Protocol,
    /// Its first playlist, once that was told of.
    pub playable: Option<FirstPlaylist>,
    /// Milliseconds since it started.
    pub age_ms: u64,
    /// Milliseconds since its last access unit.
    pub silent_ms: u64,
    /// Its tracks.
    pub tracks: Vec<TrackStatus>,
    /// What the transport stream has that it is published with.
    pub transport: Option<Box<TransportProgram>>,
    /// Readers per packaged log in use.
    pub logs: Vec<LogStatus>,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Access units received.
    pub units_in: u64,
    /// Timestamps that were repaired.
    pub timestamps_repaired: u64,
}

/// One track.
#[derive(Clone, Debug)]
pub struct TrackStatus {
    /// Its number, 0 for the default one of its kind.
    pub id: u8,
    /// Video, audio or data.
    pub kind: TrackKind,
    /// Its codec.
    pub codec: Codec,
    /// Its decoder configuration, if the codec has one.
    pub config: Option<DecoderConfig>,
    /// Bits per second over the last seconds.
    pub bps: u64,
}

/// One packaged log.
#[derive(Clone, Debug)]
pub struct LogStatus {
    /// Its format and dialect.
    pub format: &'static str,
    /// The number of its tracks.
    pub track: u8,
    /// Shards that read it.
    pub reader_shards: u32,
    /// Entries packaged.
    pub entries: u64,
    /// Bytes packaged.
    pub bytes: u64,
    /// Bytes held now.
    pub held_bytes: u64,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// Its number.
    pub id: SessionId,
    /// The shard that serves it.
    pub shard: ShardId,
    /// How it speaks.
    pub protocol: Protocol,
    /// What it does, once that is known.
    pub role: Option<Role>,
    /// The stream, once that is known.
    pub stream: Option<StreamName>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// `flashVer` or `User-Agent`.
    pub agent: Arc<str>,
    /// The version of TLS, for a connection inside it.
    pub tls: Option<&'static str>,
    /// The state of its protocol.
    pub state: &'static str,
    /// Milliseconds since it was accepted.
    pub age_ms: u64,
    /// When it began to publish or play, if it does.
    pub started: Option<WallTime>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Jumps to a newer join point.
    pub jumps: u64,
    /// What the connection of an SRT peer counted; in a box, because most have none.
    pub srt: Option<Box<SrtStatus>>,
}

/// The connection of an SRT peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrtStatus {
    /// Payload is encrypted.
    pub encrypted: bool,
    /// What was counted since it began.
    pub statistics: Statistics,
    /// What holds now.
    pub gauges: Gauges,
}
