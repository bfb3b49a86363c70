//! MPEG-TS in datagrams without a protocol of its own, bare or in RTP: what is sent to us, and
//! what we send.
//!
//! Spec: ITU-T H.222.0; RFC 2250 and RFC 3550 for RTP.
//! Shape: `receiver.rs` is the session of an input, which asks `framing.rs` what of a datagram is
//! transport stream; `sender.rs` is that of a push, whose pace is `pacer.rs`.
//! Not here: sockets and groups (`shard/pulls.rs`, `shard/pushes.rs`), the stream itself
//! (`mpegts`).

mod framing;
mod pacer;
mod receiver;
mod sender;

pub use framing::{Framing, Payload};
pub use receiver::Receiver;
pub use sender::{DuePush, Pushing, Sender};
