//! Key hash: a stream key in a description, which is hashed on its way in and shown as that.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::auth::KeyHash;

/// Bytes of a key at most.
const KEY_BYTES_MAX: usize = 256;
const PREFIX: &str = "sha256:";

/// Takes a hash as it is, hashes anything else, and takes an empty key for none.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<KeyHash>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(hash) = KeyHash::parse(&text) {
        return Ok(Some(hash));
    }
    if text.starts_with(PREFIX) || text.len() > KEY_BYTES_MAX {
        // The text is a secret, so that no error repeats it.
        return Err(D::Error::custom(format!(
            "expected a key of at most {KEY_BYTES_MAX} bytes, or a whole hash of one"
        )));
    }
    let hash = KeyHash::make(&text);
    hash.map(Some).ok_or_else(|| D::Error::custom("the system gives no random bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_hashed_on_its_way_in_and_never_repeated_by_an_error() {
        let read = |text: &str| read(serde_json::Value::from(text));
        assert!(read("hunter2").unwrap().unwrap().matches("hunter2"));
        let hash = KeyHash::make("x").unwrap();
        assert_eq!(read(&hash.to_string()).unwrap(), Some(hash));
        assert_eq!(read("").unwrap(), None);
        let error = read("sha256:hunter2").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
