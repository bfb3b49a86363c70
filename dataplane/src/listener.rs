//! Listeners: where peers connect, what is spoken there, and how they are served.

use std::net::SocketAddr;

use crate::ids::ShardSet;

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// RTMP.
    Rtmp,
    /// HTTP/1.1.
    Http,
    /// RTMP inside TLS.
    Rtmps,
    /// HTTP/1.1 inside TLS.
    Https,
    /// SRT, over UDP.
    Srt,
}

impl ListenerKind {
    /// True if peers send datagrams: there is one socket of each shard, in the order of the shards,
    /// for as long as the node runs.
    #[must_use]
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Srt)
    }

    /// True if peers shake hands by TLS first, for which the node needs an identity.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Rtmps | Self::Https)
    }
}

/// Listening addresses at most.
pub const LISTENERS_MAX: usize = 32;

/// How soon players are sent what was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Latency {
    /// By the flush interval of their shard.
    #[default]
    Auto,
    /// Every frame at once, whatever the interval.
    Low,
}

/// One listening address, opened by its shards with `SO_REUSEPORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// What is spoken there.
    pub kind: ListenerKind,
    /// Where; port 0 lets the system choose one port for all shards.
    pub addr: SocketAddr,
    /// Who accepts there, and serves the players that it accepted.
    pub shards: ShardSet,
    /// The class of players whose address names none.
    pub latency: Latency,
    /// What it is called in questions about those who come by it.
    pub number: ListenerNumber,
    /// Those of [`SessionConfig::proxies`](crate::config::SessionConfig::proxies) begin with a head
    /// of the PROXY protocol there.
    pub proxied: bool,
}

/// Names a listener, as whoever configures it counts; several addresses may be one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerNumber(pub u8);

impl ListenerConfig {
    /// A listener of every shard whose players follow the flush interval.
    #[must_use]
    pub const fn new(kind: ListenerKind, addr: SocketAddr) -> Self {
        let (shards, latency, number) = (ShardSet::ALL, Latency::Auto, ListenerNumber(0));
        Self { kind, addr, shards, latency, number, proxied: false }
    }

    /// True if `other` is the same socket, whoever accepts there and however it is served.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.kind, self.addr) == (other.kind, other.addr)
    }
}
