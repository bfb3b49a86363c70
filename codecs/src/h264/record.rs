//! avcC, the decoder configuration record of H.264.
//!
//! Spec: ISO/IEC 14496-15 5.3.3; RFC 6381 3.3.
//!
//! Shape: version, profile, constraints, level, `lengthSizeMinusOne`, then counted lists of
//! 16-bit sized SPS and PPS, then for the high profiles the chroma format and bit depths.
//!
//! Limits: parameter set counts by the width of their fields.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Sps;
use crate::Error;
use crate::nal;
use crate::reader::Reader;

/// The most SPS that avcC can hold: its count has 5 bits.
pub const SPS_COUNT_MAX: usize = 31;

/// The most PPS that avcC can hold: its count has 8 bits.
pub const PPS_COUNT_MAX: usize = 255;

/// avcC, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcDecoderConfigurationRecord<'a> {
    /// `AVCProfileIndication`.
    pub profile_idc: u8,
    /// `profile_compatibility`, the byte of constraint flags.
    pub constraints: u8,
    /// `AVCLevelIndication`.
    pub level_idc: u8,
    /// Bytes of a NAL unit's length: 1, 2 or 4.
    pub nal_length_size: u8,
    /// The sequence parameter sets, NAL unit headers included.
    pub sps: Vec<&'a [u8]>,
    /// The picture parameter sets, NAL unit headers included.
    pub pps: Vec<&'a [u8]>,
}

impl<'a> AvcDecoderConfigurationRecord<'a> {
    /// Parses avcC.
    ///
    /// The fields of the high profiles at the end are not needed and not required: librtmp-based
    /// encoders leave them out.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Unsupported`] for a version other than 1; [`Error::Invalid`]
    /// for 3-byte lengths.
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(record);
        let [version, profile_idc, constraints, level_idc] = r.array("h264.avcc.version")?;
        if version != 1 {
            let value = u64::from(version);
            return Err(Error::Unsupported { what: "h264.avcc.version", value });
        }
        let nal_length_size = (r.u8("h264.avcc.length_size")? & 3) + 1;
        if nal_length_size == 3 {
            return Err(Error::Invalid { what: "h264.avcc.length_size", value: 3 });
        }
        let count = r.u8("h264.avcc.sps_count")? & 0x1f;
        let sps = parameter_sets(&mut r, count, "h264.avcc.sps")?;
        let count = r.u8("h264.avcc.pps_count")?;
        let pps = parameter_sets(&mut r, count, "h264.avcc.pps")?;
        Ok(Self { profile_idc, constraints, level_idc, nal_length_size, sps, pps })
    }

    /// The RFC 6381 codec string, `avc1.PPCCLL`.
    #[must_use]
    pub fn codec_string(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.profile_idc, self.constraints, self.level_idc)
    }

    /// Builds avcC with 4-byte lengths from parameter sets with their NAL unit headers.
    ///
    /// # Errors
    /// [`Error::Truncated`] if there is no SPS with a profile; [`Error::TooLarge`] if there are
    /// more, or longer ones, than avcC can hold; for the high profiles what [`Sps::parse`] says.
    pub fn encode(sps: &[&[u8]], pps: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let first = sps.first().copied().unwrap_or_default();
        let [_, profile_idc, constraints, level_idc] = Reader::new(first).array("h264.sps")?;
        let mut record = Vec::with_capacity(
            11 + sps.iter().chain(pps).map(|unit| unit.len() + 2).sum::<usize>(),
        );
        record.extend_from_slice(&[1, profile_idc, constraints, level_idc, 0xff]);
        record.push(0xe0 | count(sps, SPS_COUNT_MAX, "h264.avcc.sps_count")?);
        put_parameter_sets(&mut record, sps, "h264.avcc.sps")?;
        record.push(count(pps, PPS_COUNT_MAX, "h264.avcc.pps_count")?);
        put_parameter_sets(&mut record, pps, "h264.avcc.pps")?;
        if !matches!(profile_idc, 66 | 77 | 88) {
            let sps = Sps::parse(first)?;
            record.extend_from_slice(&[
                0xfc | sps.chroma_format_idc,
                0xf8 | (sps.bit_depth_luma - 8),
                0xf8 | (sps.bit_depth_chroma - 8),
                0,
            ]);
        }
        Ok(record)
    }
}

