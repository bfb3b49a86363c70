//! Bit reading, with and without emulation prevention.
//!
//! Spec: ITU-T H.264 7.2, 7.3.1 and 9.1; ITU-T H.265 7.2, 7.3.1.1 and 9.2.
//!
//! Limits: a read never passes the end of the bytes; an Exp-Golomb code has at most
//! [`LEADING_ZEROS_MAX`] leading zeros.

use crate::Error;

/// The longest Exp-Golomb prefix that the specifications allow for 32-bit values.
pub const LEADING_ZEROS_MAX: u32 = 32;

/// A cursor over the bits of borrowed bytes, most significant bit first.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    current: u8,
    bits_left: u32,
    zeros: u8,
    emulation: bool,
}

impl<'a> BitReader<'a> {
    /// Reads the bytes as they are.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, current: 0, bits_left: 0, zeros: 0, emulation: false }
    }

    /// Reads the payload of a NAL unit, dropping each emulation prevention byte (the 3 in 0 0 3).
    #[must_use]
    pub const fn rbsp(bytes: &'a [u8]) -> Self {
        Self { bytes, current: 0, bits_left: 0, zeros: 0, emulation: true }
    }

    /// Bits that are left, where emulation prevention bytes still ahead count as data.
    #[must_use]
    pub const fn bits_left(&self) -> usize {
        self.bytes.len().saturating_mul(8).saturating_add(self.bits_left as usize)
    }

    /// Reads one bit.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn flag(&mut self, what: &'static str) -> Result<bool, Error> {
        if self.bits_left == 0 {
            self.load(what)?;
        }
        self.bits_left -= 1;
        Ok((self.current >> self.bits_left) & 1 == 1)
    }

    /// Reads `count` bits, at most 32.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    ///
    /// # Panics
    /// If `count` is over 32: widths come from the specification, or from fields of 5 bits.
    pub fn bits(&mut self, count: u32, what: &'static str) -> Result<u32, Error> {
        assert!(count <= 32, "no field of any format is wider than 32 bits");
        let mut value = 0_u32;
        let mut wanted = count;
        while wanted > 0 {
            if self.bits_left == 0 {
                self.load(what)?;
            }
            let taken = wanted.min(self.bits_left);
            let shifted = u32::from(self.current) >> (self.bits_left - taken);
            value = value << taken | shifted & ((1 << taken) - 1);
            self.bits_left -= taken;
            wanted -= taken;
        }
        Ok(value)
    }

    /// Reads `count` bits, at most 8.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    ///
    /// # Panics
    /// If `count` is over 8: widths come from the specification.
    pub fn bits8(&mut self, count: u32, what: &'static str) -> Result<u8, Error> {
        assert!(count <= 8, "the field does not fit a byte");
        let [.., value] = self.bits(count, what)?.to_be_bytes();
        Ok(value)
    }

    /// Passes over `count` bits.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn skip(&mut self, count: u32, what: &'static str) -> Result<(), Error> {
        let mut wanted = count;
        while wanted > 0 {
            let step = wanted.min(32);
            self.bits(step, what)?;
            wanted -= step;
        }
        Ok(())
    }

    /// Reads a number in bytes of which all but the last are 255.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn extended(&mut self, what: &'static str) -> Result<u32, Error> {
        let mut sum = 0_u32;
        loop {
            let byte = self.bits(8, what)?;
            sum = sum.saturating_add(byte);
            if byte != 0xff {
                return Ok(sum);
            }
        }
    }

    /// Reads an unsigned Exp-Golomb code, `ue(v)`.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] if it does not fit 32 bits.
    pub fn ue(&mut self, what: &'static str) -> Result<u32, Error> {
        let mut zeros = 0;
        while !self.flag(what)? {
            zeros += 1;
            if zeros > LEADING_ZEROS_MAX {
                return Err(Error::Invalid { what, value: u64::from(zeros) });
            }
        }
        let value = (1_u64 << zeros) - 1 + u64::from(self.bits(zeros, what)?);
        u32::try_from(value).map_err(|_| Error::Invalid { what, value })
    }

    /// Reads an unsigned Exp-Golomb code that is at most `max`.
    ///
    /// # Errors
    /// As [`Self::ue`], and [`Error::TooLarge`].
    pub fn ue_max(&mut self, max: u32, what: &'static str) -> Result<u32, Error> {
        let value = self.ue(what)?;
        if value > max {
            return Err(Error::TooLarge { what, value: u64::from(value), max: u64::from(max) });
        }
        Ok(value)
    }

    /// Reads a signed Exp-Golomb code, `se(v)`.
    ///
    /// # Errors
    /// As [`Self::ue`], and [`Error::Invalid`] if it does not fit 32 bits.
    pub fn se(&mut self, what: &'static str) -> Result<i32, Error> {
        let code = i64::from(self.ue(what)?);
        let value = if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 };
        i32::try_from(value).map_err(|_| Error::Invalid { what, value: code.unsigned_abs() })
    }

    fn load(&mut self, what: &'static str) -> Result<(), Error> {
        let mut next = self.next_byte(what)?;
        if self.emulation {
            if self.zeros >= 2 && next == 3 {
                self.zeros = 0;
                next = self.next_byte(what)?;
            }
            self.zeros = if next == 0 { self.zeros.saturating_add(1) } else { 0 };
        }
        self.current = next;
        self.bits_left = 8;
        Ok(())
    }

    fn next_byte(&mut self, what: &'static str) -> Result<u8, Error> {
        let (first, rest) = self.bytes.split_first().ok_or(Error::Truncated { what })?;
        self.bytes = rest;
        Ok(*first)
    }
}

