//! Outbound: requests of this node to applications over HTTP, each bounded in every way.
//!
//! ```text
//!   Call (address, headers, body, deadline) --> Client --> pooled connections --> application
//!                     Answer (status, headers, body) or Failure <---+
//! ```
//!
//! Limits: every call has a deadline over all of it (name, connection, TLS, answer); an answer's
//! body and head are bounded; a client has so many calls under way and one more is refused at once;
//! redirects are followed only if the call says so, only within the same origin, only so many.
//! A call that asks for a WebSocket (`upgrade`) is bounded in the same ways until it is one.
//! Nothing is taken from the environment but the authorities that TLS trusts (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR`): no proxy variables.
//! Lives on: the control thread. Names are looked up on threads of the client, and remembered
//! (`names`).

mod address;
mod backoff;
mod call;
mod client;
mod credentials;
mod failure;
mod names;
#[cfg(test)]
pub(crate) mod scripted;
mod signature;
mod upgrade;

pub use address::Address;
pub use backoff::backoff;
pub use call::{Answer, Call};
pub use client::Client;
pub use credentials::Credentials;
pub use failure::Failure;
pub(crate) use names::{Found, Names};
pub use signature::{SIGNATURE_HEADER, SigningKey};
pub use upgrade::NoUpgrade;
