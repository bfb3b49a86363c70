//! The cipher of payloads.
//!
//! Spec: draft-sharabayko-srt 6.2.2: AES in counter mode.
//! Shape: the first counter block is zero but for the packet's number in its bytes 10 to 13; the
//! first 14 bytes of the salt are added to that without carry; the last two bytes count blocks.
//! The instructions of the processor are found at run time by the library. A schedule takes room
//! for either way of doing it: whoever has many keys makes it anew for each packet.

use core::fmt;

use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;

use super::key_material::{KeyLength, SALT_BYTES, StreamKey};
use super::{PAYLOAD_BYTES_MAX, SeqNumber};

type Counter<'a, A> = CtrCore<&'a A, Ctr128BE>;

/// Hides and shows payloads: both are the same work.
#[derive(Clone)]
pub struct PayloadCipher {
    aes: Aes,
    salt: [u8; SALT_BYTES],
}

#[derive(Clone)]
enum Aes {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
}

impl PayloadCipher {
    /// The cipher of a key and the salt that it came with.
    #[must_use]
    pub fn new(key: &StreamKey, salt: &[u8; SALT_BYTES]) -> Self {
        let bytes = key.bytes();
        let aes = match key.length() {
            KeyLength::Aes128 => Aes::Aes128(aes_of(bytes)),
            KeyLength::Aes192 => Aes::Aes192(aes_of(bytes)),
            KeyLength::Aes256 => Aes::Aes256(aes_of(bytes)),
        };
        Self { aes, salt: *salt }
    }

    /// Hides or shows the payload of the packet of that number in place.
    ///
    /// # Panics
    /// If the payload is longer than a packet's can be.
    pub fn apply(&self, sequence: SeqNumber, payload: &mut [u8]) {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "the counter has room for a packet");
        let block = self.first_block(sequence);
        let block = &block.into();
        let payload = payload.into();
        match &self.aes {
            Aes::Aes128(aes) => Counter::inner_iv_init(aes, block).apply_keystream_partial(payload),
            Aes::Aes192(aes) => Counter::inner_iv_init(aes, block).apply_keystream_partial(payload),
            Aes::Aes256(aes) => Counter::inner_iv_init(aes, block).apply_keystream_partial(payload),
        }
    }

    fn first_block(&self, sequence: SeqNumber) -> [u8; 16] {
        let mut block = [0; 16];
        let [a, b, c, d] = sequence.get().to_be_bytes();
        let number = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d];
        for ((slot, salt), byte) in block.iter_mut().zip(&self.salt).zip(number) {
            *slot = salt ^ byte;
        }
        block
    }
}

/// The schedule of a key of the length that its kind has.
fn aes_of<A: KeyInit>(key: &[u8]) -> A {
    A::new_from_slice(key).expect("the key says its length")
}

impl fmt::Debug for PayloadCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayloadCipher(***)")
    }
}
