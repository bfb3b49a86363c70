//! What shards tell each other.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::caps::Admission;
use super::connection::Connection;
use crate::config::{Latency, ListenerKind};
use crate::ids::StreamName;
use crate::log::Log;
use crate::session::{LogKey, Refusal, Use};

/// A letter from one shard to another.
#[derive(Debug)]
pub(crate) enum Message {
    /// A fresh connection, for the less used shard.
    Accepted(Accepted),
    /// A publisher comes home: its name is to be claimed there.
    Publisher(Box<Connection>),
    /// A question: a reader wants a log.
    Subscribe(Subscribe),
    /// The answer.
    Subscribed {
        /// The reader's slot on the asking shard.
        slot: u32,
        /// The log, or why not.
        log: Result<Arc<Log>, Refusal>,
    },
    /// A reader is gone.
    Unsubscribe {
        /// The stream.
        stream: StreamName,
        /// The log.
        key: LogKey,
        /// The reader's slot on the sending shard.
        slot: u32,
    },
}

/// A connection before its first byte was read.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub fd: OwnedFd,
    pub peer: SocketAddr,
    pub kind: ListenerKind,
    pub latency: Latency,
    pub admission: Admission,
}

/// A question for a log.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub stream: StreamName,
    pub key: LogKey,
    pub usage: Use,
    /// The reader's slot on the asking shard.
    pub slot: u32,
    /// How long an unknown stream may take to appear.
    pub wait: Duration,
}
