//! AC-3 and E-AC-3: the start of a frame.
//!
//! Spec: ETSI TS 102 366 4.4.1 and 4.4.2 (AC-3), E.1.2.1 and E.1.2.2 (E-AC-3).
//!
//! Shape: sync 0b77, then for AC-3 a checksum (16 bits), rate (2), frame size code (6), `bsid` (5),
//! `bsmod` (3), `acmod` (3), mix levels that `acmod` asks for (2 each), low frequency (1); for
//! E-AC-3, whose `bsid` stands at the same place, stream type (2), substream (3), frame size (11),
//! rate (2), blocks (2), `acmod` (3), low frequency (1).
//!
//! Not here: channels that dependent substreams of E-AC-3 add.

use crate::Error;
use crate::bits::BitReader;

/// Bytes that a header takes at most.
pub const HEADER_LEN_MAX: usize = 8;

const SYNC: u32 = 0x0b77;
const SAMPLE_RATES: [u32; 3] = [48_000, 44_100, 32_000];
const KILOBITS: [u32; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
const SAMPLES_PER_BLOCK: u32 = 256;
/// `bsid` of AC-3 at most, and of E-AC-3.
const BSID_AC3_MAX: u8 = 10;
const BSID_EAC3_MAX: u8 = 16;

/// The start of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// False for AC-3.
    pub enhanced: bool,
    /// `bsid`.
    pub bsid: u8,
    /// `bsmod`, 0 for E-AC-3, which says it later.
    pub bsmod: u8,
    /// `acmod`.
    pub acmod: u8,
    /// A channel for low frequencies.
    pub lfe: bool,
    /// Samples per second.
    pub sample_rate: u32,
    /// Samples in the frame.
    pub samples: u32,
    /// Bytes of the frame, its header included.
    pub frame_len: u32,
}

impl FrameHeader {
    /// Parses the start of a frame.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] without the sync word or for a reserved value.
    pub fn parse(frame: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(frame);
        let sync = bits.bits(16, "ac3.sync")?;
        if sync != SYNC {
            return Err(Error::Invalid { what: "ac3.sync", value: u64::from(sync) });
        }
        let mut ahead = bits;
        ahead.skip(24, "ac3.bsid")?;
        match ahead.bits8(5, "ac3.bsid")? {
            bsid @ 0..=BSID_AC3_MAX => Self::ac3(bits, bsid),
            bsid @ 11..=BSID_EAC3_MAX => Self::eac3(bits, bsid),
            bsid => Err(Error::Invalid { what: "ac3.bsid", value: u64::from(bsid) }),
        }
    }

    fn ac3(mut bits: BitReader<'_>, bsid: u8) -> Result<Self, Error> {
        bits.skip(16, "ac3.checksum")?;
        let rate = bits.bits8(2, "ac3.sample_rate")?;
        let size = bits.bits8(6, "ac3.frame_size")?;
        bits.skip(5, "ac3.bsid")?;
        let bsmod = bits.bits8(3, "ac3.bsmod")?;
        let acmod = bits.bits8(3, "ac3.acmod")?;
        let mix_levels = [acmod & 1 != 0 && acmod != 1, acmod & 4 != 0, acmod == 2].map(u32::from);
        bits.skip(2 * mix_levels.iter().sum::<u32>(), "ac3.mix_levels")?;
        let lfe = bits.flag("ac3.lfe")?;
        let whole_rate = rate_of(rate)?;
        let kilobits = KILOBITS
            .get(usize::from(size >> 1))
            .ok_or(Error::Invalid { what: "ac3.frame_size", value: u64::from(size) })?;
        // Words of 16 bits; at 44.1 kHz the lowest bit of the code adds one now and then.
        let words =
            kilobits * 1000 * 96 / whole_rate + if rate == 1 { u32::from(size & 1) } else { 0 };
        // Later versions halve the rates: bsid 9 once, 10 twice.
        let sample_rate = whole_rate >> bsid.saturating_sub(8);
        let samples = 6 * SAMPLES_PER_BLOCK;
        let frame_len = 2 * words;
        Ok(Self { enhanced: false, bsid, bsmod, acmod, lfe, sample_rate, samples, frame_len })
    }

