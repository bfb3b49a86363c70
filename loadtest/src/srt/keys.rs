//! The keys of a connection: the caller makes them, both directions use them, and the peer may
//! change those of what it sends.
//!
//! Spec: draft-sharabayko-srt 6.1 and 6.2.

use anyhow::{Context, Result, bail};
use codecs::srt::{
    KeyEncryptionKey, KeyLength, KeyMaterial, KeySlot, Passphrase, PayloadCipher, SALT_BYTES,
    SeqNumber, StreamKey,
};

/// Bytes that a key and its salt are made of.
pub(super) const KEY_BYTES: usize = SALT_BYTES + 32;

#[derive(Debug)]
pub(super) struct Keys {
    passphrase: Passphrase,
    kek: KeyEncryptionKey,
    /// Even, odd: what the peer encrypts with.
    theirs: [Option<PayloadCipher>; 2],
    /// What we encrypt with; an even key.
    ours: PayloadCipher,
}

impl Keys {
    /// Makes a key out of bytes that nobody can guess, and the message that tells it.
    pub(super) fn make(
        passphrase: &Passphrase,
        length: KeyLength,
        secret: &[u8; KEY_BYTES],
    ) -> Result<(Self, Vec<u8>)> {
        let (salt, key) = secret.split_first_chunk().context("a salt comes first")?;
        let key = key.get(..length.bytes()).and_then(StreamKey::new).context("a key follows")?;
        let kek = passphrase.derive(salt, length);
        let message = kek.seal([Some(&key), None]);
        let ours = PayloadCipher::new(&key, salt);
        let theirs = [Some(ours.clone()), None];
        Ok((Self { passphrase: passphrase.clone(), kek, theirs, ours }, message))
    }

    /// The keys of who answers: those that the caller tells serve both directions.
    #[cfg(test)]
    pub(super) fn answer(passphrase: &Passphrase, message: &[u8]) -> Result<Self> {
        let (mut keys, _) = Self::make(passphrase, KeyLength::Aes128, &[1; KEY_BYTES])?;
        keys.take(message)?;
        keys.ours = keys.theirs[0].clone().context("a caller tells an even key")?;
        Ok(keys)
    }

    /// Takes keys that the peer tells.
    ///
    /// # Errors
    /// If the message is none, or sealed with another passphrase.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<()> {
        let material = KeyMaterial::parse(message)?;
        if !self.kek.fits(material.salt, material.length) {
            self.kek = self.passphrase.derive(material.salt, material.length);
        }
        let Some(keys) = self.kek.open(&material) else { bail!("the passphrases differ") };
        for (slot, key) in self.theirs.iter_mut().zip(&keys) {
            if let Some(key) = key {
                *slot = Some(PayloadCipher::new(key, material.salt));
            }
        }
        Ok(())
    }

    /// Hides what we send.
    pub(super) fn hide(&self, sequence: SeqNumber, payload: &mut [u8]) {
        self.ours.apply(sequence, payload);
    }

    /// Shows what came; false without its key.
    pub(super) fn show(&self, slot: KeySlot, sequence: SeqNumber, payload: &mut [u8]) -> bool {
        let cipher = &self.theirs[usize::from(slot == KeySlot::Odd)];
        cipher.as_ref().is_some_and(|cipher| {
            cipher.apply(sequence, payload);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_changes_is_followed() {
        let passphrase = Passphrase::new(b"a passphrase").unwrap();
        for length in [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256] {
            let (mut keys, message) = Keys::make(&passphrase, length, &[7; KEY_BYTES]).unwrap();
            let number = SeqNumber::new(9);
            let mut payload = *b"a payload";
            keys.hide(number, &mut payload);
            assert_ne!(&payload, b"a payload");
            assert!(keys.show(KeySlot::Even, number, &mut payload));
            assert_eq!(&payload, b"a payload");
            assert!(!keys.show(KeySlot::Odd, number, &mut payload));
            let material = KeyMaterial::parse(&message).unwrap();
            let kek = passphrase.derive(material.salt, length);
            let odd = StreamKey::new(&[3; 32][..length.bytes()]).unwrap();
            keys.take(&kek.seal([None, Some(&odd)])).unwrap();
            assert!(keys.show(KeySlot::Odd, number, &mut payload));
            let other = Passphrase::new(b"another passphrase").unwrap();
            let sealed = other.derive(&[7; SALT_BYTES], length).seal([None, Some(&odd)]);
            assert!(keys.take(&sealed).is_err() && keys.take(&sealed[1..]).is_err());
        }
    }
}
