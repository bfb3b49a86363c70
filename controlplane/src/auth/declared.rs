//! Declared: what the registry says of a stream before anybody is judged.

use dataplane::control::{AuthorizeRequest, Denial};
use dataplane::ids::StreamName;

use super::key_hash::KeyHash;
use super::ways::Ways;

/// What is declared of one stream, for one request.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Whether the stream may be published or played at all, by this protocol.
    pub verdict: Result<(), Denial>,
    /// The key that it is published with: instead of one of `[[auth.keys]]`, besides what an
    /// application says.
    pub key: Option<KeyHash>,
    /// Its players wait while nobody publishes.
    pub waits: bool,
    /// How those are judged who come to it, where that is said.
    pub ways: Ways,
}

impl Default for Declared {
    /// Undeclared, and allowed.
    fn default() -> Self {
        Self { verdict: Ok(()), key: None, waits: false, ways: Ways::default() }
    }
}

/// Who knows what is declared.
pub trait Declarations {
    /// What is declared of `stream`, which is the one that `request` named, or the one that the
    /// application gave it instead.
    fn declared(&self, request: &AuthorizeRequest, stream: &StreamName) -> Declared;
}

/// Nothing is declared, and everything allowed.
impl Declarations for () {
    fn declared(&self, _: &AuthorizeRequest, _: &StreamName) -> Declared {
        Declared::default()
    }
}
