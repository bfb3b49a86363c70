//! Signed addresses: whoever shares a secret with this node lets people in by himself.
//!
//! Shape: `exp=SECONDS&kid=KEY&sig=SIGNATURE` in the query of an address, and if wanted
//! `nbf=SECONDS` and `ip=ADDRESS` (or `ip=RANGE`). SIGNATURE is the HMAC-SHA256 of the statement
//! below with the secret of KEY, in base64url without padding. The lines of the statement end in
//! nothing but the line feed between them:
//!
//! ```text
//! grandstand-signed-url-1
//! publish or play
//! the stream's name, as the node calls it: news/cam for /live/news/cam.flv
//! exp
//! nbf, or an empty line
//! ip, or an empty line
//! kid
//! ```
//!
//! What is signed is bound to its direction, its stream, its time and, if wanted, an address. So it
//! opens nothing else, however the stream is written in the address: the node compares names, not
//! letters of addresses.
//!
//! Spec: RFC 2104 (HMAC), RFC 4648 5 (base64url). Times are seconds since 1970.
//! Limits: [`KEYS_MAX`]; a query as long as sessions take.
//! Map: `key` is a secret with its name, `stamp` what a query shows, `statement` what is signed,
//! `judge` the verdict.

mod judge;
mod key;
mod stamp;
mod statement;

pub use judge::Signed;
pub use key::{KEYS_MAX, SECRET_BYTES_MIN, SignedKey};
pub use statement::Statement;

#[cfg(test)]
mod attacks;
