//! The control plane: configuration, API, key checks, events, metrics.
//!
//! It is never in the packet path: with this thread stopped, running streams keep playing.
//!
//! Map: `acme/` obtains certificates, `cli` says what is asked, `server/` starts and runs it,
//! `config/` turns the file and the environment into values, `bridge/` speaks with the shards,
//! `auth/` judges who may publish and play, `dialect/` speaks as other servers do, `events/` tells
//! what happens, `hooks/` brings it to whoever asked, `outbound/` asks and tells applications over
//! HTTP, `link/` speaks on the control WebSockets of coordinators, `api/` answers HTTP on the
//! control listener, `viewing/` knows the sessions, `console/` is its pages, `counts` carries what
//! rooms count to the metrics, `store/` keeps what survives a restart, `stream_key` makes and
//! hashes keys, `sign` signs addresses, `penalties/` knows who guesses, `security/` tells of it,
//! `logging` writes logs, `banner` greets, `probe/` looks at a stream as a player does, `top/`
//! shows a running server on a terminal, `registry/` knows which streams should exist, `record/`
//! writes them into files, `usage/` who used how much, `quotas/` how much may be used, `troubles`
//! what is not as it should be, `trust` whom our commands believe inside TLS.

pub mod acme;
pub mod api;
pub mod auth;
mod authorities;
pub mod banner;
pub mod bridge;
pub mod check;
pub mod cli;
pub mod config;
mod console;
pub mod coordinator;
pub mod counts;
pub mod dialect;
pub mod error;
pub mod events;
pub mod hooks;
mod link;
pub mod logging;
pub mod outbound;
pub mod penalties;
pub mod probe;
pub mod quotas;
pub mod record;
pub mod registry;
pub mod security;
pub mod server;
pub mod sign;
pub mod store;
pub mod stream_key;
pub mod top;
pub mod troubles;
mod trust;
pub mod usage;
pub mod viewing;

pub use error::Error;
