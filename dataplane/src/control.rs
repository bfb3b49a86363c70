//! What shards and the control plane tell each other: plain data over bounded mailboxes.

use std::net::SocketAddr;
use std::sync::Arc;

use codecs::media::{Codec, DecoderConfig, TrackKind};

use crate::config::{LimitId, Reload};
use crate::ids::{Secret, SessionId, ShardId, StreamName};
use crate::metrics::{Recent, ShardCounters};

/// The four words for what a session does with media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The peer sends to us.
    Publish,
    /// The peer reads from us.
    Play,
}

impl Role {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// The protocol of a session, as it appears in the API and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// FLV over HTTP.
    HttpFlv,
    /// MPEG-TS over HTTP.
    HttpTs,
    /// FLV over WebSocket.
    WsFlv,
    /// MPEG-TS over WebSocket.
    WsTs,
    /// HLS, while a piece of it is asked for or sent.
    Hls,
    /// HTTP without media.
    Http,
    /// The built-in demo stream.
    Demo,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 8] = [
        Self::Rtmp,
        Self::HttpFlv,
        Self::HttpTs,
        Self::WsFlv,
        Self::WsTs,
        Self::Hls,
        Self::Http,
        Self::Demo,
    ];

    /// True if a player of it is a cursor in a log.
    #[must_use]
    pub const fn plays(self) -> bool {
        !matches!(self, Self::Hls | Self::Http | Self::Demo)
    }

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::HttpFlv => "http-flv",
            Self::HttpTs => "http-ts",
            Self::WsFlv => "ws-flv",
            Self::WsTs => "ws-ts",
            Self::Hls => "hls",
            Self::Http => "http",
            Self::Demo => "demo",
        }
    }
}

/// Names one question of a shard to the control plane, so that a late answer finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The connection's slot on its shard.
    pub slot: u32,
    /// The connection's generation in that slot.
    pub generation: u16,
    /// The question's number on that connection.
    pub epoch: u32,
}

/// "May this peer do this?": every publish and every play asks once.
#[derive(Clone, Debug)]
pub struct AuthorizeRequest {
    /// The session that waits.
    pub session: SessionId,
    /// What it wants.
    pub role: Role,
    /// How it speaks.
    pub protocol: Protocol,
    /// The stream that it named.
    pub stream: StreamName,
    /// The secret that it showed.
    pub key: Secret,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// `flashVer` or `User-Agent`.
    pub agent: Arc<str>,
}

/// The answer to an [`AuthorizeRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, under this name, which may differ from the one asked for.
    Allow {
        /// The stream.
        stream: StreamName,
    },
    /// No: the key or the peer is not allowed.
    Deny,
}

/// What a snapshot lists beside the counters. Lists are gathered over as many turns as they need,
/// so what begins or ends meanwhile may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// The streams, and who plays them.
    pub streams: bool,
    /// The sessions.
    pub sessions: bool,
}

impl Detail {
    /// Counters alone, which are answered at once.
    pub const NONE: Self = Self { streams: false, sessions: false };
    /// The streams, and who plays them.
    pub const STREAMS: Self = Self { streams: true, sessions: false };
    /// The sessions.
    pub const SESSIONS: Self = Self { streams: false, sessions: true };
    /// Everything.
    pub const ALL: Self = Self { streams: true, sessions: true };
}

/// "Move this stream": told to its home in the map, which knows where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveOrder {
    /// Comes back with the outcome.
    pub id: u64,
    /// The stream.
    pub stream: StreamName,
    /// Where it shall be.
    pub to: ShardId,
}

/// What became of a [`MoveOrder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveOutcome {
    /// The stream is there now.
    Moved {
        /// Where it was before.
        from: ShardId,
    },
    /// The stream was there already.
    AlreadyThere,
    /// The stream is where it was, or nowhere.
    Refused(MoveRefusal),
}

/// Why a stream was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveRefusal {
    /// No stream of that name is on the air.
    UnknownStream,
    /// There is no such shard.
    UnknownShard,
    /// It is being moved, or readers have not drained what its last moves sealed.
    Busy,
    /// The shard has too few free pages, or its mailbox is full.
    NoRoom,
    /// Its publisher could not be stopped in time.
    Timeout,
    /// The stream ended meanwhile.
    Ended,
    /// The node is going down.
    Draining,
}

