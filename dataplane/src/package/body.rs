//! The tag header that RTMP messages and FLV tags share.
//!
//! Spec: Adobe FLV 10.1, E.4.2 and E.4.3; Enhanced RTMP v2. AVC, AAC and the other codecs that FLV
//! always had keep their legacy tags, which every player reads; everything newer has FourCC tags.
//! In the dialect of legacy ids HEVC is codec 12 and AV1 is 13.

use codecs::flv::audio::{self, AudioPacket};
use codecs::flv::video::{self, VideoPacket};
use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::opus;
use codecs::writer::Writer;

use crate::session::AccessUnit;

/// Bytes of a tag header at most.
pub(super) const HEAD_LEN_MAX: usize = 8;

/// Composition offsets are signed 24-bit milliseconds on the wire.
const COMPOSITION_MS_MAX: i64 = 0x7f_ffff;

const fn enhanced(codec: Codec, legacy_ids: bool) -> bool {
    match codec {
        Codec::H264
        | Codec::Aac
        | Codec::Mp3
        | Codec::Speex
        | Codec::G711Alaw
        | Codec::G711Mulaw => false,
        Codec::Hevc | Codec::Av1 => !legacy_ids,
        _ => true,
    }
}

/// Writes the header of an access unit; the bytes written.
pub(super) fn unit_head(
    unit: &AccessUnit,
    legacy_ids: bool,
    head: &mut [u8; HEAD_LEN_MAX],
) -> usize {
    let mut writer = Writer::new(head);
    let enhanced = enhanced(unit.codec, legacy_ids);
    if unit.codec.kind() == TrackKind::Video {
        let cts = unit.cts.as_millis().clamp(-COMPOSITION_MS_MAX, COMPOSITION_MS_MAX) as i32;
        let packet = VideoPacket::Coded { composition_time_ms: cts };
        video::encode_video_header(unit.codec, enhanced, unit.keyframe, packet, &mut writer);
    } else {
        audio::encode_audio_header(unit.codec, enhanced, AudioPacket::Coded, &mut writer);
    }
    writer.written()
}

/// The body of a sequence header; `None` for codecs that have none. With a FourCC it may be bare:
/// the codec's name announces the track.
pub(super) fn sequence_header(config: &DecoderConfig, legacy_ids: bool) -> Option<Vec<u8>> {
    let codec = config.codec;
    let enhanced = enhanced(codec, legacy_ids);
    if config.record.is_empty() && !enhanced {
        return None;
    }
    // Players of Ogg's header look for its magic, which the record is kept without.
    let magic: &[u8] = match codec {
        Codec::Opus if !config.record.is_empty() => opus::MAGIC,
        _ => &[],
    };
    Some(message(codec, enhanced, Message::SequenceStart, &[magic, &config.record]))
}

/// The body of a message with colours or a speaker map; `None` in dialects that do not know it.
pub(super) fn detail(codec: Codec, detail: &[u8], legacy_ids: bool) -> Option<Vec<u8>> {
    enhanced(codec, legacy_ids).then(|| message(codec, true, Message::Detail, &[detail]))
}

/// A message of control rate.
#[derive(Clone, Copy)]
enum Message {
    SequenceStart,
    Detail,
}

fn message(codec: Codec, enhanced: bool, message: Message, parts: &[&[u8]]) -> Vec<u8> {
    let mut head = [0; HEAD_LEN_MAX];
    let mut writer = Writer::new(&mut head);
    if codec.kind() == TrackKind::Video {
        let packet = match message {
            Message::SequenceStart => VideoPacket::SequenceStart,
            Message::Detail => VideoPacket::Metadata,
        };
        video::encode_video_header(codec, enhanced, true, packet, &mut writer);
    } else {
        let packet = match message {
            Message::SequenceStart => AudioPacket::SequenceStart,
            Message::Detail => AudioPacket::MultichannelConfig,
        };
        audio::encode_audio_header(codec, enhanced, packet, &mut writer);
    }
    let len = writer.written();
    [&[&head[..len]], parts].concat().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::AuBytes;
    use codecs::time::MediaTime;

    fn head(codec: Codec, keyframe: bool, cts_ms: i64, legacy_ids: bool) -> Vec<u8> {
        let unit = AccessUnit {
            track: 0,
            codec,
            dts: MediaTime::ZERO,
            cts: MediaTime::from_millis(cts_ms),
            keyframe,
            payload: AuBytes::EMPTY,
        };
        let mut bytes = [0; HEAD_LEN_MAX];
        let len = unit_head(&unit, legacy_ids, &mut bytes);
        bytes[..len].to_vec()
    }

    #[test]
    fn each_codec_has_the_tag_that_its_players_read() {
        assert_eq!(head(Codec::H264, true, 40, false), [0x17, 1, 0, 0, 40]);
        assert_eq!(head(Codec::H264, false, -1, false), [0x27, 1, 0xff, 0xff, 0xff]);
        assert_eq!(head(Codec::Aac, true, 0, false), [0xaf, 1]);
        assert_eq!(head(Codec::Hevc, true, 0, false), b"\x93hvc1");
        assert_eq!(head(Codec::Hevc, true, 5, false), b"\x91hvc1\0\0\x05");
        assert_eq!(head(Codec::Hevc, true, 5, true), [0x1c, 1, 0, 0, 5]);
        assert_eq!(head(Codec::Av1, false, 0, false), b"\xa1av01");
        assert_eq!(head(Codec::Opus, true, 0, false), b"\x91Opus");
    }

    #[test]
    fn sequence_headers_are_what_their_players_read() {
        let header = |codec, record: &[u8]| {
            let config = DecoderConfig::parse(codec, record).unwrap();
            sequence_header(&config, false)
        };
        let opus = [1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0];
        let with_magic = [&b"\x90OpusOpusHead"[..], &opus].concat();
        assert_eq!(header(Codec::Opus, &opus), Some(with_magic));
        assert_eq!(header(Codec::Aac, &[0x12, 0x10]), Some(vec![0xaf, 0, 0x12, 0x10]));
        assert_eq!(header(Codec::Ac3, &[]).as_deref(), Some(&b"\x90ac-3"[..]), "bare");
        assert_eq!(header(Codec::Mp3, &[]), None);
        let plain = [0, 10, 0x82, 2, 2, 2, 0, 0];
        assert_eq!(header(Codec::Vp9, &plain), Some([&b"\x90vp09"[..], &plain].concat()));
    }

    #[test]
    fn details_go_where_their_dialect_is_known() {
        assert_eq!(detail(Codec::Hevc, b"x", false).as_deref(), Some(&b"\xd4hvc1x"[..]));
        assert_eq!(detail(Codec::Flac, b"x", true).as_deref(), Some(&b"\x94fLaCx"[..]));
        for (codec, legacy_ids) in [(Codec::Hevc, true), (Codec::H264, false), (Codec::Aac, false)]
        {
            assert_eq!(detail(codec, b"x", legacy_ids), None);
        }
    }
}
