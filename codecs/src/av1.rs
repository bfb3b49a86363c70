//! AV1: OBUs, the sequence header, av1C.
//!
//! Spec: AV1 Bitstream and Decoding Process 5.3 (OBU), 5.5 (sequence header), 5.9.2 (frame
//! header), 4.10.5 (`leb128`); AV1 Codec ISO Media File Format Binding 2.3 (av1C) and 5 (codec
//! string).
//!
//! Limits: an OBU size has at most 8 bytes and 32 bits, as the specification says.

use alloc::format;
use alloc::string::String;

use crate::Error;
use crate::bits::BitReader;
use crate::nal;
use crate::reader::Reader;

/// `obu_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObuType(pub u8);

impl ObuType {
    /// Sequence header.
    pub const SEQUENCE_HEADER: Self = Self(1);
    /// Temporal delimiter.
    pub const TEMPORAL_DELIMITER: Self = Self(2);
    /// Frame header.
    pub const FRAME_HEADER: Self = Self(3);
    /// Tile group.
    pub const TILE_GROUP: Self = Self(4);
    /// Metadata.
    pub const METADATA: Self = Self(5);
    /// Frame header and tile group.
    pub const FRAME: Self = Self(6);
    /// Repeated frame header.
    pub const REDUNDANT_FRAME_HEADER: Self = Self(7);
    /// Padding.
    pub const PADDING: Self = Self(15);
}

/// One open bitstream unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// Its type.
    pub kind: ObuType,
    /// Its payload, without header and size.
    pub payload: &'a [u8],
}

/// The OBUs of a temporal unit, or of av1C; see [`obus`].
#[derive(Clone, Debug)]
pub struct Obus<'a> {
    reader: Reader<'a>,
}

/// Iterates over OBUs in the low-overhead format; after an error the iteration ends.
///
/// An OBU without a size takes what is left.
///
/// Errors: items are [`Error::Truncated`] if an OBU ends after the bytes do, [`Error::Invalid`]
/// for a set forbidden bit or an overlong size.
#[must_use]
pub const fn obus(bytes: &[u8]) -> Obus<'_> {
    Obus { reader: Reader::new(bytes) }
}

impl<'a> Obus<'a> {
    fn read(&mut self) -> Result<Obu<'a>, Error> {
        let r = &mut self.reader;
        let header = r.u8("av1.obu.header")?;
        if header & 0x80 != 0 {
            return Err(Error::Invalid { what: "av1.obu.header", value: u64::from(header) });
        }
        if header & 0x04 != 0 {
            r.u8("av1.obu.extension")?;
        }
        let len = if header & 0x02 != 0 { obu_size(r)? } else { r.remaining() };
        let payload = r.bytes(len, "av1.obu.payload")?;
        Ok(Obu { kind: ObuType(header >> 3 & 0x0f), payload })
    }
}

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let obu = self.read();
        if obu.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(obu)
    }
}

fn obu_size(r: &mut Reader<'_>) -> Result<usize, Error> {
    let mut value = 0_u64;
    for at in 0..8 {
        let byte = r.u8("av1.obu.size")?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let size = u32::try_from(value).ok().and_then(|size| usize::try_from(size).ok());
            return size.ok_or(Error::Invalid { what: "av1.obu.size", value });
        }
    }
    Err(Error::Invalid { what: "av1.obu.size", value })
}

/// True if a temporal unit shows a key frame, where decoding can start.
///
/// Only the first frame header is read: a temporal unit that starts with another frame needs what
/// came before it.
///
/// # Errors
/// What [`obus`] and [`SequenceHeader::parse`] say.
pub fn is_keyframe(temporal_unit: &[u8]) -> Result<bool, Error> {
    let mut still = false;
    for obu in obus(temporal_unit) {
        let obu = obu?;
        match obu.kind {
            ObuType::SEQUENCE_HEADER => {
                still = SequenceHeader::parse(obu.payload)?.reduced_still_picture;
            }
            ObuType::FRAME_HEADER | ObuType::FRAME => {
                // A reduced still picture has no frame type: it is a shown key frame.
                let first = Reader::new(obu.payload).u8("av1.frame.header")?;
                let (existing, kind, shown) = (first >> 7, first >> 5 & 3, first >> 4 & 1);
                return Ok(still || (existing == 0 && kind == 0 && shown == 1));
            }
            _ => {}
        }
    }
    Ok(false)
}

/// What the sequence header says of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx[0]`.
    pub level_idx: u8,
    /// `seq_tier[0]`: high tier.
    pub high_tier: bool,
    /// `reduced_still_picture_header`.
    pub reduced_still_picture: bool,
    /// The largest width in pixels.
    pub width: u32,
    /// The largest height in pixels.
    pub height: u32,
    /// Frames per second in thousandths, if the pictures come at equal intervals.
    pub fps_milli: Option<u32>,
}

