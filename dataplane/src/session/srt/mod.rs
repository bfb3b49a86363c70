//! SRT sessions: who listens, who calls, and the connection that both make, sans-IO.
//!
//! Spec: draft-sharabayko-srt-01; the wire format is in `codecs::srt`.
//! Shape: `server.rs` is the session of the shard, `asking.rs` what it is before it is let in,
//! `calling.rs` before a peer that we call answers, `target.rs` what its peer wants. A datagram's
//! way in: `listener.rs` (no destination) or `caller.rs` or `rendezvous.rs`, then `connection.rs`
//! (which direction) -> `receiver.rs` (in order?) -> the caller's hands. A packet's way out: the
//! caller's index -> `sender.rs` (which, may it) -> `data.rs` (header, key).
//! In/Out: payload is decrypted where it was received and given out from there if it came in
//! order; what is sent stays in the index of whoever sends, also for a second time.
//! Limits: [`Settings`] and the `_MAX` of each file. No datagram makes more than one answer, and
//! none before a good cookie makes a larger one or leaves anything behind.
//! Not here: sockets, stream names and verdicts are the shard's.

mod acknowledgements;
mod asking;
mod caller;
mod calling;
mod calls;
mod close_reason;
mod connection;
mod cookie;
mod data;
mod keyring;
mod listener;
mod losses;
mod negotiation;
mod pacer;
mod play_clock;
mod playing;
mod publishing;
mod ranges;
mod receiver;
mod rendezvous;
mod retransmissions;
mod round_trip;
mod sender;
mod server;
mod settings;
mod statistics;
mod target;
mod transmit;

pub use caller::{Call, Caller, Progress};
pub use calling::{Attempt, Outgoing};
pub use calls::CALLS_MAX;
pub use close_reason::CloseReason;
pub use connection::Connection;
pub use data::DataTransmit;
pub use keyring::{KeySeed, Keyring};
pub use listener::{Incoming, Keys, Listener, Request};
pub use playing::Playing;
pub use receiver::Payload;
pub use rendezvous::Rendezvous;
pub use sender::{PacketIndex, PacketMeta, Returned};
pub use server::Server;
pub use settings::Settings;
pub use statistics::{Gauges, Statistics, Totals};
pub use target::{Target, shown};
pub use transmit::Scratch;
