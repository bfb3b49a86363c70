//! What shards tell the control plane.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{
    AuthorizeRequest, DialNews, MoveOutcome, Protocol, Role, ShardSnapshot, Ticket, Turned,
    UdpInput, UsageBatch,
};
use crate::ids::{SessionId, ShardId, StreamId, StreamName};

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
    StreamStarted(Box<StreamStart>),
    /// A stream lost its publisher: the grace time runs.
    StreamLost {
        /// The stream.
        stream: StreamName,
        /// Its publication.
        id: Option<StreamId>,
        /// Why its publisher is gone.
        reason: CloseReason,
    },
    /// A stream has a publisher again, within the grace time or because another took it over: it
    /// is the same publication.
    StreamReturned {
        /// The stream.
        stream: StreamName,
        /// Its publication.
        id: Option<StreamId>,
        /// Who publishes now.
        session: Option<SessionId>,
        /// How it is published now.
        protocol: Protocol,
    },
    /// A stream is over, grace included.
    StreamEnded {
        /// The stream.
        stream: StreamName,
        /// Its publication.
        id: Option<StreamId>,
        /// Why.
        reason: CloseReason,
    },
    /// Somebody wanted to publish and was refused, by a verdict or by the shard.
    PublishRefused(Box<PublishRefusal>),
    /// An input that a shard fetches delivers from now on; told before its stream begins or
    /// returns.
    InputTaken {
        /// The stream.
        stream: StreamName,
        /// Which of its inputs.
        input: Arc<UdpInput>,
    },
    /// An input that a shard fetches cannot be opened, or for another reason than before; it is
    /// tried again.
    InputFailed {
        /// The stream.
        stream: StreamName,
        /// Which of its inputs.
        input: Arc<UdpInput>,
        /// Why, in one fixed word.
        reason: &'static str,
    },
    /// A stream went to another shard, with whoever publishes it. The shard that it left tells it,
    /// and then the one where it arrived; as these are two, the words come in any order.
    StreamMoved(Box<StreamMove>),
    /// The first playlist of a publication can be served.
    SegmentsReady {
        /// The stream.
        stream: StreamName,
        /// Its publication.
        id: Option<StreamId>,
        /// Pixels of a row of its pictures; 0 if it has none or does not say.
        width: u32,
        /// Rows of its pictures.
        height: u32,
        /// Pictures in a thousand seconds.
        fps_milli: u32,
        /// What its playlist promises segments to last at most.
        target_ms: u32,
    },
    /// A segment of a stream is finished; told if it is [wanted](super::News).
    SegmentFinished(Box<FinishedSegment>),
    /// A player waits for a stream that nobody publishes; told if it is wanted.
    PlayerWaits(Box<WaitingPlayer>),
    /// A connection that had named an application is closed; told if it is wanted.
    ConnectionClosed(Box<ConnectionEnd>),
    /// A publish or play began, or ended.
    Session(Box<SessionEvent>),
    /// More sessions ended than could be told of: what the control plane knows of this shard's
    /// sessions is to be compared with a snapshot.
    SessionsOverflowed {
        /// The shard.
        shard: ShardId,
    },
    /// The answer to [`Command::Kick`](super::Command::Kick); the end of a session that publishes
    /// or plays is told besides.
    Kicked {
        /// The session.
        session: SessionId,
        /// It was a connection of this shard, which is on its way out now.
        found: bool,
        /// The stream that it published, played, waited or asked for.
        stream: Option<StreamName>,
    },
    /// The answer to [`Command::Move`](super::Command::Move).
    Moved {
        /// The order's id.
        id: u64,
        /// What became of it.
        outcome: MoveOutcome,
    },
    /// The answer to [`Command::Snapshot`](super::Command::Snapshot).
    Snapshot(Box<ShardSnapshot>),
    /// What streams used: answers [`Command::Usage`](super::Command::Usage); the last of them come
    /// unasked when a shard ends.
    Usage(Box<UsageBatch>),
    /// A listener of a reload could not be opened.
    ListenFailed {
        /// Where.
        addr: SocketAddr,
        /// Why.
        error: String,
    },
    /// What became of a peer that the shard connects to.
    Dialled(Box<DialNews>),
    /// Who was turned away lately.
    TurnedAway(Box<[Turned]>),
    /// The shard's thread is about to end.
    Stopped,
}

/// A stream that began.
#[derive(Clone, Debug)]
pub struct StreamStart {
    /// The stream.
    pub stream: StreamName,
    /// Its publication.
    pub id: Option<StreamId>,
    /// How it is published.
    pub protocol: Protocol,
    /// Who publishes it; nobody does the demo clip.
    pub publisher: Option<StreamPublisher>,
}