    fn eac3(mut bits: BitReader<'_>, bsid: u8) -> Result<Self, Error> {
        bits.skip(2 + 3, "ac3.substream")?;
        let frame_len = 2 * (bits.bits(11, "ac3.frame_size")? + 1);
        let rate = bits.bits8(2, "ac3.sample_rate")?;
        let code = bits.bits8(2, "ac3.blocks")?;
        let (sample_rate, blocks) = if rate == 3 {
            // The second field is a rate of half the size then.
            (rate_of(code)? / 2, 6)
        } else {
            (rate_of(rate)?, [1, 2, 3, 6].get(usize::from(code)).copied().unwrap_or(6))
        };
        let acmod = bits.bits8(3, "ac3.acmod")?;
        let lfe = bits.flag("ac3.lfe")?;
        let samples = blocks * SAMPLES_PER_BLOCK;
        Ok(Self { enhanced: true, bsid, bsmod: 0, acmod, lfe, sample_rate, samples, frame_len })
    }

    /// Channels of the frame.
    #[must_use]
    pub fn channels(&self) -> u8 {
        let full = match self.acmod {
            0 | 2 => 2,
            1 => 1,
            3 | 4 => 3,
            5 | 6 => 4,
            _ => 5,
        };
        full + u8::from(self.lfe)
    }
}

fn rate_of(code: u8) -> Result<u32, Error> {
    SAMPLE_RATES
        .get(usize::from(code))
        .copied()
        .ok_or(Error::Invalid { what: "ac3.sample_rate", value: u64::from(code) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enhanced, channels, rate, samples, length.
    type Expected = (bool, u8, u32, u32, u32);

    #[test]
    fn frames_of_both_kinds() {
        let table: [(&[u8], Expected); 6] = [
            (&[0x0b, 0x77, 0, 0, 0x14, 0x40, 0x40], (false, 2, 48_000, 1536, 768)),
            (&[0x0b, 0x77, 0, 0, 0x1c, 0x40, 0xe1], (false, 6, 48_000, 1536, 1536)),
            (&[0x0b, 0x77, 0, 0, 0x55, 0x40, 0x40], (false, 2, 44_100, 1536, 836)),
            (&[0x0b, 0x77, 0, 0, 0x14, 0x48, 0x40], (false, 2, 24_000, 1536, 768)),
            (&[0x0b, 0x77, 0x01, 0x7f, 0x34, 0x80], (true, 2, 48_000, 1536, 768)),
            (&[0x0b, 0x77, 0x01, 0x7f, 0xcf, 0x80], (true, 6, 24_000, 1536, 768)),
        ];
        for (bytes, (enhanced, channels, sample_rate, samples, frame_len)) in table {
            let header = FrameHeader::parse(bytes).unwrap();
            assert_eq!((header.enhanced, header.channels()), (enhanced, channels), "{bytes:x?}");
            assert_eq!((header.sample_rate, header.samples), (sample_rate, samples));
            assert_eq!(header.frame_len, frame_len, "{bytes:x?}");
            for len in 0..6 {
                let cut = FrameHeader::parse(&bytes[..len]);
                assert!(matches!(cut, Err(Error::Truncated { .. })), "{len}: {cut:?}");
            }
        }
    }

    #[test]
    fn reserved_values_are_refused() {
        for bytes in [
            [0x0b, 0x78, 0, 0, 0x14, 0x40, 0x40],
            [0x0b, 0x77, 0, 0, 0xd4, 0x40, 0x40],
            [0x0b, 0x77, 0, 0, 0x26, 0x40, 0x40],
            [0x0b, 0x77, 0, 0, 0x14, 0x88, 0x40],
            [0x0b, 0x77, 0, 0, 0xf4, 0x80, 0x40],
        ] {
            let result = FrameHeader::parse(&bytes);
            assert!(matches!(result, Err(Error::Invalid { .. })), "{bytes:x?}: {result:?}");
        }
    }
}
