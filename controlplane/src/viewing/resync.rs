//! Resync: the tables of sessions and streams are compared with the shards, because some of what
//! they told was lost.
//!
//! ```text
//!   whole --overflowed--> due --asked--> comparing --all answered--> whole
//!                          ^                 |
//!                          +-- more was lost, a shard did not answer, or somebody is under way
//!   whole --a word that does not fit what is known--> due
//! ```
//!
//! A list is gathered over many turns of a shard, so whatever is on it may begin, end or move while
//! it is gathered: what its shard told since the shards were asked counts, and the list does not.
//! A shard tells in order, and a list behind everything that waits to be told (`tombstones`), so
//! that what is neither listed nor told, nor under way between two shards, is gone.
//!
//! Lists cost those who make and take them as much as a flood of words does: while each comparison
//! is spoilt by one, the next comes after a pause that doubles from [`AGAIN`] to [`AGAIN_MAX`].

use std::collections::HashSet;
use std::time::{Duration, Instant};

use codecs::time::WallTime;
use dataplane::control::{
    Role, SessionStatus, StreamPublisher, StreamStart, StreamState, StreamStatus,
};
use dataplane::ids::{SessionId, ShardId};

use super::publications::{Key, StreamChange};
use super::sessions::{Change, ClosedSession, LiveSession, Sessions};
use crate::bridge::Gathered;

/// Shards that did not answer are asked again after this.
const AGAIN: Duration = Duration::from_millis(500);
/// And no later than this, however many comparisons came to nothing.
const AGAIN_MAX: Duration = Duration::from_secs(4);

/// How far it is.
#[derive(Debug, Default)]
pub(super) enum Resync {
    /// Nothing was lost.
    #[default]
    Whole,
    /// The shards are to be asked.
    Due(Instant),
    /// They were asked; what they told since then.
    Asked(Told),
}

/// What shards told while they were looked at.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Sessions that began, ended or arrived.
    sessions: HashSet<SessionId>,
    /// Streams that did.
    streams: HashSet<Key>,
    /// More was lost meanwhile.
    again: bool,
    /// Something did not fit what was known.
    doubts: bool,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Found {
    /// Of sessions.
    pub sessions: Vec<Change>,
    /// Of streams.
    pub streams: Vec<StreamChange>,
}

impl Resync {
    /// A word does not fit what is known: it crossed another one of another shard.
    pub(super) fn doubt(&mut self, now: Instant) {
        match self {
            Self::Whole => *self = Self::Due(now + AGAIN),
            Self::Due(_) => {}
            Self::Asked(told) => told.doubts = true,
        }
    }

    /// A session began, ended or arrived.
    pub(super) fn moved(&mut self, session: SessionId) {
        if let Self::Asked(told) = self {
            told.sessions.insert(session);
        }
    }

    /// A stream began, ended, arrived, or has another publisher.
    pub(super) fn touched(&mut self, key: &Key) {
        if let Self::Asked(told) = self {
            told.streams.insert(key.clone());
        }
    }
}

impl Sessions {
    /// A shard lost what it had to tell.
    pub fn overflowed(&mut self, now: Instant) {
        match &mut self.resync {
            Resync::Whole => self.resync = Resync::Due(now),
            // They are asked when it is due: sooner, a flood would spoil that, too.
            Resync::Due(_) => {}
            Resync::Asked(told) => told.again = true,
        }
    }

    /// When the shards are to be asked for all sessions and streams.
    pub const fn resync_due(&self) -> Option<Instant> {
        match self.resync {
            Resync::Due(at) => Some(at),
            Resync::Whole | Resync::Asked(_) => None,
        }
    }

    /// The shards were asked.
    pub fn resync_asked(&mut self) {
        self.resync = Resync::Asked(Told::default());
    }

