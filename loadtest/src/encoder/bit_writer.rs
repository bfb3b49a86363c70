//! Bits into bytes, most significant first.
//!
//! Spec: ITU-T H.264 7.3.1 (emulation prevention), 9.1 (Exp-Golomb codes).

/// Zero bytes after which a byte up to [`ESCAPED_MAX`] would look like a start code.
const ZEROS_MAX: u8 = 2;
const ESCAPED_MAX: u8 = 3;
const EMULATION_PREVENTION: u8 = 3;

/// Appends bits to a buffer.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    held_bits: u32,
    /// Zero bytes just written; `None` where start codes need no thought.
    zeros: Option<u8>,
}

impl<'a> BitWriter<'a> {
    /// Bits as they are.
    pub(super) const fn plain(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, held_bits: 0, zeros: None }
    }

    /// The inside of a NAL unit: no start code can appear in it.
    pub(super) const fn rbsp(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, held_bits: 0, zeros: Some(0) }
    }

    /// Bytes in the buffer, without the bits that are no whole byte yet.
    pub(super) const fn len(&self) -> usize {
        self.out.len()
    }

    /// Appends the low `count` bits of `value`, at most 32.
    pub(super) fn bits(&mut self, count: u32, value: u32) {
        debug_assert!(count <= 32 && u64::from(value) >> count == 0, "{value} in {count} bits");
        self.held = self.held << count | u64::from(value);
        self.held_bits += count;
        while self.held_bits >= 8 {
            self.held_bits -= 8;
            self.byte((self.held >> self.held_bits) as u8);
        }
    }

    /// Appends one bit.
    pub(super) fn flag(&mut self, value: bool) {
        self.bits(1, u32::from(value));
    }

    /// Appends an unsigned Exp-Golomb code.
    pub(super) fn ue(&mut self, value: u32) {
        let code = value + 1;
        let len = 32 - code.leading_zeros();
        self.bits(len - 1, 0);
        self.bits(len, code);
    }

    /// Appends a signed Exp-Golomb code.
    pub(super) fn se(&mut self, value: i32) {
        let magnitude = value.unsigned_abs();
        self.ue(if value > 0 { 2 * magnitude - 1 } else { 2 * magnitude });
    }

    /// Fills the current byte with zero bits.
    pub(super) fn align(&mut self) {
        if self.held_bits > 0 {
            self.bits(8 - self.held_bits, 0);
        }
    }

    /// Appends whole bytes, none of them zero, at the start of a byte.
    pub(super) fn nonzero_bytes(&mut self, bytes: &[u8]) {
        debug_assert!(self.held_bits == 0 && !bytes.contains(&0));
        // A byte after two zeros is the only one that could need an escape.
        if let Some((first, rest)) = bytes.split_first() {
            self.byte(*first);
            self.out.extend_from_slice(rest);
            self.zeros = self.zeros.map(|_| 0);
        }
    }

    /// Ends a NAL unit: the stop bit, and zeros up to a whole byte.
    pub(super) fn stop(&mut self) {
        self.flag(true);
        self.align();
    }

    fn byte(&mut self, byte: u8) {
        if let Some(zeros) = &mut self.zeros {
            if *zeros == ZEROS_MAX && byte <= ESCAPED_MAX {
                self.out.push(EMULATION_PREVENTION);
                *zeros = 0;
            }
            *zeros = if byte == 0 { *zeros + 1 } else { 0 };
        }
        self.out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::bits::BitReader;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(any::<(u16, i16)>(), 0..50)) {
            let mut out = Vec::new();
            let mut w = BitWriter::rbsp(&mut out);
            for (unsigned, signed) in &values {
                w.ue(u32::from(*unsigned));
                w.se(i32::from(*signed));
                w.bits(16, u32::from(*unsigned));
                w.flag(unsigned % 2 == 0);
            }
            w.stop();
            prop_assert!(!out.windows(3).any(|three| three[..2] == [0, 0] && three[2] < 3));
            let mut r = BitReader::rbsp(&out);
            for (unsigned, signed) in values {
                prop_assert_eq!(r.ue("t"), Ok(u32::from(unsigned)));
                prop_assert_eq!(r.se("t"), Ok(i32::from(signed)));
                prop_assert_eq!(r.bits(16, "t"), Ok(u32::from(unsigned)));
                prop_assert_eq!(r.flag("t"), Ok(unsigned % 2 == 0));
            }
        }
    }

    #[test]
    fn zeros_are_escaped_across_whole_bytes() {
        let mut out = Vec::new();
        let mut w = BitWriter::rbsp(&mut out);
        w.bits(32, 0);
        w.nonzero_bytes(&[1, 2, 3]);
        w.bits(24, 0);
        assert_eq!(w.len(), 13);
        assert_eq!(out, [0, 0, 3, 0, 0, 3, 1, 2, 3, 0, 0, 3, 0]);
        let mut out = Vec::new();
        let mut w = BitWriter::plain(&mut out);
        w.bits(3, 5);
        w.align();
        w.bits(24, 1);
        assert_eq!(out, [0xa0, 0, 0, 1]);
    }
}
