//! Sessions: one per peer, sans-IO.
//!
//! The contract, the same for every protocol: the shard calls one `handle_*`, then drains
//! `poll_transmit`, `poll_event` and `poll_timeout`. `now` never goes back. Media to players never
//! passes through a session: the session says when a cursor starts, stops or filters, and the
//! shard's egress reads the log.
//!
//! ```text
//!   bytes ----> handle_bytes ---+                 +--> poll_transmit --> replies to the peer
//!   verdicts -> handle_command -+--> state machine +--> poll_event -----> shard, hub, control
//!   clock ----> handle_timeout -+                 +--> poll_timeout ---> timer wheel
//! ```
//!
//! Limits: a session stops consuming bytes while it waits for a verdict (`wants_bytes`), so TCP is
//! the back-pressure; its replies are bounded by `reply_bytes_max`.
//! Errors: an error closes the session; what the peer must hear first is already in
//! `poll_transmit` when the error is returned.

#[cfg(test)]
mod clock;
mod contract;
pub mod http;
pub mod mpegts;
pub mod rtmp;
#[expect(clippy::module_inception, reason = "the file of the enum that gives the folder its name")]
mod session;
pub mod srt;
pub mod tls;
pub mod udp;
pub mod view_token;

pub use contract::*;
pub use session::Session;
