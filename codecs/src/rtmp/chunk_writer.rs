//! RTMP chunks out.
//!
//! Spec: RTMP 1.0 section 5.3.
//! Shape: basic header of 1 to 3 bytes, message header of 11, 7, 3 or 0, extended timestamp of 4 if
//! the 24-bit field is full, then up to a chunk of payload.
//! In/Out: the free functions write headers that depend on nothing but the message, so that all
//! players share the bytes; [`ChunkWriter`] compresses headers against what one peer has seen.

use alloc::vec::Vec;

use super::message::{Csid, MessageHeader};
use crate::writer::Writer;

/// The longest chunk header.
pub const HEADER_LEN_MAX: usize = 18;
/// The chunk size until a peer sets another.
pub const CHUNK_SIZE_DEFAULT: u32 = 128;

/// The value of a 24-bit timestamp that sends the reader to the extended one.
const EXTENDED: u32 = 0x00ff_ffff;

const fn basic_len(csid: Csid) -> usize {
    match csid.get() {
        0..64 => 1,
        64..320 => 2,
        _ => 3,
    }
}

fn basic(fmt: u8, csid: Csid, writer: &mut Writer<'_>) {
    let fmt = fmt << 6;
    let id = csid.get();
    match id {
        0..64 => writer.u8(fmt | id.to_be_bytes()[3]),
        64..320 => writer.put(&[fmt, (id - 64).to_be_bytes()[3]]),
        _ => {
            // The one little-endian field beside the message stream id.
            let [low, high, ..] = (id - 64).to_le_bytes();
            writer.put(&[fmt | 1, low, high]);
        }
    }
}

/// The extended timestamp of a message that starts with [`encode_first`], if it needs one.
#[must_use]
pub const fn extended_timestamp(timestamp: u32) -> Option<u32> {
    if timestamp >= EXTENDED { Some(timestamp) } else { None }
}

const fn extended_len(extended: Option<u32>) -> usize {
    if extended.is_some() { 4 } else { 0 }
}

/// Bytes that [`encode_first`] writes.
#[must_use]
pub const fn first_len(header: &MessageHeader) -> usize {
    basic_len(header.csid) + 11 + extended_len(extended_timestamp(header.timestamp))
}

/// Writes the header of a message's first chunk, type 0.
pub fn encode_first(header: &MessageHeader, writer: &mut Writer<'_>) {
    basic(0, header.csid, writer);
    writer.u24(header.timestamp.min(EXTENDED));
    writer.u24(header.len);
    writer.u8(header.kind.to_wire());
    writer.u32_le(header.msid);
    if let Some(extended) = extended_timestamp(header.timestamp) {
        writer.u32(extended);
    }
}

/// Bytes that [`encode_continuation`] writes.
#[must_use]
pub const fn continuation_len(csid: Csid, extended: Option<u32>) -> usize {
    basic_len(csid) + extended_len(extended)
}

/// Writes the header of a message's further chunk, type 3, repeating the extended timestamp that
/// the first chunk had.
pub fn encode_continuation(csid: Csid, extended: Option<u32>, writer: &mut Writer<'_>) {
    basic(3, csid, writer);
    if let Some(extended) = extended {
        writer.u32(extended);
    }
}

/// Bytes of a message with all its chunk headers, as [`frame_message`] writes it.
#[must_use]
pub const fn framed_len(header: &MessageHeader, chunk_size: u32) -> usize {
    let chunk_size = if chunk_size == 0 { 1 } else { chunk_size };
    let continuations = header.len.saturating_sub(1) / chunk_size;
    let extended = extended_timestamp(header.timestamp);
    first_len(header)
        + header.len as usize
        + continuations as usize * continuation_len(header.csid, extended)
}

/// Appends a whole message in chunks, the first of type 0.
///
/// # Panics
/// If `header.len` is not the length of `body`.
pub fn frame_message(header: &MessageHeader, body: &[u8], chunk_size: u32, out: &mut Vec<u8>) {
    out.reserve(framed_len(header, chunk_size));
    append(out, |writer| encode_first(header, writer));
    frame_body(header, extended_timestamp(header.timestamp), body, chunk_size, out);
}

