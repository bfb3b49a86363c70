//! HTTP/1.1 sessions: FLV to players, the built-in pages, the list of streams.
//!
//! Spec: RFC 9110 and 9112; CORS by the Fetch standard. The wire format is in `codecs::http1`.
//! Shape: the diagram of states is in `state.rs`.
//! In/Out: a player's body is written by the shard from the FLV log; the session writes its head
//! and steps aside. Requests are answered one after another; those that wait stay with the shard.
//! Limits: [`Limits`](crate::config::Limits) `http_*`; no request may have a body.

mod cors;
mod pages;
mod reply;
mod routes;
mod server;
mod state;

pub use server::Server;
