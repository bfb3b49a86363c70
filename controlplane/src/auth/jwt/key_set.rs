//! Key set: the keys of an issuer.

use serde::Deserialize;
use serde_json::Value;

use super::judge::Flaw;
use super::key::{Algorithm, Jwk, VerifyingKey};

/// Keys of one set at most.
pub const KEYS_MAX: usize = 256;

/// Keys, of which no two with the same algorithm have the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<VerifyingKey>);

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl KeySet {
    /// The set of `keys`; `None` if they are too many, or two cannot be told apart.
    #[must_use]
    pub fn new(keys: Vec<VerifyingKey>) -> Option<Self> {
        let alike = |one: &VerifyingKey, two: &VerifyingKey| {
            one.kid == two.kid && one.algorithm() == two.algorithm()
        };
        let twice =
            keys.iter().enumerate().any(|(at, key)| keys[..at].iter().any(|k| alike(k, key)));
        (!twice && keys.len() <= KEYS_MAX).then_some(Self(keys))
    }

    /// Reads a set in JSON (RFC 7517 5). Keys that are for something else are left out, as are all
    /// with secrets unless `secrets` may be where this comes from.
    ///
    /// Errors: what is wrong with it.
    pub fn read(json: &[u8], secrets: bool) -> Result<Self, &'static str> {
        let set: Jwks = serde_json::from_slice(json)
            .map_err(|_| "it is no JSON Web Key Set, an object with a list of keys")?;
        if set.keys.len() > KEYS_MAX {
            return Err("it has too many keys");
        }
        let key = |value| VerifyingKey::of(serde_json::from_value::<Jwk>(value).ok()?, secrets);
        let keys: Vec<_> = set.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("it has no key that verifies HS256, RS256 or ES256");
        }
        Self::new(keys).ok_or("two of its keys have the same name and algorithm")
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The key among `sets` for a token that names `kid` and `algorithm`.
///
/// Errors: none has that name, the one that has is for another algorithm, or a token without a
/// name leaves the choice.
pub(super) fn select<'a>(
    sets: &[&'a KeySet],
    kid: Option<&str>,
    algorithm: Algorithm,
) -> Result<&'a VerifyingKey, Flaw> {
    let all = || sets.iter().flat_map(|set| &set.0);
    let fits = |key: &&VerifyingKey| key.algorithm() == algorithm;
    let Some(kid) = kid else {
        let mut fitting = all().filter(fits);
        let first = fitting.next().ok_or(Flaw::UnknownKey)?;
        return if fitting.next().is_none() { Ok(first) } else { Err(Flaw::AmbiguousKey) };
    };
    let mut named = all().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
    if named.peek().is_none() {
        return Err(Flaw::UnknownKey);
    }
    named.find(fits).ok_or(Flaw::Algorithm)
}
