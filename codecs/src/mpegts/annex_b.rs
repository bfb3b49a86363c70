//! Length-prefixed access units as byte streams, without a copy.
//!
//! Spec: ITU-T H.264 and H.265 Annex B; ISO/IEC 14496-15 4.3.2.
//! In/Out: the access unit comes in pieces, which may end anywhere; it goes out as start codes and
//! pieces of the input. A length field has four bytes and so has a start code, hence nothing moves.
//! Empty units and access unit delimiters are left out: the caller writes one delimiter itself.
//! Errors: [`Error::Truncated`] for a unit that ends behind its access unit, [`Error::TooLarge`]
//! over [`UNITS_MAX`].

use crate::Error;
use crate::media::Codec;
use crate::nal::START_CODE;
use crate::{h264, hevc};

/// NAL units of one access unit at most: the highest level of either codec has 600 slices.
pub const UNITS_MAX: u32 = 4096;

/// A part of the byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A start code and the first byte of its unit.
    Begin([u8; 5]),
    /// More of the unit.
    More(&'a [u8]),
}

impl Piece<'_> {
    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        match self {
            Self::Begin(bytes) => bytes,
            Self::More(bytes) => bytes,
        }
    }
}

/// What a look at all units of an access unit tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Layout {
    /// Bytes of the byte stream.
    pub len: usize,
    /// The access unit brings every kind of parameter set that its codec has.
    pub has_parameter_sets: bool,
}

impl Layout {
    /// Looks at an access unit of `codec`, H.264 or HEVC.
    ///
    /// # Errors
    /// Those of the module.
    pub fn of<'a>(codec: Codec, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let (mut len, mut kinds) = (0, 0);
        for piece in AnnexB::new(codec, pieces) {
            let piece = piece?;
            len += piece.bytes().len();
            if let Piece::Begin([.., header]) = piece {
                kinds |= parameter_set_kind(codec, header);
            }
        }
        Ok(Self { len, has_parameter_sets: kinds == all_parameter_sets(codec) })
    }
}

/// One bit for each kind of parameter set; 0 for other units.
const fn parameter_set_kind(codec: Codec, header: u8) -> u8 {
    match codec {
        Codec::Hevc => match hevc::NalType(header >> 1 & 0x3f) {
            hevc::NalType::SPS => 1,
            hevc::NalType::PPS => 2,
            hevc::NalType::VPS => 4,
            _ => 0,
        },
        _ => match h264::NalType(header & 0x1f) {
            h264::NalType::SPS => 1,
            h264::NalType::PPS => 2,
            _ => 0,
        },
    }
}

const fn all_parameter_sets(codec: Codec) -> u8 {
    if matches!(codec, Codec::Hevc) { 7 } else { 3 }
}

fn is_delimiter(codec: Codec, header: u8) -> bool {
    match codec {
        Codec::Hevc => hevc::NalType::of(&[header]) == Some(hevc::NalType::AUD),
        _ => h264::NalType::of(&[header]) == Some(h264::NalType::AUD),
    }
}

/// The byte stream of an access unit, piece by piece; it ends after an error.
#[derive(Clone, Debug)]
pub struct AnnexB<'a, I> {
    codec: Codec,
    pieces: I,
    piece: &'a [u8],
    expect: Expect,
    units: u32,
}

#[derive(Clone, Copy, Debug)]
enum Expect {
    /// So many bytes of the length are read, with this value so far.
    Length { value: u32, read: u8 },
    /// A unit of so many bytes begins.
    Header { len: u32 },
    /// So many bytes of the unit are left.
    Unit { left: u32, skip: bool },
}

