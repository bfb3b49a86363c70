//! Report: who is attached, and what they have, in numbers.

use std::time::Instant;

use dataplane::ids::{StreamId, StreamName};

use super::peer::{Peer, PeerId, Room};
use super::table::Attached;
use crate::coordinator::wire::{Role, Whereabouts};

/// Everything that an application is told.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Streaming servers besides this node.
    pub servers: Vec<ServerReport>,
    /// Encoders besides that of this node.
    pub encoders: Vec<EncoderReport>,
    /// What is on the air, by channel.
    pub active: Vec<ActiveReport>,
    /// What the encoder of this node has.
    pub own_load: usize,
}

/// One streaming server.
#[derive(Clone, Copy, Debug)]
pub struct ServerReport {
    /// Its number.
    pub id: PeerId,
    /// Where it is.
    pub at: Whereabouts,
    /// What it is.
    pub role: Role,
}

/// One encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderReport {
    /// Its number.
    pub id: PeerId,
    /// Streams that it takes; `None` for any number.
    pub capacity: Option<u32>,
    /// Streams that it has.
    pub load: usize,
}

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveReport {
    /// The channel.
    pub channel: StreamName,
    /// The publication.
    pub id: StreamId,
    /// The server that is published to.
    pub server: PeerId,
    /// The encoder that has it.
    pub encoder: PeerId,
}

/// One peer, for people.
#[derive(Clone, Copy, Debug)]
pub struct PeerReport {
    /// Its number.
    pub id: PeerId,
    /// What it is.
    pub role: Role,
    /// Where it is.
    pub at: Whereabouts,
    /// Seconds since it came.
    pub attached_s: u64,
    /// Of an encoder that has told it: streams that it takes; -1 for any number.
    pub capacity: Option<i64>,
    /// Streams that it has: published to it, or encoded by it.
    pub streams: usize,
}

impl Attached {
    /// Every peer, by number.
    #[must_use]
    pub fn peers(&self, now: Instant) -> Vec<PeerReport> {
        let published = |peer: PeerId| {
            let of = self.publications.values().filter(|publication| publication.server == peer);
            of.filter(|publication| !publication.is_ending()).count()
        };
        let report = |(&id, peer): (&PeerId, &Peer)| PeerReport {
            id,
            role: peer.role,
            at: peer.at,
            attached_s: now.saturating_duration_since(peer.since).as_secs(),
            capacity: match peer.room {
                Room::Untold => None,
                Room::Any => Some(-1),
                Room::Places(places) => Some(i64::from(places)),
            },
            streams: if peer.role.is_server() { published(id) } else { peer.tasks.len() },
        };
        self.peers.iter().map(report).collect()
    }

    /// Peers of each role.
    #[must_use]
    pub fn counts(&self) -> [(Role, usize); 3] {
        Role::ALL.map(|role| (role, self.peers.values().filter(|peer| peer.role == role).count()))
    }

    /// Streams that attached encoders have.
    #[must_use]
    pub fn load(&self) -> usize {
        self.peers.values().map(|peer| peer.tasks.len()).sum()
    }

    pub(in crate::coordinator) fn server_reports(&self) -> Vec<ServerReport> {
        let servers = self.peers.iter().filter(|(_, peer)| peer.role.is_server());
        servers.map(|(&id, peer)| ServerReport { id, at: peer.at, role: peer.role }).collect()
    }

    pub(in crate::coordinator) fn encoder_reports(&self) -> Vec<EncoderReport> {
        let report = |(id, peer): (PeerId, &Peer)| EncoderReport {
            id,
            capacity: match peer.room {
                Room::Untold | Room::Any => None,
                Room::Places(places) => Some(places),
            },
            load: peer.tasks.len(),
        };
        self.encoders().map(report).collect()
    }

    /// What is on the air, of which one of the ends is elsewhere.
    pub(in crate::coordinator) fn active(&self) -> impl Iterator<Item = ActiveReport> {
        self.open.iter().map(|(channel, &id)| {
            let publication = &self.publications[&id];
            let encoder = publication.encoder.unwrap_or(PeerId::SELF);
            ActiveReport { channel: channel.clone(), id, server: publication.server, encoder }
        })
    }
}