/// The control plane's word to one shard.
#[derive(Debug)]
pub enum Command {
    /// Answers a question.
    Verdict {
        /// The question.
        ticket: Ticket,
        /// The answer.
        verdict: Verdict,
    },
    /// Asks for an [`Event::Snapshot`].
    Snapshot {
        /// Comes back with the snapshot.
        id: u64,
        /// What is listed beside the counters.
        detail: Detail,
    },
    /// Closes a session of this shard.
    Kick {
        /// The session.
        session: SessionId,
    },
    /// What the core that the shard is pinned to did lately.
    CoreUsed(CoreUse),
    /// Moves a stream to another shard; told to its home in the map.
    Move(MoveOrder),
    /// Replaces what can be replaced while running.
    Reload(Arc<Reload>),
    /// The streams of all shards, as the JSON that the page lists.
    Directory(Arc<[u8]>),
    /// Stops accepting, gives every peer its protocol's end, then ends the thread.
    Drain,
    /// Ends the thread now.
    Stop,
}

/// A shard's word to the control plane.
#[derive(Debug)]
pub enum Event {
    /// The shard is up; its listeners are bound there.
    Ready {
        /// Addresses in the order of the configuration.
        listeners: Vec<SocketAddr>,
        /// The reactor in use, and why not io_uring if it is not.
        reactor: &'static str,
        /// Why the preferred reactor is not in use.
        fallback: Option<String>,
    },
    /// A question.
    Authorize {
        /// Names the question.
        ticket: Ticket,
        /// The question.
        request: Box<AuthorizeRequest>,
    },
    /// A stream began to live on this shard.
    StreamStarted {
        /// The stream.
        stream: StreamName,
    },
    /// A stream is over, grace included.
    StreamEnded {
        /// The stream.
        stream: StreamName,
    },
    /// The answer to [`Command::Move`].
    Moved {
        /// The order's id.
        id: u64,
        /// What became of it.
        outcome: MoveOutcome,
    },
    /// The answer to [`Command::Snapshot`].
    Snapshot(Box<ShardSnapshot>),
    /// A listener of a reload could not be opened.
    ListenFailed {
        /// Where.
        addr: SocketAddr,
        /// Why.
        error: String,
    },
    /// The shard's thread is about to end.
    Stopped,
}

/// What one core did since it was looked at before, whoever ran on it: shares of the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoreUse {
    /// It was not idle.
    pub busy: f64,
    /// It served interrupts.
    pub softirq: f64,
    /// The hypervisor had given it to others; a part of `busy`.
    pub stolen: f64,
}

/// What a shard has room for, as it measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadroomStatus {
    /// Players of the current mix that its core has room for.
    pub players_room: u64,
    /// Players and viewers of HLS of that mix.
    pub players: u64,
    /// New players are refused because the core has no room.
    pub full: bool,
    /// Bits a second of one player of the mix.
    pub player_bps: u64,
    /// Bits a second that players of this shard are owed.
    pub owed_bps: u64,
    /// Share of the core that is in use if frames are gathered as long as allowed.
    pub in_use: f64,
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
    /// Players of this shard by stream and format, if streams are asked for; a stream may be listed
    /// several times.
    pub audiences: Vec<Audience>,
    /// How many more players it has room for.
    pub headroom: HeadroomStatus,
    /// Streams whose home is here, if asked for.
    pub streams: Vec<StreamStatus>,
    /// Sessions of this shard, if asked for.
    pub sessions: Vec<SessionStatus>,
}

/// The players of one stream in one format on one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The stream.
    pub stream: StreamName,
    /// The format and dialect.
    pub format: &'static str,
    /// How many play.
    pub players: u64,
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

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Its name.
    pub name: StreamName,
    /// Its home.
    pub shard: ShardId,
    /// Where it is in its life.
    pub state: StreamState,
    /// Who publishes.
    pub publisher: Option<SessionId>,
    /// How it is published.
    pub protocol: Protocol,
    /// Milliseconds since it started.
    pub age_ms: u64,
    /// Milliseconds since its last access unit.
    pub silent_ms: u64,
    /// Its tracks.
    pub tracks: Vec<TrackStatus>,
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
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Jumps to a newer join point.
    pub jumps: u64,
}
