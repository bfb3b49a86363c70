//! Resync: the table of sessions is compared with the shards, because some of what they told was
//! lost.
//!
//! A list of sessions is gathered over many turns of a shard, so a session may begin or end while
//! it is: what its shard told since the shards were asked counts, and the list does not.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use codecs::time::WallTime;
use dataplane::control::{Role, SessionStatus};
use dataplane::ids::SessionId;

use super::sessions::{Change, ClosedSession, LiveSession, Sessions};
use crate::bridge::Gathered;

/// Shards that did not answer are asked again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// How far it is.
#[derive(Debug, Default)]
pub(super) enum Resync {
    /// Nothing was lost.
    #[default]
    Whole,
    /// The shards are to be asked.
    Due(Instant),
    /// They were asked; what they told since then.
    Asked {
        /// Sessions that began or ended.
        moved: HashSet<SessionId>,
        /// More was lost meanwhile.
        again: bool,
    },
}

impl Resync {
    pub(super) fn began(&mut self, session: SessionId) {
        self.moved(session);
    }

    pub(super) fn ended(&mut self, session: SessionId) {
        self.moved(session);
    }

    fn moved(&mut self, session: SessionId) {
        if let Self::Asked { moved, .. } = self {
            moved.insert(session);
        }
    }
}

impl Sessions {
    /// A shard lost what it had to tell.
    pub fn overflowed(&mut self, now: Instant) {
        match &mut self.resync {
            Resync::Asked { again, .. } => *again = true,
            resync => *resync = Resync::Due(now),
        }
    }

    /// When the shards are to be asked for all sessions.
    pub const fn resync_due(&self) -> Option<Instant> {
        match self.resync {
            Resync::Due(at) => Some(at),
            Resync::Whole | Resync::Asked { .. } => None,
        }
    }

    /// The shards were asked.
    pub fn resync_asked(&mut self) {
        self.resync = Resync::Asked { moved: HashSet::new(), again: false };
    }

    /// Takes what they answered; what changed by it.
    pub fn resync_with(
        &mut self,
        gathered: &Gathered,
        wall: WallTime,
        now: Instant,
    ) -> Vec<Change> {
        let Resync::Asked { moved, again } = std::mem::take(&mut self.resync) else {
            return Vec::new();
        };
        if again || !gathered.missing.is_empty() {
            self.resync = Resync::Due(now + if again { Duration::ZERO } else { AGAIN });
            if again {
                return Vec::new();
            }
        }
        let statuses = || gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions);
        let begun = |status: &&SessionStatus| status.started.is_some();
        let listed: HashSet<_> = statuses().filter(begun).map(|status| status.id).collect();
        let asked: HashSet<_> = gathered.snapshots.iter().map(|snapshot| snapshot.shard).collect();
        let gone: Vec<_> = self
            .live
            .iter()
            .filter(|(id, live)| asked.contains(&live.shard) && !listed.contains(id))
            .map(|(&id, _)| id)
            .filter(|id| !moved.contains(id))
            .collect();
        let closed = gone.into_iter().filter_map(|id| self.lose(id, wall, now)).collect::<Vec<_>>();
        let new = statuses().filter(|status| !moved.contains(&status.id));
        let new: Vec<_> = new.filter_map(|status| Some((status.id, live(status)?))).collect();
        let opened = new.into_iter().filter_map(|(id, live)| match self.live.contains_key(&id) {
            true => None,
            false => self.open(id, live),
        });
        closed.into_iter().chain(opened.collect::<Vec<_>>()).collect()
    }

    /// A session is gone, and how it ended was lost.
    fn lose(&mut self, session: SessionId, wall: WallTime, now: Instant) -> Option<Change> {
        let was = self.live.remove(&session)?;
        self.kicks.ended(session, now);
        let age = wall.as_unix_millis().saturating_sub(was.started.as_unix_millis());
        self.remember(ClosedSession {
            session,
            was,
            ended: wall,
            age_ms: u64::try_from(age).unwrap_or(0),
            bytes_in: 0,
            bytes_out: 0,
            reason: None,
        })
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
    })
}
