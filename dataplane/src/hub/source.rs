//! Who delivers a stream, and what its publication is called.

use std::time::Instant;

use crate::control::Protocol;
use crate::ids::{SecretDigest, SessionId, StreamId};

/// Who delivers the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// A session on the home shard, by its connection slot.
    Session {
        /// The connection's slot.
        slot: u32,
        /// The session's number.
        id: SessionId,
    },
    /// The built-in demo clip, which yields to anybody.
    Demo,
    /// Nobody since then: the grace time runs.
    Lost(Instant),
}

impl Publisher {
    /// The connection of a session that publishes.
    #[must_use]
    pub const fn slot(self) -> Option<u32> {
        match self {
            Self::Session { slot, .. } => Some(slot),
            Self::Demo | Self::Lost(_) => None,
        }
    }
}

/// A publisher, and what the stream is called while it delivers.
#[derive(Clone, Debug)]
pub struct Source {
    /// Who delivers the units.
    pub publisher: Publisher,
    /// How.
    pub protocol: Protocol,
    /// The publication that begins with it, unless it goes on with another.
    pub id: Option<StreamId>,
    /// The key that it was allowed with, to be compared.
    pub key: Option<SecretDigest>,
}

impl Source {
    /// A publisher whose publication has no name of its own.
    #[must_use]
    pub const fn new(publisher: Publisher, protocol: Protocol) -> Self {
        Self { publisher, protocol, id: None, key: None }
    }
}
