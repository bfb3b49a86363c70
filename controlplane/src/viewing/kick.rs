//! Kicks: sessions that were told to end, and who waits for it.
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
    /// No session of that number publishes or plays.
    Unknown,
    /// Its shard was told, and has not answered in time.
    Late,
    /// Too many kicks are waited for.
    Busy,
}

/// The kicks under way.
#[derive(Debug, Default)]
pub(super) struct Kicks(Vec<Kick>);

#[derive(Debug)]
struct Kick {
    session: SessionId,
    until: Instant,
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
    /// Waits for the end of `session`; the shard that is to be told, if there is one.
    pub fn kick(
        &mut self,
        session: SessionId,
        reply: oneshot::Sender<KickOutcome>,
        now: Instant,
    ) -> Option<ShardId> {
        let shard = self.live.get(&session).map(|live| live.shard);
        let outcome = match shard {
            None => KickOutcome::Unknown,
            Some(_) if self.kicks.0.len() >= KICKS_MAX => KickOutcome::Busy,
            Some(_) => {
                self.kicks.0.push(Kick { session, until: now + KICK_DEADLINE, reply });
                return shard;
            }
        };
        drop(reply.send(outcome));
        None
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
