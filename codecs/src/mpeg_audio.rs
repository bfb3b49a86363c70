//! MPEG-1 and MPEG-2 audio: the frame header.
//!
//! Spec: ISO/IEC 11172-3 2.4.1.3; ISO/IEC 13818-3 2.4.1.3; MPEG-2.5 for the lowest rates.
//!
//! Shape: sync (11 bits), version (2), layer (2), no checksum (1), bit rate (4), sample rate (2),
//! padding (1), private (1), channel mode (2), and 6 bits that do not matter here.

use crate::Error;
use crate::reader::Reader;

/// Bytes of the header.
pub const HEADER_LEN: usize = 4;

const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];
/// Kilobits per second of MPEG-1 layers I, II and III, and of MPEG-2 layer I and layers II and III.
const BIT_RATES: [[u16; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
const MODE_MONO: u8 = 3;

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// 1, 2 or 3.
    pub layer: u8,
    /// False for MPEG-2 and MPEG-2.5, whose rates are lower.
    pub mpeg1: bool,
    /// Samples per second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples in the frame.
    pub samples: u32,
    /// Bytes of the frame, its header included; `None` if the bit rate is free.
    pub frame_len: Option<u32>,
}

impl FrameHeader {
    /// Parses the header at the start of a frame.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] without the sync word or for a reserved value.
    pub fn parse(frame: &[u8]) -> Result<Self, Error> {
        let [sync, kind, rates, mode] = Reader::new(frame).array("mpeg_audio.header")?;
        let invalid = |what, value: u8| Error::Invalid { what, value: u64::from(value) };
        if sync != 0xff || kind & 0xe0 != 0xe0 {
            return Err(invalid("mpeg_audio.sync", kind));
        }
        let (mpeg1, divisor) = match kind >> 3 & 3 {
            3 => (true, 1),
            2 => (false, 2),
            0 => (false, 4),
            reserved => return Err(invalid("mpeg_audio.version", reserved)),
        };
        let layer = 4 - (kind >> 1 & 3);
        if layer == 4 {
            return Err(invalid("mpeg_audio.layer", 0));
        }
        let rate_index = rates >> 2 & 3;
        let sample_rate = SAMPLE_RATES
            .get(usize::from(rate_index))
            .ok_or_else(|| invalid("mpeg_audio.sample_rate", rate_index))?
            / divisor;
        let samples = match (layer, mpeg1) {
            (1, _) => 384,
            (3, false) => 576,
            _ => 1152,
        };
        let channels = if mode >> 6 == MODE_MONO { 1 } else { 2 };
        let mut header = Self { layer, mpeg1, sample_rate, channels, samples, frame_len: None };
        let index = rates >> 4;
        if index == 15 {
            return Err(invalid("mpeg_audio.bit_rate", index));
        }
        header.frame_len = header.kilobits(index).map(|kilobits| {
            let padding = u32::from(rates >> 1 & 1);
            let slots = kilobits * 1000 * (samples / 8) / sample_rate;
            // A slot of layer I has four bytes.
            if layer == 1 { (slots / 4 + padding) * 4 } else { slots + padding }
        });
        Ok(header)
    }

    fn kilobits(&self, index: u8) -> Option<u32> {
        let [layer1, layer2, layer3, low1, low] = &BIT_RATES;
        let table = match (self.mpeg1, self.layer) {
            (true, 1) => layer1,
            (true, 2) => layer2,
            (true, _) => layer3,
            (false, 1) => low1,
            (false, _) => low,
        };
        table.get(usize::from(index).checked_sub(1)?).copied().map(u32::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_rate_channels_and_length() {
        // Header, layer, rate, channels, samples, length.
        let table = [
            ([0xff, 0xfb, 0x90, 0x64], (3, 44_100, 2, 1152, Some(417))),
            ([0xff, 0xfb, 0x92, 0x64], (3, 44_100, 2, 1152, Some(418))),
            ([0xff, 0xfb, 0x54, 0xc4], (3, 48_000, 1, 1152, Some(192))),
            ([0xff, 0xf3, 0x84, 0xc4], (3, 24_000, 1, 576, Some(192))),
            ([0xff, 0xe3, 0x18, 0xc4], (3, 8_000, 1, 576, Some(72))),
            ([0xff, 0xfd, 0xa4, 0x04], (2, 48_000, 2, 1152, Some(576))),
            ([0xff, 0xff, 0xc4, 0x04], (1, 48_000, 2, 384, Some(384))),
            ([0xff, 0xfb, 0x00, 0x64], (3, 44_100, 2, 1152, None)),
        ];
        for (bytes, (layer, sample_rate, channels, samples, frame_len)) in table {
            let header = FrameHeader::parse(&bytes).unwrap();
            assert_eq!((header.layer, header.sample_rate), (layer, sample_rate));
            assert_eq!((header.channels, header.samples), (channels, samples));
            assert_eq!(header.frame_len, frame_len, "{bytes:x?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for len in 0..4 {
            let cut = FrameHeader::parse(&[0xff, 0xfb, 0x90, 0x64][..len]);
            assert!(matches!(cut, Err(Error::Truncated { .. })));
        }
        for bytes in [
            [0xfe, 0xfb, 0x90, 0],
            [0xff, 0xdb, 0x90, 0],
            [0xff, 0xeb, 0x90, 0],
            [0xff, 0xf9, 0x90, 0],
            [0xff, 0xfb, 0x9c, 0],
            [0xff, 0xfb, 0xf0, 0],
        ] {
            let result = FrameHeader::parse(&bytes);
            assert!(matches!(result, Err(Error::Invalid { .. })), "{bytes:x?}");
        }
    }
}
