//! What a video tag body starts with.
//!
//! Spec: Adobe Flash Video File Format 10.1, annex E.4.3; Enhanced RTMP v2, "Enhanced Video".
//! Shape: frame type (4 bits) and codec id (4), then for AVC and its dialects the packet type (8)
//! and the composition time (24, signed); or, with the top bit set, frame type (3), packet type
//! (4), see [`enhanced`](super::enhanced), and the composition time if the packet type has one.
//! Units: milliseconds.
//! In/Out: the payload is what follows `header_len` bytes; for several tracks,
//! [`VideoTagHeader::tracks`] finds each.
//! Not here: Sorenson, Screen Video and VP6, which are unsupported.

use super::enhanced::{
    Layout, Multitrack, Tracks, four_cc, has_composition_time, modifiers, preamble,
};
use crate::Error;
use crate::media::{Codec, TrackKind};
use crate::reader::Reader;
use crate::writer::Writer;

/// The longest header that [`encode_video_header`] writes.
pub const VIDEO_HEADER_LEN_MAX: usize = 8;

const ENHANCED: u8 = 0x80;
const MULTITRACK: u8 = 6;
const METADATA: u8 = 4;

/// How a frame depends on others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// A keyframe.
    Key,
    /// A frame that others may depend on.
    Inter,
    /// A frame that no other depends on.
    Disposable,
    /// A keyframe that a server made.
    GeneratedKey,
    /// No frame: a command or information.
    Command,
}

impl FrameType {
    fn parse(wire: u8) -> Result<Self, Error> {
        Ok(match wire {
            1 => Self::Key,
            2 => Self::Inter,
            3 => Self::Disposable,
            4 => Self::GeneratedKey,
            5 => Self::Command,
            _ => {
                return Err(Error::Invalid {
                    what: "flv.video.frame_type",
                    value: u64::from(wire),
                });
            }
        })
    }

    /// True if decoding can start here.
    #[must_use]
    pub const fn is_key(self) -> bool {
        matches!(self, Self::Key | Self::GeneratedKey)
    }
}

/// What a video tag carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoPacket {
    /// The decoder configuration record.
    SequenceStart,
    /// An access unit.
    Coded {
        /// Composition time minus decoding time.
        composition_time_ms: i32,
    },
    /// The end of the sequence.
    SequenceEnd,
    /// AMF0 values, such as colour information.
    Metadata,
    /// The decoder configuration as MPEG-2 TS descriptors.
    Mpeg2TsSequenceStart,
    /// Begin (0) or end (1) of seeking, or what else the number means.
    Command(u8),
}

/// The header of a video tag body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoTagHeader {
    /// The codec; `None` for enhanced commands, and where each track has its own.
    pub codec: Option<Codec>,
    /// How the frame depends on others.
    pub frame_type: FrameType,
    /// What the tag carries.
    ///
    /// With several tracks the composition time is 0 here: each track has its own.
    pub packet: VideoPacket,
    /// True for the layout of Enhanced RTMP.
    pub enhanced: bool,
    /// Nanoseconds to add to the timestamp.
    pub nano_offset: u32,
    /// The tracks, if they are told.
    pub multitrack: Option<Multitrack>,
    /// Bytes of the header: the payload, or the first of several tracks, follows.
    pub header_len: usize,
    /// True if each of several tracks has a composition time.
    tracks_timed: bool,
}

