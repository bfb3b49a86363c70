//! The heads of frames of sound that tell their own length.
//!
//! | format | head | what of it is left out of the unit |
//! |---|---|---|
//! | ADTS | 7 bytes | all of it, and the checksum behind it |
//! | MPEG audio | 4 bytes | nothing |
//! | AC-3, E-AC-3 | 8 bytes | nothing |
//! | LOAS | 3 bytes | all of it: the frame is read as a whole |

use alloc::vec::Vec;

use crate::Error;
use crate::aac::{ADTS_HEADER_LEN, AdtsHeader, SAMPLE_RATES};
use crate::media::{Codec, DecoderConfig};
use crate::{ac3, mpeg_audio};

/// Bytes of a head at most.
pub(super) const FRAME_HEAD_LEN_MAX: usize = 8;

/// Bytes of the head of a LOAS frame.
const LOAS_HEAD_LEN: usize = 3;
/// The sync word of LOAS, 11 bits, at the start of its three bytes.
const LOAS_SYNC: u16 = 0x2b7 << 5;
/// Samples of one raw data block of AAC.
const AAC_SAMPLES: u32 = 1024;

/// What frames a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameFormat {
    Adts,
    MpegAudio,
    Ac3,
    Loas,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) codec: Codec,
    /// Bytes at the frame's start that are no part of the unit.
    pub(super) left_out: usize,
    /// Bytes of the frame, all counted.
    pub(super) len: usize,
    /// 0 if only the whole frame tells.
    pub(super) samples: u32,
    pub(super) sample_rate: u32,
    /// It belongs to the unit of the frame before (dependent substreams of E-AC-3).
    pub(super) is_dependent: bool,
    /// It is whole, and nothing that can be given out.
    pub(super) is_unsupported: bool,
}

impl FrameFormat {
    pub(super) const fn head_len(self) -> usize {
        match self {
            Self::Adts => ADTS_HEADER_LEN,
            Self::MpegAudio => mpeg_audio::HEADER_LEN,
            Self::Ac3 => ac3::HEADER_LEN_MAX,
            Self::Loas => LOAS_HEAD_LEN,
        }
    }

    /// Reads the head of a frame.
    pub(super) fn parse(self, head: &[u8]) -> Result<FrameHead, Error> {
        let head = match self {
            Self::Adts => adts(head)?,
            Self::MpegAudio => mpeg(head)?,
            Self::Ac3 => dolby(head)?,
            Self::Loas => loas(head)?,
        };
        if head.len < self.head_len() {
            return Err(Error::Invalid { what: "mpegts.frame.len", value: head.len as u64 });
        }
        Ok(head)
    }

    /// Brings the configuration up to what a head says; true if it is another one.
    pub(super) fn configure(
        self,
        head: &[u8],
        frame: &FrameHead,
        config: &mut Option<DecoderConfig>,
    ) -> Result<bool, Error> {
        let (record, learns) = match self {
            Self::Adts => (adts_config(head)?, false),
            Self::MpegAudio | Self::Ac3 => (Vec::new(), true),
            // It stands in the frame.
            Self::Loas => return Ok(false),
        };
        let same = config.as_mut().is_some_and(|known| {
            (known.codec, &known.record) == (frame.codec, &record) && !(learns && known.learn(head))
        });
        if same {
            return Ok(false);
        }
        let mut new = DecoderConfig::parse(frame.codec, &record)?;
        new.learn(head);
        *config = Some(new);
        Ok(true)
    }
}

fn adts(head: &[u8]) -> Result<FrameHead, Error> {
    let parsed = AdtsHeader::parse(head)?;
    let (header, left_out) = parsed.ok_or(Error::Truncated { what: "aac.adts.header" })?;
    Ok(FrameHead {
        codec: Codec::Aac,
        left_out,
        len: usize::from(header.frame_len),
        samples: AAC_SAMPLES * u32::from(header.blocks),
        sample_rate: header.sample_rate,
        is_dependent: false,
        // Nothing tells where the second block begins, nor, without a channel configuration, what
        // the decoder's is: that stands in the first element of the frame.
        is_unsupported: header.blocks > 1 || header.channels == 0,
    })
}

