//! The control plane: configuration, API, key checks, events, metrics.
//!
//! It is never in the packet path: with this thread stopped, running streams keep playing.
//!
//! Map: `config/` turns the file and the environment into values, `bridge` speaks with the shards,
//! `auth/` judges who may publish and play, `api/` answers HTTP on the control listener, `logging`
//! writes logs, `banner` greets, `probe` looks at a stream as a player would.

pub mod auth;

pub mod config;

pub mod error;

pub use error::Error;
