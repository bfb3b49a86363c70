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
