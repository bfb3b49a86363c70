//! `[auth]`: who may publish and play.

use super::field::words;
use super::key::{Key, Section};
use crate::auth::Mode;

/// `[auth]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthSection {
    /// How publishers and players are judged.
    pub mode: Mode,
}

words!(Mode {
    "open" => Mode::Open,
});

const KEYS: &[Key] = &[Key::new(
    "mode",
    "Who may publish and play. \"open\": everybody. A file must say it, so that nobody runs an \
     open server unawares.",
    |s| &mut s.auth.mode,
)
.now()];

pub(super) fn section() -> Section {
    Section::new("auth", "Who may publish and play.", KEYS)
}
