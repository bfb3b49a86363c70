//! What the bytes of a picture amount to, so that one that was changed on its way is found.
//!
//! Spec: ISO/IEC/IEEE 8802-3 3.2.9 (CRC-32).
//!
//! In/Out: bytes in any pieces; nothing is held. Eight bytes at a time, by tables.

/// The polynomial with its lowest power in the highest bit.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Bytes that are taken at once.
const STRIDE: usize = 8;

/// `TABLES[n][byte]`: what a byte amounts to that `n` others follow.
const TABLES: [[u32; 256]; STRIDE] = tables();

const fn tables() -> [[u32; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut at = STRIDE;
    while at < STRIDE * 256 {
        let (table, byte) = (at / 256, at % 256);
        if table > 0 {
            let crc = tables[table - 1][byte];
            tables[table][byte] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
        }
        at += 1;
    }
    tables
}

/// How many bytes there are, and their CRC-32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub len: u32,
    /// Their CRC-32.
    pub crc: u32,
}

impl Content {
    /// That of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.add(bytes);
        content
    }

    /// Adds the bytes that follow.
    pub fn add(&mut self, bytes: &[u8]) {
        self.len = self.len.wrapping_add(bytes.len() as u32);
        let mut crc = !self.crc;
        let (strides, rest) = bytes.as_chunks::<STRIDE>();
        for stride in strides {
            let [a, b, c, d, e, f, g, h] = *stride;
            let [i, j, k, l] = (crc ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
            crc = [i, j, k, l, e, f, g, h]
                .iter()
                .zip(TABLES.iter().rev())
                .fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
        }
        for byte in rest {
            crc = crc >> 8 ^ TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
        }
        self.crc = !crc;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_is_that_of_the_standard() {
        let wanted = Content { len: 9, crc: 0xcbf4_3926 };
        assert_eq!(Content::of(b"123456789"), wanted);
        assert_eq!(Content::of(b""), Content::default());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_and_every_bit_does(
            bytes in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8,
        ) {
            let at = at.index(bytes.len());
            let mut content = Content::of(&bytes[..at]);
            content.add(&bytes[at..]);
            prop_assert_eq!(content, Content::of(&bytes));
            let mut other = bytes.clone();
            other[at] ^= 1_u8 << bit;
            prop_assert_ne!(Content::of(&other), content);
        }
    }
}
