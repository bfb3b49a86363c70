//! Token: claims, signed with a secret that the application knows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Base64 of `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// A token of JWT (RFC 7519) by HS256.
pub(super) fn signed(claims: &str, secret: &[u8]) -> String {
    let message = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_as_everybody_does() {
        // h=$(printf '{"alg":"HS256","typ":"JWT"}' | basenc --base64url | tr -d =); p=$(printf
        // '{"sub":"x"}' | basenc --base64url | tr -d =); printf "$h.$p" | openssl dgst -sha256
        // -hmac secret -binary | basenc --base64url
        assert_eq!(
            signed(r#"{"sub":"x"}"#, b"secret"),
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0.\
             TKECX_pF_bzlcgrzGibhwL3tklDD4LdEEzXVQCw00qY"
        );
    }
}
