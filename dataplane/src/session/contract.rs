//! What sessions and shards say to each other.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use codecs::media::{Codec, TrackKind};
use codecs::time::MediaTime;

use crate::config::Latency;
use crate::control::{Denial, Intent};
use crate::ids::{Secret, StreamName};
use crate::session::mpegts::{RelayRun, TransportProgram};
use crate::session::view_token::ViewToken;
use crate::slab::AuBytes;

/// The number of a track within its kind; 0 is the default track.
pub type TrackId = u8;

/// The wire format of a packaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RTMP chunks.
    Rtmp,
    /// FLV tags.
    Flv,
    /// Transport packets.
    MpegTs,
}

/// A different framing of the same format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Legacy tags for AVC, AAC and MP3; FourCC tags for everything else.
    Native,
    /// HEVC as codec id 12 and AV1 as 13, for players that know no FourCC tags.
    LegacyIds,
    /// The packets of a publisher's transport stream as they came, for as long as it sends one.
    Relayed,
}

/// What a packaged log is framed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogKey {
    /// The format.
    pub format: Format,
    /// The dialect.
    pub dialect: Dialect,
    /// The track of each kind that it holds; track 0 of a kind that has none of that number.
    pub track: TrackId,
}

impl LogKey {
    /// The log that segments are ranges of: the packets of the default tracks.
    pub const SEGMENTS: Self = Self { format: Format::MpegTs, dialect: Dialect::Native, track: 0 };

    /// The log of the packets of a publisher's own, which players of [`Self::SEGMENTS`] read
    /// instead.
    pub const RELAYED: Self = Self { dialect: Dialect::Relayed, ..Self::SEGMENTS };

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.format, self.dialect) {
            (Format::Rtmp, Dialect::LegacyIds) => "rtmp-legacy-ids",
            (Format::Rtmp, _) => "rtmp",
            (Format::Flv, Dialect::LegacyIds) => "flv-legacy-ids",
            (Format::Flv, _) => "flv",
            (Format::MpegTs, Dialect::Relayed) => "mpegts-relayed",
            (Format::MpegTs, _) => "mpegts",
        }
    }
}

/// One frame of one track, as it was received; its bytes are in the home shard's slab.
///
/// Shape: video payload is length-prefixed NAL units, AAC is raw frames; parameter sets are in the
/// track's decoder configuration.
#[derive(Debug)]
pub struct AccessUnit {
    /// The track's number within its kind.
    pub track: TrackId,
    /// The codec, which tells the kind.
    pub codec: Codec,
    /// Decode time, unrolled to 64 bits, before any repair.
    pub dts: MediaTime,
    /// Presentation time minus decode time.
    pub cts: MediaTime,
    /// Decoding may start here.
    pub keyframe: bool,
    /// The payload.
    pub payload: AuBytes,
}

