//! The table of sessions that publish or play, the ring of those that did, and the streams on the
//! air.
//!
//! Limits: what shards admit is there; [`CLOSED_MAX`] of those that ended are remembered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use codecs::time::WallTime;
use dataplane::control::{CloseReason, Protocol, Role, SessionEvent};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};
use dataplane::session::view_token::{ViewKeys, ViewNote, asked_as, noted};
use tokio::sync::oneshot;

use super::kick::{KickOutcome, Kicks};
use super::publications::Publications;
use super::resync::Resync;
use super::transit::Transit;

/// Sessions that ended and are remembered at most.
pub(crate) const CLOSED_MAX: usize = 4_096;

/// A question of the API, or the keys of viewers.
#[derive(Debug)]
pub enum SessionsAsk {
    /// Tokens of viewers are signed by these from now on.
    Keys(Arc<ViewKeys>),
    /// The sessions that ended, newest first.
    Closed {
        /// Takes them.
        reply: oneshot::Sender<Vec<Arc<ClosedSession>>>,
    },
    /// A session is to be closed.
    Kick {
        /// The session.
        session: SessionId,
        /// Takes the outcome.
        reply: oneshot::Sender<KickOutcome>,
    },
}

/// A session that publishes or plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The shard that serves it.
    pub shard: ShardId,
    /// What it does.
    pub role: Role,
    /// How it speaks.
    pub protocol: Protocol,
    /// It does so inside TLS.
    pub tls: bool,
    /// The stream.
    pub stream: StreamName,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// `flashVer` or `User-Agent`.
    pub agent: Arc<str>,
    /// When it began.
    pub started: WallTime,
    /// The publication that it feeds, if it publishes and that is known.
    pub publication: Option<StreamId>,
}

/// A session that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSession {
    /// Its number.
    pub session: SessionId,
    /// What it was.
    pub was: LiveSession,
    /// When it ended.
    pub ended: WallTime,
    /// Milliseconds that it lasted.
    pub age_ms: u64,
    /// Bytes received, as far as that was told.
    pub bytes_in: u64,
    /// Bytes sent, as far as that was told.
    pub bytes_out: u64,
    /// Why it ended; `None` if that was lost.
    pub reason: Option<CloseReason>,
}

/// What became of the table by one word of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A session began.
    Opened(SessionId, LiveSession),
    /// A session ended.
    Closed(Arc<ClosedSession>),
}

/// The table. Lives on: the control thread.
#[derive(Debug, Default)]
pub struct Sessions {
    pub(super) live: BTreeMap<SessionId, LiveSession>,
    /// Of those that moved.
    pub(super) transits: HashMap<SessionId, Transit>,
    pub(super) publications: Publications,
    closed: VecDeque<Arc<ClosedSession>>,
    pub(super) kicks: Kicks,
    pub(super) resync: Resync,
    /// Comparisons in a row that came to nothing, because more was lost meanwhile.
    pub(super) spoilt: u32,
}

impl Sessions {
    /// Takes a shard's word of one session; what changed by it.
    pub fn take(&mut self, event: SessionEvent, wall: WallTime, now: Instant) -> Vec<Change> {
        match event {
            SessionEvent::Started {
                session,
                shard,
                role,
                protocol,
                tls,
                stream,
                peer,
                agent,
                at_ms,
            } => {
                let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
                let started = WallTime::from_unix_millis(at_ms);
                let publication = None;
                let live = LiveSession {
                    shard,
                    role,
                    protocol,
                    tls,
                    stream,
                    peer,
                    agent,
                    started,
                    publication,
                };
                let known = self.live.get(&session);
                // A connection that does one thing after the other has one number for all: the end
                // of what it did before was lost.
                let lost = match known.is_some_and(|known| !known.is_same(&live)) {
                    true => self.lose(session, wall, now),
                    false => None,
                };
                lost.into_iter().chain(self.open(session, live)).collect()
            }
            SessionEvent::Ended {
                session,
                role,
                protocol,
                stream,
                peer,
                agent,
                bytes_in,
                bytes_out,
                age_ms,
                reason,
            } => {
                let age = i64::try_from(age_ms).unwrap_or(i64::MAX);
                let began = wall.as_unix_millis().saturating_sub(age);
                let unknown = LiveSession {
                    shard: session.accepted_by(),
                    role,
                    protocol,
                    tls: false,
                    stream,
                    peer,
                    agent,
                    started: WallTime::from_unix_millis(began),
                    publication: None,
                };
                let close = |was| ClosedSession {
                    session,
                    was,
                    ended: wall,
                    age_ms,
                    bytes_in,
                    bytes_out,
                    reason: Some(reason),
                };
                self.end(session, unknown, close, now)
            }
        }
    }

