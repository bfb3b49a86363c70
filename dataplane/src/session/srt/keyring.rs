//! The keys of a connection, and how they are replaced.
//!
//! Spec: draft-sharabayko-srt 6.1.6: the next key is told before it is used, and the one before
//! is kept for what was sent with it.
//! Shape: each direction has an even and an odd key. What we send with follows the number of the
//! packet: from `switched_at` on with `slot`, before it with the other. A listener begins with the
//! caller's key, and where both send it tells one of its own first: the numbers of both directions
//! are the same, and one key would hide two packets alike.
//! Limits: a peer causes at most one derivation in [`DERIVE_PAUSE`]; a key that the peer does not
//! confirm is not used, and one that has encrypted [`KEY_PACKETS_MAX`] packets is not used either.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use codecs::srt::{
    KeyEncryptionKey, KeyLength, KeyMaterial, KeySlot, KeyState, Passphrase, PayloadCipher,
    SALT_BYTES, SeqNumber, StreamKey,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Time between two derivations that a peer causes.
const DERIVE_PAUSE: Duration = Duration::from_secs(1);
/// New keys are told so often at the same pace, before they are told at half of it.
const TRIES_PER_PACE: u32 = 4;
/// Time between two messages of new keys at most.
const TELL_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A listener tells its first own key so often before it gives up.
const FIRST_TRIES_MAX: u32 = 20;
/// Packets of one key at most: half of what the numbers tell apart.
const KEY_PACKETS_MAX: u64 = 1 << 30;

/// Random bytes that nobody else has.
pub type KeySeed = [u8; 32];

/// The keys of both directions.
#[derive(Debug)]
pub struct Keyring {
    passphrase: Passphrase,
    kek: KeyEncryptionKey,
    seed: Seed,
    derived_at: Option<Instant>,
    receive: [Option<Key>; 2],
    send: [Option<Key>; 2],
    slot: KeySlot,
    switched_at: u64,
    announcement: Option<Box<Announcement>>,
    /// The key is the peer's, which sends with it: nothing is sent before another is confirmed.
    is_borrowed: bool,
}

/// A key. Its schedule takes more room than all else that a player has of its keys, and is made in
/// a quarter of the time in which it hides one packet: only what is received with it keeps it.
#[derive(Debug)]
struct Key {
    key: StreamKey,
    salt: [u8; SALT_BYTES],
    received: OnceCell<Box<PayloadCipher>>,
}

impl Key {
    const fn new(key: StreamKey, salt: [u8; SALT_BYTES]) -> Self {
        Self { key, salt, received: OnceCell::new() }
    }

    fn cipher(&self) -> PayloadCipher {
        PayloadCipher::new(&self.key, &self.salt)
    }
}

/// A key that the peer was told of.
#[derive(Debug)]
struct Announcement {
    message: Vec<u8>,
    send_at: Instant,
    tries: u32,
    is_confirmed: bool,
}

/// What new keys are made of.
struct Seed {
    bytes: KeySeed,
    count: u64,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(***)")
    }
}

impl Seed {
    fn next(&mut self) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes).expect("any length is a key");
        mac.update(&self.count.to_be_bytes());
        self.count += 1;
        mac.finalize().into_bytes().into()
    }

    fn key(&mut self, length: KeyLength) -> StreamKey {
        StreamKey::new(&self.next()[..length.bytes()]).expect("it has that length")
    }
}

const fn index(slot: KeySlot) -> usize {
    match slot {
        KeySlot::Even => 0,
        KeySlot::Odd => 1,
    }
}

/// What a peer is told whose key material cannot be read.
fn state_of(error: codecs::Error) -> KeyState {
    match error {
        codecs::Error::Unsupported { .. } => KeyState::BadCryptoMode,
        _ => KeyState::BadSecret,
    }
}

impl Keyring {
    /// Bytes of it at most, with the schedules of a key in use and of the one before or after it,
    /// of who publishes.
    pub(super) const BYTES: usize =
        size_of::<Self>() + size_of::<Announcement>() + 2 * size_of::<PayloadCipher>();

    /// The keys of a caller, and the message that tells them.
    pub(super) fn of_caller(
        passphrase: &Passphrase,
        length: KeyLength,
        seed: KeySeed,
    ) -> (Self, Vec<u8>) {
        let mut seed = Seed { bytes: seed, count: 0 };
        let random = seed.next();
        let salt: &[u8; SALT_BYTES] = random.first_chunk().expect("it is longer");
        let key = seed.key(length);
        let kek = passphrase.derive(salt, length);
        let message = kek.seal([Some(&key), None]);
        let keyring = Self::new(passphrase, kek, [Some(key), None], seed, false);
        (keyring, message)
    }

    /// The keys of a listener: those of the caller, which it may not send with if `both_send`.
    ///
    /// # Errors
    /// What the caller is told if they cannot be opened.
    pub(super) fn of_listener(
        passphrase: &Passphrase,
        message: &[u8],
        seed: KeySeed,
        both_send: bool,
    ) -> Result<Self, KeyState> {
        let material = KeyMaterial::parse(message).map_err(state_of)?;
        let kek = passphrase.derive(material.salt, material.length);
        let keys = kek.open(&material).ok_or(KeyState::BadSecret)?;
        Ok(Self::new(passphrase, kek, keys, Seed { bytes: seed, count: 0 }, both_send))
    }

