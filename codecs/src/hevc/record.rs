//! hvcC, the decoder configuration record of H.265.
//!
//! Spec: ISO/IEC 14496-15 8.3.3.
//!
//! Shape: 23 bytes of version, profile, tier, level, formats, `lengthSizeMinusOne` and a count,
//! then that many arrays of one NAL unit type each, whose NAL units have 16-bit lengths.
//!
//! Limits: [`UNITS_MAX`] NAL units.

use alloc::string::String;
use alloc::vec::Vec;

use super::{NalType, ProfileTierLevel, Sps};
use crate::Error;
use crate::nal;
use crate::reader::Reader;

/// The most NAL units that are read from, or written to, hvcC: 16 VPS, 16 SPS, 64 PPS and some
/// SEI.
pub const UNITS_MAX: usize = 128;

/// hvcC, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HevcDecoderConfigurationRecord<'a> {
    /// Profile, tier and level.
    pub ptl: ProfileTierLevel,
    /// `chroma_format_idc`.
    pub chroma_format_idc: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Bytes of a NAL unit's length: 1, 2 or 4.
    pub nal_length_size: u8,
    /// The NAL units of all arrays, in order, with the type that their array states.
    pub units: Vec<(NalType, &'a [u8])>,
}

impl<'a> HevcDecoderConfigurationRecord<'a> {
    /// Parses hvcC.
    ///
    /// Version 0 is read like 1: ffmpeg and encoders that derive from it wrote it until the third
    /// edition of the specification was final.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Unsupported`] for another version; [`Error::Invalid`] for
    /// 3-byte lengths; [`Error::TooLarge`] over [`UNITS_MAX`].
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(record);
        let version = r.u8("hevc.hvcc.version")?;
        if version > 1 {
            let value = u64::from(version);
            return Err(Error::Unsupported { what: "hevc.hvcc.version", value });
        }
        let ptl = ProfileTierLevel::from_bytes(r.array("hevc.hvcc.profile")?);
        let [_, _, _, chroma, luma_depth, chroma_depth, _, _] = r.array("hevc.hvcc.formats")?;
        let nal_length_size = (r.u8("hevc.hvcc.length_size")? & 3) + 1;
        if nal_length_size == 3 {
            return Err(Error::Invalid { what: "hevc.hvcc.length_size", value: 3 });
        }
        let mut units = Vec::new();
        for _ in 0..r.u8("hevc.hvcc.arrays")? {
            let kind = NalType(r.u8("hevc.hvcc.array_type")? & 0x3f);
            let count = usize::from(r.u16("hevc.hvcc.array_len")?);
            check_units(units.len() + count)?;
            for _ in 0..count {
                let len = r.u16("hevc.hvcc.unit_len")?;
                units.push((kind, r.bytes(usize::from(len), "hevc.hvcc.unit")?));
            }
        }
        Ok(Self {
            ptl,
            chroma_format_idc: chroma & 3,
            bit_depth_luma: (luma_depth & 7) + 8,
            bit_depth_chroma: (chroma_depth & 7) + 8,
            nal_length_size,
            units,
        })
    }

    /// The NAL units of one type.
    pub fn units_of(&self, kind: NalType) -> impl Iterator<Item = &'a [u8]> {
        self.units.iter().filter(move |(of, _)| *of == kind).map(|(_, unit)| *unit)
    }

    /// The codec string of Annex E, `hvc1.P.C.TL.B...`.
    #[must_use]
    pub fn codec_string(&self) -> String {
        self.ptl.codec_string()
    }

    /// Builds hvcC with 4-byte lengths and complete arrays from parameter sets with their NAL unit
    /// headers.
    ///
    /// # Errors
    /// What [`Sps::parse`] says of the first SPS; [`Error::TooLarge`] if there are more, or longer
    /// ones, than a record holds.
    pub fn encode(vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let first = Sps::parse(sps.first().copied().unwrap_or_default())?;
        let arrays = [(NalType::VPS, vps), (NalType::SPS, sps), (NalType::PPS, pps)];
        check_units(arrays.iter().map(|(_, units)| units.len()).sum())?;
        let mut record = Vec::new();
        record.push(1);
        record.extend_from_slice(&first.ptl.to_bytes());
        record.extend_from_slice(&[
            // No promise of a minimum spatial segmentation, nor of a kind of parallelism.
            0xf0,
            0,
            0xfc,
            0xfc | first.chroma_format_idc,
            0xf8 | (first.bit_depth_luma - 8),
            0xf8 | (first.bit_depth_chroma - 8),
            // No average frame rate.
            0,
            0,
            // The frame rate may vary; 4-byte lengths.
            first.temporal_layers << 3 | u8::from(first.temporal_id_nested) << 2 | 3,
        ]);
        let present = arrays.iter().filter(|(_, units)| !units.is_empty());
        record.push(u8::try_from(present.clone().count()).expect("three kinds at most"));
        for (kind, units) in present {
            // The first bit says that no more of this type come in the stream.
            record.push(0x80 | kind.0);
            let count = u16::try_from(units.len()).expect("limited by UNITS_MAX");
            record.extend_from_slice(&count.to_be_bytes());
            for unit in *units {
                let len = nal::parameter_set_len(unit, "hevc.hvcc.unit")?;
                record.extend_from_slice(&len.to_be_bytes());
                record.extend_from_slice(unit);
            }
        }
        Ok(record)
    }
}

