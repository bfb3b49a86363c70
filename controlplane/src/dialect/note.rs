//! Note: one message in a dialect, before it is put on the wire.

use serde::{Deserialize, Serialize};

/// Notes of one event at most.
pub const NOTES_MAX: usize = 3;

/// One message.
///
/// Shape: `text` is a form, an object of JSON, or the claims of a token, as its dialect has it.
/// It may hold what a peer showed, so that `Debug` names the call alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it says, in a word of its dialect.
    pub call: String,
    /// Its fields.
    pub text: String,
}

impl Note {
    pub(super) fn new(call: &str, text: String) -> Self {
        Self { call: call.to_owned(), text }
    }

    /// An object of JSON.
    pub(super) fn json(call: &str, fields: &serde_json::Value) -> Self {
        Self::new(call, fields.to_string())
    }
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Note").field("call", &self.call).finish_non_exhaustive()
    }
}
