//! Lists of packets that did not arrive.
//!
//! Spec: draft-sharabayko-srt appendix A.
//! Shape: a number alone is 4 bytes; a range is its first number with the top bit set, then its
//! last one.

use super::SeqNumber;
use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

const RANGE: u32 = 0x8000_0000;

/// Packets that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossRange {
    /// The first.
    pub first: SeqNumber,
    /// The last, not before the first.
    pub last: SeqNumber,
}

impl LossRange {
    /// Bytes that it takes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        if self.first == self.last { 4 } else { 8 }
    }

    /// Appends it.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        if self.first == self.last {
            writer.u32(self.first.get());
        } else {
            writer.u32(RANGE | self.first.get());
            writer.u32(self.last.get());
        }
    }
}

/// Reads ranges one after another; ends after the first error.
///
/// Limits: a datagram; whether a range lies in what was sent at all is for the session to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossRanges<'a> {
    rest: &'a [u8],
}

impl<'a> LossRanges<'a> {
    /// Starts with the body of a NAK.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn read(&mut self) -> Result<LossRange, Error> {
        let mut reader = Reader::new(self.rest);
        let word = reader.u32("srt.loss_list.first")?;
        let first = SeqNumber::new(word);
        let mut last = first;
        if word & RANGE != 0 {
            let word = reader.u32("srt.loss_list.last")?;
            last = SeqNumber::new(word);
            if word & RANGE != 0 || last.since(first) < 0 {
                return Err(Error::Invalid { what: "srt.loss_list.last", value: word.into() });
            }
        }
        self.rest = reader.rest();
        Ok(LossRange { first, last })
    }
}

impl Iterator for LossRanges<'_> {
    type Item = Result<LossRange, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn range(first: u32, last: u32) -> LossRange {
        LossRange { first: SeqNumber::new(first), last: SeqNumber::new(last) }
    }

    #[test]
    fn ranges_and_single_numbers_are_read() {
        let list = words(&[5, RANGE | 7, 9, RANGE | SeqNumber::MAX, 1, 12]);
        let read: Result<Vec<_>, _> = LossRanges::new(&list).collect();
        let expected = vec![range(5, 5), range(7, 9), range(SeqNumber::MAX, 1), range(12, 12)];
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn a_bad_range_ends_the_list() {
        let invalid = |value| Err(Error::Invalid { what: "srt.loss_list.last", value });
        for (list, error) in [
            (words(&[RANGE | 7, 6, 3]), invalid(6)),
            (words(&[RANGE | 7, RANGE | 9, 3]), invalid(0x8000_0009)),
            (words(&[RANGE | 7, 0x4000_0007, 3]), invalid(0x4000_0007)),
            (words(&[RANGE | 7]), Err(Error::Truncated { what: "srt.loss_list.last" })),
            (vec![0, 0, 1], Err(Error::Truncated { what: "srt.loss_list.first" })),
        ] {
            assert_eq!(LossRanges::new(&list).collect::<Vec<_>>(), [error]);
        }
    }

    proptest! {
        #[test]
        fn lists_survive_the_round_trip(
            list in prop::collection::vec((any::<u32>(), 0_u32..1_000), 0..100),
        ) {
            let list: Vec<_> = list
                .into_iter()
                .map(|(first, len)| {
                    let first = SeqNumber::new(first);
                    LossRange { first, last: first.after(len) }
                })
                .collect();
            let mut bytes = vec![0; list.iter().map(LossRange::encoded_len).sum()];
            let mut writer = Writer::new(&mut bytes);
            list.iter().for_each(|range| range.encode(&mut writer));
            let read: Result<Vec<_>, _> = LossRanges::new(&bytes).collect();
            prop_assert_eq!(read, Ok(list));
        }

        #[test]
        fn noise_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(LossRanges::new(&bytes).count() <= bytes.len().div_ceil(4));
        }
    }
}