const fn check_units(count: usize) -> Result<(), Error> {
    if count > UNITS_MAX {
        let (value, max) = (count as u64, UNITS_MAX as u64);
        return Err(Error::TooLarge { what: "hevc.hvcc.units", value, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// The fixed part, with a count of arrays.
    fn record(arrays: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93];
        bytes.extend_from_slice(&[0xf0, 0, 0xfc, 0xfd, 0xf8, 0xfa, 0, 0, 0x0f, arrays]);
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn arrays_keep_their_types() {
        let bytes = record(2, &[0xa0, 0, 1, 0, 2, 0x40, 1, 0x22, 0, 2, 0, 1, 0x44, 0, 0]);
        let hvcc = HevcDecoderConfigurationRecord::parse(&bytes).unwrap();
        let units: [(NalType, &[u8]); 3] =
            [(NalType::VPS, &[0x40, 1]), (NalType::PPS, &[0x44]), (NalType::PPS, &[])];
        assert_eq!(hvcc.units, units);
        assert_eq!(hvcc.units_of(NalType::PPS).count(), 2);
        assert_eq!((hvcc.chroma_format_idc, hvcc.nal_length_size), (1, 4));
        assert_eq!((hvcc.bit_depth_luma, hvcc.bit_depth_chroma), (8, 10));
        assert_eq!(hvcc.codec_string(), "hvc1.1.6.L93.90");
    }

    #[test]
    fn a_draft_version_is_read_and_broken_records_are_refused() {
        let with = |at: usize, value: u8, rest: &[u8]| {
            let mut bytes = record(1, rest);
            bytes[at] = value;
            HevcDecoderConfigurationRecord::parse(&bytes).map(|hvcc| hvcc.units.len())
        };
        let one: &[u8] = &[0xa0, 0, 1, 0, 1, 0x40];
        let too_many = Error::TooLarge { what: "hevc.hvcc.units", value: 129, max: 128 };
        let table = [
            (0, 0, one, Ok(1)),
            (0, 2, one, Err(Error::Unsupported { what: "hevc.hvcc.version", value: 2 })),
            (21, 0x0e, one, Err(Error::Invalid { what: "hevc.hvcc.length_size", value: 3 })),
            (0, 1, &one[..5], Err(Error::Truncated { what: "hevc.hvcc.unit" })),
            (22, 2, one, Err(Error::Truncated { what: "hevc.hvcc.array_type" })),
            (0, 1, &[0xa0, 0, 129][..], Err(too_many)),
        ];
        for (at, value, rest, result) in table {
            assert_eq!(with(at, value, rest), result, "byte {at} = {value}, {rest:?}");
        }
    }

    #[test]
    fn encoding_needs_an_sps() {
        let error = Error::Truncated { what: "hevc.sps.header" };
        assert_eq!(HevcDecoderConfigurationRecord::encode(&[], &[], &[]), Err(error));
    }
}
