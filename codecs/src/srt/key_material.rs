//! Key material: the keys of a connection, wrapped by one that both sides derive.
//!
//! Spec: draft-sharabayko-srt 3.2.2 and 6.1.
//! Shape: version and packet type (0x12), signature (0x2029), which keys (8 bits), index of the
//! wrapping key (32), cipher (8), authentication (8), encapsulation (8), 3 bytes of nothing,
//! length of the salt and of a key in words (8 each), salt, check value (64), one key or two.
//! Limits: a message has exactly the length that its fields say and the salt has one length, so
//! nothing of a peer's length is ever copied.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::passphrase::KeyEncryptionKey;
use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes of the salt.
pub const SALT_BYTES: usize = 16;
/// Bytes that wrapping adds.
pub(super) const WRAP_BYTES: usize = 8;
/// Bytes of a message at most: two keys of 256 bits.
pub const KEY_MATERIAL_BYTES_MAX: usize = FIXED_BYTES + SALT_BYTES + WRAP_BYTES + 64;

const FIXED_BYTES: usize = 16;
const SALT_WORDS: u8 = 4;
const VERSION_AND_TYPE: u8 = 0x12;
const SIGNATURE: u16 = 0x2029;
const AES_CTR: u8 = 2;
const NO_AUTHENTICATION: u8 = 0;
/// Transport packets or anything else inside SRT.
const ENCAPSULATION_SRT: u8 = 2;

/// The length of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyLength {
    /// 16 bytes.
    Aes128,
    /// 24 bytes.
    Aes192,
    /// 32 bytes.
    Aes256,
}

impl KeyLength {
    /// Bytes of a key.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// From bytes.
    #[must_use]
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            16 => Some(Self::Aes128),
            24 => Some(Self::Aes192),
            32 => Some(Self::Aes256),
            _ => None,
        }
    }
}

/// Which keys a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySlots {
    /// The even one.
    Even,
    /// The odd one.
    Odd,
    /// The even one, then the odd one.
    Both,
}

/// A key of a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey {
    bytes: [u8; 32],
    length: KeyLength,
}

impl StreamKey {
    /// A key of 16, 24 or 32 bytes, which no other connection has.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        let length = KeyLength::from_bytes(key.len())?;
        let mut bytes = [0; 32];
        for (slot, byte) in bytes.iter_mut().zip(key) {
            *slot = *byte;
        }
        Some(Self { bytes, length })
    }

    /// The key.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.bytes()).unwrap_or_default()
    }

    /// Its length.
    #[must_use]
    pub const fn length(&self) -> KeyLength {
        self.length
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKey({:?})", self.length)
    }
}

/// A message of key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMaterial<'a> {
    /// Which keys it has.
    pub slots: KeySlots,
    /// The length of each.
    pub length: KeyLength,
    /// The salt of the derivation and of the cipher.
    pub salt: &'a [u8; SALT_BYTES],
    /// The wrapped keys.
    pub wrapped: &'a [u8],
}

impl<'a> KeyMaterial<'a> {
    /// Reads a message, of a handshake or of a connection that stands.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Invalid`] or [`Error::TooLarge`] if it is longer than it
    /// says; [`Error::Unsupported`] for a cipher that is not AES in counter mode.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        expect("srt.key_material.type", reader.u8("srt.key_material")?, VERSION_AND_TYPE)?;
        let signature = reader.u16("srt.key_material")?;
        if signature != SIGNATURE {
            let value = signature.into();
            return Err(Error::Invalid { what: "srt.key_material.signature", value });
        }
        let slots = match reader.u8("srt.key_material")? & 3 {
            1 => KeySlots::Even,
            2 => KeySlots::Odd,
            3 => KeySlots::Both,
            _ => return Err(Error::Invalid { what: "srt.key_material.keys", value: 0 }),
        };
        let index = reader.u32("srt.key_material")?;
        if index != 0 {
            let value = index.into();
            return Err(Error::Unsupported { what: "srt.key_material.index", value });
        }
        let cipher = reader.u8("srt.key_material")?;
        if cipher != AES_CTR {
            let value = cipher.into();
            return Err(Error::Unsupported { what: "srt.key_material.cipher", value });
        }
        let authentication = reader.u8("srt.key_material")?;
        if authentication != NO_AUTHENTICATION {
            let value = authentication.into();
            return Err(Error::Unsupported { what: "srt.key_material.authentication", value });
        }
        // The encapsulation says what the payload is, and nobody acts on it.
        let _ = reader.u32("srt.key_material")?;
        let salt_words = reader.u8("srt.key_material")?;
        expect("srt.key_material.salt_length", salt_words, SALT_WORDS)?;
        let key_words = reader.u8("srt.key_material")?;
        let length = KeyLength::from_bytes(usize::from(key_words) * 4).ok_or(Error::Invalid {
            what: "srt.key_material.key_length",
            value: key_words.into(),
        })?;
        let salt = reader
            .rest()
            .first_chunk()
            .ok_or(Error::Truncated { what: "srt.key_material.salt" })?;
        reader.bytes(SALT_BYTES, "srt.key_material.salt")?;
        let keys = if slots == KeySlots::Both { 2 } else { 1 };
        let wrapped =
            reader.bytes(WRAP_BYTES + keys * length.bytes(), "srt.key_material.wrapped")?;
        if !reader.is_empty() {
            let max = (bytes.len() - reader.remaining()) as u64;
            let value = bytes.len() as u64;
            return Err(Error::TooLarge { what: "srt.key_material", value, max });
        }
        Ok(Self { slots, length, salt, wrapped })
    }
}

