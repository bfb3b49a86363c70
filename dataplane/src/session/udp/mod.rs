//! MPEG-TS in datagrams without a protocol of its own, bare or in RTP: the reading side.
//!
//! Spec: ITU-T H.222.0; RFC 2250 and RFC 3550 for RTP.
//! Shape: `receiver.rs` is the session, which asks `framing.rs` what of a datagram is transport
//! stream.
//! Not here: the socket and its groups (`shard/pulls.rs`), the stream itself (`mpegts`).

mod framing;
mod receiver;

pub use framing::{Framing, Payload};
pub use receiver::Receiver;
