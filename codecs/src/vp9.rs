//! VP9: the start of the uncompressed header, and the configuration record that VP8 shares.
//!
//! Spec: VP9 Bitstream and Decoding Process 6.2 and 7.2; VP Codec ISO Media File Format Binding
//! (`vpcC` and codec string).
//!
//! Shape of the record: version and flags of the box (32 bits, left out by some), profile (8),
//! level (8), bit depth (4), chroma subsampling (3), full range (1), colour primaries, transfer and
//! matrix (8 each), length of the initialisation data (16), which is 0.

use alloc::format;
use alloc::string::String;

use crate::Error;
use crate::bits::BitReader;
use crate::reader::Reader;

const FRAME_MARKER: u32 = 2;
const SYNC_CODE: u32 = 0x49_8342;
const CS_RGB: u8 = 7;
/// Bytes of the record without version and flags.
const RECORD_LEN: usize = 8;
/// The lowest level, for records that name none.
const LEVEL_1: u8 = 10;
/// Colour values that say nothing of their own: none, BT.709, unspecified.
const ORDINARY_COLOUR: [u8; 3] = [0, 1, 2];
/// The largest value that says 4:2:0.
const CHROMA_420_MAX: u8 = 1;

/// What a keyframe says of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyframeHeader {
    /// Profile, 0 to 3.
    pub profile: u8,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl KeyframeHeader {
    /// Parses the start of a frame or superframe; `None` if it does not begin with a keyframe.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for another frame marker or sync code.
    pub fn parse(frame: &[u8]) -> Result<Option<Self>, Error> {
        let mut bits = BitReader::new(frame);
        let marker = bits.bits(2, "vp9.frame_marker")?;
        if marker != FRAME_MARKER {
            return Err(Error::Invalid { what: "vp9.frame_marker", value: u64::from(marker) });
        }
        let low = bits.bits8(1, "vp9.profile")?;
        let profile = bits.bits8(1, "vp9.profile")? << 1 | low;
        if profile == 3 {
            bits.skip(1, "vp9.reserved")?;
        }
        let existing = bits.flag("vp9.show_existing_frame")?;
        if existing || bits.flag("vp9.frame_type")? {
            return Ok(None);
        }
        bits.skip(2, "vp9.flags")?;
        let sync = bits.bits(24, "vp9.sync_code")?;
        if sync != SYNC_CODE {
            return Err(Error::Invalid { what: "vp9.sync_code", value: u64::from(sync) });
        }
        let bit_depth = colour_config(&mut bits, profile)?;
        let width = bits.bits(16, "vp9.width")? + 1;
        let height = bits.bits(16, "vp9.height")? + 1;
        Ok(Some(Self { profile, bit_depth, width, height }))
    }

    /// The RFC 6381 codec string of VP9, without a level that only a record tells.
    #[must_use]
    pub fn codec_string(&self) -> String {
        format!("vp09.{:02}.{LEVEL_1}.{:02}", self.profile, self.bit_depth)
    }
}

/// Passes over the colour configuration; gives the bit depth.
fn colour_config(bits: &mut BitReader<'_>, profile: u8) -> Result<u8, Error> {
    let deep = profile >= 2;
    let bit_depth = match deep && bits.flag("vp9.bit_depth")? {
        true => 12,
        false if deep => 10,
        false => 8,
    };
    let odd_profile = profile & 1 == 1;
    if bits.bits8(3, "vp9.colour_space")? == CS_RGB {
        bits.skip(u32::from(odd_profile), "vp9.reserved")?;
    } else {
        bits.skip(1 + if odd_profile { 3 } else { 0 }, "vp9.colour")?;
    }
    Ok(bit_depth)
}

/// The record of VP8 and VP9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VpCodecConfigurationRecord {
    /// Profile.
    pub profile: u8,
    /// Level times ten, 0 if unknown.
    pub level: u8,
    /// Bits of a sample.
    pub bit_depth: u8,
    /// Chroma subsampling: 0 and 1 are 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    pub chroma: u8,
    /// Samples use the full range.
    pub full_range: bool,
    /// Colour primaries, transfer characteristics and matrix coefficients (ISO/IEC 23091-2).
    pub colour: [u8; 3],
}

