//! Viewing: the sessions that publish and play, as the control plane knows them.
//!
//! Shards tell when a session begins and how it ended; what it does meanwhile they are asked.
//! `sessions` is the table of those that are there and the ring of those that were, `publications`
//! that of the streams on the air; `resync` compares both with the shards after their mailbox
//! overflowed, and `transit` knows who is on the way between two shards; `kick` closes a session,
//! whatever it does, and waits until its shard said so; `keys` keeps what tokens of HLS viewers are
//! signed with.

mod keys;
mod kick;
mod publications;
mod resync;
mod sessions;
mod transit;

pub use keys::{first_keys, fresh_key, keep_keys};
pub use kick::{KICK_DEADLINE, KickOutcome, Order};
pub use publications::StreamChange;
pub use resync::Found;
pub(crate) use sessions::CLOSED_MAX;
pub use sessions::{Change, ClosedSession, LiveSession, Sessions, SessionsAsk};
