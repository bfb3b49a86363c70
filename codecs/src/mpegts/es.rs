//! What a transport stream says of an elementary stream, and how each access unit begins in it.
//!
//! Spec: ITU-T H.222.0 2.4.4.8, 2.6 and table 2-34; ATSC A/52 A.4 (AC-3) and G.3 (E-AC-3); the Opus
//! mapping of Xiph ("OpusTS") with DVB's extension descriptor 0x7f, 0x80.
//!
//! | codec | type | descriptors | an access unit begins with |
//! |---|---|---|---|
//! | H.264 | 0x1b | | delimiter, at keyframes the parameter sets |
//! | HEVC | 0x24 | registration `HEVC` | delimiter, at keyframes the parameter sets |
//! | AAC | 0x0f | | ADTS header |
//! | MP2, MP3 | 0x03, 0x04 below 32 kHz | | |
//! | AC-3 | 0x81 | registration `AC-3` | |
//! | E-AC-3 | 0x87 | registration `EAC3` | |
//! | Opus | 0x06 | registration `Opus`, channels | control header |
//!
//! Not carried: AV1, VP8, VP9, VVC and FLAC, which no player that people use reads from a transport
//! stream, or no standard maps; G.711 and Speex, which have no mapping; AAC that ADTS cannot tell.

use alloc::vec::Vec;

use super::packet::{Pid, Slot};
use super::pes::PAYLOAD_LEN_MAX;
use crate::Error;
use crate::adts::{ADTS_HEAD_LEN_MAX, AdtsFraming};
use crate::h264::AvcDecoderConfigurationRecord;
use crate::hevc::{self, HevcDecoderConfigurationRecord};
use crate::media::{Codec, DecoderConfig, TrackKind};
use crate::nal::START_CODE;
use crate::writer::Writer;

/// Bytes of a stream's descriptors at most.
const DESCRIPTORS_LEN_MAX: usize = 10;
/// Bytes that [`Framing::encode_head`] writes at most.
pub const HEAD_LEN_MAX: usize =
    if ADTS_HEAD_LEN_MAX > OPUS_CONTROL_LEN_MAX { ADTS_HEAD_LEN_MAX } else { OPUS_CONTROL_LEN_MAX };
/// The prefix, and a length in steps of 255 bytes.
const OPUS_CONTROL_LEN_MAX: usize = 2 + PAYLOAD_LEN_MAX / 255 + 1;

const H264_DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xf0];
const HEVC_DELIMITER: [u8; 7] = [0, 0, 0, 1, 0x46, 0x01, 0x50];

/// A stream as the program map lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementaryStream {
    codec: Codec,
    slot: Slot,
    stream_type: u8,
    descriptors: [u8; DESCRIPTORS_LEN_MAX],
    descriptors_len: usize,
}

impl ElementaryStream {
    /// How a track of `codec` is listed; `None` if the codec is not carried.
    #[must_use]
    pub fn of(codec: Codec, config: Option<&DecoderConfig>) -> Option<Self> {
        let slot = Slot::of(codec)?;
        let stream_type = match codec {
            Codec::H264 => 0x1b,
            Codec::Hevc => 0x24,
            Codec::Aac => 0x0f,
            Codec::Mp2 | Codec::Mp3 => 0x03,
            Codec::Ac3 => 0x81,
            Codec::Eac3 => 0x87,
            _ => 0x06,
        };
        let mut descriptors = [0; DESCRIPTORS_LEN_MAX];
        let mut writer = Writer::new(&mut descriptors);
        let registration: &[u8] = match codec {
            Codec::Hevc => b"HEVC",
            Codec::Ac3 => b"AC-3",
            Codec::Eac3 => b"EAC3",
            Codec::Opus => b"Opus",
            _ => b"",
        };
        if !registration.is_empty() {
            writer.put(&[5, 4]);
            writer.put(registration);
        }
        if codec == Codec::Opus {
            let channels = config.and_then(|config| config.audio).map_or(2, |audio| audio.channels);
            writer.put(&[0x7f, 2, 0x80, channels]);
        }
        let descriptors_len = writer.written();
        Some(Self { codec, slot, stream_type, descriptors, descriptors_len })
    }

    /// The codec.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// `stream_type`.
    #[must_use]
    pub const fn stream_type(&self) -> u8 {
        self.stream_type
    }

