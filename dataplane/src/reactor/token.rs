//! Names of operations: the shard's tokens and what the kernel echoes back.

use super::counters::OpKind;

/// What an operation was started for: the shard's slot and the slot's generation.
///
/// A token names one descriptor at a time. The shard raises the generation whenever it reuses a
/// slot, so that a completion of an earlier user is recognised and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The shard's slot. Tables of the reactor grow to the highest one in use.
    pub slot: u32,
    /// How often the slot was reused, wrapping.
    pub generation: u16,
}

impl Token {
    /// The `generation`-th use of `slot`.
    #[must_use]
    pub const fn new(slot: u32, generation: u16) -> Self {
        Self { slot, generation }
    }

    /// As the low 48 bits of a kernel-side key.
    pub(super) const fn pack(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The token of a key made by [`Self::pack`]; higher bits are ignored.
    #[expect(clippy::cast_possible_truncation, reason = "each field is cut from its own bits")]
    pub(super) const fn unpack(key: u64) -> Self {
        Self { slot: key as u32, generation: (key >> 32) as u16 }
    }
}

/// user_data of a ring entry: 8 bits of kind, 8 unused, 48 of token, operation or peer index.
pub(super) const fn user_data(kind: OpKind, key: u64) -> u64 {
    (kind as u64) << 56 | key & 0xffff_ffff_ffff
}

/// The kind and the key of a user_data.
pub(super) const fn split_user_data(user_data: u64) -> (Option<OpKind>, u64) {
    (OpKind::from_index((user_data >> 56) as usize), user_data & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_every_bit() {
        for token in [Token::new(0, 0), Token::new(u32::MAX, u16::MAX), Token::new(7, 40_000)] {
            assert_eq!(Token::unpack(token.pack()), token);
            for kind in OpKind::ALL {
                let (back, key) = split_user_data(user_data(kind, token.pack()));
                assert_eq!((back, Token::unpack(key)), (Some(kind), token));
            }
        }
        assert_eq!(split_user_data(u64::MAX).0, None);
    }
}
