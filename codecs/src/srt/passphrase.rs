//! Passphrases, and the keys that wrap keys.
//!
//! Spec: draft-sharabayko-srt 6.1.4 and 6.2: PBKDF2 with HMAC-SHA1 and 2048 rounds over the last 8
//! bytes of the salt; RFC 3394.
//! Limits: a derivation costs about a millisecond: the session bounds how often a peer may cause
//! one.

use alloc::sync::Arc;
use core::fmt;

use aes_kw::{KekAes128, KekAes192, KekAes256};

use super::key_material::{KeyLength, KeyMaterial, KeySlots, SALT_BYTES, StreamKey, WRAP_BYTES};
use crate::Error;

/// Bytes of a passphrase at least.
pub const PASSPHRASE_BYTES_MIN: usize = 10;
/// Bytes of a passphrase at most.
pub const PASSPHRASE_BYTES_MAX: usize = 80;

const ROUNDS: u32 = 2_048;
/// The part of the salt that a passphrase is salted with.
const SALT_TAIL_BYTES: usize = 8;

/// The secret that both sides of an encrypted connection know.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Arc<[u8]>);

impl Passphrase {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is too short, [`Error::TooLarge`] if it is too long.
    pub fn new(text: &[u8]) -> Result<Self, Error> {
        let value = text.len() as u64;
        if text.len() < PASSPHRASE_BYTES_MIN {
            return Err(Error::Invalid { what: "srt.passphrase.length", value });
        }
        if text.len() > PASSPHRASE_BYTES_MAX {
            let max = PASSPHRASE_BYTES_MAX as u64;
            return Err(Error::TooLarge { what: "srt.passphrase.length", value, max });
        }
        Ok(Self(text.into()))
    }

    /// The secret itself, for who keeps it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key that wraps keys, for a salt.
    #[must_use]
    pub fn derive(&self, salt: &[u8; SALT_BYTES], length: KeyLength) -> KeyEncryptionKey {
        let mut bytes = [0; 32];
        let (_, tail) = salt.split_at(SALT_BYTES - SALT_TAIL_BYTES);
        let key = bytes.get_mut(..length.bytes()).unwrap_or_default();
        pbkdf2::pbkdf2_hmac::<sha1::Sha1>(&self.0, tail, ROUNDS, key);
        KeyEncryptionKey { bytes, length, salt: *salt }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(***)")
    }
}

/// The key that wraps the keys of a connection.
#[derive(Clone)]
pub struct KeyEncryptionKey {
    bytes: [u8; 32],
    length: KeyLength,
    salt: [u8; SALT_BYTES],
}

impl KeyEncryptionKey {
    /// True if it is the key for that salt and length, so that none needs to be derived.
    #[must_use]
    pub fn fits(&self, salt: &[u8; SALT_BYTES], length: KeyLength) -> bool {
        self.salt == *salt && self.length == length
    }

    /// The salt.
    #[must_use]
    pub const fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// The length of the keys.
    #[must_use]
    pub const fn length(&self) -> KeyLength {
        self.length
    }

    /// The keys inside `material`, even first; `None` if the passphrases differ.
    #[must_use]
    pub fn open(&self, material: &KeyMaterial<'_>) -> Option<[Option<StreamKey>; 2]> {
        let mut plain = [0; 64];
        let len = material.wrapped.len().checked_sub(WRAP_BYTES)?;
        let plain = plain.get_mut(..len)?;
        let key = self.bytes.get(..self.length.bytes())?;
        match self.length {
            KeyLength::Aes128 => KekAes128::try_from(key).ok()?.unwrap(material.wrapped, plain),
            KeyLength::Aes192 => KekAes192::try_from(key).ok()?.unwrap(material.wrapped, plain),
            KeyLength::Aes256 => KekAes256::try_from(key).ok()?.unwrap(material.wrapped, plain),
        }
        .ok()?;
        let mut keys = plain.chunks(material.length.bytes()).map(StreamKey::new);
        Some(match material.slots {
            KeySlots::Even => [keys.next()?, None],
            KeySlots::Odd => [None, keys.next()?],
            KeySlots::Both => [keys.next()?, keys.next()?],
        })
    }

    /// Wraps keys into `out`, whose length tells how many there are.
    pub(super) fn wrap(&self, keys: &[u8], out: &mut [u8]) {
        let key = self.bytes.get(..self.length.bytes()).unwrap_or_default();
        let wrapped = match self.length {
            KeyLength::Aes128 => KekAes128::try_from(key).map(|kek| kek.wrap(keys, out)),
            KeyLength::Aes192 => KekAes192::try_from(key).map(|kek| kek.wrap(keys, out)),
            KeyLength::Aes256 => KekAes256::try_from(key).map(|kek| kek.wrap(keys, out)),
        };
        assert!(matches!(wrapped, Ok(Ok(()))), "lengths are ours");
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyEncryptionKey({:?})", self.length)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn lengths_are_checked_and_secrets_are_not_shown() {
        assert!(Passphrase::new(b"ninechars").is_err());
        assert!(Passphrase::new(&[b'x'; 80]).is_ok());
        assert!(Passphrase::new(&[b'x'; 81]).is_err());
        let passphrase = Passphrase::new(b"ten chars!").unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(***)");
        let kek = passphrase.derive(&[7; SALT_BYTES], KeyLength::Aes192);
        assert_eq!(format!("{kek:?}"), "KeyEncryptionKey(Aes192)");
        assert!(kek.fits(&[7; SALT_BYTES], KeyLength::Aes192));
        assert!(!kek.fits(&[7; SALT_BYTES], KeyLength::Aes128));
        assert!(!kek.fits(&[8; SALT_BYTES], KeyLength::Aes192));
    }

    /// RFC 6070 has no vector of 2048 rounds; the key was computed with another implementation
    /// (Python's `hashlib.pbkdf2_hmac`).
    #[test]
    fn the_derivation_is_salted_with_the_tail_of_the_salt() {
        let passphrase = Passphrase::new(b"passphrase of a stream").unwrap();
        let mut salt = [0xff; SALT_BYTES];
        salt[8..].copy_from_slice(b"saltsalt");
        let kek = passphrase.derive(&salt, KeyLength::Aes128);
        assert_eq!(kek.bytes[..16], KEK);
        assert_eq!(kek.bytes[16..], [0; 16]);
    }

    const KEK: [u8; 16] = 0x6e97_945b_7339_2834_e347_ed1c_b496_6d2c_u128.to_be_bytes();
}