    fn new(
        passphrase: &Passphrase,
        kek: KeyEncryptionKey,
        keys: [Option<StreamKey>; 2],
        seed: Seed,
        is_borrowed: bool,
    ) -> Self {
        let salt = *kek.salt();
        let receive = keys.clone().map(|key| key.map(|key| Key::new(key, salt)));
        let send = keys.map(|key| key.map(|key| Key::new(key, salt)));
        let slot = if send[0].is_some() { KeySlot::Even } else { KeySlot::Odd };
        Self {
            passphrase: passphrase.clone(),
            kek,
            seed,
            derived_at: None,
            receive,
            send,
            slot,
            switched_at: 0,
            announcement: None,
            is_borrowed,
        }
    }

    /// Shows a payload; false if there is no key for it.
    pub(super) fn decrypt(&self, slot: KeySlot, sequence: SeqNumber, payload: &mut [u8]) -> bool {
        let Some(key) = &self.receive[index(slot)] else { return false };
        key.received.get_or_init(|| Box::new(key.cipher())).apply(sequence, payload);
        true
    }

    /// The key that the packet of that number is sent with, first or again; `None` if it is gone.
    pub(super) fn slot(&self, number: u64) -> Option<KeySlot> {
        let slot = if number >= self.switched_at { self.slot } else { self.slot.other() };
        self.send[index(slot)].as_ref().map(|_| slot)
    }

    /// Hides a payload.
    pub(super) fn encrypt(&self, slot: KeySlot, sequence: SeqNumber, payload: &mut [u8]) {
        if let Some(key) = &self.send[index(slot)] {
            key.cipher().apply(sequence, payload);
        }
    }

    /// Takes new keys of the peer and gives what it is answered; `None` if it has to wait.
    pub(super) fn handle_request(&mut self, now: Instant, body: &[u8]) -> Option<Vec<u8>> {
        let refused = |state: KeyState| Some(state.to_wire().into());
        let material = match KeyMaterial::parse(body) {
            Ok(material) => material,
            Err(error) => return refused(state_of(error)),
        };
        let fresh = if self.kek.fits(material.salt, material.length) {
            None
        } else {
            if self.derived_at.is_some_and(|at| now < at + DERIVE_PAUSE) {
                return None;
            }
            self.derived_at = Some(now);
            Some(self.passphrase.derive(material.salt, material.length))
        };
        let Some(keys) = fresh.as_ref().unwrap_or(&self.kek).open(&material) else {
            return refused(KeyState::BadSecret);
        };
        for (known, key) in self.receive.iter_mut().zip(keys) {
            if let Some(key) = key {
                *known = Some(Key::new(key, *material.salt));
            }
        }
        // CONTROL: key material is answered with itself.
        Some(body.to_vec())
    }

    /// Takes the peer's answer to new keys.
    pub(super) fn handle_response(&mut self, body: &[u8]) {
        if let Some(announcement) = &mut self.announcement {
            announcement.is_confirmed |= announcement.message == body;
        }
    }

    /// Makes, tells and takes into use the next key as `next`, the number of the next packet,
    /// comes near; false if nothing may be sent any more.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        next: u64,
        acked: u64,
        refresh: u64,
        announce: u64,
    ) -> bool {
        let used = next.saturating_sub(self.switched_at);
        let is_confirmed = self.announcement.as_ref().map(|told| told.is_confirmed);
        match is_confirmed {
            // The other slot is free once nothing can be asked for that it encrypted.
            None if self.is_borrowed
                || (used + announce >= refresh && acked >= self.switched_at) =>
            {
                self.announce(now);
            }
            Some(true) if self.is_borrowed || used >= refresh => {
                self.slot = self.slot.other();
                self.switched_at = next;
                self.announcement = None;
                self.is_borrowed = false;
            }
            _ => {}
        }
        // Nothing that the key before was used for can be asked for any more.
        let is_old_done = acked >= self.switched_at && self.announcement.is_none();
        if is_old_done {
            self.send[index(self.slot.other())] = None;
        }
        let is_refused = self.is_borrowed
            && self.announcement.as_ref().is_some_and(|told| told.tries > FIRST_TRIES_MAX);
        used < KEY_PACKETS_MAX && !is_refused
    }

    /// True if there is a key to send with.
    pub(super) const fn may_send(&self) -> bool {
        !self.is_borrowed
    }

    fn announce(&mut self, now: Instant) {
        let key = self.seed.key(self.kek.length());
        let salt = *self.kek.salt();
        self.send[index(self.slot.other())] = Some(Key::new(key, salt));
        let [even, odd] = [0, 1].map(|at: usize| self.send[at].as_ref().map(|known| &known.key));
        let message = self.kek.seal([even, odd]);
        let announcement = Announcement { message, send_at: now, tries: 0, is_confirmed: false };
        self.announcement = Some(Box::new(announcement));
    }

    /// The message that the peer has to be sent, and is sent again after `pause`, later after
    /// longer ones.
    pub(super) fn poll_message(&mut self, now: Instant, pause: Duration) -> Option<&[u8]> {
        let told = self.announcement.as_mut()?;
        if told.is_confirmed || told.send_at > now {
            return None;
        }
        let slower = 1_u32 << (told.tries / TRIES_PER_PACE).min(16);
        told.tries += 1;
        told.send_at = now + (pause * slower).min(TELL_PAUSE_MAX);
        Some(&told.message)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let told = self.announcement.as_ref().filter(|told| !told.is_confirmed)?;
        Some(told.send_at)
    }
}
