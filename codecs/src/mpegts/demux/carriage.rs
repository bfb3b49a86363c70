//! What a stream of a program holds, as the program map tells.
//!
//! Spec: ITU-T H.222.0 table 2-34 and 2.6; ETSI EN 300 468 annex D (AC-3 and E-AC-3 of DVB); ATSC
//! A/52 A.4 and G.3; the Opus mapping of Xiph; SCTE 35 8.1; MISB ST 1402 (KLV).
//!
//! | type | descriptors | what |
//! |---|---|---|
//! | 0x1b, 0x24 | | H.264, HEVC |
//! | 0x03, 0x04 | | MPEG audio, whose frames tell the layer |
//! | 0x0f, 0x11 | | AAC with ADTS headers, in LATM |
//! | 0x81, 0x87 | | AC-3, E-AC-3 |
//! | 0x06 | registration `AC-3`, `EAC3`, or DVB's 0x6a, 0x7a | AC-3, E-AC-3 |
//! | 0x06 | registration `HEVC` | HEVC |
//! | 0x06 | registration `Opus` and the extension 0x80 | Opus |
//! | 0x86 | | SCTE-35 |
//! | 0x06 | registration `KLVA` | KLV without times of its own |
//! | 0x15 | metadata of format `KLVA` | KLV with times |

use super::tables::{ListedStream, descriptors};
use crate::media::{Codec, TrackKind};
use crate::reader::Reader;

/// How the units of a stream lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// A byte stream of NAL units.
    AnnexB(Codec),
    /// Frames of AAC behind ADTS headers.
    Adts,
    /// Frames of AAC in LATM, in the frames of LOAS.
    Latm,
    /// Frames of MPEG audio of any layer.
    MpegAudio,
    /// Frames of AC-3 or E-AC-3; they tell which.
    Ac3,
    /// Packets of Opus behind control headers.
    Opus {
        /// 1 to 8 channels, or 0 for two that have nothing to do with each other.
        channel_config: u8,
    },
    /// Sections or packets of data.
    Data(DataFormat),
}

/// Timed data that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFormat {
    /// Cues for splicing, whole sections of SCTE-35.
    Scte35,
    /// Key, length and value of SMPTE ST 336, as it stands in its packets.
    Klv,
}

/// Channel configurations of Opus that have an own number.
const OPUS_CHANNELS_MAX: u8 = 8;

impl Carriage {
    /// `None` for what is not read.
    pub(super) fn of(stream: &ListedStream<'_>) -> Option<Self> {
        Some(match stream.stream_type {
            0x1b => Self::AnnexB(Codec::H264),
            0x24 => Self::AnnexB(Codec::Hevc),
            0x03 | 0x04 => Self::MpegAudio,
            0x0f => Self::Adts,
            0x11 => Self::Latm,
            0x81 | 0x87 => Self::Ac3,
            0x86 => Self::Data(DataFormat::Scte35),
            0x15 if is_klv_metadata(stream.descriptors) => Self::Data(DataFormat::Klv),
            0x06 => return private(stream.descriptors),
            _ => return None,
        })
    }

    /// The kind of track.
    #[must_use]
    pub const fn kind(self) -> TrackKind {
        match self {
            Self::AnnexB(_) => TrackKind::Video,
            Self::Data(_) => TrackKind::Data,
            _ => TrackKind::Audio,
        }
    }
}

/// Private data says in its descriptors what it is.
fn private(bytes: &[u8]) -> Option<Carriage> {
    let registration = descriptors(bytes).find(|(tag, _)| *tag == 0x05);
    match registration.and_then(|(_, content)| content.first_chunk::<4>()) {
        Some(b"HEVC") => return Some(Carriage::AnnexB(Codec::Hevc)),
        Some(b"AC-3" | b"EAC3") => return Some(Carriage::Ac3),
        Some(b"KLVA") => return Some(Carriage::Data(DataFormat::Klv)),
        Some(b"Opus") => {
            let channel_config = descriptors(bytes).find_map(|(tag, content)| match *content {
                [0x80, channels, ..] if tag == 0x7f => Some(channels),
                _ => None,
            });
            let channel_config = channel_config.filter(|&count| count <= OPUS_CHANNELS_MAX)?;
            return Some(Carriage::Opus { channel_config });
        }
        _ => {}
    }
    descriptors(bytes).any(|(tag, _)| matches!(tag, 0x6a | 0x7a)).then_some(Carriage::Ac3)
}