    /// Takes the end of `session`, which is `unknown` if nobody told of its beginning.
    fn end(
        &mut self,
        session: SessionId,
        unknown: LiveSession,
        close: impl FnOnce(LiveSession) -> ClosedSession,
        now: Instant,
    ) -> Vec<Change> {
        let known = self.live.remove(&session);
        // Missed by a resync before its shard could tell: the table was told of its end already.
        let told = known.is_none() && self.take_lost(session);
        if known.is_none() {
            self.resync.doubt(now);
        }
        let was = self.with_publication(session, known.unwrap_or(unknown));
        self.transits.remove(&session);
        self.resync.moved(session);
        self.kicks.ended(session, now);
        let change = self.remember(close(was));
        if told { Vec::new() } else { vec![change] }
    }

    pub(super) fn open(&mut self, session: SessionId, live: LiveSession) -> Option<Change> {
        self.resync.moved(session);
        let live = self.with_publication(session, live);
        let before = self.live.insert(session, live.clone());
        // Told twice: by a resync, and by the shard itself.
        before.is_none().then_some(Change::Opened(session, live))
    }

    /// Takes the newest end of `session` back, if how it ended was lost; true if there was one.
    fn take_lost(&mut self, session: SessionId) -> bool {
        let newest = self.closed.iter().rposition(|closed| closed.session == session);
        let lost = newest.filter(|&at| self.closed[at].reason.is_none());
        lost.and_then(|at| self.closed.remove(at)).is_some()
    }

    /// Remembers a session that ended, and forgets the one that ended longest ago.
    pub(super) fn remember(&mut self, closed: ClosedSession) -> Change {
        if self.closed.len() >= CLOSED_MAX {
            self.closed.pop_front();
        }
        let closed = Arc::new(closed);
        self.closed.push_back(Arc::clone(&closed));
        Change::Closed(closed)
    }

    /// When something is to be done for the table.
    pub fn due(&self) -> Option<Instant> {
        [self.kick_deadline(), self.resync_due()].into_iter().flatten().min()
    }

    /// A session that publishes or plays.
    pub fn get(&self, session: SessionId) -> Option<&LiveSession> {
        self.live.get(&session)
    }

    /// The number in the table of whom applications and events call `told`: a viewer's notes what
    /// was answered about him.
    pub fn numbered(&self, told: SessionId) -> SessionId {
        let asked = asked_as(told);
        let last = noted(asked, ViewNote { renamed: true, timed: true });
        let mut alike = self.live.range(asked..=last).map(|(&id, _)| id);
        let exact = self.live.contains_key(&told).then_some(told);
        exact.or_else(|| alike.find(|&id| asked_as(id) == asked)).unwrap_or(told)
    }

