//! Condition: what must be so of a stream or a template for a change of it to be made.
//!
//! It is looked at in the step that makes the change, after all changes that were asked for before:
//! of two writers who know the same version, one goes through.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Bytes of the hash that are shown.
const HASH_BYTES: usize = 12;

/// The name of one state of something: the same state has the same name after a restart and on
/// another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

/// Versions that a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Whichever there is.
    Any,
    /// One of these.
    These(Vec<Version>),
}

/// What must be so of what there is; nothing unless it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// It is one of these.
    pub is: Option<Versions>,
    /// It is none of these.
    pub is_not: Option<Versions>,
}

/// Why a condition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// It is not, or not any more, what it should be.
    #[error("somebody else changed it; get it again and decide anew")]
    Changed,
    /// It is what it should not be.
    #[error("it exists already in that state")]
    Exists,
}

impl Version {
    /// Of the state that `value` is, by its JSON.
    pub fn of(value: &impl Serialize) -> Self {
        Self::of_bytes(&serde_json::to_vec(value).unwrap_or_default())
    }

    /// Of what is bytes already.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The version that somebody names; none is called so if it is not one.
    #[must_use]
    pub fn named(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Versions {
    fn have(&self, known: &Version) -> bool {
        match self {
            Self::Any => true,
            Self::These(these) => these.contains(known),
        }
    }
}

impl Condition {
    /// Checks it against what there is, if there is anything.
    ///
    /// Errors: it does not hold.
    pub fn check(&self, known: Option<&Version>) -> Result<(), Unmet> {
        let among = |versions: &Versions| known.is_some_and(|known| versions.have(known));
        if self.is.as_ref().is_some_and(|versions| !among(versions)) {
            return Err(Unmet::Changed);
        }
        if self.is_not.as_ref().is_some_and(among) {
            return Err(Unmet::Exists);
        }
        Ok(())
    }
}
