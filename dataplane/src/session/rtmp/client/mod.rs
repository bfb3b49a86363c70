//! The client's side of an RTMP connection: what probes and pushes are made of.
//!
//! Shape:
//! ```text
//!   hello --S0 S1 S2--> connecting --_result--> connected --createStream--> creating
//!                                                  ^                          | _result
//!                                       closeStream|                          v
//!                                                  +---- publishing <------ starting
//!                                                  +---- playing <-----------+
//!   any --_error, error status, limit, deadline--> closed
//! ```
//! In/Out: the contract of `session`; media comes as owned bytes, because its readers look at it
//! once and few at a time.
//! Limits: those of the server's side, with the peer's roles exchanged.

mod address;
mod answer;
#[expect(clippy::module_inception, reason = "the client itself, beside its address and events")]
mod client;
mod event;
mod message;
mod request;

pub use address::Address;
pub use client::{Client, ClientConfig};
pub use event::{ClientEvent, Media, MediaHeader};
pub use request::Intent;
