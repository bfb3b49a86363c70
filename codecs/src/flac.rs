//! FLAC: the STREAMINFO block.
//!
//! Spec: RFC 9639 8.1 and 8.2.
//!
//! Shape: the marker `fLaC` and a block header (32 bits), which some leave out; block sizes (16 and
//! 16), frame sizes (24 and 24), sample rate (20), channels minus 1 (3), bits of a sample minus 1
//! (5), samples (36), MD5 (128).

use crate::Error;
use crate::bits::BitReader;
use crate::reader::Reader;

/// The marker at the start of a stream.
pub const MARKER: &[u8; 4] = b"fLaC";

/// The block type of STREAMINFO.
const STREAMINFO: u8 = 0;

/// What is known of a whole stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The smallest block in samples.
    pub block_min: u16,
    /// The largest block in samples.
    pub block_max: u16,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels, 1 to 8.
    pub channels: u8,
    /// Bits of a sample, 4 to 32.
    pub bits_per_sample: u8,
}

impl StreamInfo {
    /// Parses the block, with marker and header (the specification) or without (ffmpeg).
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] if another block stands first, or for no rate.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        if bytes.starts_with(MARKER) {
            r.bytes(MARKER.len(), "flac.marker")?;
            let kind = r.u8("flac.block.type")? & 0x7f;
            if kind != STREAMINFO {
                return Err(Error::Invalid { what: "flac.block.type", value: u64::from(kind) });
            }
            r.u24("flac.block.len")?;
        }
        let block_min = r.u16("flac.block_min")?;
        let block_max = r.u16("flac.block_max")?;
        r.bytes(6, "flac.frame_sizes")?;
        let mut bits = BitReader::new(r.bytes(8, "flac.sample_rate")?);
        let sample_rate = bits.bits(20, "flac.sample_rate")?;
        let channels = bits.bits8(3, "flac.channels")? + 1;
        let bits_per_sample = bits.bits8(5, "flac.bits_per_sample")? + 1;
        r.bytes(16, "flac.md5")?;
        if sample_rate == 0 {
            return Err(Error::Invalid { what: "flac.sample_rate", value: 0 });
        }
        Ok(Self { block_min, block_max, sample_rate, channels, bits_per_sample })
    }

    /// Samples in every block, 0 if that varies.
    #[must_use]
    pub fn samples_per_unit(&self) -> u32 {
        if self.block_min == self.block_max { u32::from(self.block_max) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn block() -> Vec<u8> {
        let mut bytes = alloc::vec![0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&[0x0b, 0xb8, 0x02, 0xf0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[7; 16]);
        bytes
    }

    #[test]
    fn the_block_with_and_without_its_marker() {
        let bare = block();
        let whole = [MARKER, &[0x80, 0, 0, 34][..], &bare].concat();
        for bytes in [&bare, &whole] {
            let info = StreamInfo::parse(bytes).unwrap();
            assert_eq!((info.sample_rate, info.channels, info.bits_per_sample), (48_000, 2, 16));
            assert_eq!(info.samples_per_unit(), 4_608);
            for len in 0..bytes.len() {
                let cut = StreamInfo::parse(&bytes[..len]);
                assert!(matches!(cut, Err(Error::Truncated { .. })), "{len}: {cut:?}");
            }
        }
        let mut other = whole;
        other[4] = 4;
        let error = Error::Invalid { what: "flac.block.type", value: 4 };
        assert_eq!(StreamInfo::parse(&other), Err(error));
        let mut rateless = block();
        rateless[10..13].fill(0);
        let error = Error::Invalid { what: "flac.sample_rate", value: 0 };
        assert_eq!(StreamInfo::parse(&rateless), Err(error));
    }
}
