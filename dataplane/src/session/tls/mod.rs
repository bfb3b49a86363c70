//! TLS as a byte filter around a session: ciphertext of the socket on one side, plain bytes of the
//! session on the other.
//!
//! Spec: RFC 8446 and 5246, by rustls' unbuffered API: no socket and no clock in here. `link` is
//! the connection of a shard's peer, `client` one that its owner opens and reads by itself,
//! `identity` what a server proves itself with, `hello` what a peer asks for first.
//!
//! ```text
//!   socket --ciphertext--> handle_bytes --plain--> session
//!   session, log --plain--> encrypt --ciphertext--> socket
//!                           waiting (handshake, alerts, what a full socket left) --> socket, first
//! ```

mod client;
mod failure;
mod hello;
mod identity;
mod link;
mod record;

pub use client::TlsClient;
pub use failure::TlsFailure;
pub use identity::{Certified, Identity};
pub use link::{TlsLink, TlsTrust};
pub use record::{PLAIN_BYTES_MAX, RECORD_ROOM};
