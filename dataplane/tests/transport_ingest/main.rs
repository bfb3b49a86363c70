//! Transport streams of publishers: what a shard hears of them, and what that costs.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bench;
mod changes;
mod golden;
mod hostile;
mod multiplexed;
mod openings;
mod pages;
mod relayed;
#[path = "../../../codecs/tests/transport/mod.rs"]
mod transport;
