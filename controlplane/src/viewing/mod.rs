//! Viewing: the sessions that publish and play, as the control plane knows them.
//!
//! Shards tell when a session begins and how it ended; what it does meanwhile they are asked.
//! `sessions` is the table of those that are there and the ring of those that were; `resync`
//! compares it with the shards after their mailbox overflowed; `kick` closes one and waits until
//! its shard said so; `keys` keeps what tokens of HLS viewers are signed with.

mod keys;
mod kick;
mod resync;
mod sessions;

pub use keys::{fresh_key, keep_keys};
pub use kick::{KICK_DEADLINE, KickOutcome};
pub(crate) use sessions::CLOSED_MAX;
pub use sessions::{Change, ClosedSession, LiveSession, Sessions, SessionsAsk};
