//! Key set: the keys of an issuer.

use serde::Deserialize;
use serde_json::Value;

use super::judge::Flaw;
use super::key::{Algorithm, Jwk, VerifyingKey};

/// Keys of one set at most.
pub const KEYS_MAX: usize = 256;

/// Keys, of which no two with the same algorithm have the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    /// How many were left out, because no token tells them apart.
    left_out: usize,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl KeySet {
    /// The set of `keys`; `None` if they are too many, or two cannot be told apart.
    #[must_use]
    pub fn new(keys: Vec<VerifyingKey>) -> Option<Self> {
        let twice =
            keys.iter().enumerate().any(|(at, key)| keys[..at].iter().any(|k| alike(k, key)));
        (!twice && keys.len() <= KEYS_MAX).then_some(Self { keys, left_out: 0 })
    }

    /// Reads a set in JSON (RFC 7517 5). Keys that are for something else are left out, as are all
    /// with secrets unless `secrets` may be where this comes from, and those that cannot be told
    /// apart: a key need have no name (RFC 7517 4.5), and one of several is not chosen by a token
    /// without a name.
    ///
    /// Errors: what is wrong with it.
    pub fn read(json: &[u8], secrets: bool) -> Result<Self, &'static str> {
        let set: Jwks = serde_json::from_slice(json)
            .map_err(|_| "it is no JSON Web Key Set, an object with a list of keys")?;
        if set.keys.len() > KEYS_MAX {
            return Err("it has too many keys");
        }
        let key = |value| VerifyingKey::of(serde_json::from_value::<Jwk>(value).ok()?, secrets);
        let mut keys: Vec<_> = set.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("it has no key that verifies HS256, RS256 or ES256");
        }
        let mut once = Vec::with_capacity(keys.len());
        keys.retain(|key| {
            let is_new = !once.contains(key);
            is_new.then(|| once.push(key.clone()));
            is_new
        });
        keys.retain(|key| once.iter().filter(|other| alike(key, other)).count() == 1);
        if keys.is_empty() {
            return Err("its keys cannot be told apart: give each a kid of its own");
        }
        let left_out = once.len() - keys.len();
        Ok(Self { keys, left_out })
    }

    /// What is wrong with a set of which others are used.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let left_out = self.left_out;
        (left_out > 0).then(|| {
            format!(
                "{left_out} keys of tokens are not used, because nothing tells them from others of \
                 the same set; its issuer must give each a kid of its own"
            )
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// True if no token tells these two apart.
fn alike(one: &VerifyingKey, two: &VerifyingKey) -> bool {
    one.kid == two.kid && one.algorithm() == two.algorithm()
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
    let all = || sets.iter().flat_map(|set| &set.keys);
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::jwt::issuing::{p256, rsa_jwk};

    fn names(keys: &[Value]) -> Result<Vec<Option<String>>, &'static str> {
        let set = KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), false)?;
        let left_out = keys.len() - set.len();
        let told = set.doubt().is_some_and(|doubt| doubt.starts_with(&format!("{left_out} keys")));
        assert!(told || left_out == 0 || keys[0] == keys[1], "{:?}", set.doubt());
        Ok(set.keys.into_iter().map(|key| key.kid).collect())
    }

    fn nameless(mut jwk: Value) -> Value {
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    }

    #[test]
    fn keys_that_cannot_be_told_apart_leave_the_others() {
        let [one, two, named] = ["one", "two", "named"].map(|kid| p256(kid).0);
        let (one, two, rsa) = (nameless(one), nameless(two), nameless(rsa_jwk("r")));
        let named_alone = Ok(vec![Some("named".to_owned())]);
        assert_eq!(names(&[one.clone(), named.clone(), two.clone()]), named_alone);
        // Two of different algorithms are told apart without names.
        assert_eq!(names(&[one.clone(), rsa]), Ok(vec![None, None]));
        // The same key twice is one.
        assert_eq!(names(&[named.clone(), named.clone()]), named_alone);
        assert_eq!(names(std::slice::from_ref(&one)), Ok(vec![None]));
        let [first, again] = [(); 2].map(|()| p256("same").0);
        assert_eq!(names(&[first.clone(), named, again.clone()]), named_alone);
        for keys in [[one, two], [first, again]] {
            assert!(names(&keys).unwrap_err().contains("a kid of its own"));
        }
    }
}