fn append(out: &mut Vec<u8>, encode: impl FnOnce(&mut Writer<'_>)) {
    let mut bytes = [0; HEADER_LEN_MAX];
    let mut writer = Writer::new(&mut bytes);
    encode(&mut writer);
    let len = writer.written();
    out.extend_from_slice(&bytes[..len]);
}

/// Appends the payload behind a first header that is already there.
fn frame_body(
    header: &MessageHeader,
    extended: Option<u32>,
    body: &[u8],
    chunk_size: u32,
    out: &mut Vec<u8>,
) {
    assert_eq!(header.len as usize, body.len(), "the header tells the length of its body");
    for (index, piece) in body.chunks(chunk_size.max(1) as usize).enumerate() {
        if index > 0 {
            append(out, |writer| encode_continuation(header.csid, extended, writer));
        }
        out.extend_from_slice(piece);
    }
}

/// What a peer remembers of a chunk stream.
#[derive(Clone, Copy, Debug)]
struct Sent {
    header: MessageHeader,
    /// The delta of the last header, if it was of type 1 to 3.
    delta: Option<u32>,
}

/// Chunks with headers as short as the peer's memory allows, for our clients.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: u32,
    sent: Vec<Sent>,
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkWriter {
    /// Starts with the default chunk size.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunk_size: CHUNK_SIZE_DEFAULT, sent: Vec::new() }
    }

    /// Sets the chunk size, after the message that tells the peer has been written.
    pub fn set_chunk_size(&mut self, chunk_size: u32) {
        self.chunk_size = chunk_size.max(1);
    }

    /// Appends a whole message.
    ///
    /// # Panics
    /// If `header.len` is not the length of `body`.
    pub fn write(&mut self, header: &MessageHeader, body: &[u8], out: &mut Vec<u8>) {
        let before = self.sent.iter_mut().find(|sent| sent.header.csid == header.csid);
        let Some(sent) = before else {
            self.sent.push(Sent { header: *header, delta: None });
            frame_message(header, body, self.chunk_size, out);
            return;
        };
        let delta = header.timestamp.wrapping_sub(sent.header.timestamp);
        // A step back, or one that needs an extended delta, is clearer as an absolute time.
        if sent.header.msid != header.msid || delta >= EXTENDED {
            *sent = Sent { header: *header, delta: None };
            frame_message(header, body, self.chunk_size, out);
            return;
        }
        // After type 0, a type 3 means that the timestamp itself is the delta, and nginx-rtmp
        // takes it for 0: type 2 says what is meant.
        let fmt = match *sent {
            Sent { header: last, .. } if (last.len, last.kind) != (header.len, header.kind) => 1,
            Sent { delta: last, .. } if last != Some(delta) => 2,
            Sent { .. } => 3,
        };
        *sent = Sent { header: *header, delta: Some(delta) };
        append(out, |writer| {
            basic(fmt, header.csid, writer);
            if fmt < 3 {
                writer.u24(delta);
            }
            if fmt == 1 {
                writer.u24(header.len);
                writer.u8(header.kind.to_wire());
            }
        });
        frame_body(header, None, body, self.chunk_size, out);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::message::MessageKind;
    use super::*;

    fn header(timestamp: u32, len: u32) -> MessageHeader {
        let csid = Csid::VIDEO;
        MessageHeader { csid, timestamp, len, kind: MessageKind::Video, msid: 1 }
    }

    #[test]
    fn the_first_header_is_complete() {
        let mut out = Vec::new();
        frame_message(&header(5, 1), b"a", 128, &mut out);
        assert_eq!(out, b"\x06\0\0\x05\0\0\x01\x09\x01\0\0\0a");
    }

    #[test]
    fn csids_take_one_to_three_bytes() {
        let table: [(u32, &[u8]); 6] = [
            (2, &[0xc2]),
            (63, &[0xff]),
            (64, &[0xc0, 0]),
            (319, &[0xc0, 255]),
            (320, &[0xc1, 0, 1]),
            (65_599, &[0xc1, 255, 255]),
        ];
        for (id, bytes) in table {
            let mut out = Vec::new();
            let csid = Csid::new(id).unwrap();
            append(&mut out, |writer| encode_continuation(csid, None, writer));
            assert_eq!(out, bytes, "csid {id}");
            assert_eq!(continuation_len(csid, None), bytes.len());
        }
    }

    #[test]
    fn the_extended_timestamp_is_repeated() {
        let mut out = Vec::new();
        frame_message(&header(0x00ff_ffff, 3), b"abc", 2, &mut out);
        assert_eq!(
            out,
            b"\x06\xff\xff\xff\0\0\x03\x09\x01\0\0\0\0\xff\xff\xffab\xc6\0\xff\xff\xffc"
        );
    }

    #[test]
    fn framed_len_is_exact() {
        for timestamp in [0, 0x00ff_fffe, 0x00ff_ffff, u32::MAX] {
            for (len, chunk_size) in
                [(0, 128), (1, 128), (127, 128), (128, 128), (129, 128), (600, 1), (3, 0)]
            {
                let header = header(timestamp, len);
                let mut out = Vec::new();
                frame_message(&header, &vec![0; len as usize], chunk_size, &mut out);
                assert_eq!(out.len(), framed_len(&header, chunk_size));
            }
        }
    }

    #[test]
    fn headers_shrink_with_what_the_peer_knows() {
        let mut writer = ChunkWriter::new();
        let mut fmt = |header: MessageHeader| {
            let mut out = Vec::new();
            writer.write(&header, &vec![0; header.len as usize], &mut out);
            out[0] >> 6
        };
        assert_eq!(fmt(header(10, 4)), 0, "first");
        assert_eq!(fmt(header(20, 4)), 2, "never type 3 after type 0");
        assert_eq!(fmt(header(30, 4)), 3, "the same delta");
        assert_eq!(fmt(header(41, 4)), 2, "another delta");
        assert_eq!(fmt(header(52, 5)), 1, "another length");
        assert_eq!(fmt(header(50, 5)), 0, "a step back");
        assert_eq!(fmt(MessageHeader { msid: 2, ..header(51, 5) }), 0, "another stream");
        assert_eq!(fmt(MessageHeader { csid: Csid::AUDIO, ..header(51, 5) }), 0, "first there");
    }
}
