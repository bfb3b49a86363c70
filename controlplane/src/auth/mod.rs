//! Who may publish and play: every request asks once and gets one verdict.
//!
//! Map: `gate` is the one way to a verdict and says in which order; `judge` tries one mode after
//! the other; `mode`, `modes`, `ways`, `rules` and `declared` are what it judges by, `key_hash`
//! and `keyring` the static keys, `signed` addresses that somebody signed, `jwt` tokens, `seconds`
//! their calendar, `moment` when they are judged; `question` asks an application in its dialect,
//! of which `json` is ours; `flights` are the questions under way, `fingerprint` says which are
//! equal, `memory` keeps what was answered, for as long as `keeping` says; `ruling` is an answer,
//! `policies` what streams may do by it, `claims` how peers came in, `updates` asks whether they
//! may stay, `absences` about players without a stream and streams without a player, `figures`
//! counts, `notice` tells the bus.

mod absences;
mod application;
mod ask;
mod claims;
mod declared;
mod figures;
mod fingerprint;
mod flights;
mod gate;
mod guess;
mod json;
mod judge;
mod jwt;
mod keeping;
mod key_hash;
mod keyring;
mod memory;
mod mode;
mod modes;
mod moment;
mod notice;
mod policies;
mod question;
mod rules;
mod ruling;
mod seconds;
mod signed;
mod updates;
mod ways;

pub use absences::{AbsenceTerms, Absentee};
pub use application::{Addresses, Application, OnFailure};
pub use ask::{AuthAsk, Standing};
pub(crate) use claims::BYTES_MAX as CLAIMS_BYTES_MAX;
pub use declared::{Declarations, Declared};
pub use flights::{Landing, WAITING_BYTES_MAX};
pub use gate::Gate;
pub(crate) use guess::is_forged;
pub use jwt::{Issuer, KEYS_MAX as TOKEN_KEYS_MAX, KeySet, SharedKey, Source, VerifyingKey};
pub use key_hash::KeyHash;
pub use keyring::{Allows, KEYS_MAX, KeyRule};
pub use mode::Mode;
pub use modes::Modes;
pub use policies::Policies;
pub use rules::Rules;
pub use seconds::Seconds;
pub use signed::{KEYS_MAX as SIGNED_KEYS_MAX, SECRET_BYTES_MIN, Signed, SignedKey, Statement};
pub use updates::{Landed, UpdateTerms};
pub use ways::Ways;

#[cfg(test)]
mod dialects;
#[cfg(test)]
mod fallbacks;
#[cfg(test)]
mod precedence;
#[cfg(test)]
pub(crate) mod tests;
