//! One second of a synthetic stream as an encoder would send it.

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::rtmp::chunk_writer::ChunkWriter;
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};

/// Pictures in the second.
const PICTURES: u32 = 30;
/// Bytes of one picture: 2 Mb/s.
const PICTURE_BYTES: usize = 8_333;
/// Frames of sound in 1,024 ms at 48 kHz; in the second there is one less.
const SOUND_SAMPLES: u32 = 1_024;
const SOUND_HZ: u32 = 48_000;
/// Bytes of one frame of sound: 128 kb/s.
const SOUND_BYTES: usize = 341;
/// Bytes of all frames of the second.
pub(super) const SECOND_BYTES: u64 =
    PICTURES as u64 * PICTURE_BYTES as u64 + 46 * SOUND_BYTES as u64;

const AVCC: &[u8] = include_bytes!("../../codecs/testdata/avcc/ffmpeg_high_1080p.bin");
const ASC: &[u8] = include_bytes!("../../codecs/testdata/asc/ffmpeg_lc_stereo.bin");

/// One frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) codec: Codec,
    /// When, in milliseconds from the start of the second.
    pub(super) ms: u32,
    pub(super) keyframe: bool,
    /// As it lies in an access unit.
    pub(super) payload: Vec<u8>,
}

/// The frames of the second in order of time; the first one is a keyframe.
pub(super) fn second() -> Vec<Frame> {
    let pictures = (0..PICTURES).map(|n| picture(n * 1_000 / PICTURES, n == 0));
    let sounds = (0..1_000 * SOUND_HZ / 1_000 / SOUND_SAMPLES)
        .map(|n| sound(n * SOUND_SAMPLES * 1_000 / SOUND_HZ));
    let mut frames: Vec<_> = pictures.chain(sounds).collect();
    frames.sort_by_key(|frame| frame.ms);
    frames
}

/// One NAL unit behind its length, without the bytes of a start code in it.
fn picture(ms: u32, keyframe: bool) -> Frame {
    let mut payload = vec![0x5a; PICTURE_BYTES];
    let len = u32::try_from(PICTURE_BYTES - 4).expect("a picture is short");
    payload[..4].copy_from_slice(&len.to_be_bytes());
    payload[4] = if keyframe { 0x65 } else { 0x41 };
    Frame { codec: Codec::H264, ms, keyframe, payload }
}

fn sound(ms: u32) -> Frame {
    Frame { codec: Codec::Aac, ms, keyframe: true, payload: vec![0x21; SOUND_BYTES] }
}

/// The decoder configuration of a codec of the stream.
pub(super) fn config(codec: Codec) -> DecoderConfig {
    let record = if codec == Codec::H264 { AVCC } else { ASC };
    DecoderConfig::parse(codec, record).expect("a record of a real encoder")
}

impl Frame {
    /// The body of its message, with the header of its tag.
    pub(super) fn body(&self) -> Vec<u8> {
        let head: &[u8] = match (self.codec, self.keyframe) {
            (Codec::Aac, _) => &[0xaf, 1],
            (_, true) => &[0x17, 1, 0, 0, 0],
            (_, false) => &[0x27, 1, 0, 0, 0],
        };
        [head, &self.payload].concat()
    }

    /// The header of its message.
    pub(super) fn header(&self, len: usize) -> MessageHeader {
        let (csid, kind) = match self.codec.kind() {
            TrackKind::Video => (Csid::VIDEO, MessageKind::Video),
            _ => (Csid::AUDIO, MessageKind::Audio),
        };
        let len = u32::try_from(len).expect("a frame is short");
        MessageHeader { csid, timestamp: self.ms, len, kind, msid: 1 }
    }
}

/// The second as RTMP chunks of `chunk_bytes`, from an encoder that compresses their headers.
pub(super) fn chunked(chunk_bytes: u32) -> Vec<u8> {
    let mut writer = ChunkWriter::new();
    writer.set_chunk_size(chunk_bytes);
    let mut out = Vec::new();
    for frame in second() {
        let body = frame.body();
        writer.write(&frame.header(body.len()), &body, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_has_its_bit_rate() {
        let frames = second();
        let bytes: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(bytes as u64, SECOND_BYTES);
        assert!((2_000_000..2_300_000).contains(&(chunked(4096).len() * 8)));
        assert!(frames.is_sorted_by_key(|frame| frame.ms) && frames[0].keyframe);
    }
}
