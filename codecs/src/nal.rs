//! NAL unit framing: length prefixes (ISO/IEC 14496-15) and start codes (Annex B).
//!
//! Spec: ISO/IEC 14496-15 4.3.2 and ITU-T H.264 / H.265 Annex B.
//!
//! In/Out: both iterators lend slices of the caller's bytes; nothing is copied.
//!
//! Not here: what a NAL unit holds ([`crate::h264`], [`crate::hevc`]).

use core::ops::Range;

use crate::Error;
use crate::reader::Reader;

/// The widest picture side that is believed: the largest of level 6.2 of H.264 and H.265.
pub const PICTURE_SIDE_MAX: u32 = 16_888;

/// The highest frame rate that is believed, in thousandths: beyond it the timing of a parameter
/// set is a clock (1 kHz, 90 kHz), not a frame rate.
pub const FPS_MILLI_MAX: u64 = 480_000;

/// Bytes of a NAL unit's length when we write one.
pub const LENGTH_SIZE: u8 = 4;

/// The bytes of a start code when we write one.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The NAL units of a length-prefixed access unit; see [`length_prefixed`].
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a> {
    reader: Reader<'a>,
    length_size: u8,
}

/// Iterates over the NAL units of an access unit whose lengths take `length_size` bytes.
///
/// A zero length gives an empty slice. After an error the iteration ends.
///
/// # Errors
/// [`Error::Invalid`] if `length_size` is not 1, 2 or 4. Items are [`Error::Truncated`] if a NAL
/// unit ends after its access unit.
pub const fn length_prefixed(bytes: &[u8], length_size: u8) -> Result<LengthPrefixed<'_>, Error> {
    if !matches!(length_size, 1 | 2 | 4) {
        return Err(Error::Invalid { what: "nal.length_size", value: length_size as u64 });
    }
    Ok(LengthPrefixed { reader: Reader::new(bytes), length_size })
}

impl<'a> LengthPrefixed<'a> {
    fn read(&mut self) -> Result<&'a [u8], Error> {
        let reader = &mut self.reader;
        let len = match self.length_size {
            1 => u32::from(reader.u8("nal.length")?),
            2 => u32::from(reader.u16("nal.length")?),
            _ => reader.u32("nal.length")?,
        };
        let truncated = Error::Truncated { what: "nal.unit" };
        reader.bytes(usize::try_from(len).map_err(|_| truncated)?, "nal.unit")
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let unit = self.read();
        if unit.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(unit)
    }
}

/// The NAL units of a byte stream, as ranges; see [`annex_b_ranges`].
#[derive(Clone, Debug)]
pub struct AnnexBRanges<'a> {
    bytes: &'a [u8],
    /// Where the next NAL unit starts, behind its start code.
    at: Option<usize>,
}

/// Iterates over the NAL units of an Annex B byte stream as ranges of `bytes`.
///
/// Bytes before the first start code are passed over, zero bytes behind a NAL unit
/// (`trailing_zero_8bits`, and the first byte of a 4-byte start code) belong to none, and an empty
/// NAL unit is not reported. With the ranges a caller can chain `4-byte length, slice` for every
/// NAL unit, which is the length-prefixed form, without a copy.
#[must_use]
pub fn annex_b_ranges(bytes: &[u8]) -> AnnexBRanges<'_> {
    AnnexBRanges { bytes, at: start_code(bytes, 0).map(|at| at + 3) }
}

/// Iterates over the NAL units of an Annex B byte stream; see [`annex_b_ranges`].
pub fn annex_b(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    annex_b_ranges(bytes).filter_map(|range| bytes.get(range))
}

/// The length of the same access unit with 4-byte lengths in place of start codes.
#[must_use]
pub fn length_prefixed_len(bytes: &[u8]) -> usize {
    annex_b_ranges(bytes).map(|range| range.len() + 4).sum()
}

impl Iterator for AnnexBRanges<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at?;
            let code = start_code(self.bytes, start);
            self.at = code.map(|at| at + 3);
            let unit = self.bytes.get(start..code.unwrap_or(self.bytes.len()))?;
            let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if len > 0 {
                return Some(start..start + len);
            }
        }
    }
}

/// Where the first 0 0 1 at or behind `from` starts.
///
/// Three bytes are passed at once when the third cannot be part of a start code, which is nearly
/// always.
fn start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(&[a, b, c]) = bytes.get(at..at + 3) {
        match (a, b, c) {
            (0, 0, 1) => return Some(at),
            (_, _, 2..) => at += 3,
            _ => at += 1,
        }
    }
    None
}