/// A segment of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedSegment {
    /// The stream.
    pub stream: StreamName,
    /// Its publication.
    pub id: Option<StreamId>,
    /// The number of the segment, which its address has.
    pub number: u64,
    /// How long it lasts.
    pub duration_ms: u64,
}

/// A player that waits for its stream.
#[derive(Clone, Debug)]
pub struct WaitingPlayer {
    /// The session.
    pub session: SessionId,
    /// How it speaks.
    pub protocol: Protocol,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// `flashVer` or `User-Agent`.
    pub agent: Arc<str>,
    /// The stream.
    pub stream: StreamName,
}

/// A connection that is closed.
#[derive(Clone, Debug)]
pub struct ConnectionEnd {
    /// How it came in: what it asked, or would have asked, at `connect`.
    pub request: AuthorizeRequest,
    /// What it did with media last, if it did anything.
    pub last: Option<(Role, StreamName)>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Milliseconds that it lasted.
    pub age_ms: u64,
    /// Why it ended.
    pub reason: CloseReason,
}

/// A publish that was refused.
#[derive(Clone, Debug)]
pub struct PublishRefusal {
    /// The stream.
    pub stream: StreamName,
    /// How it would have been published.
    pub protocol: Protocol,
    /// Who would have published it.
    pub publisher: StreamPublisher,
    /// Why, in one fixed word.
    pub reason: &'static str,
}

/// A stream on its way to another shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMove {
    /// The stream.
    pub stream: StreamName,
    /// Its publication.
    pub id: Option<StreamId>,
    /// Who publishes it.
    pub session: Option<SessionId>,
    /// The order by which it moves: a later move has a higher number.
    pub order: u64,
    /// It is there; else it left.
    pub arrived: bool,
}

/// Who publishes a stream.
#[derive(Clone, Debug)]
pub struct StreamPublisher {
    /// The session.
    pub session: SessionId,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// `flashVer` or `User-Agent`.
    pub agent: Arc<str>,
}

/// A publish or play that began, or ended.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// It began: media flows, or will.
    Started {
        /// The session.
        session: SessionId,
        /// The shard that serves it.
        shard: ShardId,
        /// What it does.
        role: Role,
        /// How it speaks.
        protocol: Protocol,
        /// It does so inside TLS.
        tls: bool,
        /// The stream.
        stream: StreamName,
        /// Where it comes from.
        peer: SocketAddr,
        /// `flashVer` or `User-Agent`.
        agent: Arc<str>,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// It ended.
    Ended {
        /// The session.
        session: SessionId,
        /// What it did.
        role: Role,
        /// How it spoke.
        protocol: Protocol,
        /// The stream.
        stream: StreamName,
        /// Where it came from.
        peer: SocketAddr,
        /// `flashVer` or `User-Agent`.
        agent: Arc<str>,
        /// Bytes received.
        bytes_in: u64,
        /// Bytes sent.
        bytes_out: u64,
        /// Milliseconds that it lasted.
        age_ms: u64,
        /// Why it ended.
        reason: CloseReason,
    },
}

/// Why a session or a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer said that it is done.
    PeerClosed,
    /// The connection broke.
    ConnectionLost,
    /// A player did not read as fast as its stream runs.
    TooSlow,
    /// A peer accepted no byte for too long.
    Stalled,
    /// A peer said nothing for too long.
    Idle,
    /// A publisher fell silent, and another one took its stream over.
    TakenOver,
    /// Somebody closed it.
    Kicked,
    /// The stream ended.
    StreamEnded,
    /// The stream was changed so that it had to begin anew.
    StreamChanged,
    /// What it was allowed by is no longer valid.
    Expired,
    /// A quota of its stream, or of the tenant of that, is used up.
    QuotaExceeded,
    /// The node goes down.
    Draining,
    /// The peer broke the rules of its protocol, or a limit.
    Protocol,
    /// A fault of ours.
    Internal,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::PeerClosed,
        Self::ConnectionLost,
        Self::TooSlow,
        Self::Stalled,
        Self::Idle,
        Self::TakenOver,
        Self::Kicked,
        Self::StreamEnded,
        Self::StreamChanged,
        Self::Expired,
        Self::QuotaExceeded,
        Self::Draining,
        Self::Protocol,
        Self::Internal,
    ];

    /// One fixed word for logs, events and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::ConnectionLost => "connection_lost",
            Self::TooSlow => "too_slow",
            Self::Stalled => "stalled",
            Self::Idle => "idle",
            Self::TakenOver => "taken_over",
            Self::Kicked => "kicked",
            Self::StreamEnded => "stream_ended",
            Self::StreamChanged => "stream_changed",
            Self::Expired => "expired",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Draining => "draining",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}
