//! Publications: the streams that are on the air, by name and number, as shards told of them.
//!
//! The table is there to be compared with the shards when some of what they told was lost
//! (`resync`): who keeps what for a stream hears of a lost beginning or end from there. Words of a
//! stream that moved come from two mailboxes, in any order: one that does not fit what is known is
//! a reason to compare, too.
//!
//! Limits: as many as the data plane has streams, `limits.streams_max`.

use std::collections::BTreeMap;
use std::time::Instant;

use dataplane::control::{FirstPlaylist, Protocol, Role, StreamMove, StreamStart};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};

use super::sessions::{LiveSession, Sessions};
use super::transit::Transit;

/// A publication is named by both: a stream may begin elsewhere before its last end is heard of.
pub(super) type Key = (StreamName, Option<StreamId>);

/// The table.
pub(super) type Publications = BTreeMap<Key, Publication>;

/// A stream that is on the air.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publication {
    /// Where it is.
    pub(super) shard: ShardId,
    /// Who publishes it; nobody while it waits for its publisher's return.
    pub(super) session: Option<SessionId>,
    /// Its first playlist can be served.
    pub(super) playable: bool,
    pub(super) transit: Option<Transit>,
}

impl Publication {
    /// True while no shard may have it.
    pub(super) fn is_underway(&self, now: Instant) -> bool {
        self.transit.is_some_and(|transit| transit.is_underway(now))
    }
}

/// What a comparison found of streams.
#[derive(Clone, Debug)]
pub enum StreamChange {
    /// It began.
    Began(ShardId, Box<StreamStart>),
    /// It is over, and why was lost.
    Over(StreamName, Option<StreamId>),
    /// Its publisher is another one, or was lost.
    Held {
        /// The stream.
        stream: StreamName,
        /// Its publication.
        id: Option<StreamId>,
        /// How it is published.
        protocol: Protocol,
        /// Who publishes it.
        session: Option<SessionId>,
    },
    /// Its first playlist can be served.
    Playable(StreamName, Option<StreamId>, FirstPlaylist),
}

impl Sessions {
    /// The streams on the air: number, where, and who publishes.
    pub(crate) fn streams(
        &self,
    ) -> impl Iterator<Item = (&StreamName, Option<StreamId>, ShardId, Option<SessionId>)> {
        self.publications.iter().map(|((name, id), it)| (name, *id, it.shard, it.session))
    }

    /// A stream began on `shard`.
    pub fn stream_began(&mut self, shard: ShardId, start: &StreamStart) {
        let key = (start.stream.clone(), start.id);
        let session = start.publisher.as_ref().map(|publisher| publisher.session);
        self.resync.touched(&key);
        self.publications
            .insert(key, Publication { shard, session, playable: false, transit: None });
    }

    /// Somebody publishes a stream again, or nobody does.
    pub fn stream_held(
        &mut self,
        shard: ShardId,
        (stream, id): (&StreamName, Option<StreamId>),
        session: Option<SessionId>,
        now: Instant,
    ) {
        if let Some(publication) = self.publication_of(shard, (stream.clone(), id), now) {
            publication.session = session;
        }
    }

    /// The first playlist of a stream can be served.
    pub fn stream_playable(
        &mut self,
        shard: ShardId,
        (stream, id): (&StreamName, Option<StreamId>),
        now: Instant,
    ) {
        if let Some(publication) = self.publication_of(shard, (stream.clone(), id), now) {
            publication.playable = true;
        }
    }

    /// A stream is over.
    pub fn stream_over(
        &mut self,
        shard: ShardId,
        (stream, id): (&StreamName, Option<StreamId>),
        now: Instant,
    ) {
        let key = (stream.clone(), id);
        self.publication_of(shard, key.clone(), now);
        self.publications.remove(&key);
    }

    /// True if a publication of the stream is on the air.
    #[must_use]
    pub fn is_on_air(&self, stream: &StreamName) -> bool {
        let first = (stream.clone(), None);
        self.publications.range(first..).next().is_some_and(|((name, _), _)| name == stream)
    }

    /// The newest publication of the stream that is on the air: a number sorts by time.
    pub(crate) fn newest_publication(&self, stream: &StreamName) -> Option<Option<StreamId>> {
        let first = (stream.clone(), None);
        let named = self.publications.range(first..).take_while(|((name, _), _)| name == stream);
        named.last().map(|((_, id), _)| *id)
    }

    /// True if that publication is on the air.
    #[must_use]
    pub fn has_publication(&self, stream: &StreamName, id: StreamId) -> bool {
        self.publications.contains_key(&(stream.clone(), Some(id)))
    }

    /// The same session, with the publication that it feeds: a stream is told to begin, and to have
    /// its publisher, before the session that publishes it is. Once known it stays, because a
    /// publisher may be told to be gone after another one took its stream over.
    pub(super) fn with_publication(&self, session: SessionId, live: LiveSession) -> LiveSession {
        if live.role != Role::Publish || live.publication.is_some() {
            return live;
        }
        let first = (live.stream.clone(), None);
        let named =
            self.publications.range(first..).take_while(|((name, _), _)| *name == live.stream);
        // A number sorts by time: the newest is its own, if the end of one before it was lost.
        let held = named.filter(|(_, publication)| publication.session == Some(session)).last();
        let publication = held.and_then(|((_, id), _)| *id);
        LiveSession { publication, ..live }
    }

    /// The publication that `shard` tells of; whether it is there is in doubt if it is known
    /// elsewhere, or not at all.
    fn publication_of(
        &mut self,
        shard: ShardId,
        key: Key,
        now: Instant,
    ) -> Option<&mut Publication> {
        self.resync.touched(&key);
        let found = self.publications.get_mut(&key);
        if found.as_ref().is_none_or(|publication| publication.shard != shard) {
            self.resync.doubt(now);
        }
        found
    }

    /// A stream left `shard`, or arrived there, with its publisher: true if that is news of the
    /// publisher, who is there now.
    pub fn stream_moved(&mut self, shard: ShardId, word: &StreamMove, now: Instant) -> bool {
        let key = (word.stream.clone(), word.id);
        let unknown = |session| !self.live.contains_key(&session);
        if !self.publications.contains_key(&key) || word.session.is_some_and(unknown) {
            self.resync.doubt(now);
        }
        if let Some(publication) = self.publications.get_mut(&key)
            && let Some(transit) = Transit::told(publication.transit.as_ref(), word, now)
        {
            publication.transit = Some(transit);
            if word.arrived {
                publication.shard = shard;
                self.resync.touched(&key);
            }
        }
        let Some(session) = word.session else { return false };
        let Some(live) = self.live.get_mut(&session) else { return false };
        let Some(transit) = Transit::told(self.transits.get(&session), word, now) else {
            return false;
        };
        self.transits.insert(session, transit);
        if word.arrived {
            live.shard = shard;
            self.resync.moved(session);
        }
        word.arrived
    }
}