fn parameter_sets<'a>(
    r: &mut Reader<'a>,
    count: u8,
    what: &'static str,
) -> Result<Vec<&'a [u8]>, Error> {
    (0..count)
        .map(|_| {
            let len = r.u16(what)?;
            r.bytes(usize::from(len), what)
        })
        .collect()
}

fn count(units: &[&[u8]], max: usize, what: &'static str) -> Result<u8, Error> {
    let error = Error::TooLarge { what, value: units.len() as u64, max: max as u64 };
    u8::try_from(units.len()).ok().filter(|_| units.len() <= max).ok_or(error)
}

fn put_parameter_sets(
    record: &mut Vec<u8>,
    units: &[&[u8]],
    what: &'static str,
) -> Result<(), Error> {
    for unit in units {
        record.extend_from_slice(&nal::parameter_set_len(unit, what)?.to_be_bytes());
        record.extend_from_slice(unit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SPS: &[u8] = &[0x67, 66, 0xc0, 30, 0xff];
    const PPS: &[u8] = &[0x68, 0xce];
    const RECORD: &[u8] =
        &[1, 66, 0xc0, 30, 0xff, 0xe1, 0, 5, 0x67, 66, 0xc0, 30, 0xff, 1, 0, 2, 0x68, 0xce];

    #[test]
    fn records_read_and_write() {
        let avcc = AvcDecoderConfigurationRecord::parse(RECORD).unwrap();
        assert_eq!((avcc.sps.as_slice(), avcc.pps.as_slice()), (&[SPS][..], &[PPS][..]));
        assert_eq!((avcc.nal_length_size, avcc.codec_string().as_str()), (4, "avc1.42c01e"));
        assert_eq!(AvcDecoderConfigurationRecord::encode(&[SPS], &[PPS]).unwrap(), RECORD);
    }

    #[test]
    fn broken_records_are_refused() {
        let with = |at: usize, value: u8| {
            let mut record = RECORD.to_vec();
            record[at] = value;
            AvcDecoderConfigurationRecord::parse(&record).map(|_| ())
        };
        let table = [
            (0, 0, Error::Unsupported { what: "h264.avcc.version", value: 0 }),
            (4, 0xfe, Error::Invalid { what: "h264.avcc.length_size", value: 3 }),
            (5, 0xe2, Error::Truncated { what: "h264.avcc.sps" }),
            (6, 1, Error::Truncated { what: "h264.avcc.sps" }),
            (15, 3, Error::Truncated { what: "h264.avcc.pps" }),
        ];
        for (at, value, error) in table {
            assert_eq!(with(at, value), Err(error), "byte {at}");
        }
        assert_eq!(with(4, 0xfc), Ok(()), "1-byte lengths");
    }

    #[test]
    fn what_a_record_cannot_hold_is_an_error() {
        let encode = AvcDecoderConfigurationRecord::encode;
        assert_eq!(encode(&[], &[PPS]), Err(Error::Truncated { what: "h264.sps" }));
        assert_eq!(encode(&[&[0x67, 66]], &[]), Err(Error::Truncated { what: "h264.sps" }));
        let error = Error::TooLarge { what: "h264.avcc.sps_count", value: 32, max: 31 };
        assert_eq!(encode(&[SPS; 32], &[]), Err(error));
        let error = Error::TooLarge { what: "h264.avcc.pps_count", value: 256, max: 255 };
        assert_eq!(encode(&[SPS], &[PPS; 256]), Err(error));
        let long = vec![0x68; 65_536];
        let error = Error::TooLarge { what: "h264.avcc.pps", value: 65_536, max: 65_535 };
        assert_eq!(encode(&[SPS], &[&long]), Err(error));
    }
}