impl VpCodecConfigurationRecord {
    /// Parses the record, with the version and flags of its box or without.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for a bit depth that VP9 does not have.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        // Without version and flags the third byte holds the bit depth, which is never 0.
        let record = match record {
            [_, 0, 0, 0, rest @ ..] if rest.len() >= RECORD_LEN => rest,
            bare => bare,
        };
        let mut r = Reader::new(record);
        let [profile, level, depth] = r.array("vpcc.profile")?;
        let colour = r.array("vpcc.colour")?;
        r.u16("vpcc.initialization_data_len")?;
        let bit_depth = depth >> 4;
        if !matches!(bit_depth, 8 | 10 | 12) {
            return Err(Error::Invalid { what: "vpcc.bit_depth", value: u64::from(bit_depth) });
        }
        let (chroma, full_range) = (depth >> 1 & 7, depth & 1 == 1);
        Ok(Self { profile, level, bit_depth, chroma, full_range, colour })
    }

    /// The RFC 6381 codec string behind `name`, `vp08` or `vp09`; the colours only where they are
    /// not those of ordinary video.
    #[must_use]
    pub fn codec_string(&self, name: &str) -> String {
        let &Self { profile, level, bit_depth, chroma, full_range, colour } = self;
        let level = level.max(LEVEL_1);
        let short = format!("{name}.{profile:02}.{level:02}.{bit_depth:02}");
        let ordinary = colour.iter().all(|value| ORDINARY_COLOUR.contains(value));
        if ordinary && !full_range && chroma <= CHROMA_420_MAX {
            return short;
        }
        let [primaries, transfer, matrix] = colour;
        let range = u8::from(full_range);
        format!("{short}.{chroma:02}.{primaries:02}.{transfer:02}.{matrix:02}.{range:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit_writer::BitWriter;

    const RECORD: [u8; 12] = [1, 0, 0, 0, 2, 31, 0xa2, 9, 16, 9, 0, 0];

    #[test]
    fn keyframes_of_every_profile() {
        let sync = "010010011000001101000010";
        let size = "0000000100111111 0000000010110011";
        let table = [
            ("10 00 0 0 10", "001 0", (0, 8)),
            ("10 10 0 0 10", "001 0 000", (1, 8)),
            ("10 01 0 0 10", "0 001 0", (2, 10)),
            ("10 11 0 0 0 10", "1 111 0", (3, 12)),
        ];
        for (start, colour, (profile, bit_depth)) in table {
            let bits = BitWriter::default().text(start).text(sync).text(colour).text(size);
            let header = KeyframeHeader::parse(&bits.bytes()).unwrap().unwrap();
            let expected = KeyframeHeader { profile, bit_depth, width: 320, height: 180 };
            assert_eq!(header, expected);
        }
        let header = KeyframeHeader { profile: 2, bit_depth: 10, width: 1, height: 1 };
        assert_eq!(header.codec_string(), "vp09.02.10.10");
    }

    #[test]
    fn other_frames_are_none_and_others_bytes_are_refused() {
        let parse = |text| KeyframeHeader::parse(&BitWriter::default().text(text).bytes());
        assert_eq!(parse("10 00 0 1 10 0"), Ok(None), "a frame between");
        assert_eq!(parse("10 00 1 000"), Ok(None), "a frame that is shown again");
        assert!(matches!(parse("01000000"), Err(Error::Invalid { .. })));
        assert!(matches!(parse("1000001000000000"), Err(Error::Truncated { .. })));
        let unsynchronised = BitWriter::default().text("10 00 0 0 10").put(0, 24).bytes();
        let error = Error::Invalid { what: "vp9.sync_code", value: 0 };
        assert_eq!(KeyframeHeader::parse(&unsynchronised), Err(error));
    }

    #[test]
    fn records_with_and_without_the_box() {
        for record in [&RECORD[..], &RECORD[4..]] {
            let vpcc = VpCodecConfigurationRecord::parse(record).unwrap();
            assert_eq!((vpcc.profile, vpcc.level, vpcc.bit_depth), (2, 31, 10));
            assert_eq!(vpcc.codec_string("vp09"), "vp09.02.31.10.01.09.16.09.00");
        }
        let plain = [0, 0, 0x82, 2, 2, 2, 0, 0];
        let vpcc = VpCodecConfigurationRecord::parse(&plain).unwrap();
        assert_eq!(vpcc.codec_string("vp09"), "vp09.00.10.08");
        for len in 0..8 {
            let cut = VpCodecConfigurationRecord::parse(&plain[..len]);
            assert!(matches!(cut, Err(Error::Truncated { .. })));
        }
        let error = Error::Invalid { what: "vpcc.bit_depth", value: 0 };
        assert_eq!(VpCodecConfigurationRecord::parse(&[0; 8]), Err(error));
    }
}