impl KeyEncryptionKey {
    /// A message with the keys that there are, even first; empty if there are none.
    ///
    /// # Panics
    /// If a key has another length than this.
    #[must_use]
    pub fn seal(&self, keys: [Option<&StreamKey>; 2]) -> Vec<u8> {
        let slots = match keys {
            [Some(_), None] => 1,
            [None, Some(_)] => 2,
            [Some(_), Some(_)] => 3,
            [None, None] => return Vec::new(),
        };
        let mut plain = Vec::with_capacity(64);
        for key in keys.into_iter().flatten() {
            assert!(key.length() == self.length(), "one length for all keys");
            plain.extend_from_slice(key.bytes());
        }
        let head = FIXED_BYTES + SALT_BYTES;
        let mut message = vec![0; head + WRAP_BYTES + plain.len()];
        let mut writer = Writer::new(&mut message);
        writer.u8(VERSION_AND_TYPE);
        writer.u16(SIGNATURE);
        writer.u8(slots);
        writer.u32(0);
        writer.put(&[AES_CTR, NO_AUTHENTICATION, ENCAPSULATION_SRT, 0, 0, 0]);
        writer.u8(SALT_WORDS);
        writer.u8(u8::try_from(self.length().bytes() / 4).expect("8 words at most"));
        writer.put(self.salt());
        if let Some(wrapped) = message.get_mut(head..) {
            self.wrap(&plain, wrapped);
        }
        message
    }
}

fn expect(what: &'static str, got: u8, expected: u8) -> Result<(), Error> {
    if got == expected { Ok(()) } else { Err(Error::Invalid { what, value: got.into() }) }
}

/// What a side says of its keys instead of the key material that it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It does not encrypt.
    Unsecured,
    /// It is about to.
    Securing,
    /// It does.
    Secured,
    /// It has no passphrase.
    NoSecret,
    /// It has another one.
    BadSecret,
    /// It does not speak the cipher.
    BadCryptoMode,
}

impl KeyState {
    const ALL: [Self; 6] = [
        Self::Unsecured,
        Self::Securing,
        Self::Secured,
        Self::NoSecret,
        Self::BadSecret,
        Self::BadCryptoMode,
    ];

