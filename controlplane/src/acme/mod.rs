//! ACME: certificates that an authority gives once it has seen that a name leads here, and again
//! before they are over.
//!
//! Spec: RFC 8555 (ACME), RFC 8737 (TLS-ALPN-01), RFC 9773 (when to renew).
//!
//! ```text
//!   [acme] --> Keeper --due--> Order --challenge--> desk --> every shard, the control listener
//!                ^               |                              ^
//!                |               +-- the authority looks -------+
//!                +-- schedule    v
//!                    Vault <-- certificate --> desk --> new connections inside TLS
//! ```
//!
//! One order is under way at a time, for one name. What fails leaves the certificate in force, is
//! told by an event, by `/metrics` and by `/api/v1/health`, and is tried again later and later.
//!
//! Map: `keeper` runs it all, `round` goes through the names of one authority, `schedule` says when
//! one is due, `rest` when nobody is asked, `demands` how long an authority wants it so, `account`
//! speaks for us, `order` brings one certificate, `challenge` is what the authority finds,
//! `transport` sends its requests, `failure` says what went wrong, `vault` keeps files, `kept`
//! reads one of them, `disk` waits for them, `told` is what the desk is told.
//! Lives on: the control thread. Crosses by: [`AcmeAsk`] to the desk; files are written elsewhere.

mod account;
mod challenge;
mod demands;
mod disk;
mod failure;
mod keeper;
mod kept;
mod order;
mod rest;
mod round;
mod schedule;
#[cfg(test)]
mod scripted;
mod told;
mod transport;
mod vault;

pub use challenge::Challenge;
pub use keeper::Keeper;
pub use kept::Kept;
pub use told::{AcmeAsk, Outcome};
pub use vault::{Answer, Vault};