    /// Where its packets are.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.slot.pid()
    }

    /// The descriptors, ready to be written.
    #[must_use]
    pub fn descriptors(&self) -> &[u8] {
        &self.descriptors[..self.descriptors_len]
    }

    /// What the first bytes of an access unit change: the type of MPEG audio depends on its rate.
    #[must_use]
    pub fn seen(self, first: &[u8]) -> Self {
        match (self.codec, first) {
            (Codec::Mp2 | Codec::Mp3, &[0xff, second, ..]) if second & 0xe0 == 0xe0 => {
                // Two bits of version: 3 is MPEG-1, the lower rates are MPEG-2 and its extension.
                let stream_type = if second >> 3 & 3 == 3 { 0x03 } else { 0x04 };
                Self { stream_type, ..self }
            }
            _ => self,
        }
    }

    pub(super) const fn slot(&self) -> Slot {
        self.slot
    }

    /// `stream_id` of its PES packets: one video, one audio, or one of private streams.
    pub(super) const fn stream_id(&self) -> u8 {
        match self.codec {
            Codec::Aac | Codec::Mp2 | Codec::Mp3 => 0xc0,
            codec if matches!(codec.kind(), TrackKind::Video) => 0xe0,
            _ => 0xbd,
        }
    }
}

/// What stands before the payload of each access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Length-prefixed NAL units become a byte stream, see [`super::annex_b`].
    AnnexB {
        /// H.264 or HEVC.
        codec: Codec,
        /// The parameter sets of the configuration, as a byte stream.
        parameter_sets: Vec<u8>,
    },
    /// An ADTS header.
    Adts(AdtsFraming),
    /// The control header of Opus.
    Opus,
    /// Nothing: frames begin with a header of their own.
    Plain,
}

impl Framing {
    /// The framing of a track.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the codec is not carried, or not with this configuration;
    /// [`Error::Truncated`] without a configuration where one is needed.
    pub fn of(codec: Codec, config: Option<&DecoderConfig>) -> Result<Self, Error> {
        let record = config.map(|config| config.record.as_slice());
        let needed = || record.ok_or(Error::Truncated { what: "mpegts.configuration" });
        Ok(match codec {
            Codec::H264 => {
                let avcc = AvcDecoderConfigurationRecord::parse(needed()?)?;
                let units = avcc.sps.iter().chain(&avcc.pps).copied();
                Self::AnnexB { codec, parameter_sets: byte_stream(units) }
            }
            Codec::Hevc => {
                let hvcc = HevcDecoderConfigurationRecord::parse(needed()?)?;
                let kinds = [hevc::NalType::VPS, hevc::NalType::SPS, hevc::NalType::PPS];
                let units = kinds.into_iter().flat_map(|kind| hvcc.units_of(kind));
                Self::AnnexB { codec, parameter_sets: byte_stream(units) }
            }
            Codec::Aac => Self::Adts(AdtsFraming::from_config(needed()?)?),
            Codec::Opus => Self::Opus,
            Codec::Mp2 | Codec::Mp3 | Codec::Ac3 | Codec::Eac3 => Self::Plain,
            other => {
                return Err(Error::Unsupported { what: "mpegts.codec", value: other as u64 });
            }
        })
    }

    /// What stands before the NAL units of an access unit; nothing for sound.
    ///
    /// `own_sets` is true for a keyframe that does not bring its parameter sets itself.
    #[must_use]
    pub fn lead(&self, own_sets: bool) -> [&[u8]; 2] {
        let Self::AnnexB { codec, parameter_sets } = self else { return [&[], &[]] };
        let delimiter: &[u8] =
            if *codec == Codec::Hevc { &HEVC_DELIMITER } else { &H264_DELIMITER };
        [delimiter, if own_sets { parameter_sets } else { &[] }]
    }

    /// Writes what stands before a frame of sound of `payload_len` bytes; the bytes written.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the frame does not fit its header or its PES packet.
    pub fn encode_head(
        &self,
        payload_len: usize,
        head: &mut [u8; HEAD_LEN_MAX],
    ) -> Result<usize, Error> {
        if payload_len > PAYLOAD_LEN_MAX {
            let (value, max) = (payload_len as u64, PAYLOAD_LEN_MAX as u64);
            return Err(Error::TooLarge { what: "mpegts.audio", value, max });
        }
        let mut writer = Writer::new(head);
        match self {
            Self::Adts(adts) => adts.encode(payload_len, &mut writer)?,
            Self::Opus => {
                // Eleven bits of prefix, no trims, no extension.
                writer.u16(0x7fe0);
                for _ in 0..payload_len / 255 {
                    writer.u8(0xff);
                }
                writer.u8(u8::try_from(payload_len % 255).expect("a remainder of 255"));
            }
            Self::AnnexB { .. } | Self::Plain => {}
        }
        Ok(writer.written())
    }
}

