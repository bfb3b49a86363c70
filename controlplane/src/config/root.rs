//! The lists at the top of the file, outside of every section.

use super::key::{Key, Section};

const KEYS: &[Key] = &[super::hooks::KEY];

pub(super) fn section() -> Section {
    Section::new("", "Lists of things, a table each, anywhere in the file.", KEYS)
}
