//! Packaging: access units become entries of a packaged log, once per format and dialect.
//!
//! `body.rs` writes the tag header that RTMP and FLV share, `rtmp.rs` puts messages into chunks,
//! `flv.rs` into tags; `packager.rs` chooses. `mpegts.rs` puts units into packets, whose counters
//! go on from one unit to the next; `relayed.rs` takes those that came. Nothing here depends on a
//! connection, which is why one packaging serves every player of the log; `datagrams/` is what one
//! of them gets by numbers.

mod body;
mod datagrams;
mod flv;
mod mpegts;
mod packager;
mod relayed;
mod rtmp;

pub use datagrams::{DatagramCursor, Due, Paced, Payload, PlayTerms, PlayerIndex};
pub use mpegts::{Packaged, PacketPackager};
pub use packager::{Packager, Piece};
pub use relayed::RelayPackager;
