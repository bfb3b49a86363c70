//! Gathered: what the shards answered to one question, shared by all who wait for it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use dataplane::control::{InputStatus, ShardSnapshot, StreamStatus};
use dataplane::ids::{SessionId, ShardId, StreamName};

use super::peers::PeerSnapshots;
use super::roll::Roll;
use crate::coordinator::Policy;
use crate::record::RecordingState;
use crate::registry::{Item, TenantName};
use crate::viewing::{ClosedSession, LiveSession};

/// What the shards answered. It does not change, so that everybody shares one.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The answers, by shard.
    pub snapshots: Vec<ShardSnapshot>,
    /// Shards that did not answer in time.
    pub missing: Vec<ShardId>,
    /// What the application lets each of the streams do, of which it said so.
    pub policies: HashMap<StreamName, Arc<Policy>>,
    /// Whose streams are of which those said it who let their publishers in.
    pub tenants: HashMap<StreamName, TenantName>,
    /// When they were asked; nobody was if it is `None`.
    pub asked_at: Option<Instant>,
    /// The stream that the clip of the program plays on, which no session publishes.
    pub clip: Option<StreamName>,
    /// Streams that no shard told of because they were on their way from one to another, as they
    /// were told of before.
    pub moving: Vec<StreamStatus>,
    pub(crate) index: OnceLock<Index>,
    pub(crate) roll: Roll,
}

/// Where a stream is among the answers, and who plays it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    streams: HashMap<StreamName, Place>,
    audiences: HashMap<StreamName, Audience>,
}

/// Who plays a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    /// Players on all shards.
    pub(crate) players: u64,
    /// Viewers of HLS on all shards, where they are told apart.
    pub(crate) viewers: u64,
}

/// The place of a stream among the answers.
#[derive(Clone, Copy, Debug)]
enum Place {
    Told { shard: usize, at: usize },
    Moving(usize),
}

/// One stream: what is wanted of it, and what it was seen to do.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// What is wanted; `None` of a stream that is neither declared nor published.
    pub item: Option<Item>,
    /// What the shards told; nothing of a stream that is not on the air.
    pub gathered: Arc<Gathered>,
    /// The peers that the node connects to for it.
    pub peers: PeerSnapshots,
    /// What recording it comes to.
    pub recording: Option<RecordingState>,
}

/// One session, as far as it is known.
#[derive(Clone, Debug)]
pub enum SessionSight {
    /// Its shard told of it.
    Told {
        /// The session.
        id: SessionId,
        /// What the shards told, it among others.
        gathered: Arc<Gathered>,
    },
    /// It began since the shards were asked last, or its shard does not answer.
    Began {
        /// The session.
        id: SessionId,
        /// What its shard told by itself.
        live: LiveSession,
        /// What the application lets the stream do, of one that publishes.
        policy: Option<Arc<Policy>>,
    },
    /// It ended.
    Closed(Arc<ClosedSession>),
    /// Nobody knows of it.
    Unknown,
}

impl Gathered {
    /// Milliseconds since the shards were asked.
    #[must_use]
    pub fn age_ms(&self) -> u64 {
        let age = self.asked_at.map(|at| at.elapsed().as_millis()).unwrap_or_default();
        u64::try_from(age).unwrap_or(u64::MAX)
    }

    /// What was told of a stream.
    #[must_use]
    pub fn stream(&self, name: &StreamName) -> Option<&StreamStatus> {
        self.at(*self.index().streams.get(name)?)
    }

    /// What was told of the inputs of a stream that a shard fetches.
    pub fn inputs<'a>(&'a self, name: &'a StreamName) -> impl Iterator<Item = &'a InputStatus> {
        self.snapshots.iter().flat_map(move |snapshot| {
            // They are told by the names of their streams.
            let at = snapshot.inputs.partition_point(|input| input.stream < *name);
            snapshot.inputs[at..].iter().take_while(move |input| input.stream == *name)
        })
    }

    /// Who plays it on all shards.
    pub(crate) fn audience(&self, name: &StreamName) -> Audience {
        self.index().audiences.get(name).copied().unwrap_or_default()
    }

    /// Streams and sessions that the shard with most of them told of.
    #[must_use]
    pub fn items_max(&self) -> usize {
        let items = |s: &ShardSnapshot| {
            s.streams.len() + s.audiences.len() + s.inputs.len() + s.sessions.len()
        };
        self.snapshots.iter().map(items).max().unwrap_or(0)
    }

    /// Takes from `before` what is known of streams that were told of there, are not here, and
    /// have not ended.
    pub(crate) fn carry(&mut self, before: &Self, lives: impl Fn(&StreamName) -> bool) {
        let told = before.snapshots.iter().flat_map(|snapshot| &snapshot.streams);
        let lost: Vec<_> = told
            .filter(|status| self.stream(&status.name).is_none() && lives(&status.name))
            // CONTROL: once for each stream that is being moved.
            .cloned()
            .collect();
        self.moving = lost;
        self.index = OnceLock::new();
    }

    fn at(&self, place: Place) -> Option<&StreamStatus> {
        match place {
            Place::Told { shard, at } => self.snapshots.get(shard)?.streams.get(at),
            Place::Moving(at) => self.moving.get(at),
        }
    }

    /// Made by who looks first: most answers are looked at whole.
    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut index = Index::default();
            for (shard, snapshot) in self.snapshots.iter().enumerate() {
                for (at, status) in snapshot.streams.iter().enumerate() {
                    // One that moved while shards were asked is told of by both: the later word
                    // has seen more of it.
                    let seen = index.streams.get(&status.name).and_then(|&seen| self.at(seen));
                    if seen.is_none_or(|seen| seen.units_in <= status.units_in) {
                        index.streams.insert(status.name.clone(), Place::Told { shard, at });
                    }
                }
                for audience in &snapshot.audiences {
                    let of = index.audiences.entry(audience.stream.clone()).or_default();
                    of.players += audience.players;
                    of.viewers += audience.viewers;
                }
            }
            for (at, status) in self.moving.iter().enumerate() {
                index.streams.entry(status.name.clone()).or_insert(Place::Moving(at));
            }
            index
        })
    }
}
