//! The data plane: pinned shards, slab memory, hubs, packaged logs, sessions, sockets.
//!
//! A frame's way: `shard/turn.rs` reaps a received buffer from `reactor/`, hands it to a session in
//! `session/`, which assembles access units in `slab/`; the stream's hub in `hub/` orders them,
//! `package/` frames them once per format into a log in `log/`, and the egress in `shard/egress.rs`
//! sends ranges of that log to every player whose cursor is behind.
#![deny(missing_docs)]

pub mod config;
pub mod control;
pub mod error;
pub mod heartbeats;
mod histogram;
pub mod hub;
pub mod ids;
mod listener;
pub mod log;
pub mod metrics;
pub mod node;
pub mod package;
pub mod rates;
pub mod reactor;
pub mod segment;
pub mod session;
pub mod shard;
pub mod slab;
mod srt;
mod sync;
mod table;
mod words;

pub use error::Error;
pub use node::Node;
