//! Key hash: what is kept of a stream key, so that a file or store that leaks gives no key away.
//!
//! Shape: `sha256:SALT:HASH`, 16 and 32 bytes in lower-case hex; HASH is SHA-256 over SALT and key.
//!
//! A fast hash is enough for a key that is random, as those of `grandstand key make` are: nobody
//! tries 2^128 of them. A slow one would let anybody who shows wrong keys keep the one thread busy
//! that answers everybody. A key that people choose is as weak here as it is when it is guessed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const SCHEME: &str = "sha256";

/// What is kept of a stream key. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHash {
    salt: [u8; SALT_BYTES],
    hash: [u8; HASH_BYTES],
}

impl KeyHash {
    /// What is to be kept of `key`, with a salt of its own; `None` if the system gives no random
    /// bytes.
    #[must_use]
    pub fn make(key: &str) -> Option<Self> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).ok()?;
        Some(Self { salt, hash: digest(&salt, key) })
    }

    /// Reads what [`fmt::Display`] writes; `None` if it is not that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let (salt, hash) = rest.split_once(':')?;
        (scheme == SCHEME).then_some(Self { salt: bytes(salt)?, hash: bytes(hash)? })
    }

    /// Whether `shown` is the key; the time taken does not tell how much of it is right.
    ///
    /// An empty key is nobody's.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        self.compare(shown).into()
    }

    /// As [`Self::matches`], to be joined with others without a branch.
    pub(super) fn compare(&self, shown: &str) -> Choice {
        let some = Choice::from(u8::from(!shown.is_empty()));
        some & self.hash.ct_eq(&digest(&self.salt, shown))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}:")?;
        self.salt.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(":")?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("it is no hash of a key"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hashed)")
    }
}

fn digest(salt: &[u8; SALT_BYTES], key: &str) -> [u8; HASH_BYTES] {
    Sha256::new().chain_update(salt).chain_update(key).finalize().into()
}

/// Lower-case hex of exactly `N` bytes.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != N * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_key_and_does_not_show_it() {
        let hash = KeyHash::make("hunter2").unwrap();
        for wrong in ["", "hunter", "hunter22", "Hunter2"] {
            assert!(!hash.matches(wrong), "{wrong}");
        }
        assert!(hash.matches("hunter2"));
        let text = hash.to_string();
        assert!(!text.contains("hunter2"));
        assert_eq!(format!("{hash:?}"), "(hashed)");
        assert_eq!(KeyHash::parse(&text), Some(hash));
        assert_ne!(KeyHash::make("hunter2").unwrap().to_string(), text, "each has its salt");
        assert!(!KeyHash::make("").unwrap().matches(""), "an empty key is nobody's");
    }

    #[test]
    fn a_hash_is_the_one_that_any_tool_computes() {
        // (printf '\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17'; printf key) | sha256sum
        let text = "sha256:000102030405060708090a0b0c0d0e0f:\
                    5db0c95ae5df47b9ba6cc8c7efca33636612799ae5899a4d2800064ca313db22";
        assert!(KeyHash::parse(text).unwrap().matches("key"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let good = KeyHash::make("k").unwrap().to_string();
        for bad in [
            "",
            "hunter2",
            "sha256::",
            "sha256:00:00",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}0"),
            &good.replace("sha256", "md5"),
            &good.to_uppercase(),
            &good.replace(':', "$"),
        ] {
            assert_eq!(KeyHash::parse(bad), None, "{bad}");
        }
    }
}