/// The `AudioSpecificConfig` of an ADTS header: the same fields, wider.
fn adts_config(head: &[u8]) -> Result<Vec<u8>, Error> {
    let parsed = AdtsHeader::parse(head)?;
    let (header, _) = parsed.ok_or(Error::Truncated { what: "aac.adts.header" })?;
    let channel_config = match header.channels {
        0 => return Err(Error::Unsupported { what: "aac.adts.channels", value: 0 }),
        8 => 7,
        channels => u16::from(channels),
    };
    let index = SAMPLE_RATES.iter().position(|&rate| rate == header.sample_rate);
    let index = index.and_then(|index| u16::try_from(index).ok()).unwrap_or_default();
    let value = u16::from(header.object_type) << 11 | index << 7 | channel_config << 3;
    Ok(value.to_be_bytes().to_vec())
}

fn mpeg(head: &[u8]) -> Result<FrameHead, Error> {
    let header = mpeg_audio::FrameHeader::parse(head)?;
    let len = header.frame_len;
    let len = len.ok_or(Error::Unsupported { what: "mpeg_audio.bit_rate", value: 0 })?;
    Ok(FrameHead {
        codec: if header.layer == 3 { Codec::Mp3 } else { Codec::Mp2 },
        left_out: 0,
        len: len as usize,
        samples: header.samples,
        sample_rate: header.sample_rate,
        is_dependent: false,
        is_unsupported: header.layer == 1,
    })
}

fn dolby(head: &[u8]) -> Result<FrameHead, Error> {
    let header = ac3::FrameHeader::parse(head)?;
    // Stream type and substream stand behind the sync word of E-AC-3.
    let kind = head.get(2).copied().unwrap_or_default();
    let is_dependent = header.enhanced && (kind >> 6 == 1 || kind >> 3 & 7 != 0);
    Ok(FrameHead {
        codec: if header.enhanced { Codec::Eac3 } else { Codec::Ac3 },
        left_out: 0,
        len: header.frame_len as usize,
        samples: header.samples,
        sample_rate: header.sample_rate,
        is_dependent,
        is_unsupported: false,
    })
}