impl SequenceHeader {
    /// Parses the payload of a sequence header OBU.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for a reserved profile.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(payload);
        let profile = bits.bits8(3, "av1.sequence.profile")?;
        if profile > 2 {
            let value = u64::from(profile);
            return Err(Error::Invalid { what: "av1.sequence.profile", value });
        }
        bits.flag("av1.sequence.still_picture")?;
        let reduced_still_picture = bits.flag("av1.sequence.reduced_still_picture")?;
        let (level_idx, high_tier, fps_milli) = if reduced_still_picture {
            (bits.bits8(5, "av1.sequence.level")?, false, None)
        } else {
            operating_points(&mut bits)?
        };
        let width_bits = bits.bits(4, "av1.sequence.width_bits")? + 1;
        let height_bits = bits.bits(4, "av1.sequence.height_bits")? + 1;
        let width = bits.bits(width_bits, "av1.sequence.width")? + 1;
        let height = bits.bits(height_bits, "av1.sequence.height")? + 1;
        Ok(Self { profile, level_idx, high_tier, reduced_still_picture, width, height, fps_milli })
    }
}

/// Reads the timing and the operating points; gives level and tier of the first, and frame rate.
fn operating_points(bits: &mut BitReader<'_>) -> Result<(u8, bool, Option<u32>), Error> {
    let mut fps_milli = None;
    let mut delay_bits = None;
    if bits.flag("av1.sequence.timing_present")? {
        let units_in_tick = bits.bits(32, "av1.timing.units_in_tick")?;
        let time_scale = bits.bits(32, "av1.timing.time_scale")?;
        if bits.flag("av1.timing.equal_interval")? {
            let ticks = u64::from(uvlc(bits)?) + 1;
            fps_milli = nal::fps_milli(time_scale, u64::from(units_in_tick).saturating_mul(ticks));
        }
        if bits.flag("av1.sequence.decoder_model_present")? {
            delay_bits = Some(bits.bits(5, "av1.decoder_model.delay_bits")? + 1);
            bits.skip(32 + 5 + 5, "av1.decoder_model")?;
        }
    }
    let display_delay = bits.flag("av1.sequence.display_delay_present")?;
    let mut first = None;
    for _ in 0..=bits.bits(5, "av1.sequence.operating_points")? {
        bits.skip(12, "av1.operating_point.idc")?;
        let level_idx = bits.bits8(5, "av1.operating_point.level")?;
        let high_tier = level_idx > 7 && bits.flag("av1.operating_point.tier")?;
        if let Some(delay_bits) = delay_bits
            && bits.flag("av1.operating_point.decoder_model_present")?
        {
            bits.skip(2 * delay_bits + 1, "av1.operating_point.decoder_model")?;
        }
        if display_delay && bits.flag("av1.operating_point.display_delay_present")? {
            bits.skip(4, "av1.operating_point.display_delay")?;
        }
        first.get_or_insert((level_idx, high_tier));
    }
    let (level_idx, high_tier) = first.expect("the loop runs at least once");
    Ok((level_idx, high_tier, fps_milli))
}

/// Reads `uvlc()` (4.10.3), which is like Exp-Golomb but saturates from 32 leading zeros on.
fn uvlc(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let mut zeros = 0;
    while !bits.flag("av1.uvlc")? {
        zeros += 1;
    }
    if zeros >= 32 {
        return Ok(u32::MAX);
    }
    Ok(bits.bits(zeros, "av1.uvlc")? + ((1 << zeros) - 1))
}

/// av1C, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Av1CodecConfigurationRecord<'a> {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx_0`.
    pub level_idx: u8,
    /// `seq_tier_0`: high tier.
    pub high_tier: bool,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// No chroma.
    pub monochrome: bool,
    /// The OBUs of the configuration: none, or a sequence header and metadata.
    pub config_obus: &'a [u8],
}

