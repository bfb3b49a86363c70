//! `[demo]`: the built-in stream.

use super::field::Auto;
use super::key::{Key, Section};

/// `[demo]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoSection {
    /// Whether the stream `demo` plays while nobody publishes it.
    pub enabled: Auto<bool>,
}

impl Default for DemoSection {
    fn default() -> Self {
        Self { enabled: Auto::Auto }
    }
}

const KEYS: &[Key] = &[Key::new(
    "enabled",
    "Whether the stream `demo` plays while nobody publishes it. \"auto\": only without a file and \
     without a coordinator's variables.",
    |s| &mut s.demo.enabled,
)];

pub(super) fn section() -> Section {
    Section::new("demo", "A clip in a loop, to see a picture before any encoder is there.", KEYS)
}
