//! Shards: one pinned thread each, with its own reactor, memory, hubs and sessions.

pub mod mailbox;
pub mod timer;
pub mod wake;