fn byte_stream<'a>(units: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    units.filter(|unit| !unit.is_empty()).fold(Vec::new(), |mut out, unit| {
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_listed_as_players_know_them() {
        let table: [(Codec, u16, u8, u8, &[u8]); 8] = [
            (Codec::H264, 0x100, 0xe0, 0x1b, b""),
            (Codec::Hevc, 0x101, 0xe0, 0x24, b"\x05\x04HEVC"),
            (Codec::Aac, 0x110, 0xc0, 0x0f, b""),
            (Codec::Mp3, 0x111, 0xc0, 0x03, b""),
            (Codec::Ac3, 0x112, 0xbd, 0x81, b"\x05\x04AC-3"),
            (Codec::Eac3, 0x113, 0xbd, 0x87, b"\x05\x04EAC3"),
            (Codec::Opus, 0x114, 0xbd, 0x06, b"\x05\x04Opus\x7f\x02\x80\x02"),
            (Codec::Mp2, 0x115, 0xc0, 0x03, b""),
        ];
        for (codec, pid, id, stream_type, descriptors) in table {
            let stream = ElementaryStream::of(codec, None).unwrap();
            let found = (stream.pid().get(), stream.stream_id(), stream.stream_type());
            assert_eq!((found, stream.descriptors()), ((pid, id, stream_type), descriptors));
        }
        let head = DecoderConfig::parse(
            Codec::Opus,
            &[1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 2, 0, 4, 1, 2, 3, 5],
        );
        let surround = ElementaryStream::of(Codec::Opus, head.ok().as_ref()).unwrap();
        assert_eq!(surround.descriptors()[9], 6);
        for codec in [Codec::Av1, Codec::Vp9, Codec::Flac, Codec::G711Alaw] {
            assert_eq!(ElementaryStream::of(codec, None), None);
            assert!(Framing::of(codec, None).is_err());
        }
    }

    #[test]
    fn low_rates_of_mpeg_audio_have_their_own_type() {
        let layer_2 = ElementaryStream::of(Codec::Mp2, None).unwrap();
        assert_eq!(layer_2.seen(&[0xff, 0xfd]).stream_type(), 3);
        assert_eq!(layer_2.seen(&[0xff, 0xf5]).stream_type(), 4);
        let stream = ElementaryStream::of(Codec::Mp3, None).unwrap();
        for (second, stream_type) in [(0xfb, 3), (0xf3, 4), (0xe3, 4)] {
            assert_eq!(stream.seen(&[0xff, second, 0]).stream_type(), stream_type);
        }
        assert_eq!(stream.seen(&[0xff]), stream);
        assert_eq!(stream.seen(b"ID3"), stream);
    }

    #[test]
    fn parameter_sets_come_from_the_configuration() {
        let record =
            [1, 66, 0xc0, 30, 0xff, 0xe1, 0, 5, 0x67, 66, 0xc0, 30, 0xff, 1, 0, 2, 0x68, 0xce];
        let config = DecoderConfig::parse(Codec::H264, &record).unwrap();
        let framing = Framing::of(Codec::H264, Some(&config)).unwrap();
        let sets = [0, 0, 0, 1, 0x67, 66, 0xc0, 30, 0xff, 0, 0, 0, 1, 0x68, 0xce];
        assert_eq!(framing.lead(true), [&H264_DELIMITER[..], &sets]);
        assert_eq!(framing.lead(false), [&H264_DELIMITER[..], &[]]);
        assert!(Framing::of(Codec::H264, None).is_err());
    }

    #[test]
    fn heads_of_sound() {
        let head = |framing: &Framing, len| {
            let mut bytes = [0; HEAD_LEN_MAX];
            framing.encode_head(len, &mut bytes).map(|len| bytes[..len].to_vec())
        };
        assert_eq!(head(&Framing::Opus, 254).unwrap(), [0x7f, 0xe0, 254]);
        assert_eq!(head(&Framing::Opus, 255).unwrap(), [0x7f, 0xe0, 255, 0]);
        assert_eq!(head(&Framing::Opus, 600).unwrap(), [0x7f, 0xe0, 255, 255, 90]);
        assert_eq!(head(&Framing::Plain, 9).unwrap(), []);
        assert!(head(&Framing::Plain, PAYLOAD_LEN_MAX).is_ok());
        assert!(head(&Framing::Plain, PAYLOAD_LEN_MAX + 1).is_err());
        assert!(head(&Framing::Opus, PAYLOAD_LEN_MAX).unwrap().len() <= HEAD_LEN_MAX);
    }
}
