//! SRT as a caller speaks it, sans-IO but for [`Endpoint`]: an independent peer, which shares
//! packets and ciphers with the server (`codecs::srt`) and no line of a connection.
//!
//! Spec: draft-sharabayko-srt-01.
//!
//! Shape: `target` (what a URL says), `call` (the handshake), then a [`Link`]: `inbound` (what
//! comes, in order, gaps asked for again), `outbound` (what goes, kept for as long as somebody may
//! ask for it again), `round_trip` (how long the way is), `drift` (of the clocks). [`Caller`] is
//! all of it in turn, [`Endpoint`] gives it a socket.
//!
//! ```text
//!   Induction --cookie--> Conclusion --granted--> Link --shutdown, silence--> (error)
//!       \___________________\__ refused, no answer __________________________/
//! ```
//!
//! Units: microseconds since the caller began, `now_us`; a packet has their low 32 bits.
//!
//! In/Out: one datagram in, any number out by an [`Outbox`].
//!
//! Not here: rendezvous, groups, packet filters, a stream of bytes; a publisher does not change its
//! key, which would be due after 2^25 packets.

mod call;
mod caller;
mod drift;
mod endpoint;
mod inbound;
mod keys;
#[cfg(test)]
mod line;
mod link;
mod outbound;
mod outbox;
mod round_trip;
mod target;

pub use call::{CALL_US_MAX, SECRETS_BYTES};
pub use caller::{Caller, Told};
pub use endpoint::Endpoint;
pub use inbound::{Arrivals, WINDOW_PACKETS_MAX};
pub use link::{Closed, Link, SILENCE_US_MAX};
pub use outbound::{Departures, PAYLOAD_BYTES};
pub use outbox::Outbox;
pub use target::SrtTarget;
