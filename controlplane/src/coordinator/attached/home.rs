//! Home: publications of attached servers that the encoder of this node has, which pulls them.
//!
//! ```text
//!   no other encoder takes it --> Pull --its stream began--> as one of this node is encoded
//!                                  |                             |
//!                                  +-- publisher gone, server lost: Unpull, over with its stream
//!                                  +-- nothing comes of it, for good: killed at its server
//! ```
//!
//! It speaks RTMP alone, so that it takes those of servers of that role.
//! Limits: the places that [`Attached::set_places`] was told.

use std::time::Instant;

use dataplane::ids::{Secret, StreamId, StreamName};

use super::peer::PeerId;
use super::publication::Publication;
use super::table::{Attached, News};
use crate::coordinator::wire::Role;

/// What this node pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The channel, which is the stream here.
    pub channel: StreamName,
    /// The publication.
    pub id: StreamId,
    /// Where it is pulled from.
    pub uri: Secret,
    /// What its publisher showed.
    pub key: Secret,
}

impl Attached {
    /// So many publications of servers at most may be pulled from now on; `None` for any number.
    pub const fn set_places(&mut self, places: Option<usize>) {
        self.places = places;
    }

    /// Publications that are pulled, and how many of them have begun here.
    #[must_use]
    pub fn pulled(&self) -> (usize, usize) {
        let pulled = || self.publications.values().filter(|publication| publication.is_pulled());
        (pulled().count(), pulled().filter(|publication| publication.begun).count())
    }

    /// Publications that are pulled and have a publisher, begun here or not.
    #[must_use]
    pub fn pulled_open(&self) -> usize {
        self.open.values().filter(|id| self.publications[*id].is_pulled()).count()
    }

    /// The encoder of one that is new at a server of `role`: one that is attached before ours, and
    /// none while others wait for theirs.
    pub(super) fn encoder_for(&self, role: Role) -> Option<PeerId> {
        let own = || self.own_encoder(role).filter(|_| !self.is_any_waiting());
        self.next_encoder().or_else(own)
    }

    /// The encoder of this node, if it takes one more of a server of `role`.
    fn own_encoder(&self, role: Role) -> Option<PeerId> {
        let has_place = self.places.is_none_or(|places| self.pulled().0 < places);
        (role == Role::Rtmp && has_place).then_some(PeerId::SELF)
    }

    /// The encoder of this node has a publication of a server from now on, if it takes it.
    pub(super) fn pull(&mut self, id: StreamId, now: Instant) -> bool {
        let server = self.publications.get(&id).map(|publication| publication.server);
        let server = server.and_then(|server| self.peers.get(&server));
        if server.and_then(|server| self.own_encoder(server.role)).is_none() {
            return false;
        }
        let lease = now + self.bounds.lease;
        let Some(publication) = self.publications.get_mut(&id) else { return false };
        (publication.encoder, publication.lease) = (Some(PeerId::SELF), Some(lease));
        let Publication { channel, uri, .. } = publication;
        let key = uri.0.rsplit_once('/').map_or("", |(_, key)| key);
        let (channel, key) = (channel.clone(), Secret(key.to_owned()));
        self.news.push(News::Pull(Pulled { channel, id, uri: uri.clone(), key }));
        true
    }

    /// True if a stream that begins at this node is a publication that it pulls.
    pub(super) fn begins_at_home(&mut self, id: StreamId) -> bool {
        let publication = self.publications.get_mut(&id);
        let pulled = publication.filter(|publication| publication.is_pulled());
        pulled.map(|publication| publication.begun = true).is_some()
    }

    /// True if what this node made of a publication is its output, because it pulls it.
    pub(super) fn is_made_here(&mut self, id: StreamId) -> bool {
        let publication = self.publications.get_mut(&id);
        let pulled = publication.filter(|publication| publication.is_pulled());
        pulled.map(|publication| publication.lease = None).is_some()
    }

    /// Nothing more comes of a publication that this node pulls: its publisher has to go.
    pub fn gave_up(&mut self, id: StreamId, now: Instant) {
        let Some(publication) = self.publications.get_mut(&id) else { return };
        if !publication.is_pulled() {
            return;
        }
        if publication.is_ending() {
            return self.forget(id);
        }
        publication.encoder = None;
        let channel = publication.channel.clone();
        self.news.push(News::Unpull(channel, id));
        self.news.push(News::Over(id));
        self.kill(id, now);
        self.settle(now);
    }
}
