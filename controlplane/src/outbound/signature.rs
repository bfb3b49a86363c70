//! Signature: how an application knows that a request is of this node, and of now.
//!
//! Shape: header `grandstand-signature: t=SECONDS,v1=HEX`, HEX being HMAC-SHA256 over
//! `SECONDS "." BODY` with the shared secret. The application computes it anew, compares in
//! constant time, and refuses a time that is minutes off, so that nobody replays an old request.

use std::fmt;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use http::HeaderValue;
use sha2::Sha256;

/// The header that carries a signature.
pub const SIGNATURE_HEADER: &str = "grandstand-signature";

/// A secret that this node and an application share. Never shown by `Debug`.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// The key of a secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        // HMAC hashes a secret that is longer than a block, so that every length is one.
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// The header's value for `body`, sent at `at`.
    #[must_use]
    pub fn sign(&self, at: SystemTime, body: &[u8]) -> HeaderValue {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut mac = self.0.clone();
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        let mut text = format!("t={seconds},v1=");
        for byte in mac.finalize().into_bytes() {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        HeaderValue::from_str(&text).expect("digits and letters fit a header")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_signature_covers_time_and_body() {
        let key = SigningKey::new(b"secret");
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected =
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
        assert_eq!(key.sign(at, br#"{"a":1}"#), expected);
        assert_ne!(key.sign(at, br#"{"a":2}"#), expected);
        assert_ne!(key.sign(at + Duration::from_secs(1), br#"{"a":1}"#), expected);
        assert_ne!(SigningKey::new(b"other").sign(at, br#"{"a":1}"#), expected);
        assert_eq!(format!("{key:?}"), "(secret)");
    }
}
