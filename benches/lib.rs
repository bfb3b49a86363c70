//! What the benches share: one second of a synthetic stream as an encoder would send it.

use codecs::rtmp::chunk_writer::ChunkWriter;
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};

/// Frames in the second.
pub const FRAMES: u32 = 30;
/// Bytes of one frame: 2 Mb/s at 30 frames a second.
pub const FRAME_BYTES: usize = 8_333;

/// One second of 2 Mb/s video and 128 kb/s sound as RTMP chunks of `chunk_bytes`.
#[must_use]
pub fn one_second(chunk_bytes: u32) -> Vec<u8> {
    let mut writer = ChunkWriter::new();
    writer.set_chunk_size(chunk_bytes);
    let mut out = Vec::new();
    for frame in 0..FRAMES {
        for (csid, kind, len) in
            [(Csid::VIDEO, MessageKind::Video, FRAME_BYTES), (Csid::AUDIO, MessageKind::Audio, 533)]
        {
            let body = vec![0x27; len];
            let header = MessageHeader {
                csid,
                timestamp: frame * 33,
                len: u32::try_from(len).expect("a frame is short"),
                kind,
                msid: 1,
            };
            writer.write(&header, &body, &mut out);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_second_has_its_bit_rate() {
        let bits = super::one_second(4096).len() * 8;
        assert!((2_000_000..2_300_000).contains(&bits), "{bits}");
    }
}
