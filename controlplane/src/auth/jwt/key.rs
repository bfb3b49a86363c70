//! Key: what verifies tokens, by the one algorithm that it is for.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a secret at least (RFC 7518 3.2).
pub(crate) const SECRET_BYTES_MIN: usize = 32;
/// Bytes of a modulus of RSA: keys of 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;
/// Bytes of an exponent of RSA at most.
const EXPONENT_BYTES_MAX: usize = 4;
/// Bytes of a coordinate on P-256.
const COORDINATE_BYTES: usize = 32;
/// Bytes of a key's name at most.
const KID_BYTES_MAX: usize = 256;

/// How tokens are signed: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// The algorithm of that name, which is written in one way.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "RS256" => Self::Rs256,
            "ES256" => Self::Es256,
            _ => return None,
        })
    }
}

/// A key. `Debug` shows its name and algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    pub(super) kid: Option<String>,
    material: Material,
}

/// What it verifies with, and how.
#[derive(Clone)]
enum Material {
    Secret(Hmac<Sha256>, [u8; 32]),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// The point, uncompressed.
    P256(Vec<u8>),
}

/// A key in JSON.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl VerifyingKey {
    /// The key of a secret; `None` if that is too short.
    #[must_use]
    pub fn secret(kid: Option<String>, secret: &[u8]) -> Option<Self> {
        if secret.len() < SECRET_BYTES_MIN || !is_kid(kid.as_deref()) {
            return None;
        }
        let mac = Hmac::new_from_slice(secret).ok()?;
        Some(Self { kid, material: Material::Secret(mac, Sha256::digest(secret).into()) })
    }

    /// The key that `jwk` describes; `None` if it is for something else, or is none. One with a
    /// secret is taken only from where `secrets` may be.
    pub(super) fn of(jwk: Jwk, secrets: bool) -> Option<Self> {
        let signs = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies || !is_kid(jwk.kid.as_deref()) {
            return None;
        }
        let key = match jwk.kty.as_str() {
            "RSA" => {
                let n = number(&jwk.n?)?;
                let e = number(&jwk.e?)?;
                let legal = MODULUS_BYTES.contains(&n.len()) && e.len() <= EXPONENT_BYTES_MAX;
                let material = Material::Rsa(RsaPublicKeyComponents { n, e });
                legal.then_some(Self { kid: jwk.kid, material })?
            }
            "EC" if jwk.crv.as_deref() == Some("P-256") => {
                let (x, y) = (coordinate(&jwk.x?)?, coordinate(&jwk.y?)?);
                Self {
                    kid: jwk.kid,
                    material: Material::P256([&[4_u8][..], x.as_slice(), y.as_slice()].concat()),
                }
            }
            "oct" if secrets => Self::secret(jwk.kid, &URL_SAFE_NO_PAD.decode(jwk.k?).ok()?)?,
            _ => return None,
        };
        // A key that says its algorithm is for no other one.
        let named = jwk.alg.as_deref().map(Algorithm::parse);
        named.is_none_or(|named| named == Some(key.algorithm())).then_some(key)
    }

    /// The one algorithm that it is for.
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Secret(..) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
        }
    }

    /// Whether `signature` is good for `message`. The time taken with a secret does not tell how
    /// much of it is right.
    pub(super) fn verifies(&self, message: &str, signature: &[u8]) -> bool {
        let message = message.as_bytes();
        match &self.material {
            Material::Secret(mac, _) => {
                mac.clone().chain_update(message).verify_slice(signature).is_ok()
            }
            Material::Rsa(key) => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::P256(point) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature).is_ok()
            }
        }
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.material, &other.material) {
            (Material::Secret(_, one), Material::Secret(_, two)) => one.ct_eq(two).into(),
            (Material::Rsa(one), Material::Rsa(two)) => (&one.n, &one.e) == (&two.n, &two.e),
            (Material::P256(one), Material::P256(two)) => one == two,
            _ => false,
        };
        self.kid == other.kid && same
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

fn is_kid(kid: Option<&str>) -> bool {
    kid.is_none_or(|kid| !kid.is_empty() && kid.len() <= KID_BYTES_MAX)
}

/// A whole number without zeros before it, which some libraries write.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    Some(bytes[zeros..].to_vec()).filter(|bytes| !bytes.is_empty())
}

fn coordinate(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == COORDINATE_BYTES)
}