impl VideoTagHeader {
    /// Reads the header from the first bytes of a tag body.
    ///
    /// # Errors
    /// [`Error::Truncated`], of an empty body, too; [`Error::Invalid`] for an unknown frame or
    /// packet type; [`Error::Unsupported`] for an unknown codec.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let first = reader.u8("flv.video")?;
        let frame_type = FrameType::parse(first >> 4 & 7)?;
        let mut header = if first & ENHANCED == 0 {
            Self::legacy(&mut reader, frame_type, first & 0x0f)?
        } else {
            Self::enhanced(&mut reader, frame_type, first & 0x0f)?
        };
        header.header_len = body.len() - reader.remaining();
        Ok(header)
    }

    fn legacy(reader: &mut Reader<'_>, frame_type: FrameType, id: u8) -> Result<Self, Error> {
        let codec = match id {
            7 => Codec::H264,
            // Codecs that encoders in China carry in the layout of AVC.
            12 => Codec::Hevc,
            13 => Codec::Av1,
            _ => return Err(Error::Unsupported { what: "flv.video.codec", value: u64::from(id) }),
        };
        let packet_type = reader.u8("flv.video.packet_type")?;
        let packet = if frame_type == FrameType::Command {
            VideoPacket::Command(packet_type)
        } else {
            // The end of a sequence comes without a composition time from some encoders.
            let bare = packet_type == 2 && reader.is_empty();
            let composition_time_ms = if bare { 0 } else { reader.i24("flv.video.cts")? };
            match packet_type {
                0 => VideoPacket::SequenceStart,
                1 => VideoPacket::Coded { composition_time_ms },
                2 => VideoPacket::SequenceEnd,
                _ => return Err(invalid_packet_type(packet_type)),
            }
        };
        Ok(Self {
            codec: Some(codec),
            frame_type,
            packet,
            enhanced: false,
            nano_offset: 0,
            multitrack: None,
            header_len: 0,
            tracks_timed: false,
        })
    }

    fn enhanced(reader: &mut Reader<'_>, frame_type: FrameType, first: u8) -> Result<Self, Error> {
        let (packet_type, nano_offset) = modifiers(reader, first)?;
        let mut header = Self {
            codec: None,
            frame_type,
            packet: VideoPacket::Metadata,
            enhanced: true,
            nano_offset,
            multitrack: None,
            header_len: 0,
            tracks_timed: false,
        };
        // ffmpeg sends the colours of further tracks with the frame type of a command; a command
        // itself has one byte.
        let of_tracks = packet_type == MULTITRACK
            && reader.remaining() > 1
            && reader.clone().u8("flv.multitrack")? & 0x0f == METADATA;
        if frame_type == FrameType::Command && packet_type != METADATA && !of_tracks {
            header.packet = VideoPacket::Command(reader.u8("flv.video.command")?);
            return Ok(header);
        }
        let preamble = preamble(reader, packet_type, MULTITRACK)?;
        header.codec = preamble.codec;
        header.multitrack = preamble.multitrack;
        header.tracks_timed = preamble.many() && preamble.packet_type == 1;
        header.packet = match preamble.packet_type {
            0 => VideoPacket::SequenceStart,
            1 => {
                let timed = !preamble.many() && preamble.codec.is_some_and(has_composition_time);
                let composition_time_ms = if timed { reader.i24("flv.video.cts")? } else { 0 };
                VideoPacket::Coded { composition_time_ms }
            }
            2 => VideoPacket::SequenceEnd,
            3 => VideoPacket::Coded { composition_time_ms: 0 },
            METADATA => VideoPacket::Metadata,
            5 => VideoPacket::Mpeg2TsSequenceStart,
            other => return Err(invalid_packet_type(other)),
        };
        Ok(header)
    }

    /// The tracks of the whole tag body that this header was read from; one if it tells of none.
    /// A command has no track.
    #[must_use]
    pub fn tracks<'a>(&self, body: &'a [u8]) -> Tracks<'a> {
        let body = if matches!(self.packet, VideoPacket::Command(_)) { &[] } else { body };
        let composition_time_ms = match self.packet {
            VideoPacket::Coded { composition_time_ms } => composition_time_ms,
            _ => 0,
        };
        let layout = Layout {
            codec: self.codec,
            multitrack: self.multitrack,
            composition_time_ms,
            timed: self.tracks_timed,
        };
        Tracks::new(body, self.header_len, layout)
    }
}

fn invalid_packet_type(wire: u8) -> Error {
    Error::Invalid { what: "flv.video.packet_type", value: u64::from(wire) }
}

/// The codec id of a codec that can stand in a legacy header.
const fn legacy_id(codec: Codec) -> Option<u8> {
    match codec {
        Codec::H264 => Some(7),
        Codec::Hevc => Some(12),
        Codec::Av1 => Some(13),
        _ => None,
    }
}

/// The legacy id to write: enhanced headers alone carry metadata and TS descriptors.
const fn legacy_layout(codec: Codec, enhanced: bool, packet: VideoPacket) -> Option<u8> {
    match packet {
        VideoPacket::Metadata | VideoPacket::Mpeg2TsSequenceStart => None,
        _ if enhanced => None,
        _ => legacy_id(codec),
    }
}

/// Bytes that [`encode_video_header`] writes.
#[must_use]
pub const fn video_header_len(codec: Codec, enhanced: bool, packet: VideoPacket) -> usize {
    match (legacy_layout(codec, enhanced, packet), packet) {
        (_, VideoPacket::Command(_)) => 2,
        (None, VideoPacket::Coded { composition_time_ms })
            if composition_time_ms != 0 && has_composition_time(codec) =>
        {
            8
        }
        _ => 5,
    }
}