impl<'a> Av1CodecConfigurationRecord<'a> {
    /// Parses av1C.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] without the marker bit; [`Error::Unsupported`] for
    /// a version other than 1.
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(record);
        let [version, level, formats, _] = r.array("av1.av1c.header")?;
        if version & 0x80 == 0 {
            return Err(Error::Invalid { what: "av1.av1c.marker", value: u64::from(version) });
        }
        if version != 0x81 {
            let value = u64::from(version & 0x7f);
            return Err(Error::Unsupported { what: "av1.av1c.version", value });
        }
        let profile = level >> 5;
        let bit_depth = match (formats >> 6 & 1, formats >> 5 & 1) {
            (0, _) => 8,
            (_, 1) if profile == 2 => 12,
            _ => 10,
        };
        Ok(Self {
            profile,
            level_idx: level & 0x1f,
            high_tier: formats & 0x80 != 0,
            bit_depth,
            monochrome: formats & 0x10 != 0,
            config_obus: r.rest(),
        })
    }

    /// The sequence header among the configuration OBUs, if there is one.
    ///
    /// # Errors
    /// What [`obus`] and [`SequenceHeader::parse`] say.
    pub fn sequence_header(&self) -> Result<Option<SequenceHeader>, Error> {
        for obu in obus(self.config_obus) {
            let obu = obu?;
            if obu.kind == ObuType::SEQUENCE_HEADER {
                return SequenceHeader::parse(obu.payload).map(Some);
            }
        }
        Ok(None)
    }

    /// The codec string, `av01.P.LLT.DD`.
    #[must_use]
    pub fn codec_string(&self) -> String {
        let tier = if self.high_tier { 'H' } else { 'M' };
        format!("av01.{}.{:02}{tier}.{:02}", self.profile, self.level_idx, self.bit_depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit_writer::BitWriter;
    use alloc::vec::Vec;

    #[test]
    fn obus_with_and_without_size_and_extension() {
        let bytes = [0x12, 0, 0x36, 0x28, 2, 7, 8, 0x0a, 0x81, 0, 9, 0x30, 5, 6];
        let table: [(ObuType, &[u8]); 4] = [
            (ObuType::TEMPORAL_DELIMITER, &[]),
            (ObuType::FRAME, &[7, 8]),
            (ObuType::SEQUENCE_HEADER, &[9]),
            (ObuType::FRAME, &[5, 6]),
        ];
        let read: Vec<_> = obus(&bytes).map(|obu| obu.map(|obu| (obu.kind, obu.payload))).collect();
        assert_eq!(read, table.map(Ok));
    }

    #[test]
    fn broken_obus_are_one_error() {
        let table: [(&[u8], Error); 5] = [
            (&[0x80], Error::Invalid { what: "av1.obu.header", value: 0x80 }),
            (&[0x32, 2, 1], Error::Truncated { what: "av1.obu.payload" }),
            (&[0x34], Error::Truncated { what: "av1.obu.extension" }),
            (
                &[0x32, 0x80, 0x80, 0x80, 0x80, 0x10],
                Error::Invalid { what: "av1.obu.size", value: 1 << 32 },
            ),
            (
                &[0x32, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
                Error::Invalid { what: "av1.obu.size", value: 0 },
            ),
        ];
        for (bytes, error) in table {
            assert_eq!(obus(bytes).collect::<Vec<_>>(), [Err(error)], "{bytes:?}");
        }
    }

    #[test]
    fn only_a_shown_key_frame_starts_decoding() {
        let table: [(&[u8], bool); 6] = [
            (&[0x12, 0, 0x32, 1, 0x10], true),
            (&[0x12, 0, 0x1a, 1, 0x10], true),
            (&[0x32, 1, 0x00], false),
            (&[0x32, 1, 0x30], false),
            (&[0x32, 1, 0x90], false),
            (&[0x12, 0], false),
        ];
        for (unit, keyframe) in table {
            assert_eq!(is_keyframe(unit), Ok(keyframe), "{unit:?}");
        }
        let header = BitWriter::default().text("000 1 1 00000 0000 0000 0 0").bytes();
        let still = [&[0x0a, 3][..], &header, &[0x32, 1, 0xff]].concat();
        assert_eq!(is_keyframe(&still), Ok(true), "a still picture has no frame type");
        assert_eq!(is_keyframe(&[0x32, 0]), Err(Error::Truncated { what: "av1.frame.header" }));
    }

    #[test]
    fn sequence_headers_with_every_option() {
        // Timing of 3 ticks a picture, a decoder model, two operating points, display delays.
        let bits = BitWriter::default().text("001 0 0 1").put(1, 32).put(75, 32).text("1 011");
        let bits = bits.text("1 00011").put(1, 32).text("00000 00000 1").put(1, 5);
        let bits = bits.put(0, 12).text("01000 1 1 1111 0000 1 1 0000");
        let bits = bits.put(0, 12).text("00111 0 0");
        let bits = bits.text("1010 1001").put(1919, 11).put(719, 10);
        let header = SequenceHeader::parse(&bits.bytes()).unwrap();
        assert_eq!((header.width, header.height), (1920, 720));
        assert_eq!((header.profile, header.level_idx, header.high_tier), (1, 8, true));
        assert_eq!(header.fps_milli, Some(25_000));
        let reserved = Error::Invalid { what: "av1.sequence.profile", value: 7 };
        assert_eq!(SequenceHeader::parse(&[0xff]), Err(reserved));
    }

    #[test]
    fn codec_strings_tell_tier_and_depth() {
        let table = [
            ([0x81, 0x04, 0x0c, 0], "av01.0.04M.08"),
            ([0x81, 0x0d, 0xcc, 0], "av01.0.13H.10"),
            ([0x81, 0x49, 0x60, 0], "av01.2.09M.12"),
        ];
        for (record, text) in table {
            let av1c = Av1CodecConfigurationRecord::parse(&record).unwrap();
            assert_eq!(av1c.codec_string(), text);
            assert_eq!(av1c.sequence_header(), Ok(None));
        }
        let parse = |record: &[u8]| Av1CodecConfigurationRecord::parse(record).map(|_| ());
        let marker = Error::Invalid { what: "av1.av1c.marker", value: 1 };
        assert_eq!(parse(&[1, 0, 0, 0]), Err(marker));
        let version = Error::Unsupported { what: "av1.av1c.version", value: 2 };
        assert_eq!(parse(&[0x82, 0, 0, 0]), Err(version));
        assert_eq!(parse(&[0x81, 0, 0]), Err(Error::Truncated { what: "av1.av1c.header" }));
    }
}
