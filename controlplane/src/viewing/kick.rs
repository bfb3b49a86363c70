//! Kicks: sessions that were told to end, and who waits for it.
//!
//! ```text
//!   publishes or plays --> its shard is told ----> its end is told ------------> closed
//!   anything else -------> every shard is told --> one of them has it ---------> closed
//!                                                  none of them has it --------> unknown
//! ```
//!
//! A peer that waits for its stream, for a verdict, or that only connected is listed by its shard,
//! and unknown to the table of sessions: nothing of it was told yet, nor will its end be.
//!
//! Limits: [`KICKS_MAX`] are waited for at a time, [`KICK_DEADLINE`] each.

use std::time::{Duration, Instant};

use dataplane::ids::{SessionId, ShardId};
use tokio::sync::oneshot;

use super::sessions::Sessions;

/// Kicks that are waited for at most.
const KICKS_MAX: usize = 1_024;
/// A shard that has not said within this that the session ended is not waited for.
pub const KICK_DEADLINE: Duration = Duration::from_secs(4);

/// What became of a kick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KickOutcome {
    /// The session ended.
    Closed,
    /// No shard has a session of that number.
    Unknown,
    /// Its shard was told, and has not answered in time.
    Late,
    /// Too many kicks are waited for.
    Busy,
}

/// Who is to be told that a session shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Its shard.
    Shard(ShardId),
    /// Every shard: one of them may have it.
    Everybody,
}

/// The kicks under way.
#[derive(Debug, Default)]
pub(super) struct Kicks(Vec<Kick>);

#[derive(Debug)]
struct Kick {
    session: SessionId,
    until: Instant,
    /// Of a session that was never told to publish or play: the shards that have not said yet
    /// whether it is theirs.
    sought: Option<Vec<ShardId>>,
    reply: oneshot::Sender<KickOutcome>,
}

impl Kicks {
    /// The session ended: whoever waited for it hears so. A request may be gone by then.
    pub(super) fn ended(&mut self, session: SessionId, now: Instant) {
        for kick in self.0.extract_if(.., |kick| kick.session == session) {
            let outcome = if now <= kick.until { KickOutcome::Closed } else { KickOutcome::Late };
            drop(kick.reply.send(outcome));
        }
    }

    /// A shard has the session, or has not; true if it was sought, and this is the one.
    fn answered(&mut self, shard: ShardId, session: SessionId, found: bool) -> bool {
        let seeks = |kick: &Kick| kick.session == session && kick.sought.is_some();
        let sought = self.0.iter().any(seeks);
        for kick in self.0.iter_mut().filter(|kick| seeks(kick)) {
            kick.sought.as_mut().expect("it is sought").retain(|&asked| asked != shard);
        }
        let settled = |kick: &mut Kick| {
            seeks(kick) && (found || kick.sought.as_ref().is_some_and(Vec::is_empty))
        };
        let outcome = if found { KickOutcome::Closed } else { KickOutcome::Unknown };
        for kick in self.0.extract_if(.., settled) {
            drop(kick.reply.send(outcome.clone()));
        }
        sought && found
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|kick| kick.until).min()
    }

    fn expire(&mut self, now: Instant) {
        for kick in self.0.extract_if(.., |kick| kick.until <= now) {
            drop(kick.reply.send(KickOutcome::Late));
        }
    }
}

impl Sessions {
    /// Waits for the end of `session`, which is of one of `shards`; who is to be told.
    pub fn kick(
        &mut self,
        session: SessionId,
        shards: &[ShardId],
        reply: oneshot::Sender<KickOutcome>,
        now: Instant,
    ) -> Option<Order> {
        if self.kicks.0.len() >= KICKS_MAX {
            drop(reply.send(KickOutcome::Busy));
            return None;
        }
        let live = self.live.get(&session);
        let (order, sought) = match live {
            Some(live) => (Order::Shard(live.shard), None),
            None => (Order::Everybody, Some(shards.to_vec())),
        };
        self.kicks.0.push(Kick { session, until: now + KICK_DEADLINE, sought, reply });
        Some(order)
    }

    /// A shard says whether it had the session that it was told to close; true if only that tells
    /// that it did.
    pub fn kick_answered(&mut self, shard: ShardId, session: SessionId, found: bool) -> bool {
        self.kicks.answered(shard, session, found)
    }

    /// True if somebody waits for the end of `session`.
    pub fn is_kicked(&self, session: SessionId) -> bool {
        self.kicks.0.iter().any(|kick| kick.session == session)
    }

    /// When [`Self::expire_kicks`] has something to do.
    pub fn kick_deadline(&self) -> Option<Instant> {
        self.kicks.deadline()
    }

    /// Nobody waits longer than the deadline.
    pub fn expire_kicks(&mut self, now: Instant) {
        self.kicks.expire(now);
    }
}