/// Writes the header of a tag with one track: enhanced if asked for, or if the codec or the packet
/// has no legacy form.
///
/// `keyframe` counts for access units; everything else has the frame type that peers expect.
///
/// # Panics
/// If `codec` is no video codec.
pub fn encode_video_header(
    codec: Codec,
    enhanced: bool,
    keyframe: bool,
    packet: VideoPacket,
    writer: &mut Writer<'_>,
) {
    assert_eq!(codec.kind(), TrackKind::Video, "a video tag carries a video codec");
    let frame_type: u8 = match packet {
        VideoPacket::Metadata | VideoPacket::Command(_) => 5,
        VideoPacket::Coded { .. } if !keyframe => 2,
        _ => 1,
    };
    let frame_type = frame_type << 4;
    let (legacy_type, enhanced_type, composition_time_ms) = match packet {
        VideoPacket::SequenceStart => (0, 0, 0),
        VideoPacket::Coded { composition_time_ms: 0 } if has_composition_time(codec) => (1, 3, 0),
        VideoPacket::Coded { composition_time_ms } => (1, 1, composition_time_ms),
        VideoPacket::SequenceEnd => (2, 2, 0),
        VideoPacket::Metadata => (0, 4, 0),
        VideoPacket::Mpeg2TsSequenceStart => (0, 5, 0),
        VideoPacket::Command(command) => (command, 0, 0),
    };
    if let Some(id) = legacy_layout(codec, enhanced, packet) {
        writer.u8(frame_type | id);
        writer.u8(legacy_type);
        if !matches!(packet, VideoPacket::Command(_)) {
            writer.i24(composition_time_ms);
        }
        return;
    }
    writer.u8(ENHANCED | frame_type | enhanced_type);
    if let VideoPacket::Command(command) = packet {
        writer.u8(command);
        return;
    }
    writer.put(&four_cc(codec).expect("every video codec has a FourCC"));
    if composition_time_ms != 0 && has_composition_time(codec) {
        writer.i24(composition_time_ms);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::enhanced::{MultitrackKind, Track};
    use super::*;

    const fn coded(composition_time_ms: i32) -> VideoPacket {
        VideoPacket::Coded { composition_time_ms }
    }

    #[test]
    fn written_headers_hold_both_ways() {
        use Codec::{Av1, H264, Hevc, Vp9, Vvc};
        use VideoPacket::{Metadata, Mpeg2TsSequenceStart, SequenceEnd, SequenceStart};
        let table: [(&[u8], Codec, bool, bool, VideoPacket); 16] = [
            (b"\x17\x00\0\0\0", H264, false, true, SequenceStart),
            (b"\x17\x01\0\0\x28", H264, false, true, coded(40)),
            (b"\x27\x01\xff\xff\xff", H264, false, false, coded(-1)),
            (b"\x17\x02\0\0\0", H264, false, true, SequenceEnd),
            (b"\x1c\x00\0\0\0", Hevc, false, true, SequenceStart),
            (b"\x2c\x01\0\0\0", Hevc, false, false, coded(0)),
            (b"\x1d\x01\0\0\0", Av1, false, true, coded(0)),
            (b"\x90hvc1", Hevc, true, true, SequenceStart),
            (b"\x91hvc1\0\0\x28", Hevc, true, true, coded(40)),
            (b"\xa3hvc1", Hevc, true, false, coded(0)),
            (b"\xa3avc1", H264, true, false, coded(0)),
            (b"\x91vvc1\xff\xff\xff", Vvc, false, true, coded(-1)),
            (b"\x91av01", Av1, true, true, coded(0)),
            (b"\xa1vp09", Vp9, false, false, coded(0)),
            (b"\xd4hvc1", Hevc, false, true, Metadata),
            (b"\x95av01", Av1, true, true, Mpeg2TsSequenceStart),
        ];
        for (bytes, codec, enhanced, keyframe, packet) in table {
            let mut out = [0; VIDEO_HEADER_LEN_MAX];
            let mut writer = Writer::new(&mut out);
            encode_video_header(codec, enhanced, keyframe, packet, &mut writer);
            let len = writer.written();
            assert_eq!(out[..len], *bytes);
            assert_eq!(len, video_header_len(codec, enhanced, packet));
            let header = VideoTagHeader::parse(bytes).unwrap();
            assert_eq!(
                (header.codec, header.packet, header.header_len),
                (Some(codec), packet, len)
            );
            assert_eq!(header.enhanced, bytes[0] & 0x80 != 0);
            if header.frame_type != FrameType::Command {
                assert_eq!(header.frame_type.is_key(), keyframe);
            }
            for cut in 0..len {
                let bare_end = cut == 2 && packet == SequenceEnd;
                assert_eq!(VideoTagHeader::parse(&bytes[..cut]).is_ok(), bare_end);
            }
        }
    }

    #[test]
    fn commands_have_one_byte() {
        for (bytes, codec, enhanced) in
            [(b"\x57\x01", Some(Codec::H264), false), (b"\xd0\x01", None, true)]
        {
            let header = VideoTagHeader::parse(bytes).unwrap();
            assert_eq!((header.codec, header.packet), (codec, VideoPacket::Command(1)));
            assert_eq!(header.tracks(bytes).count(), 0);
            let mut out = [0; VIDEO_HEADER_LEN_MAX];
            let mut writer = Writer::new(&mut out);
            encode_video_header(Codec::H264, enhanced, false, header.packet, &mut writer);
            let len = writer.written();
            assert_eq!(out[..len], bytes[..]);
            assert_eq!(len, video_header_len(Codec::H264, enhanced, header.packet));
        }
    }

    #[test]
    fn legacy_frame_types_are_told() {
        use FrameType::{Disposable, GeneratedKey, Inter, Key};
        for (first, frame_type) in
            [(0x17, Key), (0x27, Inter), (0x37, Disposable), (0x47, GeneratedKey)]
        {
            let header = VideoTagHeader::parse(&[first, 1, 0, 0, 0]).unwrap();
            assert_eq!(header.frame_type, frame_type);
        }
    }

    #[test]
    fn a_sequence_end_may_lack_its_composition_time() {
        let header = VideoTagHeader::parse(b"\x17\x02").unwrap();
        assert_eq!((header.packet, header.header_len), (VideoPacket::SequenceEnd, 2));
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        for bytes in [&b"\x12\0\0\0\0"[..], b"\x90XXXX"] {
            assert!(matches!(VideoTagHeader::parse(bytes), Err(Error::Unsupported { .. })));
        }
        for bytes in [&b"\x07\0\0\0\0"[..], b"\x17\x03\0\0\0", b"\x98hvc1", b"\xf0hvc1"] {
            assert!(matches!(VideoTagHeader::parse(bytes), Err(Error::Invalid { .. })));
        }
    }

    #[test]
    fn mod_ex_refines_the_timestamp() {
        let header = VideoTagHeader::parse(b"\x97\x02\x0f\x42\x3f\x01hvc1\0\0\x01").unwrap();
        assert_eq!((header.nano_offset, header.packet), (999_999, coded(1)));
        assert_eq!((header.codec, header.header_len), (Some(Codec::Hevc), 13));
        let error = VideoTagHeader::parse(b"\x97\x02\x0f\x42\x40\x01hvc1\0\0\x01").unwrap_err();
        assert!(matches!(error, Error::Invalid { what: "flv.mod_ex.nano_offset", .. }));
    }

    #[test]
    fn mod_ex_may_be_chained_long_and_unknown() {
        let long = [&b"\x97\xff\x01\x00"[..], &[9; 257], b"\x17\0\x05\x13hvc1"].concat();
        let header = VideoTagHeader::parse(&long).unwrap();
        assert_eq!((header.nano_offset, header.packet), (0, coded(0)));
        assert_eq!(header.header_len, long.len());
        let short = VideoTagHeader::parse(b"\x97\x01\0\0\x01hvc1").unwrap_err();
        assert!(matches!(short, Error::Truncated { .. }), "an offset takes 3 bytes");
    }

    #[test]
    fn one_track_tells_its_id() {
        let body = b"\x96\x01hvc1\x05\0\0\x02payload";
        let header = VideoTagHeader::parse(body).unwrap();
        let kind = MultitrackKind::OneTrack;
        assert_eq!(header.multitrack, Some(Multitrack { kind, track_id: 5 }));
        assert_eq!((header.packet, header.header_len), (coded(2), 10));
        let track =
            Track { track_id: 5, codec: Codec::Hevc, composition_time_ms: 2, range: 10..17 };
        assert_eq!(header.tracks(body).collect::<Vec<_>>(), vec![Ok(track)]);
    }

    #[test]
    fn many_tracks_share_a_codec() {
        let body = b"\x96\x11hvc1\0\0\0\x05\0\0\x07ab\x01\0\0\x04\xff\xff\xffc";
        let header = VideoTagHeader::parse(body).unwrap();
        let kind = MultitrackKind::ManyTracks;
        assert_eq!(header.multitrack, Some(Multitrack { kind, track_id: 0 }));
        assert_eq!((header.codec, header.header_len), (Some(Codec::Hevc), 6));
        let track = |track_id, composition_time_ms, range| {
            Ok(Track { track_id, codec: Codec::Hevc, composition_time_ms, range })
        };
        let tracks: Vec<_> = header.tracks(body).collect();
        assert_eq!(tracks, vec![track(0, 7, 13..15), track(1, -1, 22..23)]);
    }

    #[test]
    fn many_tracks_may_have_a_codec_each() {
        let body = b"\x96\x21av01\0\0\0\x02abavc1\x01\0\0\x04\0\0\x03c";
        let header = VideoTagHeader::parse(body).unwrap();
        assert_eq!(header.codec, None);
        let tracks: Vec<_> = header.tracks(body).collect();
        let first = Track { track_id: 0, codec: Codec::Av1, composition_time_ms: 0, range: 10..12 };
        let second =
            Track { track_id: 1, codec: Codec::H264, composition_time_ms: 3, range: 23..24 };
        assert_eq!(tracks, vec![Ok(first), Ok(second)]);
    }

    #[test]
    fn colours_of_a_further_track_are_no_command() {
        let body = b"\xd6\x04av01\x01x";
        let header = VideoTagHeader::parse(body).unwrap();
        assert_eq!((header.packet, header.header_len), (VideoPacket::Metadata, 7));
        assert_eq!(header.multitrack.map(|multitrack| multitrack.track_id), Some(1));
        let command = VideoTagHeader::parse(b"\xd6\x04").unwrap();
        assert_eq!(command.packet, VideoPacket::Command(4));
    }

    #[test]
    fn a_track_of_an_unknown_codec_is_passed_over() {
        let body = b"\x96\x23XXXX\0\0\0\x02abvp08\x01\0\0\x01c";
        let tracks: Vec<_> = VideoTagHeader::parse(body).unwrap().tracks(body).collect();
        let known = Track { track_id: 1, codec: Codec::Vp8, composition_time_ms: 0, range: 20..21 };
        assert!(matches!(tracks[..], [Err(Error::Unsupported { .. }), Ok(_)]), "{tracks:?}");
        assert_eq!(tracks[1], Ok(known));
    }

    #[test]
    fn coded_frames_x_of_many_tracks_have_no_composition_time() {
        let body = b"\x96\x13hvc1\x02\0\0\x04abcd";
        let tracks: Vec<_> = VideoTagHeader::parse(body).unwrap().tracks(body).collect();
        let track =
            Track { track_id: 2, codec: Codec::Hevc, composition_time_ms: 0, range: 10..14 };
        assert_eq!(tracks, vec![Ok(track)]);
    }

    #[test]
    fn a_track_that_exceeds_the_body_ends_the_tracks() {
        for body in [&b"\x96\x11hvc1\0\xff\xff\xffab"[..], b"\x96\x11hvc1\0\0\0\x01ab"] {
            let tracks: Vec<_> = VideoTagHeader::parse(body).unwrap().tracks(body).collect();
            assert!(matches!(tracks[..], [Err(Error::Truncated { .. })]), "{tracks:?}");
        }
    }

    #[test]
    fn multitrack_does_not_nest() {
        for body in [b"\x96\x06hvc1\0", b"\x96\x07hvc1\0"] {
            assert!(matches!(VideoTagHeader::parse(body), Err(Error::Invalid { .. })));
        }
        assert!(matches!(VideoTagHeader::parse(b"\x96\x31hvc1"), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn a_tag_without_multitrack_has_one_track() {
        let body = b"\x17\x01\0\0\x28payload";
        let track =
            Track { track_id: 0, codec: Codec::H264, composition_time_ms: 40, range: 5..12 };
        let tracks: Vec<_> = VideoTagHeader::parse(body).unwrap().tracks(body).collect();
        assert_eq!(tracks, vec![Ok(track)]);
    }
}
