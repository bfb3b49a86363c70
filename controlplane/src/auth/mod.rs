//! Who may publish and play: every request asks once and gets one verdict.
//!
//! Map: `gate` is the one way to a verdict and says in which order; `mode`, `rules` and `declared`
//! are what it judges by, `key_hash` and `keyring` the static keys; `question` asks an application
//! in one of two dialects, of which `json` is ours; `flights` are the questions under way,
//! `fingerprint` says which are equal, `memory` keeps what was answered; `ruling` is an answer,
//! `policies` what streams may do by it, `figures` counts, `notice` tells the bus.

mod application;
mod ask;
mod declared;
mod figures;
mod fingerprint;
mod flights;
mod gate;
mod json;
mod key_hash;
mod keyring;
mod memory;
mod mode;
mod notice;
mod policies;
mod question;
mod rules;
mod ruling;

pub use application::{Application, OnFailure};
pub use ask::{AuthAsk, Standing};
pub use declared::{Declarations, Declared};
pub use flights::Landing;
pub use gate::Gate;
pub use key_hash::KeyHash;
pub use keyring::{Allows, KEYS_MAX, KeyRule};
pub use mode::Mode;
pub use policies::Policies;
pub use rules::Rules;

#[cfg(test)]
mod precedence;
#[cfg(test)]
pub(crate) mod tests;