#[cfg(test)]
pub(crate) mod bit_writer {
    //! The bits of hand-made parameter sets.

    use alloc::vec::Vec;

    /// Writes codes bit by bit, as an encoder would.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct BitWriter(Vec<bool>);

    impl BitWriter {
        /// Starts with whole bytes.
        pub(crate) fn starting(bytes: &[u8]) -> Self {
            bytes.iter().fold(Self::default(), |bits, byte| bits.put(u64::from(*byte), 8))
        }

        /// Appends the low `count` bits.
        pub(crate) fn put(mut self, value: u64, count: u32) -> Self {
            self.0.extend((0..count).rev().map(|at| value >> at & 1 == 1));
            self
        }

        /// Appends unsigned Exp-Golomb codes.
        pub(crate) fn ue(self, values: &[u32]) -> Self {
            values.iter().fold(self, |bits, value| {
                let code = u64::from(*value) + 1;
                let len = 64 - code.leading_zeros();
                bits.put(0, len - 1).put(code, len)
            })
        }

        /// Appends characters 0 and 1; spaces part the fields for the reader.
        pub(crate) fn text(mut self, text: &str) -> Self {
            self.0.extend(text.chars().filter(|c| *c != ' ').map(|c| c == '1'));
            self
        }

        /// The bytes, with zero bits at the end.
        pub(crate) fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| {
                bits.iter().enumerate().fold(0, |sum, (at, bit)| sum | u8::from(*bit) << (7 - at))
            };
            self.0.chunks(8).map(byte).collect()
        }

        /// The bytes with emulation prevention.
        pub(crate) fn escaped(&self) -> Vec<u8> {
            let mut out = Vec::new();
            for byte in self.bytes() {
                if byte <= 3 && out.ends_with(&[0, 0]) {
                    out.push(3);
                }
                out.push(byte);
            }
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bit_writer::BitWriter;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exp_golomb_follows_the_table_of_the_specification() {
        // ITU-T H.264 tables 9-2 and 9-3.
        let table = [("1", 0, 0), ("010", 1, 1), ("011", 2, -1), ("00100", 3, 2), ("00101", 4, -2)];
        for (code, unsigned, signed) in table {
            let bytes = BitWriter::default().text(code).bytes();
            assert_eq!(BitReader::new(&bytes).ue("t"), Ok(unsigned), "{code}");
            assert_eq!(BitReader::new(&bytes).se("t"), Ok(signed), "{code}");
        }
    }

    #[test]
    fn exp_golomb_stops_at_its_limits() {
        let widest = BitWriter::default().ue(&[u32::MAX]);
        assert_eq!(BitReader::new(&widest.bytes()).ue("t"), Ok(u32::MAX));
        let over = BitWriter::default().put(0, 32).put(1, 1).put(1, 32);
        let error = Error::Invalid { what: "t", value: 1 << 32 };
        assert_eq!(BitReader::new(&over.bytes()).ue("t"), Err(error));
        assert_eq!(
            BitReader::new(&[0; 64]).ue("t"),
            Err(Error::Invalid { what: "t", value: u64::from(LEADING_ZEROS_MAX) + 1 })
        );
        assert_eq!(BitReader::new(&[0; 3]).ue("t"), Err(Error::Truncated { what: "t" }));
        assert_eq!(
            BitReader::new(&[0b0010_1000]).ue_max(3, "t"),
            Err(Error::TooLarge { what: "t", value: 4, max: 3 })
        );
    }

    #[test]
    fn emulation_prevention_bytes_vanish() {
        let table: [(&[u8], &[u8]); 5] = [
            (&[1, 0, 0, 3, 1], &[1, 0, 0, 1]),
            (&[0, 0, 3, 0, 0, 3, 0], &[0, 0, 0, 0, 0]),
            (&[0, 3, 0, 0, 2], &[0, 3, 0, 0, 2]),
            (&[0, 0, 3, 3], &[0, 0, 3]),
            (&[0, 0, 3], &[0, 0]),
        ];
        for (escaped, plain) in table {
            let mut reader = BitReader::rbsp(escaped);
            for byte in plain {
                assert_eq!(reader.bits8(8, "t"), Ok(*byte), "{escaped:?}");
            }
            assert!(reader.flag("t").is_err(), "{escaped:?}");
        }
        assert_eq!(BitReader::new(&[0, 0, 3, 1]).bits(32, "t"), Ok(0x301), "raw bits stay");
    }

    proptest! {
        #[test]
        fn codes_and_fields_return(
            items in prop::collection::vec((any::<u32>(), 1_u32..=32), 0..50),
        ) {
            let mut bits = BitWriter::default();
            for (value, width) in &items {
                bits = bits.ue(&[*value]).put(u64::from(*value), *width);
            }
            let bytes = bits.bytes();
            let mut reader = BitReader::new(&bytes);
            for (value, width) in items {
                prop_assert_eq!(reader.ue("t"), Ok(value));
                let mask = u32::MAX >> (32 - width);
                prop_assert_eq!(reader.bits(width, "t"), Ok(value & mask));
            }
            prop_assert!(reader.bits_left() < 8);
        }
    }
}
