//! What shards tell each other.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use codecs::srt::SocketId;

use super::calls::CallAnswer;
use super::caps::Admission;
use super::datagrams::Stray;
use super::demo::Demo;
use super::handover::Traveller;
use super::proxied::Speaker;
use super::relocation::Removal;
use super::withdrawal::Withdrawal;
use crate::config::{Latency, ListenerKind, ListenerNumber};
use crate::control::{CloseReason, MoveOrder, MoveOutcome, StreamKick};
use crate::hub::Subscriber;
use crate::ids::{SecretDigest, ShardId, StreamName};
use crate::log::Succession;
use crate::segment::Numbering;
use crate::session::{LogKey, Refusal, Use};

/// A letter from one shard to another.
#[derive(Debug)]
pub(crate) enum Message {
    /// A fresh connection, for the less used shard.
    Accepted(Accepted),
    /// A publisher comes home: its name is to be claimed there.
    Publisher(Traveller),
    /// A question: a reader wants a log.
    Subscribe(Subscribe),
    /// The answer.
    Subscribed {
        /// The reader's slot on the asking shard.
        slot: u32,
        /// The log, or why not.
        answer: Answer,
    },
    /// A reader is gone.
    Unsubscribe {
        /// The stream.
        stream: StreamName,
        /// The log.
        key: LogKey,
        /// The reader.
        reader: Subscriber,
    },
    /// To the shard that a stream is on: it is to be moved.
    Relocate(MoveOrder),
    /// A question: may the stream of an order come?
    Offer {
        /// The order's number.
        order: u64,
    },
    /// The answer.
    Offered {
        /// The order's number.
        order: u64,
        /// True if there is room for it.
        room: bool,
    },
    /// A stream comes, with whoever publishes it.
    Stream(Box<Removal>),
    /// To the stream's home in the map: a move is over.
    Relocated {
        /// What was ordered.
        order: MoveOrder,
        /// What became of it.
        outcome: MoveOutcome,
    },
    /// To the stream's home in the map: a stream that was elsewhere ended there.
    Ended {
        /// The stream.
        stream: StreamName,
        /// The numbers that follow those of its segments.
        numbering: Numbering,
        /// Its segments can be asked for a while longer.
        shown: bool,
    },
    /// To the shard that a stream is on: sessions of it are to be closed.
    Evict {
        /// The streams, each once, sorted by name.
        kicks: Arc<[StreamKick]>,
        /// What their end is called.
        reason: CloseReason,
    },
    /// A viewer of HLS was kicked: what was allowed to it is not any more.
    Withdraw(Box<Withdrawal>),
    /// To the shard where a stream ended: it began anew elsewhere.
    Supersede(StreamName),
    /// A stream begins where this comes from, for those who wait for it.
    Began(StreamName),
    /// To the shard that a stream is on: nobody joins at its newest keyframe any more.
    ClearJoins(StreamName),
    /// The stream of a reader has a publisher with another key.
    Rekeyed {
        /// The reader's slot, and the number of its question.
        reader: (u32, u64),
        /// What the key can be compared by.
        key: Option<SecretDigest>,
    },
    /// The segments that a reader reads are in another log from now on.
    Parted {
        /// The reader's slot, and the number of its question.
        reader: (u32, u64),
    },
    /// To the shard that heard a call of SRT: what became of it on another one.
    Called {
        /// The port that was called.
        port: u8,
        /// The caller's address and socket.
        caller: (SocketAddr, SocketId),
        /// The socket that it was let in with, or why it was not.
        answer: CallAnswer,
    },
    /// To the shard that answered a call: it is repeated.
    CalledAgain {
        /// The socket that it was let in with.
        socket: SocketId,
        /// Who calls.
        peer: SocketAddr,
    },
    /// A datagram for a connection of that shard, which came here.
    Datagram(Box<Stray>),
    /// The demo clip comes back to its home.
    Demo(Box<Demo>),
}

/// The answer to a question for a log.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The log, those before it that a reader may need, and the key that its stream is published
    /// with.
    Reading(Succession, Option<SecretDigest>),
    /// Why not.
    Refused(Refusal),
    /// The stream is on that shard: the question is to be asked there.
    Elsewhere(ShardId, Subscribe),
}

/// A connection before its first byte was read.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub fd: OwnedFd,
    pub peer: SocketAddr,
    pub kind: ListenerKind,
    pub latency: Latency,
    pub listener: ListenerNumber,
    pub speaker: Speaker,
    pub admission: Admission,
}

/// A question for a log.
#[derive(Clone, Debug)]
pub(crate) struct Subscribe {
    pub stream: StreamName,
    pub key: LogKey,
    pub usage: Use,
    /// The reader's slot on the asking shard.
    pub slot: u32,
    /// The question's number on the asking shard.
    pub number: u64,
    /// Shards that were asked before, in vain.
    pub hops: u8,
    /// How long an unknown stream may take to appear.
    pub wait: Duration,
}
