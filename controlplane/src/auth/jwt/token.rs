//! Token: the letters of a JWS, read strictly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::judge::Flaw;
use super::key::Algorithm;

/// Bytes of a token at most.
pub(super) const TOKEN_BYTES_MAX: usize = 4_096;
/// How every header of JSON begins, in base64url: `{"`.
const HEADER_BEGINS: &str = "eyJ";
/// Types of tokens that are taken, without the prefix that may stand before them.
const TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// A token whose signature is yet to be verified.
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What is signed.
    pub(super) signed: &'a str,
    /// The claims, which nobody has vouched for yet.
    pub(super) claims: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What a header may say; what else it says is ignored, as the specification wants it.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Whatever its value: nothing that may be demanded is known here.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

fn is_there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// True if `secret` is meant as a token, whatever it is worth.
pub(crate) fn is_token(secret: &str) -> bool {
    secret.starts_with(HEADER_BEGINS) && secret.bytes().filter(|&byte| byte == b'.').count() == 2
}

/// What a token says of who made it and who bears it, whatever it is worth: the same for each one
/// that a peer makes anew. `None` if it is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct Bearer {
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    sub: Option<String>,
}

impl Bearer {
    /// Reads it. Nobody has vouched for it.
    pub(crate) fn of(text: &str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('.').map(decoded);
        let mut part = || serde_json::from_slice::<Self>(&parts.next()?.ok()?).ok();
        let (header, claims) = (part()?, part()?);
        Some(Self { kid: header.kid, sub: claims.sub })
    }
}

impl<'a> Token<'a> {
    /// Reads the letters of a token.
    pub(super) fn read(text: &'a str) -> Result<Self, Flaw> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Flaw::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Malformed)?;
        let [header, claims, signature] = [header, claims, signature].map(decoded);
        let header: Header = serde_json::from_slice(&header?).map_err(|_| Flaw::Malformed)?;
        if header.crit {
            return Err(Flaw::Critical);
        }
        if !header.typ.is_none_or(|typ| is_known(&typ)) {
            return Err(Flaw::Malformed);
        }
        Ok(Self {
            algorithm: Algorithm::parse(&header.alg).ok_or(Flaw::Algorithm)?,
            kid: header.kid,
            signed,
            claims: claims?,
            signature: signature?,
        })
    }
}

/// The decoder takes no padding, no other alphabet, and no bits behind the last byte.
fn decoded(part: &str) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Malformed)
}

fn is_known(typ: &str) -> bool {
    let name = match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    };
    TYPES.iter().any(|known| known.eq_ignore_ascii_case(name))
}
