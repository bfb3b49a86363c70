//! What the control plane tells shards.

use std::sync::Arc;

use super::{
    CloseReason, Dial, Protocol, ProtocolSet, Role, StreamQuotas, Ticket, UdpInput, Verdict,
};
use crate::config::Reload;
use crate::ids::{SessionId, ShardId, StreamId, StreamName};
use crate::session::tls::Identity;
use crate::session::view_token::ViewKeys;

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
    /// Asks for an [`Event::Snapshot`](super::Event::Snapshot).
    Snapshot {
        /// Comes back with the snapshot.
        id: u64,
        /// What is listed beside the counters.
        detail: Detail,
    },
    /// Closes a session of this shard, whatever it does; a publication ends at once, without
    /// grace. Answered by [`Event::Kicked`](super::Event::Kicked).
    Kick {
        /// The session.
        session: SessionId,
        /// What its end is called.
        reason: CloseReason,
    },
    /// Closes the sessions of a stream; told to every shard. A publication ends at once, without
    /// grace.
    KickStream {
        /// The stream, by the name that was granted.
        stream: StreamName,
        /// Only this publication of it, and who publishes that; whichever there is if `None`.
        publication: Option<StreamId>,
        /// Those who publish or those who play it; everybody if `None`.
        role: Option<Role>,
        /// Only those who speak one of these.
        protocols: ProtocolSet,
        /// What their end is called.
        reason: CloseReason,
    },
    /// Closes sessions of many streams, as [`Self::KickStream`] those of one: each connection is
    /// looked at once, whatever their number. Who connects after it stays.
    KickStreams {
        /// The streams, each once, sorted by name.
        kicks: Arc<[StreamKick]>,
        /// What their end is called.
        reason: CloseReason,
    },
    /// What the core that the shard is pinned to did lately.
    CoreUsed(CoreUse),
    /// Players of a stream that come from now on count in these quotas, which all shards are
    /// given; in none if it is `None`.
    Quotas {
        /// The stream, by the name that was granted.
        stream: StreamName,
        /// Its quotas.
        quotas: Option<StreamQuotas>,
    },
    /// Asks for what streams used since the batch before this one, as [`Event::Usage`]; that of
    /// the last number is told again.
    ///
    /// [`Event::Usage`]: super::Event::Usage
    Usage {
        /// The number of the batch.
        number: u64,
    },
    /// The inputs of a stream that its home shard fetches by itself are these from now on; those
    /// that were before and are not any more end.
    Pull {
        /// The stream.
        stream: StreamName,
        /// The inputs, each once.
        inputs: Arc<[Arc<UdpInput>]>,
    },
    /// The peers of a stream that its home shard connects to by itself are these from now on; those
    /// that were before and are not any more are left.
    Dial {
        /// The stream.
        stream: StreamName,
        /// What they do: publish to us, or play from us.
        role: Role,
        /// The peers, each number once.
        dials: Arc<[Dial]>,
    },
    /// Moves a stream to another shard; told to its home in the map.
    Move(MoveOrder),
    /// Signs the tokens of viewers of HLS by these keys from now on.
    ViewKeys(Arc<ViewKeys>),
    /// Every verdict on viewers of HLS is to be asked for again; they are served meanwhile.
    DoubtVerdicts,
    /// Replaces what can be replaced while running.
    Reload(Arc<Reload>),
    /// Proves who we are in handshakes that begin from now on; nothing else changes.
    Identity(Identity),
    /// The streams of all shards, as the JSON that the page lists.
    Directory(Arc<[u8]>),
    /// What an authority of certificates is answered that looks whether a name leads here.
    Challenge(Option<Arc<HttpChallenge>>),
    /// Tells of these besides, from now on.
    Want(News),
    /// Stops accepting, gives every peer its protocol's end, then ends the thread.
    Drain,
    /// Ends the thread now.
    Stop,
}

/// What is shown at `/.well-known/acme-challenge/TOKEN`.
///
/// Spec: RFC 8555 section 8.3.
/// Limits: one at a time: names are proved one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpChallenge {
    /// What the authority chose, the end of the path.
    pub token: Box<str>,
    /// What only the owner of the account can say about it.
    pub key_authorization: Arc<[u8]>,
}

/// What shards tell only while somebody outside is to hear of it. What finds no room in a mailbox
/// is lost: nothing rests on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Each finished segment: [`Event::SegmentFinished`](super::Event::SegmentFinished).
    pub segments: bool,
    /// Each connection that is closed:
    /// [`Event::ConnectionClosed`](super::Event::ConnectionClosed).
    pub connections: bool,
    /// Each player that begins to wait: [`Event::PlayerWaits`](super::Event::PlayerWaits).
    pub waits: bool,
}

/// Whose sessions of a stream are to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKick {
    /// The stream, by the name that was granted.
    pub stream: StreamName,
    /// Those who publish it by one of these.
    pub publishers: ProtocolSet,
    /// Those who play it by one of these.
    pub players: ProtocolSet,
    /// Only this publication of it, and who publishes that; whichever there is if `None`.
    pub publication: Option<StreamId>,
}

impl StreamKick {
    /// Of those in `role` who speak one of `protocols`; of everybody who does if it is `None`.
    #[must_use]
    pub fn of(stream: StreamName, role: Option<Role>, protocols: ProtocolSet) -> Self {
        let only = |whose| match role {
            Some(role) if role != whose => ProtocolSet::NONE,
            _ => protocols,
        };
        let (publishers, players) = (only(Role::Publish), only(Role::Play));
        Self { stream, publishers, players, publication: None }
    }

    /// True if a session that does `role` by `protocol` is closed.
    #[must_use]
    pub const fn concerns(&self, role: Role, protocol: Protocol) -> bool {
        match role {
            Role::Publish => self.publishers.contains(protocol),
            Role::Play => self.players.contains(protocol),
        }
    }

    /// True if it is about all who do `role`, and not about those who may not by some protocol.
    #[must_use]
    pub fn spares_nobody(&self, role: Role) -> bool {
        let protocols = match role {
            Role::Publish => self.publishers,
            Role::Play => self.players,
        };
        protocols == ProtocolSet::ALL
    }

    /// True if it is about the publication `id`, or about whichever there is.
    #[must_use]
    pub fn means(&self, id: Option<StreamId>) -> bool {
        self.publication.is_none() || self.publication == id
    }

    /// True if viewers of HLS are closed, who play whichever publication there is.
    #[must_use]
    pub const fn kicks_views(&self) -> bool {
        self.publication.is_none() && self.players.contains(Protocol::Hls)
    }

    /// True if whoever publishes it may be closed.
    #[must_use]
    pub fn kicks_publishers(&self) -> bool {
        self.publishers != ProtocolSet::NONE
    }
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
    /// Its publisher speaks SRT, and shares the socket of its shard with others, or is fetched by
    /// its shard.
    Bound,
    /// Its publisher could not be stopped in time.
    Timeout,
    /// The stream ended meanwhile.
    Ended,
    /// The node is going down.
    Draining,
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
