//! Tokens: whoever has the key of an issuer that this node trusts lets people in by himself.
//!
//! Shape: a JSON Web Token in the compact form of JWS, `HEADER.CLAIMS.SIGNATURE`, shown as the
//! secret of a request: `?token=`, `?jwt=` or `?key=` in an address, or `Authorization: Bearer`.
//! What it opens is in its claims:
//!
//! ```text
//! exp             when it ends; a token without an end opens nothing
//! nbf             when it begins
//! iss, aud        who issued it, and for whom: as the configuration wants them
//! streams         names of streams, one or a list, in which * stands for any letters
//! publish, play   true: the streams of that list; or names of its own, as there
//! ip              the one address, or range of them, that it is good for
//! ```
//!
//! Only HS256, RS256 and ES256 are spoken, each key one of them: what a token says of its algorithm
//! must be what its key is for, so that no public key is ever taken for a secret. There is no
//! `none`. A token that demands anything else of whoever reads it (`crit`) is refused. Addresses of
//! keys and keys in tokens (`jku`, `jwk`, `x5u`) are never looked at.
//!
//! Spec: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 3.1 (algorithms), RFC 7519 (JWT), RFC 8725.
//! Limits: [`TOKEN_BYTES_MAX`](token::TOKEN_BYTES_MAX), [`KEYS_MAX`], and those of `claims`.
//! Map: `token` reads letters, `claims` what is claimed, `key` and `key_set` verify, `judge` gives
//! the verdict, `endpoint` keeps the keys of an issuer fresh; `shared` is for peers that share a
//! secret with this node.

mod claims;
mod endpoint;
mod judge;
mod key;
mod key_set;
mod shared;
mod token;

pub(super) use endpoint::Endpoint;
pub use endpoint::Source;
pub use judge::Issuer;
pub(super) use judge::{Flaw, Judged, Refreshed};
pub use key::VerifyingKey;
pub use key_set::{KEYS_MAX, KeySet};
pub use shared::SharedKey;
pub(crate) use token::{Bearer, is_token};

#[cfg(test)]
mod attacks;
#[cfg(test)]
pub(crate) mod issuing;