    /// Reads a body of one word; `None` if it is something else.
    ///
    /// libsrt writes this word in the order of its machine, which is the small end first; the
    /// specification would have it the other way round, and both are understood.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let word: [u8; 4] = body.try_into().ok()?;
        let number = u32::from_le_bytes(word).min(u32::from_be_bytes(word));
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The body.
    #[must_use]
    pub fn to_wire(self) -> [u8; 4] {
        let number = Self::ALL.iter().position(|state| *state == self).unwrap_or(0);
        [u8::try_from(number).expect("six states"), 0, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::srt::{Passphrase, PayloadCipher, SeqNumber};

    const SALT: [u8; SALT_BYTES] = 0xa0a1_a2a3_a4a5_a6a7_a8a9_aaab_acad_aeaf_u128.to_be_bytes();

    /// Keys wrapped, and zeros encrypted, by another implementation (Python's `cryptography`), for
    /// keys that count up from 0 (even) and from 0x40 (odd), and packet 0x12345678.
    const VECTORS: [(KeyLength, &str, &str, &str, &str); 3] = [
        (
            KeyLength::Aes128,
            "e441c3018bbb6d305a5b4509bffe6e59717de6e432d24d74",
            "bd3ad930e06e64e3413b857edc4a02562451de405742a87061923362bb40f050f21af41bdd8ba760",
            "28a2d48ed7423465be994c5176f1df08",
            "7a0bb0379bed802895a5f48d38f4df84",
        ),
        (
            KeyLength::Aes192,
            "ec9a004ed73bc33ce6f1645f4a5b865084ed91f6e6238380daa88696cdfe49a8",
            "550a41ef7533bceda46d0205ae5c86b3e5f7cbf233c8900a0331e5cf01a20cbd\
             5f50a591147c905c6febc33a70c49d546774adcb34872eb6",
            "60422d89a996f455a4dbde2e768e2808",
            "3a13203cbc88ffa5df18844b8559a479",
        ),
        (
            KeyLength::Aes256,
            "13f3f96f16e5336b1b213511880b056cc6e3e14d2549ad04c6cb3de766b2a379b7d24e0bc6dd1af8",
            "19c44ac1c9e0c0f8615b03c723a1953555988c93292c4b8d79747cac3ecc513c\
             fc1be3ba01e4f54fb387cdaa2ba9c1765a02c678e390117091c087106597c215\
             be9af6aa447033fc",
            "7c50ddf81d652b76045c5e55ce6e03da",
            "6865ef6bc57740ee46f85f8db9c83918",
        ),
    ];

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }

    fn key(first: u8, length: KeyLength) -> StreamKey {
        let bytes: Vec<u8> = (first..).take(length.bytes()).collect();
        StreamKey::new(&bytes).unwrap()
    }

    fn kek(length: KeyLength) -> KeyEncryptionKey {
        Passphrase::new(b"passphrase of a stream").unwrap().derive(&SALT, length)
    }

    #[test]
    fn messages_agree_with_another_implementation() {
        for (length, one, both, ..) in VECTORS {
            let (kek, even, odd) = (kek(length), key(0, length), key(0x40, length));
            let words = u8::try_from(length.bytes() / 4).unwrap();
            let head = |keys| {
                let fixed = [0x12, 0x20, 0x29, keys, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 4, words];
                [fixed, SALT].concat()
            };
            let sealed = kek.seal([Some(&even), None]);
            assert_eq!(sealed, [head(1), unhex(one)].concat());
            let material = KeyMaterial::parse(&sealed).unwrap();
            assert_eq!((material.slots, material.length), (KeySlots::Even, length));
            assert_eq!(kek.open(&material), Some([Some(even.clone()), None]));
            let sealed = kek.seal([Some(&even), Some(&odd)]);
            assert_eq!(sealed, [head(3), unhex(both)].concat());
            let opened = kek.open(&KeyMaterial::parse(&sealed).unwrap());
            assert_eq!(opened, Some([Some(even), Some(odd.clone())]));
            let sealed = kek.seal([None, Some(&odd)]);
            let opened = kek.open(&KeyMaterial::parse(&sealed).unwrap());
            assert_eq!(opened, Some([None, Some(odd)]));
            assert!(kek.seal([None, None]).is_empty());
        }
    }

    #[test]
    fn payloads_agree_with_another_implementation() {
        for (length, _, _, first, last) in VECTORS {
            let cipher = PayloadCipher::new(&key(0, length), &SALT);
            let mut payload = [0; 1_456];
            cipher.apply(SeqNumber::new(0x1234_5678), &mut payload);
            assert_eq!(payload[..16], unhex(first));
            assert_eq!(payload[1_440..], unhex(last));
            cipher.apply(SeqNumber::new(0x1234_5678), &mut payload);
            assert_eq!(payload, [0; 1_456]);
        }
    }

    #[test]
    fn another_passphrase_opens_nothing() {
        let length = KeyLength::Aes128;
        let sealed = kek(length).seal([Some(&key(0, length)), None]);
        let material = KeyMaterial::parse(&sealed).unwrap();
        let other = Passphrase::new(b"passphrase of another").unwrap().derive(&SALT, length);
        assert_eq!(other.open(&material), None);
        for at in 32..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert_eq!(kek(length).open(&KeyMaterial::parse(&bent).unwrap()), None, "{at}");
        }
    }

    #[test]
    fn only_the_exact_length_is_taken() {
        for (length, ..) in VECTORS {
            for keys in [[true, false], [false, true], [true, true]] {
                let key = key(0, length);
                let sealed = kek(length).seal(keys.map(|has| has.then_some(&key)));
                assert!(KeyMaterial::parse(&sealed).is_ok());
                for cut in 0..sealed.len() {
                    assert!(KeyMaterial::parse(&sealed[..cut]).is_err(), "{cut}");
                }
                for more in [1, 4, 1_352] {
                    let mut long = sealed.clone();
                    long.resize(sealed.len() + more, 0xaa);
                    let parsed = KeyMaterial::parse(&long);
                    assert!(matches!(parsed, Err(Error::TooLarge { .. })), "{more}");
                }
            }
        }
    }

    #[test]
    fn fields_that_lie_are_refused() {
        let length = KeyLength::Aes128;
        let sealed = kek(length).seal([Some(&key(0, length)), None]);
        for (at, value) in [
            (0, 0x11),
            (0, 0x92),
            (1, 0),
            (3, 0),
            (3, 3),
            (4, 1),
            (8, 0),
            (8, 4),
            (9, 1),
            (14, 0),
            (14, 3),
            (14, 5),
            (14, 255),
            (15, 0),
            (15, 5),
            (15, 6),
            (15, 8),
            (15, 255),
        ] {
            let mut bent = sealed.clone();
            bent[at] = value;
            assert!(KeyMaterial::parse(&bent).is_err(), "{at} {value}");
        }
    }

    #[test]
    fn states_are_read_in_both_orders() {
        for (number, state) in (0..).zip(KeyState::ALL) {
            assert_eq!(state.to_wire(), [number, 0, 0, 0]);
            assert_eq!(KeyState::parse(&[number, 0, 0, 0]), Some(state));
            assert_eq!(KeyState::parse(&[0, 0, 0, number]), Some(state));
        }
        for body in [&[6, 0, 0, 6][..], &[1, 0, 0], &[1, 0, 0, 0, 0], &[0xff; 4]] {
            assert_eq!(KeyState::parse(body), None, "{body:?}");
        }
    }
}
