//! HTTP/1.1 sessions: streams to players, as a body or as WebSocket messages; the built-in pages,
//! the list of streams.
//!
//! Spec: RFC 9110 and 9112; CORS by the Fetch standard; RFC 6455. The wire formats are in
//! `codecs::http1` and `codecs::websocket`.
//! Shape: the diagram of states is in `state.rs`.
//! In/Out: a player's body is written by the shard from a log; the session writes its head
//! and steps aside. Requests are answered one after another; those that wait stay with the shard.
//! Limits: [`Limits`](crate::config::Limits) `http_*` and `websocket_*`; no request may have a
//! body.

mod behalf;
mod cors;
mod events;
mod fetch;
mod limits;
mod pages;
mod reply;
mod routes;
mod server;
mod shown_token;
mod socket;
mod state;

pub use server::Server;
