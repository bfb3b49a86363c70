//! What a track is: its codec, kind and decoder configuration.

use alloc::string::String;
use alloc::vec::Vec;

/// A codec that a track may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Codec {
    /// H.264 / AVC (ISO/IEC 14496-10).
    H264,
    /// H.265 / HEVC (ISO/IEC 23008-2).
    Hevc,
    /// H.266 / VVC (ISO/IEC 23090-3).
    Vvc,
    /// AV1.
    Av1,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AAC (ISO/IEC 14496-3).
    Aac,
    /// MPEG-1/2 layer II.
    Mp2,
    /// MPEG-1/2 layer III.
    Mp3,
    /// Opus (RFC 6716).
    Opus,
    /// FLAC.
    Flac,
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
    /// Speex.
    Speex,
    /// G.711 A-law.
    G711Alaw,
    /// G.711 mu-law.
    G711Mulaw,
}

/// The kind of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Timed data, script tags among it.
    Data,
}

impl Codec {
    /// The kind of track that carries it.
    #[must_use]
    pub const fn kind(self) -> TrackKind {
        match self {
            Self::H264 | Self::Hevc | Self::Vvc | Self::Av1 | Self::Vp8 | Self::Vp9 => {
                TrackKind::Video
            }
            _ => TrackKind::Audio,
        }
    }

    /// The name in logs and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Vvc => "vvc",
            Self::Av1 => "av1",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Aac => "aac",
            Self::Mp2 => "mp2",
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Flac => "flac",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
            Self::Speex => "speex",
            Self::G711Alaw => "pcm_alaw",
            Self::G711Mulaw => "pcm_mulaw",
        }
    }
}

/// What a decoder must know before the first access unit, in the form of the codec's own record.
///
/// `record` is avcC for H.264, hvcC for HEVC, av1C for AV1, vpcC for VP8/VP9, an
/// `AudioSpecificConfig` for AAC, `OpusHead` without its magic for Opus, STREAMINFO for FLAC with
/// its marker or without; empty for codecs that need none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoderConfig {
    /// The codec.
    pub codec: Codec,
    /// The codec's decoder configuration record.
    pub record: Vec<u8>,
    /// What the record says of the pictures; `None` for audio or when it cannot be read.
    pub video: Option<VideoFormat>,
    /// What the record says of the sound; `None` for video or when it cannot be read.
    pub audio: Option<AudioFormat>,
    /// The RFC 6381 codec string, empty when the record cannot be read.
    pub codec_string: String,
}

/// What a player shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// Displayed width in pixels, after cropping.
    pub width: u32,
    /// Displayed height in pixels, after cropping.
    pub height: u32,
    /// Frames per second in thousandths, if the bitstream tells.
    pub fps_milli: Option<u32>,
    /// Bytes of a NAL unit's length field (1, 2 or 4); 4 for codecs without NAL units.
    pub nal_length_size: u8,
}

/// What a player hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Samples in one access unit, 0 if it varies.
    pub samples_per_unit: u32,
}
