//! A byte stream into NAL units while it comes.
//!
//! Spec: ITU-T H.264 and H.265 Annex B.
//! In/Out: pieces of the input are lent; only zeros, which may be a part of the next start code,
//! are held back, as a count. [`crate::nal::annex_b_ranges`] does the same with a whole unit.

/// A part of the byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NalPiece<'a> {
    /// A start code: one NAL unit ends and another begins.
    Start,
    /// Zeros that were held back, and are a part of the unit.
    Zeros(u32),
    /// Bytes of the unit.
    Bytes(&'a [u8]),
}

/// Splits a byte stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NalSplitter {
    zeros: u32,
}

impl NalSplitter {
    /// The next piece; `None` when all of the input was taken.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<NalPiece<'a>> {
        loop {
            let (&first, rest) = input.split_first()?;
            match first {
                0 => self.zeros = self.zeros.saturating_add(1),
                1 if self.zeros >= 2 => {
                    self.zeros = 0;
                    *input = rest;
                    return Some(NalPiece::Start);
                }
                _ if self.zeros > 0 => {
                    return Some(NalPiece::Zeros(core::mem::take(&mut self.zeros)));
                }
                _ => {
                    let (bytes, behind) = input.split_at(plain_len(input));
                    *input = behind;
                    return Some(NalPiece::Bytes(bytes));
                }
            }
            *input = rest;
        }
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// Bytes up to the first zero that may belong to a start code.
///
/// A block without a zero is passed at once; elsewhere three bytes, when the third cannot belong to
/// one, which is nearly always.
fn plain_len(bytes: &[u8]) -> usize {
    let (mut at, mut block_end) = (0, 0);
    while let Some(&[a, b, c]) = bytes.get(at..at + 3).and_then(<[u8]>::first_chunk) {
        if at >= block_end {
            let block = bytes.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>);
            if block.is_some_and(|block| !has_zero(block)) {
                at += BLOCK;
                continue;
            }
            block_end = at + BLOCK;
        }
        match (a, b, c) {
            (0, 0, 0 | 1) => return at,
            (_, _, 2..) => at += 3,
            _ => at += 1,
        }
    }
    let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    bytes.len() - zeros.min(bytes.len() - at)
}

/// One comparison of all of them, as processors have it.
fn has_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(0, |found, &byte| found | u8::from(byte == 0)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nal;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn units(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let (mut splitter, mut units) = (NalSplitter::default(), Vec::<Vec<u8>>::new());
        for mut input in stream.chunks(step) {
            while let Some(piece) = splitter.next(&mut input) {
                match (piece, units.last_mut()) {
                    (NalPiece::Start, _) => units.push(Vec::new()),
                    (NalPiece::Zeros(count), Some(unit)) => unit.extend(vec![0; count as usize]),
                    (NalPiece::Bytes(bytes), Some(unit)) => unit.extend_from_slice(bytes),
                    (_, None) => {}
                }
            }
        }
        units.retain(|unit| !unit.is_empty());
        units
    }

    #[test]
    fn zeros_before_a_start_code_belong_to_no_unit() {
        let stream = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 3, 0, 0, 1, 0x65, 0, 7, 0, 0, 0, 0, 1, 0x41, 0];
        let expected = [&[0x67, 1, 0, 0, 3][..], &[0x65, 0, 7], &[0x41]];
        for step in 1..=stream.len() {
            assert_eq!(units(&stream, step), expected, "{step}");
        }
    }

    proptest! {
        #[test]
        fn a_start_code_is_found_wherever_it_is(
            before in prop::collection::vec(1_u8.., 0..60),
            after in prop::collection::vec(1_u8.., 0..60),
        ) {
            for code in [&[0, 0, 1][..], &[0, 0, 0, 1], &[0, 0, 0, 0, 1], &[0, 0, 2], &[0, 3]] {
                let stream = [&[0, 0, 1], &before[..], code, &after[..]].concat();
                let whole: Vec<_> = nal::annex_b(&stream).map(<[u8]>::to_vec).collect();
                prop_assert_eq!(units(&stream, stream.len()), whole);
            }
        }

        #[test]
        fn pieces_give_what_the_whole_gives(
            stream in prop::collection::vec(0_u8..4, 0..120), step in 1_usize..130,
        ) {
            let whole: Vec<_> = nal::annex_b(&stream).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(units(&stream, step), whole);
        }
    }
}
