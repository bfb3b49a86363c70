//! Shards: one pinned thread each, with its own reactor, memory, hubs and sessions.
//!
//! A turn (`turn.rs`) reaps completions, feeds sessions (`ingress.rs`), publishes what hubs
//! appended (`streams.rs`), sends to players (`egress.rs`) and runs timers. Publishers move to the
//! home shard of their stream (`placement.rs`, `handover.rs`); players stay where they were
//! accepted and read the home shard's logs from there (`subscriptions.rs`). A stream can be moved
//! to another shard while it is played (`relocation.rs`). Peers of SRT share the sockets of a shard
//! (`ports.rs`): their calls are heard (`handshakes.rs`), judged and answered in `calls.rs`, after
//! their keys were derived (`derivations.rs`), their datagrams taken in `datagrams.rs`, and their
//! players sent trains of them (`trains.rs`, `departures.rs`). Inputs that a shard fetches by
//! itself have sockets of their own (`pulls.rs`); peers of SRT that it calls by itself (`dials.rs`)
//! share one, as those do who call it, and servers of RTMP have one each (`servers.rs`).

mod accept;
mod admission;
mod arrivals;
mod asked;
mod authorize;
mod away;
mod backpressure;
mod budget;
mod burst;
mod calls;
pub mod caps;
mod census;
mod cipher;
mod commands;
mod connection;
mod cost;
mod cursor;
mod datagrams;
mod demo;
mod departures;
mod derivations;
mod dials;
mod drain;
mod egress;
mod ended;
mod eviction;
mod expiry;
mod farewell;
mod fetch;
pub mod flush;
mod frame;
mod gathering;
mod guests;
mod handover;
mod handshakes;
mod headroom;
mod idle;
mod ingress;
mod input_socket;
mod lateness;
pub mod mailbox;
mod message;
mod meter;
mod news;
mod opening;
mod parting;
mod parts;
mod passed;
mod peer;
pub mod placement;
mod plan;
mod ports;
mod prefetch;
mod proxied;
mod publishing;
mod pulls;
mod pulse;
mod pushes;
mod queues;
mod quotas;
mod reader;
mod rechecks;
mod rekeying;
mod relief;
mod relocation;
mod revoked;
#[cfg(test)]
mod rig;
mod servers;
mod session_events;
#[expect(clippy::module_inception, reason = "the folder is the room, the file its main thing")]
mod shard;
mod shared;
mod starters;
mod streams;
mod subscriptions;
mod survey;
pub mod timer;
mod tombstones;
mod trains;
mod turn;
mod upkeep;
mod usage;
mod verdicts;
mod view_roll;
mod view_table;
mod viewed;
mod viewers;
mod views;
pub mod wake;
mod withdrawal;

pub(crate) use arrivals::ConnectRates;
pub(crate) use commands::ControlLink;
pub(crate) use message::Message;

pub(crate) use shard::{Shard, ShardParts, readers_max, views_max};
pub(crate) use shared::{Load, Shared};
pub(crate) use usage::USAGE_BYTES;
pub(crate) use view_table::bytes_per_view;