fn loas(head: &[u8]) -> Result<FrameHead, Error> {
    let &[a, b, c] = head.first_chunk().ok_or(Error::Truncated { what: "aac.loas.head" })?;
    let first = u16::from_be_bytes([a, b]);
    if first & 0xffe0 != LOAS_SYNC {
        return Err(Error::Invalid { what: "aac.loas.sync", value: u64::from(first) });
    }
    Ok(FrameHead {
        codec: Codec::Aac,
        left_out: LOAS_HEAD_LEN,
        len: LOAS_HEAD_LEN + usize::from(u16::from_be_bytes([b & 0x1f, c])),
        samples: 0,
        sample_rate: 0,
        is_dependent: false,
        is_unsupported: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_tell_length_and_duration() {
        let head = |codec, left_out, len, samples, sample_rate| FrameHead {
            codec,
            left_out,
            len,
            samples,
            sample_rate,
            is_dependent: false,
            is_unsupported: false,
        };
        let table: [(FrameFormat, &[u8], FrameHead); 7] = [
            (
                FrameFormat::Adts,
                &[0xff, 0xf1, 0x50, 0x80, 0x2b, 0x3f, 0xfc],
                head(Codec::Aac, 7, 345, 1024, 44_100),
            ),
            (
                FrameFormat::Adts,
                &[0xff, 0xf0, 0x50, 0x80, 0x2b, 0x3f, 0xfd],
                FrameHead { is_unsupported: true, ..head(Codec::Aac, 9, 345, 2048, 44_100) },
            ),
            (
                FrameFormat::MpegAudio,
                &[0xff, 0xfb, 0x90, 0x64],
                head(Codec::Mp3, 0, 417, 1152, 44_100),
            ),
            (
                FrameFormat::MpegAudio,
                &[0xff, 0xfd, 0xa4, 0x04],
                head(Codec::Mp2, 0, 576, 1152, 48_000),
            ),
            (
                FrameFormat::Ac3,
                &[0x0b, 0x77, 0, 0, 0x14, 0x40, 0x40, 0],
                head(Codec::Ac3, 0, 768, 1536, 48_000),
            ),
            (
                FrameFormat::Ac3,
                &[0x0b, 0x77, 0x41, 0x7f, 0x34, 0x80, 0, 0],
                FrameHead { is_dependent: true, ..head(Codec::Eac3, 0, 768, 1536, 48_000) },
            ),
            (FrameFormat::Loas, &[0x56, 0xe1, 0x02], head(Codec::Aac, 3, 261, 0, 0)),
        ];
        for (format, bytes, expected) in table {
            assert_eq!(format.parse(bytes), Ok(expected));
            assert_eq!(bytes.len(), format.head_len());
            assert!(format.parse(&bytes[..bytes.len() / 2]).is_err());
            let mut other = bytes.to_vec();
            other[0] ^= 0x10;
            assert!(format.parse(&other).is_err());
        }
        assert!(FrameFormat::MpegAudio.parse(&[0xff, 0xfb, 0, 0x64]).is_err(), "free bit rate");
    }

    #[test]
    fn configurations_are_news_once() {
        let mut config = None;
        let mut news = |format: FrameFormat, bytes: &[u8]| {
            let head = format.parse(bytes).unwrap();
            let news = format.configure(bytes, &head, &mut config).unwrap();
            (news, config.clone().map(|config: DecoderConfig| config.record))
        };
        let lc = [0xff, 0xf1, 0x50, 0x80, 0x2b, 0x3f, 0xfc];
        let asc = Some(Vec::from([0x12, 0x10]));
        assert_eq!(news(FrameFormat::Adts, &lc), (true, asc.clone()));
        assert_eq!(news(FrameFormat::Adts, &lc), (false, asc));
        let mono = [0xff, 0xf1, 0x50, 0x40, 0x2b, 0x3f, 0xfc];
        assert_eq!(news(FrameFormat::Adts, &mono), (true, Some(Vec::from([0x12, 0x08]))));
        let ac3 = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x40, 0];
        assert_eq!(news(FrameFormat::Ac3, &ac3), (true, Some(Vec::new())));
        assert!(!news(FrameFormat::Ac3, &ac3).0);
        let eac3 = [0x0b, 0x77, 0x01, 0x7f, 0x34, 0x80, 0, 0];
        assert!(news(FrameFormat::Ac3, &eac3).0, "another codec");
        let unknown = [0xff, 0xf1, 0x50, 0x00, 0x2b, 0x3f, 0xfc];
        let head = FrameFormat::Adts.parse(&unknown).unwrap();
        assert!(FrameFormat::Adts.configure(&unknown, &head, &mut None).is_err());
        assert!(head.is_unsupported);
    }

    #[test]
    fn a_head_without_channels_leaves_the_configuration() {
        let mut config = None;
        let mut news = |bytes: &[u8]| {
            let head = FrameFormat::Adts.parse(bytes).unwrap();
            FrameFormat::Adts.configure(bytes, &head, &mut config).ok()
        };
        let lc = [0xff, 0xf1, 0x50, 0x80, 0x2b, 0x3f, 0xfc];
        let unknown = [0xff, 0xf1, 0x50, 0x00, 0x2b, 0x3f, 0xfc];
        assert_eq!([&lc, &unknown, &lc].map(|bytes| news(bytes)), [Some(true), None, Some(false)]);
    }
}
