//! Bridge: the one place that speaks with the shards.
//!
//! ```text
//!   shards --events--> Exchange --verdicts, reloads, directory--> Outbox --mailboxes--> shards
//!                        ^   |
//!      API --Ask---------+   +--Gathered--> API
//! ```
//!
//! Lives on: the control thread. Nothing here waits: a full mailbox keeps its commands in the
//! outbox, a silent shard is reported as missing after [`GATHER_DEADLINE`].

mod ask;
mod attached;
mod bindings;
mod client;
mod commands;
mod desired;
mod dials;
mod directory;
mod event;
mod exchange;
mod fleet;
mod gather;
mod gathered;
mod inputs;
#[cfg(test)]
mod mishaps;
mod moves;
mod news;
mod node;
#[cfg(test)]
mod one_shard;
mod orders;
mod outbox;
mod peers;
mod pulls;
mod quotas;
mod recordings;
mod roll;
mod sessions;
mod sightings;
#[cfg(test)]
pub(crate) mod snapshots;
mod streams;
mod survey;
#[cfg(test)]
mod tests;
mod trusts;
mod usage;
mod verdicts;

pub use ask::Ask;
pub use attached::AttachedAsk;
pub use client::ClientAsk;
pub use commands::CommandAsk;
pub(crate) use directory::RtmpAddress;
pub use exchange::Exchange;
pub use fleet::Fleet;
pub use gather::GATHER_DEADLINE;
pub use gathered::{Gathered, SessionSight, Sighting};
pub(crate) use outbox::WAITING_MAX;
pub use peers::{PeerSnapshot, PeerSnapshots, PeerStatus};