/// A session's word to its shard.
#[derive(Debug)]
pub enum Event {
    /// The session is parked until [`Command::ConnectAllowed`], [`Command::PublishStarted`],
    /// [`Command::PlayStarted`] or [`Command::Refused`].
    Authorize {
        /// What the peer wants.
        intent: Intent,
        /// The stream that it named; for [`Intent::Connect`] the application.
        stream: StreamName,
        /// Who it says it is.
        credentials: Box<Credentials>,
        /// For play: what to read and how.
        play: Option<PlayOptions>,
    },
    /// What follows is asked for that client, as whoever is at the other end says, or for nobody
    /// else; it counts if that one is believed.
    OnBehalf {
        /// The client.
        client: Option<IpAddr>,
        /// Whether it speaks TLS there, if that is said.
        tls: Option<bool>,
    },
    /// The session is parked until it was handed the window of the stream, or [`Command::Refused`].
    Fetch {
        /// The stream of which a playlist or a segment is asked for.
        stream: StreamName,
        /// Who the peer says it is.
        credentials: Box<Credentials>,
        /// Which viewer asks.
        viewer: Viewer,
    },
    /// A track's decoder configuration began or changed: the record, without any tag header.
    Config {
        /// The track's number within its kind.
        track: TrackId,
        /// The codec.
        codec: Codec,
        /// The codec's decoder configuration record.
        record: Vec<u8>,
        /// From when on.
        dts: MediaTime,
    },
    /// What a track says beside its configuration began or changed: the colours of its pictures
    /// (AMF0 values, `colorInfo` among them), or how its channels map to speakers.
    Detail {
        /// The track's number within its kind.
        track: TrackId,
        /// The codec.
        codec: Codec,
        /// The body of the message, without any tag header.
        body: Vec<u8>,
        /// From when on.
        dts: MediaTime,
    },
    /// Stream metadata: the AMF0 values of a data message (`onMetaData` and its object).
    Metadata {
        /// The body, `@setDataFrame` stripped.
        body: Vec<u8>,
        /// From when on.
        dts: MediaTime,
    },
    /// Another data message, to be relayed as it is.
    Data {
        /// The body in AMF0.
        body: Vec<u8>,
        /// When.
        dts: MediaTime,
    },
    /// One frame.
    Media(AccessUnit),
    /// What the transport stream of the publisher says that it has.
    Program(Box<TransportProgram>),
    /// Packets of it as they came.
    Relay(RelayRun),
    /// A track is over, and the others go on: its publisher left it out.
    TrackEnded {
        /// Which kind.
        kind: TrackKind,
        /// The track's number within its kind.
        track: TrackId,
    },
    /// A frame was dropped before it became an access unit.
    MediaDropped {
        /// Why, for the log.
        reason: &'static str,
    },
    /// The peer ended its publication on purpose: no grace.
    PublishEnded,
    /// The cursor stops until [`Event::Resume`].
    Pause,
    /// The cursor goes on at the newest join point.
    Resume,
    /// What the player wants of the stream from now on.
    Filter {
        /// Audio entries.
        audio: bool,
        /// Video entries.
        video: bool,
    },
    /// The player is done; the connection may go on.
    PlayEnded,
    /// The session is parked until [`Command::Directory`].
    Directory,
    /// The session is parked until [`Command::Challenge`].
    Challenge {
        /// The token that was asked for.
        token: Box<str>,
    },
    /// Everything in `poll_transmit` is to be sent, then the connection closed.
    Close {
        /// Why, one fixed word.
        reason: &'static str,
    },
}

/// Which viewer of HLS asks for a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Anybody: viewers are not told apart.
    Anybody,
    /// One that is to be given a token.
    New,
    /// The one that is known by its address and agent, for what is asked for without a token.
    ByAddress,
    /// The one that was given this token, if it is good.
    Of(ViewToken),
}

/// What a peer said of itself in the address that it asked for, and beside it.
///
/// Limits: [`QUERY_BYTES_MAX`], [`URL_BYTES_MAX`]; a request with a longer query is refused, longer
/// addresses are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The secret that it showed.
    pub key: Secret,
    /// User and password of HTTP, with a colon between them, if those are
    /// [asked for](crate::config::AuthConfig::logins).
    pub login: Secret,
    /// The query, without the `?`.
    pub query: Secret,
    /// The address without the query: `tcUrl` and the stream's name, or `Host` and path.
    pub url: Arc<str>,
    /// `pageUrl` or `Referer`.
    pub referer: Option<Arc<str>>,
}

/// Bytes of the query of an address at most: room for a signed token.
pub const QUERY_BYTES_MAX: usize = 2_048;

/// Bytes of a peer's address, or of the page that it comes from, that are kept.
pub const URL_BYTES_MAX: usize = 1_024;

/// A peer's address, fit to be told: of legal length and without control letters.
pub(super) fn told_url(text: &str) -> Option<Arc<str>> {
    let mut kept: String = text.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=URL_BYTES_MAX.min(kept.len())).rev().find(|&at| kept.is_char_boundary(at));
    kept.truncate(end.unwrap_or(0));
    (!kept.is_empty()).then(|| kept.into())
}

/// What a session counted since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Access units whose NAL unit lengths were widened to four bytes.
    pub units_converted: u32,
    /// HTTP requests answered, the refused ones too.
    pub http_requests: u32,
    /// Those that were answered with 404.
    pub http_not_found: u32,
}

/// What the request for a piece of HLS was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// What was said.
    pub what: ServedAs,
    /// Bytes of the log that follow what was said; then comes [`Command::Served`]. Nothing follows,
    /// and no command comes, if it is empty.
    pub body: Range<u64>,
}

impl Served {
    /// An answer that is complete.
    pub(crate) const fn whole(what: ServedAs) -> Self {
        Self { what, body: 0..0 }
    }
}

