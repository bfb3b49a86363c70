//! Opus: the identification header.
//!
//! Spec: RFC 7845 5.1.
//!
//! Shape: version, channels, pre-skip, input sample rate, output gain, mapping family; for every
//! family but 0 a stream count, a coupled count and one mapping byte per channel. Little-endian,
//! behind the magic `OpusHead`, which containers leave out.

use crate::Error;
use crate::reader::Reader;

/// The 8 bytes before the header in Ogg and Enhanced RTMP.
pub const MAGIC: &[u8; 8] = b"OpusHead";

/// The rate of every Opus decoder's output and timescale.
pub const SAMPLE_RATE: u32 = 48_000;

/// The identification header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusHead {
    /// Channels of the output.
    pub channels: u8,
    /// Samples at 48 kHz to drop from the start.
    pub pre_skip: u16,
    /// The rate before encoding, for information; 0 if unknown.
    pub input_sample_rate: u32,
    /// How channels map to streams: 0 mono or stereo, 1 surround.
    pub mapping_family: u8,
}

/// Samples at 48 kHz of a packet, as its first two bytes tell; 0 if it makes no sense.
///
/// Spec: RFC 6716 3.1 and 3.2.
#[must_use]
pub const fn packet_samples(packet: &[u8]) -> u32 {
    let (toc, count) = match packet {
        [toc, count, ..] => (*toc, *count),
        [toc] => (*toc, 0),
        [] => return 0,
    };
    let frame = match toc >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][(config % 4) as usize],
        config @ 12..16 => [480, 960][(config % 2) as usize],
        config => [120, 240, 480, 960][(config % 4) as usize],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => (count & 0x3f) as u32,
    };
    // A packet lasts 120 ms at most.
    if frame * frames > 5_760 { 0 } else { frame * frames }
}

/// The header without its magic, if it has one.
#[must_use]
pub fn without_magic(header: &[u8]) -> &[u8] {
    header.strip_prefix(MAGIC).unwrap_or(header)
}

impl OpusHead {
    /// Parses the header, with or without its magic.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Unsupported`] for a major version other than 0;
    /// [`Error::Invalid`] for no channels, or more than 2 of family 0.
    pub fn parse(header: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(without_magic(header));
        let version = r.u8("opus.head.version")?;
        if version > 15 {
            let value = u64::from(version);
            return Err(Error::Unsupported { what: "opus.head.version", value });
        }
        let channels = r.u8("opus.head.channels")?;
        let pre_skip = u16::from_le_bytes(r.array("opus.head.pre_skip")?);
        let input_sample_rate = r.u32_le("opus.head.input_sample_rate")?;
        r.u16("opus.head.gain")?;
        let mapping_family = r.u8("opus.head.mapping_family")?;
        if channels == 0 || (mapping_family == 0 && channels > 2) {
            let value = u64::from(channels);
            return Err(Error::Invalid { what: "opus.head.channels", value });
        }
        if mapping_family != 0 {
            r.bytes(2 + usize::from(channels), "opus.head.mapping")?;
        }
        Ok(Self { channels, pre_skip, input_sample_rate, mapping_family })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: [u8; 11] = [1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0];

    #[test]
    fn headers_with_and_without_magic() {
        let head =
            OpusHead { channels: 2, pre_skip: 312, input_sample_rate: 48_000, mapping_family: 0 };
        assert_eq!(OpusHead::parse(&STEREO), Ok(head));
        let mut with_magic = [0; 19];
        with_magic[..8].copy_from_slice(MAGIC);
        with_magic[8..].copy_from_slice(&STEREO);
        assert_eq!(OpusHead::parse(&with_magic), Ok(head));
        let surround = [1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 2, 1];
        assert_eq!(OpusHead::parse(&surround).map(|head| head.channels), Ok(3));
        let cut = Error::Truncated { what: "opus.head.mapping" };
        assert_eq!(OpusHead::parse(&surround[..15]), Err(cut));
    }

    #[test]
    fn packets_tell_how_long_they_last() {
        let table: [(&[u8], u32); 8] = [
            (&[], 0),
            (&[0x00], 480),
            (&[0x18, 9], 2_880),
            (&[0x61, 9], 960),
            (&[0x6a], 1_920),
            (&[0xfc, 1], 960),
            (&[0xe3, 0x83], 360),
            (&[0x1b, 3], 0),
        ];
        for (packet, samples) in table {
            assert_eq!(packet_samples(packet), samples, "{packet:x?}");
        }
    }

    #[test]
    fn impossible_headers_are_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = STEREO;
            bytes[at] = value;
            OpusHead::parse(&bytes).map(|_| ())
        };
        let channels = |value| Err(Error::Invalid { what: "opus.head.channels", value });
        assert_eq!(with(0, 15), Ok(()), "minor versions are compatible");
        let version = Error::Unsupported { what: "opus.head.version", value: 16 };
        assert_eq!(with(0, 16), Err(version));
        assert_eq!(with(1, 0), channels(0));
        assert_eq!(with(1, 3), channels(3));
    }
}
