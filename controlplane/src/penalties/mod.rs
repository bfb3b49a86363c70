//! Penalties: who guesses is refused for a while, longer each time.
//!
//! ```text
//!   verdicts of the gate, credentials of the API -> Warden -> Book: guesses by address and prefix
//!                                                     |          | too many
//!                                                     v          v
//!                                             security log    `dataplane::rates`
//! ```
//!
//! A guess is what was shown and is wrong, each thing once: a player that asks again and again with
//! what ran out, or an encoder whose key was changed, guesses once. What was valid once, or is for
//! another stream or address, is no guess (`auth/guess.rs`).
//!
//! Penalties survive a restart (`keeping`), and so does what makes the next one longer; guesses
//! that have begun none do not.
//!
//! Limits: the book has [`ROWS_MAX`] rows, of which one prefix has few, so that a flood of
//! addresses forgets its own first; calls of the API have buckets of fixed number.

mod book;
mod keeping;
mod rules;
mod shares;
mod sums;
mod warden;

pub use book::{ROW_BYTES, ROWS_MAX, SHOWN_MAX};
pub use keeping::Keeper;
pub use rules::{Access, PenaltyRules};
pub use warden::{Penalty, Refused, Warden};