    /// Their numbers, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = &SessionId> {
        self.live.keys()
    }

    /// All of them, in the order of their numbers.
    pub fn each(&self) -> impl Iterator<Item = (SessionId, &LiveSession)> {
        self.live.iter().map(|(&session, live)| (session, live))
    }

    /// How many publish or play.
    pub fn count(&self) -> usize {
        self.live.len()
    }

    /// The newest end of a session.
    pub fn ended(&self, session: SessionId) -> Option<Arc<ClosedSession>> {
        let is_it = |closed: &&Arc<ClosedSession>| asked_as(closed.session) == asked_as(session);
        self.closed.iter().rev().find(is_it).cloned()
    }

    /// Those that ended, the newest first.
    pub fn closed(&self) -> Vec<Arc<ClosedSession>> {
        self.closed.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bridge::Gathered;
    use crate::bridge::snapshots::empty;
    use crate::viewing::Order;
    use dataplane::control::{SessionStatus, StreamMove};
    use dataplane::session::view_token::ViewIds;

    pub(crate) const NOON: WallTime = WallTime::from_unix_millis(1_800_000_000_000);

    fn stream() -> StreamName {
        StreamName::parse("cam").unwrap()
    }

    fn peer() -> SocketAddr {
        "192.0.2.1:5".parse().unwrap()
    }

    fn started(id: u64) -> SessionEvent {
        SessionEvent::Started {
            session: SessionId(id),
            shard: ShardId(0),
            role: Role::Play,
            protocol: Protocol::Rtmp,
            tls: false,
            stream: stream(),
            peer: peer(),
            agent: "test".into(),
            at_ms: NOON.as_unix_millis() as u64,
        }
    }

    fn ended(id: u64, reason: CloseReason) -> SessionEvent {
        SessionEvent::Ended {
            session: SessionId(id),
            role: Role::Play,
            protocol: Protocol::Rtmp,
            stream: stream(),
            peer: peer(),
            agent: "test".into(),
            bytes_in: 10,
            bytes_out: 20,
            age_ms: 30,
            reason,
        }
    }

    fn status(id: u64) -> SessionStatus {
        SessionStatus {
            id: SessionId(id),
            shard: ShardId(0),
            protocol: Protocol::Rtmp,
            role: Some(Role::Play),
            stream: Some(stream()),
            peer: peer(),
            agent: "test".into(),
            tls: None,
            state: "playing",
            age_ms: 0,
            started: Some(NOON),
            bytes_in: 0,
            bytes_out: 0,
            jumps: 0,
            srt: None,
        }
    }

    fn gathered(ids: &[u64]) -> Gathered {
        let mut snapshot = empty(ShardId(0), 0);
        snapshot.sessions = ids.iter().map(|&id| status(id)).collect();
        Gathered { snapshots: vec![snapshot], ..Gathered::default() }
    }

    #[test]
    fn a_viewer_is_found_by_the_number_that_he_was_asked_about_by() {
        let (mut sessions, mut ids) = (Sessions::default(), ViewIds::default());
        let [before, asked, after] = [(); 3].map(|()| ids.next(ShardId(1), NOON));
        let id = noted(asked, ViewNote { renamed: false, timed: true });
        assert_ne!(id, asked);
        let now = Instant::now();
        for session in [before, id, after, SessionId(6)] {
            sessions.take(started(session.0), NOON, now);
        }
        for (told, found) in [(asked, id), (id, id), (before, before), (after, after)] {
            assert_eq!(sessions.numbered(told), found);
        }
        for other in [SessionId(6), SessionId(5), SessionId(4), ids.next(ShardId(1), NOON)] {
            assert_eq!(sessions.numbered(other), other, "no viewer, or nobody");
        }
        sessions.take(ended(id.0, CloseReason::Kicked), NOON, now);
        assert_eq!(sessions.numbered(asked), asked);
        assert_eq!(sessions.ended(asked).map(|closed| closed.session), Some(id));
        assert_eq!(sessions.ended(before).map(|closed| closed.session), None);
    }

    fn live(sessions: &Sessions) -> Vec<u64> {
        sessions.live.keys().map(|id| id.0).collect()
    }

    #[test]
    fn what_ended_is_remembered_with_its_reason() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        assert!(matches!(sessions.take(started(1), NOON, now)[..], [Change::Opened(..)]));
        assert_eq!(sessions.take(started(1), NOON, now), [], "told twice");
        for id in 1..=CLOSED_MAX as u64 + 2 {
            let told = sessions.take(ended(id, CloseReason::Kicked), NOON, now);
            assert!(matches!(told[..], [Change::Closed(_)]), "{id}");
        }
        let closed = sessions.closed();
        assert_eq!((closed.len(), sessions.count()), (CLOSED_MAX, 0));
        let newest = &closed[0];
        assert_eq!(newest.session.0, CLOSED_MAX as u64 + 2, "and the oldest are forgotten");
        assert_eq!((newest.reason, newest.bytes_out), (Some(CloseReason::Kicked), 20));
    }

    #[test]
    fn a_comparison_ends_what_is_gone_and_begins_what_was_missed() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        for id in [1, 2, 3] {
            sessions.take(started(id), NOON, now);
        }
        sessions.overflowed(now);
        assert_eq!(sessions.resync_due(), Some(now));
        sessions.resync_asked();
        assert_eq!(sessions.resync_due(), None);
        // While the shards are looked at: 3 ends, 4 begins; either may be seen or not.
        sessions.take(ended(3, CloseReason::PeerClosed), NOON, now);
        sessions.take(started(4), NOON, now);
        let changes = sessions.resync_with(&gathered(&[2, 3, 5]), NOON, now).sessions;
        assert_eq!(live(&sessions), [2, 4, 5]);
        assert_eq!(changes.len(), 2, "{changes:?}");
        let lost = sessions.closed()[0].clone();
        assert_eq!((lost.session.0, lost.reason), (1, None));
        // Its shard tells after all.
        assert_eq!(sessions.take(ended(1, CloseReason::TooSlow), NOON, now), []);
        let reasons: Vec<_> = sessions.closed().iter().map(|c| (c.session.0, c.reason)).collect();
        assert_eq!(reasons, [(1, Some(CloseReason::TooSlow)), (3, Some(CloseReason::PeerClosed))]);
    }

    #[test]
    fn what_is_lost_during_a_comparison_leads_to_another() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.take(started(1), NOON, now);
        sessions.overflowed(now);
        sessions.resync_asked();
        sessions.overflowed(now);
        assert!(sessions.resync_with(&gathered(&[]), NOON, now).sessions.is_empty());
        assert_eq!((live(&sessions), sessions.resync_due()), (vec![1], Some(now)));
        sessions.resync_asked();
        let missing = Gathered { missing: vec![ShardId(0)], ..Gathered::default() };
        assert!(
            sessions.resync_with(&missing, NOON, now).sessions.is_empty(),
            "a silent shard says nothing"
        );
        assert!(sessions.resync_due().is_some_and(|due| due > now));
    }

    #[test]
    fn a_kick_waits_for_the_word_of_its_shard() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let shards = [ShardId(0), ShardId(3)];
        let kick = |sessions: &mut Sessions, id| {
            let (reply, answer) = oneshot::channel();
            (sessions.kick(SessionId(id), &shards, reply, now), answer)
        };
        for (found, outcome) in [(false, KickOutcome::Unknown), (true, KickOutcome::Closed)] {
            let (order, mut answer) = kick(&mut sessions, 1);
            assert_eq!(order, Some(Order::Everybody), "nobody told of it: it may wait somewhere");
            for _ in 0..2 {
                assert!(!sessions.kick_answered(ShardId(3), SessionId(1), false));
                assert!(!sessions.kick_answered(ShardId(0), SessionId(9), true), "another");
                assert!(answer.try_recv().is_err());
            }
            assert_eq!(sessions.kick_answered(ShardId(0), SessionId(1), found), found);
            assert_eq!((answer.try_recv(), sessions.due()), (Ok(outcome), None));
        }
        sessions.take(started(1), NOON, now);
        let id = Some(SessionId(1));
        let word = StreamMove { stream: stream(), id: None, session: id, order: 0, arrived: true };
        assert!(sessions.stream_moved(ShardId(3), &word, now));
        let (order, mut answer) = kick(&mut sessions, 1);
        assert_eq!(order, Some(Order::Shard(ShardId(3))));
        assert!(!sessions.kick_answered(ShardId(0), SessionId(1), false), "its end will be told");
        assert!(answer.try_recv().is_err() && sessions.is_kicked(SessionId(1)));
        sessions.take(ended(1, CloseReason::Kicked), NOON, now);
        assert_eq!(answer.try_recv(), Ok(KickOutcome::Closed));
        sessions.take(started(2), NOON, now);
        let (_, mut answer) = kick(&mut sessions, 2);
        let due = sessions.kick_deadline().unwrap();
        sessions.expire_kicks(due);
        assert_eq!(answer.try_recv(), Ok(KickOutcome::Late));
    }
}