/// The kinds of answers to a request for a piece of HLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedAs {
    /// A playlist.
    Playlist,
    /// A whole segment.
    Segment,
    /// A range of a segment.
    Part,
    /// The peer has it already.
    NotModified,
    /// The segment is kept no longer, or was never there.
    NotFound,
    /// The segment has no byte of the range.
    Unsatisfiable,
}

/// Who reads a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Players at its end.
    Live,
    /// Viewers who ask for its segments one by one.
    Segments,
}

/// What a player asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayOptions {
    /// The log to read.
    pub log: LogKey,
    /// Where to begin.
    pub join: Join,
    /// How soon it wants what was published; `None` is as its listener says.
    pub latency: Option<Latency>,
    /// What is put around the log's bytes.
    pub framing: Framing,
}

/// What a connection puts around the bytes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    Bare,
    /// A binary frame of WebSocket around each send of whole entries.
    WebSocket,
    /// A header of SRT before each few packets, in a datagram of their own.
    Srt,
    /// Nothing, or a header of RTP, before each few packets, in a datagram of their own.
    Udp,
}

/// Where a player begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// The newest keyframe that is kept.
    NewestKeyframe,
    /// The next keyframe to come.
    NextKeyframe,
    /// The newest keyframe that is kept; nobody else begins there any more, but at the next one.
    ///
    /// Only in [`UrlDialect::ChannelKey`](crate::config::UrlDialect); else as
    /// [`Self::NewestKeyframe`].
    ClearKeyframe,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key or the peer is not allowed.
    Denied,
    /// Nothing was shown by which anybody is let in: HTTP asks for it.
    Anonymous,
    /// The key is not the one that the stream is published with.
    WrongKey,
    /// No such stream.
    NotFound,
    /// The stream has no track of the number that was asked for.
    NoTrack,
    /// Another publisher holds the name.
    Busy,
    /// What was to decide does not answer.
    Unavailable,
    /// No room: a limit, a full mailbox or memory.
    Overloaded,
    /// No room for another player: those who play must not suffer.
    Full,
    /// The control plane did not answer in time.
    Timeout,
    /// The node is going down.
    Draining,
}

impl Command {
    /// One fixed word for logs and errors.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConnectAllowed => "connect_allowed",
            Self::PublishStarted => "publish_started",
            Self::PlayStarted => "play_started",
            Self::PlayIdle => "play_idle",
            Self::Refused(_) => "refused",
            Self::Elsewhere(_) => "elsewhere",
            Self::Directory(_) => "directory",
            Self::Challenge(_) => "challenge",
            Self::Served => "served",
            Self::StreamEnded => "stream_ended",
            Self::Reconnect => "reconnect",
            Self::Shutdown { .. } => "shutdown",
        }
    }
}

impl Refusal {
    /// One fixed word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Anonymous => "anonymous",
            Self::WrongKey => "wrong_key",
            Self::NotFound => "not_found",
            Self::NoTrack => "no_track",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Full => "full",
            Self::Timeout => "authorize_timeout",
            Self::Draining => "draining",
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Forbidden => Self::Denied,
            Denial::Anonymous => Self::Anonymous,
            Denial::NotFound => Self::NotFound,
            Denial::Busy => Self::Busy,
            Denial::Unavailable => Self::Unavailable,
            Denial::Full => Self::Full,
        }
    }
}

/// A shard's word to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The peer may come in.
    ConnectAllowed,
    /// The publish request was granted and the name claimed: media may follow.
    PublishStarted,
    /// The play request was granted; the cursor starts after the session's replies.
    PlayStarted,
    /// Nobody publishes what is played, or nobody does any more: the session is heard while it
    /// waits for [`Self::PlayStarted`] or [`Self::Refused`].
    PlayIdle,
    /// The request was refused: the peer hears it in its protocol, then `Close` follows.
    Refused(Refusal),
    /// The request was refused, and may be granted at that address: as [`Self::Refused`].
    Elsewhere(Arc<str>),
    /// The answer to [`Event::Directory`]: the streams of all shards, as JSON.
    Directory(Arc<[u8]>),
    /// The answer to [`Event::Challenge`], if there is one to that token.
    Challenge(Option<Arc<[u8]>>),
    /// The bytes behind an answer are sent.
    Served,
    /// The stream that is played ended.
    StreamEnded,
    /// The node goes down: a peer that can reconnect is asked to, and served until it does.
    Reconnect,
    /// The session must end: the peer hears it in its protocol, then `Close` follows.
    Shutdown {
        /// Why, one fixed word.
        reason: &'static str,
    },
}
