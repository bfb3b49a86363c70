//! What a publisher's audio or video message carries, whatever its kind and layout.
//!
//! Limits: a header is looked for in the first [`HEADER_BYTES_MAX`] bytes; modifiers that take more
//! are refused with the message.

use codecs::flv::audio::{AudioPacket, AudioTagHeader};
use codecs::flv::enhanced::{Multitrack, MultitrackKind, Tracks};
use codecs::flv::video::{VideoPacket, VideoTagHeader};
use codecs::media::{Codec, TrackKind};
use codecs::rtmp::message::MessageKind;

use crate::slab::{AuBytes, Pool};

/// Bytes of a tag header that are looked at first: a modifier and a multitrack header fit well.
const HEADER_BYTES: usize = 64;
/// Bytes of a tag header at most, long modifiers among them.
const HEADER_BYTES_MAX: usize = 4_096;

/// What a message means for its tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A decoder configuration record.
    Config,
    /// An access unit.
    Unit,
    /// Colours or a speaker map, which players should know.
    Detail,
    /// Nothing that is kept, and why.
    Nothing(&'static str),
}

/// The header of a tag with what follows from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    header: Header,
    pub(super) content: Content,
    /// The codec, if all tracks share one.
    pub(super) codec: Option<Codec>,
    pub(super) multitrack: Option<Multitrack>,
    pub(super) composition_time_ms: i32,
    pub(super) keyframe: bool,
    pub(super) nano_offset: u32,
    pub(super) header_len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Header {
    Video(VideoTagHeader),
    Audio(AudioTagHeader),
}

impl Tag {
    /// Reads the header of a message; the reason if there is none.
    pub(super) fn read(kind: MessageKind, unit: &AuBytes, pool: &Pool) -> Result<Self, Why> {
        let video = kind == MessageKind::Video;
        let parse = |head: &[u8]| if video { Self::video(head) } else { Self::audio(head) };
        let mut bytes = [0; HEADER_BYTES];
        let len = pool.prefix(unit, &mut bytes);
        let mut tag = parse(&bytes[..len]);
        if unit.len() > len && matches!(tag, Err(codecs::Error::Truncated { .. })) {
            // Nobody sends such modifiers yet: who does pays for a look at more.
            let mut long = vec![0; unit.len().min(HEADER_BYTES_MAX)];
            let len = pool.prefix(unit, &mut long);
            tag = parse(&long[..len]);
        }
        tag.map_err(|error| match error {
            codecs::Error::Unsupported { .. } => "codec",
            _ if video => "video_header",
            _ => "audio_header",
        })
    }

    fn video(head: &[u8]) -> Result<Self, codecs::Error> {
        let tag = VideoTagHeader::parse(head)?;
        let (content, composition_time_ms) = match tag.packet {
            VideoPacket::SequenceStart => (Content::Config, 0),
            VideoPacket::Coded { composition_time_ms } => (Content::Unit, composition_time_ms),
            VideoPacket::Metadata => (Content::Detail, 0),
            VideoPacket::SequenceEnd => (Content::Nothing("sequence_end"), 0),
            // The same configuration follows in the form of the codec.
            VideoPacket::Mpeg2TsSequenceStart => (Content::Nothing("mpeg2ts_config"), 0),
            VideoPacket::Command(_) => (Content::Nothing("video_command"), 0),
        };
        Ok(Self {
            header: Header::Video(tag),
            content,
            codec: tag.codec,
            multitrack: tag.multitrack,
            composition_time_ms,
            keyframe: tag.frame_type.is_key(),
            nano_offset: tag.nano_offset,
            header_len: tag.header_len,
        })
    }

    fn audio(head: &[u8]) -> Result<Self, codecs::Error> {
        let tag = AudioTagHeader::parse(head)?;
        let content = match tag.packet {
            AudioPacket::SequenceStart => Content::Config,
            AudioPacket::Coded => Content::Unit,
            AudioPacket::MultichannelConfig => Content::Detail,
            AudioPacket::SequenceEnd => Content::Nothing("sequence_end"),
            AudioPacket::Silence => Content::Nothing("silence"),
        };
        Ok(Self {
            header: Header::Audio(tag),
            content,
            codec: tag.codec,
            multitrack: tag.multitrack,
            composition_time_ms: 0,
            keyframe: true,
            nano_offset: tag.nano_offset,
            header_len: tag.header_len,
        })
    }

    /// The kind of its tracks; codecs of another have no place in it.
    pub(super) const fn kind(&self) -> TrackKind {
        match self.header {
            Header::Video(_) => TrackKind::Video,
            Header::Audio(_) => TrackKind::Audio,
        }
    }

    /// True if each of its tracks has a header of its own.
    pub(super) fn is_split(&self) -> bool {
        self.multitrack.is_some_and(|multitrack| multitrack.kind != MultitrackKind::OneTrack)
    }

    /// The tracks of the whole message that this header was read from.
    pub(super) fn tracks<'a>(&self, body: &'a [u8]) -> Tracks<'a> {
        match &self.header {
            Header::Video(header) => header.tracks(body),
            Header::Audio(header) => header.tracks(body),
        }
    }
}

/// Why a message is dropped, one fixed word.
pub(super) type Why = &'static str;
