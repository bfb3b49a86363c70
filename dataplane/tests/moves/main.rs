//! A live stream moves to another shard: no player is dropped, no frame is lost.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod kinds;
#[path = "../node/mod.rs"]
mod node;
mod orders;
mod players;
mod publishers;
mod readers;
mod segments;
