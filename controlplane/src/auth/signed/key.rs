//! Key: a secret that signs addresses, and the name that addresses call it by.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::statement::Statement;
use crate::auth::seconds::Seconds;
use crate::registry::TenantName;

/// Keys at most.
pub const KEYS_MAX: usize = 64;
/// Bytes of a secret at least: one for each byte of its hash, as RFC 7518 3.2 wants it of HS256.
pub const SECRET_BYTES_MIN: usize = 32;
/// Letters of a key's name at most.
const ID_LETTERS_MAX: usize = 64;

/// A secret with its name. `Debug` shows the name alone.
#[derive(Clone)]
pub struct SignedKey {
    /// What addresses call it.
    pub id: String,
    /// Nothing that it signed is good any more after this moment.
    pub not_after: Option<Seconds>,
    /// Whose it is: so are streams that are published by its signature.
    pub tenant: Option<TenantName>,
    /// As it was configured, to be written again.
    pub(crate) secret: String,
    ready: Hmac<Sha256>,
}

impl SignedKey {
    /// The key of that name; `None` if the name is none, or the secret is too short.
    #[must_use]
    pub fn new(id: &str, secret: &str, not_after: Option<Seconds>) -> Option<Self> {
        let legal = is_id(id) && secret.len() >= SECRET_BYTES_MIN;
        let ready = Hmac::new_from_slice(secret.as_bytes()).ok()?;
        let (id, secret) = (id.to_owned(), secret.to_owned());
        legal.then_some(Self { id, not_after, tenant: None, secret, ready })
    }

    /// Its signature under a statement.
    pub(super) fn sign(&self, statement: &Statement<'_>) -> [u8; 32] {
        self.mac(statement).finalize().into_bytes().into()
    }

    /// Whether `signature` is its own under a statement; the time taken does not tell how much of
    /// it is right.
    pub(super) fn verifies(&self, statement: &Statement<'_>, signature: &[u8]) -> bool {
        self.mac(statement).verify_slice(signature).is_ok()
    }

    fn mac(&self, statement: &Statement<'_>) -> Hmac<Sha256> {
        let mut mac = self.ready.clone();
        mac.update(statement.text(&self.id).as_bytes());
        mac
    }
}

impl PartialEq for SignedKey {
    fn eq(&self, other: &Self) -> bool {
        let same = (&self.id, self.not_after) == (&other.id, other.not_after);
        let same = same && self.tenant == other.tenant;
        same && bool::from(self.secret.as_bytes().ct_eq(other.secret.as_bytes()))
    }
}

impl Eq for SignedKey {}

impl fmt::Debug for SignedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, not_after, tenant, .. } = self;
        f.debug_struct("SignedKey")
            .field("id", id)
            .field("not_after", not_after)
            .field("tenant", tenant)
            .finish_non_exhaustive()
    }
}

/// True for `[A-Za-z0-9_-]+` of legal length: it stands in addresses as it is.
pub(super) fn is_id(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !text.is_empty() && text.len() <= ID_LETTERS_MAX && text.bytes().all(legal)
}
