//! RTMP sessions: the server's side of a connection, and a client.
//!
//! Spec: RTMP 1.0 section 7, Enhanced RTMP v2; the wire format is in `codecs::rtmp`.
//! Shape: the diagram of states is in `state.rs`. A fragment's way: `server.rs` (rates) ->
//! `message.rs` (what may come) -> `assembly.rs` (pages or bytes) -> `ingest.rs` (access units) or
//! `command.rs`. What we play from another server comes by `puller.rs` to the same `ingest.rs`.
//! In/Out: media of players never comes by here: their log frames it with fixed chunk streams and
//! message stream 1; replies are whole messages of their own, so they fit between any two entries.
//! Limits: [`Limits`](crate::config::Limits) `rtmp_*` and `amf_*`.

mod assembly;
pub mod client;
mod command;
mod connect;
mod control;
mod filler;
mod hidden;
mod ingest;
mod limit;
mod message;
mod nal_length;
mod pace;
mod play;
mod publish;
mod puller;
mod reply;
mod server;
mod state;
mod tag;
mod url;
mod verdict;
mod window;

pub(in crate::session) use connect::name_agent;
pub(in crate::session) use pace::Supply;
pub(in crate::session) use url::{Params, SECRET_BYTES_MAX, stream_of};

pub use puller::Puller;
pub use server::Server;
