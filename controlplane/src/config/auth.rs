//! `[auth]`: who may publish and play.

use super::field::words;
use super::key::{Key, Section};
use crate::auth::Mode;

/// `[auth]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthSection {
    /// How publishers and players are judged.
    pub mode: Mode,
    /// Peers of RTMP are judged at `connect`, too.
    pub connect: bool,
}

words!(Mode {
    "open" => Mode::Open,
});

const KEYS: &[Key] = &[
    Key::new(
        "mode",
        "Who may publish and play. \"open\": everybody. A file must say it, so that nobody runs an \
         open server unawares.",
        |s| &mut s.auth.mode,
    )
    .now(),
    Key::new(
        "connect",
        "Whether peers of RTMP are judged already at `connect`, by the application that they name, \
         if that is a legal name of a stream. Who publishes or plays is judged in any case.",
        |s| &mut s.auth.connect,
    )
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("auth", "Who may publish and play.", KEYS)
}