    /// Takes what they answered; what changed by it.
    pub fn resync_with(&mut self, gathered: &Gathered, wall: WallTime, now: Instant) -> Found {
        let Resync::Asked(told) = std::mem::take(&mut self.resync) else { return Found::default() };
        if told.again {
            self.resync = Resync::Due(now + self.pause());
            self.spoilt = self.spoilt.saturating_add(1);
            return Found::default();
        }
        self.spoilt = 0;
        if !gathered.missing.is_empty() {
            self.resync = Resync::Due(now + AGAIN);
        }
        let asked: HashSet<_> = gathered.snapshots.iter().map(|snapshot| snapshot.shard).collect();
        // Streams first: who hears of a session knows its stream.
        let streams = self.compare_streams(gathered, &asked, &told.streams, now);
        let sessions = self.compare_sessions(gathered, &asked, &told.sessions, (wall, now));
        let underway = self.transits.values().any(|transit| transit.is_underway(now))
            || self.publications.values().any(|stream| stream.is_underway(now));
        // The word of an arrival may be what was lost.
        if underway || told.doubts {
            self.resync.doubt(now);
        }
        Found { sessions, streams }
    }

    /// For how long shards are left alone after a comparison that more was lost during.
    fn pause(&self) -> Duration {
        match self.spoilt.checked_sub(1) {
            // A mailbox that ran over once has room by now.
            None => Duration::ZERO,
            Some(more) => (AGAIN * 2_u32.saturating_pow(more.min(8))).min(AGAIN_MAX),
        }
    }

    fn compare_sessions(
        &mut self,
        gathered: &Gathered,
        asked: &HashSet<ShardId>,
        told: &HashSet<SessionId>,
        (wall, now): (WallTime, Instant),
    ) -> Vec<Change> {
        let statuses = || gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions);
        let begun = |status: &&SessionStatus| status.started.is_some();
        let listed: HashSet<_> = statuses().filter(begun).map(|status| status.id).collect();
        let underway =
            |id: &SessionId| self.transits.get(id).is_some_and(|transit| transit.is_underway(now));
        let gone = |(id, live): &(&SessionId, &LiveSession)| {
            let lacks = asked.contains(&live.shard) && !listed.contains(id);
            lacks && !told.contains(id) && !underway(id)
        };
        let gone: Vec<_> = self.live.iter().filter(gone).map(|(&id, _)| id).collect();
        let mut changes: Vec<_> =
            gone.into_iter().filter_map(|id| self.lose(id, wall, now)).collect();
        for status in statuses().filter(|status| !told.contains(&status.id)) {
            let Some(found) = live(status) else { continue };
            match self.live.get_mut(&status.id) {
                // The word of its arrival was lost.
                Some(known) if known.is_same(&found) => {
                    if known.shard != found.shard
                        && let Some(transit) = self.transits.get_mut(&status.id)
                    {
                        transit.settle();
                    }
                    known.shard = found.shard;
                }
                // A connection that does one thing after the other has one number for all.
                Some(_) => {
                    changes.extend(self.lose(status.id, wall, now));
                    changes.extend(self.open(status.id, found));
                }
                None => changes.extend(self.open(status.id, found)),
            }
        }
        changes
    }

    fn compare_streams(
        &mut self,
        gathered: &Gathered,
        asked: &HashSet<ShardId>,
        told: &HashSet<Key>,
        now: Instant,
    ) -> Vec<StreamChange> {
        let statuses = || gathered.snapshots.iter().flat_map(|snapshot| &snapshot.streams);
        let key = |status: &StreamStatus| (status.name.clone(), status.id);
        let listed: HashSet<_> = statuses().map(key).collect();
        let mut changes = Vec::new();
        self.publications.retain(|key, publication| {
            let underway = publication.is_underway(now);
            let lacks = asked.contains(&publication.shard) && !listed.contains(key);
            let gone = lacks && !told.contains(key) && !underway;
            if gone {
                changes.push(StreamChange::Over(key.0.clone(), key.1));
            }
            !gone
        });
        for status in statuses() {
            let key = key(status);
            if told.contains(&key) {
                continue;
            }
            if !self.publications.contains_key(&key) {
                let start = start(status, gathered);
                self.stream_began(status.shard, &start);
                changes.push(StreamChange::Began(status.shard, Box::new(start)));
            }
            let Some(known) = self.publications.get_mut(&key) else { continue };
            // Where it was known to be it may have been listed before it left.
            if known.shard != status.shard
                && let Some(transit) = &mut known.transit
            {
                transit.settle();
            }
            known.shard = status.shard;
            let session = status.publisher.filter(|_| status.state == StreamState::Live);
            if known.session != session {
                known.session = session;
                let (stream, id) = key.clone();
                let protocol = status.protocol;
                changes.push(StreamChange::Held { stream, id, protocol, session });
            }
            if let Some(first) = status.playable
                && !known.playable
            {
                known.playable = true;
                changes.push(StreamChange::Playable(key.0, key.1, first));
            }
        }
        changes
    }

    /// A session is gone, and how it ended was lost.
    pub(super) fn lose(
        &mut self,
        session: SessionId,
        wall: WallTime,
        now: Instant,
    ) -> Option<Change> {
        let was = self.live.remove(&session)?;
        let was = self.with_publication(session, was);
        self.transits.remove(&session);
        self.kicks.ended(session, now);
        let age = wall.as_unix_millis().saturating_sub(was.started.as_unix_millis());
        Some(self.remember(ClosedSession {
            session,
            was,
            ended: wall,
            age_ms: u64::try_from(age).unwrap_or(0),
            bytes_in: 0,
            bytes_out: 0,
            reason: None,
        }))
    }
}