/// A picture side after cropping, `None` if nothing is left of it.
pub(crate) fn cropped(side: u32, first: u32, second: u32, unit: u32) -> Option<u32> {
    let crop = first.checked_add(second)?.checked_mul(unit)?;
    side.checked_sub(crop).filter(|left| *left > 0)
}

/// The length of a parameter set for the 16-bit field of a decoder configuration record.
pub(crate) fn parameter_set_len(unit: &[u8], what: &'static str) -> Result<u16, Error> {
    u16::try_from(unit.len()).map_err(|_| Error::TooLarge {
        what,
        value: unit.len() as u64,
        max: u64::from(u16::MAX),
    })
}

/// The frame rate in thousandths of `ticks_per_second / ticks_per_frame`, if it is believable.
pub(crate) fn fps_milli(ticks_per_second: u32, ticks_per_frame: u64) -> Option<u32> {
    let milli = (u64::from(ticks_per_second) * 1000).checked_div(ticks_per_frame)?;
    u32::try_from(milli).ok().filter(|_| (1..=FPS_MILLI_MAX).contains(&milli))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn length_prefixes_of_each_size() {
        let table: [(u8, &[u8]); 3] = [
            (1, &[2, 0x65, 1, 0, 1, 0x41]),
            (2, &[0, 2, 0x65, 1, 0, 0, 0, 1, 0x41]),
            (4, &[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x41]),
        ];
        for (size, bytes) in table {
            let units: Vec<_> = length_prefixed(bytes, size).unwrap().collect();
            assert_eq!(units, [Ok(&[0x65, 1][..]), Ok(&[]), Ok(&[0x41])], "{size}");
        }
        let size = Error::Invalid { what: "nal.length_size", value: 3 };
        assert_eq!(length_prefixed(&[], 3).unwrap_err(), size);
    }

    #[test]
    fn a_length_over_the_end_is_one_error() {
        let mut units = length_prefixed(&[0, 0, 0, 1, 9, 0xff, 0xff, 0xff, 0xff, 1], 4).unwrap();
        assert_eq!(units.next(), Some(Ok(&[9][..])));
        assert_eq!(units.next(), Some(Err(Error::Truncated { what: "nal.unit" })));
        assert_eq!(units.next(), None);
    }

    #[test]
    fn start_codes_of_both_widths() {
        let table: [(&[u8], &[&[u8]]); 7] = [
            (&[], &[]),
            (&[0, 0], &[]),
            (&[0, 0, 1], &[]),
            (&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68], &[&[0x67, 1], &[0x68]]),
            (&[0xff, 0, 0, 1, 9, 0, 0, 0, 0, 1, 8, 0, 0], &[&[9], &[8]]),
            (&[0, 0, 1, 0, 0, 1, 7], &[&[7]]),
            (&[0, 0, 1, 5, 0, 0, 3, 1], &[&[5, 0, 0, 3, 1]]),
        ];
        for (bytes, units) in table {
            assert_eq!(annex_b(bytes).collect::<Vec<_>>(), units, "{bytes:?}");
        }
    }

    #[test]
    fn unbelievable_frame_rates_are_none() {
        assert_eq!(fps_milli(60_000, 2 * 1001), Some(29_970));
        assert_eq!(fps_milli(50, 2), Some(25_000));
        assert_eq!(fps_milli(90_000, 1), None);
        assert_eq!(fps_milli(25, 0), None);
        assert_eq!(fps_milli(0, 1), None);
    }

    proptest! {
        #[test]
        fn units_return_from_both_framings(
            units in prop::collection::vec(prop::collection::vec(1_u8..=255, 1..40), 0..20),
            wide in any::<bool>(),
        ) {
            let (mut stream, mut prefixed) = (Vec::new(), Vec::new());
            for unit in &units {
                stream.extend_from_slice(if wide { &START_CODE } else { &START_CODE[1..] });
                stream.extend_from_slice(unit);
                prefixed.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
                prefixed.extend_from_slice(unit);
            }
            prop_assert_eq!(annex_b(&stream).collect::<Vec<_>>(), units.clone());
            prop_assert_eq!(length_prefixed_len(&stream), prefixed.len());
            let read: Result<Vec<_>, _> = length_prefixed(&prefixed, 4).unwrap().collect();
            prop_assert_eq!(read.unwrap(), units);
        }

        #[test]
        fn the_search_finds_what_a_plain_one_finds(
            bytes in prop::collection::vec(0_u8..3, 0..60),
        ) {
            let plain = bytes.windows(3).position(|window| window == [0, 0, 1]);
            prop_assert_eq!(start_code(&bytes, 0), plain);
        }
    }
}
