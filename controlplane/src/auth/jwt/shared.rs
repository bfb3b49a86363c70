//! Shared key: tokens between two who have the same secret, which say only who shows them.
//!
//! Shape: HS256; `sub` names the bearer, `exp` ends the token and `nbf` begins it. One without an
//! end is taken: the programs that show them make none. Any secret will do, however short: it is
//! one that an installation has had for years.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::judge::Flaw;
use super::key::Algorithm;
use super::token::Token;
use crate::auth::seconds::Seconds;

/// By how many seconds the clock of the other one may differ from ours.
const LEEWAY: u64 = 60;
/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// A secret that makes and judges tokens.
#[derive(Clone)]
pub struct SharedKey(Hmac<Sha256>);

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl SharedKey {
    /// The key of a secret; `None` if that is empty.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        let mac = Hmac::new_from_slice(secret).ok()?;
        (!secret.is_empty()).then_some(Self(mac))
    }

    /// A token that says `subject`, from `now` on.
    #[must_use]
    pub fn token(&self, subject: &str, now: Seconds, good_for: Duration) -> String {
        let (issued, end) = (now.0, now.0.saturating_add(good_for.as_secs()));
        let claims = serde_json::json!({ "sub": subject, "iat": issued, "exp": end });
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.0.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whether `token` says `subject` at `now`.
    ///
    /// Errors: why it does not, in one word.
    pub fn judge(&self, token: &str, subject: &str, now: Seconds) -> Result<(), &'static str> {
        self.read(token, subject, now).map_err(Flaw::name)
    }

    fn read(&self, token: &str, subject: &str, now: Seconds) -> Result<(), Flaw> {
        let token = Token::read(token)?;
        if token.algorithm != Algorithm::Hs256 {
            return Err(Flaw::Algorithm);
        }
        let mac = self.0.clone().chain_update(token.signed);
        // Nothing that it claims is read before somebody has vouched for it.
        mac.verify_slice(&token.signature).map_err(|_| Flaw::Signature)?;
        let claims: Claims = serde_json::from_slice(&token.claims).map_err(|_| Flaw::Malformed)?;
        #[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^52")]
        let (early, late) = (now.0.saturating_add(LEEWAY) as f64, now.0 as f64 - LEEWAY as f64);
        if claims.sub.as_deref() != Some(subject) {
            return Err(Flaw::Subject);
        }
        if claims.nbf.is_some_and(|from| from > early) {
            return Err(Flaw::Early);
        }
        if claims.exp.is_some_and(|end| end < late) { Err(Flaw::Expired) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::issuing::{hs256, letters, raw};
    use super::*;

    const SECRET: &str = "hush";
    const NOW: Seconds = Seconds(1_700_000_000);

    fn judged(token: &str) -> Result<(), &'static str> {
        SharedKey::new(SECRET.as_bytes()).unwrap().judge(token, "rtmp-control", NOW)
    }

    fn claimed(claims: &str) -> Result<(), &'static str> {
        judged(&raw(r#"{"alg":"HS256","typ":"JWT"}"#, claims, hs256(SECRET)))
    }

    #[test]
    fn what_it_makes_is_good_for_its_subject_and_time() {
        let key = SharedKey::new(SECRET.as_bytes()).unwrap();
        let token = key.token("rtmp-control", NOW, Duration::from_secs(10));
        assert_eq!(judged(&token), Ok(()));
        let at = |seconds| key.judge(&token, "rtmp-control", Seconds(NOW.0 + seconds));
        assert_eq!((at(70), at(71)), (Ok(()), Err("token_expired")));
        assert_eq!(key.judge(&token, "hls-control", NOW), Err("token_subject"));
        assert!(SharedKey::new(b"").is_none());
    }

    #[test]
    fn claims_are_judged_as_the_family_makes_them() {
        for (claims, expected) in [
            (r#"{"sub":"rtmp-control"}"#, Ok(())),
            (r#"{"sub":"rtmp-control","exp":1700003600,"iat":1700000000}"#, Ok(())),
            (r#"{"sub":"rtmp-control","exp":1699999939}"#, Err("token_expired")),
            (r#"{"sub":"rtmp-control","exp":-1}"#, Err("token_expired")),
            (r#"{"sub":"rtmp-control","nbf":1700000061}"#, Err("token_early")),
            (r#"{"sub":"rtmp-control","exp":"never"}"#, Err("token_malformed")),
            (r#"{"sub":"rtmp-control","exp":1e999}"#, Err("token_malformed")),
            (r#"{"sub":["rtmp-control"]}"#, Err("token_malformed")),
            (r#"{"sub":"RTMP-control"}"#, Err("token_subject")),
            ("{}", Err("token_subject")),
            ("", Err("token_malformed")),
        ] {
            assert_eq!(claimed(claims), expected, "{claims}");
        }
    }

    #[test]
    fn no_other_algorithm_and_no_other_secret_is_taken() {
        let claims = r#"{"sub":"rtmp-control"}"#;
        for (header, secret, why) in [
            (r#"{"alg":"HS256"}"#, "hus", "token_signature"),
            (r#"{"alg":"RS256"}"#, SECRET, "token_algorithm"),
            (r#"{"alg":"none"}"#, SECRET, "token_algorithm"),
            (r#"{"alg":"HS384"}"#, SECRET, "token_algorithm"),
            (r#"{"alg":"hs256"}"#, SECRET, "token_algorithm"),
        ] {
            assert_eq!(judged(&raw(header, claims, hs256(secret))), Err(why), "{header}");
        }
        let unsigned = format!("{}.{}.", letters(r#"{"alg":"none"}"#), letters(claims));
        assert_eq!(judged(&unsigned), Err("token_algorithm"));
        for text in ["", "a", "a.b", "..", &"e".repeat(5_000)] {
            assert_eq!(judged(text), Err("token_malformed"), "{text:.20}");
        }
    }
}