/// The metadata descriptor names its format, directly or behind an application format.
fn is_klv_metadata(bytes: &[u8]) -> bool {
    descriptors(bytes).filter(|(tag, _)| *tag == 0x26).any(|(_, content)| {
        let mut r = Reader::new(content);
        let mut read = || {
            if r.u16("mpegts.metadata.application")? == 0xffff {
                r.u32("mpegts.metadata.application")?;
            }
            let has_identifier = r.u8("mpegts.metadata.format")? == 0xff;
            Ok::<_, crate::Error>(has_identifier && r.array("mpegts.metadata.format")? == *b"KLVA")
        };
        read().unwrap_or(false)
    })
}

/// The language of sound or text, as ISO 639-2 writes it.
pub(super) fn language(bytes: &[u8]) -> Option<[u8; 3]> {
    descriptors(bytes)
        .find(|(tag, _)| *tag == 0x0a)
        .and_then(|(_, content)| content.first_chunk().copied())
        .filter(|code| code.iter().all(u8::is_ascii_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpegts::packet::Pid;

    fn of(stream_type: u8, descriptors: &[u8]) -> Option<Carriage> {
        Carriage::of(&ListedStream { stream_type, pid: Pid::new(0x100), descriptors })
    }

    #[test]
    fn types_and_descriptors_tell_what_a_stream_holds() {
        let opus = |channel_config| Some(Carriage::Opus { channel_config });
        let klv = Some(Carriage::Data(DataFormat::Klv));
        let table: [(u8, &[u8], Option<Carriage>); 22] = [
            (0x1b, b"", Some(Carriage::AnnexB(Codec::H264))),
            (0x24, b"\x05\x04HEVC", Some(Carriage::AnnexB(Codec::Hevc))),
            (0x0f, b"", Some(Carriage::Adts)),
            (0x11, b"", Some(Carriage::Latm)),
            (0x03, b"", Some(Carriage::MpegAudio)),
            (0x04, b"", Some(Carriage::MpegAudio)),
            (0x81, b"\x05\x04AC-3", Some(Carriage::Ac3)),
            (0x87, b"", Some(Carriage::Ac3)),
            (0x06, b"\x0a\x04eng\0\x6a\x01\0", Some(Carriage::Ac3)),
            (0x06, b"\x7a\x01\0", Some(Carriage::Ac3)),
            (0x06, b"\x05\x04EAC3", Some(Carriage::Ac3)),
            (0x06, b"\x05\x04Opus\x7f\x02\x80\x02", opus(2)),
            (0x06, b"\x05\x04Opus\x7f\x02\x80\x00", opus(0)),
            (0x06, b"\x05\x04Opus\x7f\x02\x80\x09", None),
            (0x06, b"\x05\x04Opus", None),
            (0x06, b"\x05\x04KLVA", klv),
            (0x15, b"\x26\x09\x01\0\xffKLVA\0\x0f", klv),
            (0x15, b"\x26\x0d\xff\xffABCD\xffKLVA\0\x0f", klv),
            (0x15, b"\x26\x09\x01\0\xffID3 \0\x0f", None),
            (0x86, b"", Some(Carriage::Data(DataFormat::Scte35))),
            (0x06, b"\x59\x01\0", None),
            (0x02, b"", None),
        ];
        for (stream_type, bytes, expected) in table {
            assert_eq!(of(stream_type, bytes), expected, "{stream_type:#x} {bytes:x?}");
        }
        assert_eq!(of(0x15, b"\x26\x02\xff\xff"), None, "cut off");
        assert_eq!(language(b"\x52\x01\x01\x0a\x04deu\0"), Some(*b"deu"));
        assert_eq!(language(b"\x0a\x04\0\0\0\0"), None);
    }
}