impl LiveSession {
    /// True if it is the same as `found` on a list, and not what its connection did before.
    pub(super) fn is_same(&self, found: &Self) -> bool {
        (self.role, &self.stream) == (found.role, &found.stream)
    }
}

/// A session whose beginning was lost.
fn live(status: &SessionStatus) -> Option<LiveSession> {
    let started = status.started?;
    Some(LiveSession {
        shard: status.shard,
        role: status.role.unwrap_or(Role::Play),
        protocol: status.protocol,
        tls: status.tls.is_some(),
        stream: status.stream.clone()?,
        peer: status.peer,
        agent: status.agent.clone(),
        started,
        publication: None,
    })
}

/// A stream whose beginning was lost.
fn start(status: &StreamStatus, gathered: &Gathered) -> StreamStart {
    let mut sessions = gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions);
    let publisher = status.publisher.and_then(|session| {
        let found = sessions.find(|found| found.id == session)?;
        Some(StreamPublisher { session, peer: found.peer, agent: found.agent.clone() })
    });
    let (stream, id, protocol) = (status.name.clone(), status.id, status.protocol);
    StreamStart { stream, id, protocol, publisher }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: WallTime = WallTime::from_unix_millis(0);

    /// When the shards are asked again after a comparison that more was lost during, if `spoilt`.
    fn compared(sessions: &mut Sessions, spoilt: bool, now: Instant) -> Option<Duration> {
        sessions.resync_asked();
        if spoilt {
            sessions.overflowed(now);
        }
        sessions.resync_with(&Gathered::default(), NOON, now);
        sessions.resync_due().map(|due| due - now)
    }

    #[test]
    fn a_flood_that_spoils_comparisons_has_them_come_more_slowly() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.overflowed(now);
        assert_eq!(sessions.resync_due(), Some(now));
        for _ in 0..2 {
            for pause in [0, 500, 1_000, 2_000, 4_000, 4_000] {
                let due = Some(Duration::from_millis(pause));
                assert_eq!(compared(&mut sessions, true, now), due);
                sessions.overflowed(now);
                assert_eq!(sessions.resync_due(), due.map(|due| now + due), "it is not hurried");
            }
            assert_eq!(compared(&mut sessions, false, now), None);
        }
    }
}