impl<'a, I: Iterator<Item = &'a [u8]>> AnnexB<'a, I> {
    const BETWEEN: Expect = Expect::Length { value: 0, read: 0 };

    /// Starts at the first byte of an access unit of `codec`, H.264 or HEVC.
    pub const fn new(codec: Codec, pieces: I) -> Self {
        Self { codec, pieces, piece: &[], expect: Self::BETWEEN, units: 0 }
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.piece.split_first()?;
        self.piece = rest;
        Some(first)
    }

    fn end(&mut self) -> Option<Result<Piece<'a>, Error>> {
        match self.expect {
            Expect::Length { read: 0, .. } => None,
            _ => Some(self.fail(Error::Truncated { what: "nal.unit" })),
        }
    }

    fn fail(&mut self, error: Error) -> Result<Piece<'a>, Error> {
        self.expect = Self::BETWEEN;
        self.piece = &[];
        while self.pieces.next().is_some() {}
        Err(error)
    }

    /// What follows when the unit has `left` more bytes.
    const fn behind(left: u32, skip: bool) -> Expect {
        if left == 0 { Self::BETWEEN } else { Expect::Unit { left, skip } }
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for AnnexB<'a, I> {
    type Item = Result<Piece<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.piece.is_empty() {
                match self.pieces.next() {
                    Some(piece) => self.piece = piece,
                    None => return self.end(),
                }
            }
            match self.expect {
                Expect::Length { value, read } => {
                    let value = value << 8 | u32::from(self.byte()?);
                    self.expect = match (read, value) {
                        (3, 0) => Self::BETWEEN,
                        (3, len) => Expect::Header { len },
                        _ => Expect::Length { value, read: read + 1 },
                    };
                }
                Expect::Header { len } => {
                    self.units += 1;
                    if self.units > UNITS_MAX {
                        let (value, max) = (u64::from(self.units), u64::from(UNITS_MAX));
                        return Some(self.fail(Error::TooLarge { what: "nal.units", value, max }));
                    }
                    let header = self.byte()?;
                    let skip = is_delimiter(self.codec, header);
                    self.expect = Self::behind(len - 1, skip);
                    if !skip {
                        let [a, b, c, d] = START_CODE;
                        return Some(Ok(Piece::Begin([a, b, c, d, header])));
                    }
                }
                Expect::Unit { left, skip } => {
                    let available = u32::try_from(self.piece.len()).unwrap_or(u32::MAX);
                    let taken = left.min(available);
                    let (now, later) = self.piece.split_at(taken as usize);
                    self.piece = later;
                    self.expect = Self::behind(left - taken, skip);
                    if !skip {
                        return Some(Ok(Piece::More(now)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn prefixed(units: &[&[u8]]) -> Vec<u8> {
        units.iter().fold(Vec::new(), |mut out, unit| {
            out.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
            out.extend_from_slice(unit);
            out
        })
    }

    fn stream(codec: Codec, unit: &[u8], step: usize) -> Result<Vec<u8>, Error> {
        AnnexB::new(codec, unit.chunks(step)).try_fold(Vec::new(), |mut out, piece| {
            out.extend_from_slice(piece?.bytes());
            Ok(out)
        })
    }

    #[test]
    fn units_get_start_codes_and_delimiters_go() {
        let unit = prefixed(&[&[9, 0xf0], &[0x67, 1, 2], &[], &[0x68], &[0x65, 3, 4, 5]]);
        let expected = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65, 3, 4, 5];
        for step in 1..=unit.len() {
            assert_eq!(stream(Codec::H264, &unit, step).unwrap(), expected);
            let layout = Layout::of(Codec::H264, unit.chunks(step)).unwrap();
            assert_eq!(layout, Layout { len: expected.len(), has_parameter_sets: true });
        }
        let unit = prefixed(&[&[0x46, 1, 0x50], &[0x42, 1], &[0x44, 1], &[0x26, 1, 7]]);
        let layout = Layout::of(Codec::Hevc, [&unit[..]].into_iter()).unwrap();
        assert_eq!(layout, Layout { len: 3 * 4 + 7, has_parameter_sets: false });
    }

    #[test]
    fn broken_units_are_refused_once() {
        let unit = prefixed(&[&[0x65, 1, 2, 3]]);
        for len in 1..unit.len() {
            for step in [1, 3, 100] {
                let mut pieces = AnnexB::new(Codec::H264, unit[..len].chunks(step));
                let error = pieces.find_map(Result::err);
                assert_eq!(error, Some(Error::Truncated { what: "nal.unit" }));
                assert_eq!(pieces.next(), None);
            }
        }
        let units: Vec<&[u8]> = (0..=UNITS_MAX).map(|_| &[0x41][..]).collect();
        let error = Layout::of(Codec::H264, [&prefixed(&units)[..]].into_iter()).unwrap_err();
        let max = u64::from(UNITS_MAX);
        assert_eq!(error, Error::TooLarge { what: "nal.units", value: max + 1, max });
        assert!(Layout::of(Codec::H264, [&prefixed(&units[1..])[..]].into_iter()).is_ok());
    }

    proptest! {
        #[test]
        fn any_cut_of_any_bytes_gives_one_answer(
            bytes in prop::collection::vec(0_u8..12, 0..80), step in 1_usize..90,
        ) {
            let whole = stream(Codec::H264, &bytes, 100);
            prop_assert_eq!(&stream(Codec::H264, &bytes, step), &whole);
            let layout = Layout::of(Codec::H264, bytes.chunks(step));
            prop_assert_eq!(layout.map(|layout| layout.len), whole.map(|out| out.len()));
        }
    }
}
