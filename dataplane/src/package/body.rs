//! The tag header that RTMP messages and FLV tags share.
//!
//! Spec: Adobe FLV 10.1, E.4.2 and E.4.3; Enhanced RTMP v2. AVC, AAC and the other codecs that FLV
//! always had keep their legacy tags, which every player reads; everything newer has FourCC tags.
//! In the dialect of legacy ids HEVC is codec 12 and AV1 is 13.

use codecs::flv::audio::{self, AudioPacket};
use codecs::flv::video::{self, VideoPacket};
use codecs::media::{Codec, DecoderConfig, TrackKind};
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

/// The body of a sequence header; `None` for codecs that have none.
pub(super) fn sequence_header(config: &DecoderConfig, legacy_ids: bool) -> Option<Vec<u8>> {
    if config.record.is_empty() {
        return None;
    }
    let mut head = [0; HEAD_LEN_MAX];
    let mut writer = Writer::new(&mut head);
    let enhanced = enhanced(config.codec, legacy_ids);
    match config.codec.kind() {
        TrackKind::Video => {
            let packet = VideoPacket::SequenceStart;
            video::encode_video_header(config.codec, enhanced, true, packet, &mut writer);
        }
        TrackKind::Audio => {
            let packet = AudioPacket::SequenceStart;
            audio::encode_audio_header(config.codec, enhanced, packet, &mut writer);
        }
        TrackKind::Data => return None,
    }
    let len = writer.written();
    Some([&head[..len], &config.record].concat())
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
}
