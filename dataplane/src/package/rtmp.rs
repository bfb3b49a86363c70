//! RTMP chunks that every player can share.
//!
//! Spec: RTMP 1.0, 5.3.1. A message is one type-0 chunk and type-3 continuations on a fixed chunk
//! stream, on message stream 1, with an absolute timestamp: nothing depends on what a connection
//! sent before, so one framing serves all of them.

use codecs::media::TrackKind;
use codecs::rtmp::chunk_writer::{
    HEADER_LEN_MAX, encode_continuation, encode_first, extended_timestamp, frame_message,
};
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};
use codecs::writer::Writer;

use super::Piece;
use crate::log::LogWriter;
use crate::slab::{Exhausted, Pool};

/// The message stream that every player gets from createStream.
const MSID: u32 = 1;

fn header(piece: &Piece<'_>) -> MessageHeader {
    let (csid, kind) = match piece.kind {
        TrackKind::Video => (Csid::VIDEO, MessageKind::Video),
        TrackKind::Audio => (Csid::AUDIO, MessageKind::Audio),
        TrackKind::Data => (Csid::DATA, MessageKind::DataAmf0),
    };
    let len = u32::try_from(piece.body_len()).expect("message_bytes_max is under 24 bits");
    // The wire clock has 32 bits and wraps; the peer unrolls it.
    let timestamp = piece.dts.as_millis() as u32;
    MessageHeader { csid, timestamp, len, kind, msid: MSID }
}

/// Frames one message into the open entry of a log.
pub(super) fn append(
    piece: &Piece<'_>,
    chunk_bytes: u32,
    log: &mut LogWriter,
    pool: &Pool,
) -> Result<(), Exhausted> {
    let header = header(piece);
    let extended = extended_timestamp(header.timestamp);
    let mut head = [0; HEADER_LEN_MAX];
    let mut writer = Writer::new(&mut head);
    encode_first(&header, &mut writer);
    let len = writer.written();
    log.put(pool, &head[..len])?;
    let mut room = chunk_bytes as usize;
    for mut part in piece.parts(pool) {
        while !part.is_empty() {
            if room == 0 {
                let mut writer = Writer::new(&mut head);
                encode_continuation(header.csid, extended, &mut writer);
                let len = writer.written();
                log.put(pool, &head[..len])?;
                room = chunk_bytes as usize;
            }
            let (now, later) = part.split_at(room.min(part.len()));
            log.put(pool, now)?;
            room -= now.len();
            part = later;
        }
    }
    Ok(())
}

/// Frames one message without slab payload into a connection's own bytes.
pub(super) fn write(piece: &Piece<'_>, chunk_bytes: u32, out: &mut Vec<u8>) {
    frame_message(&header(piece), piece.head, chunk_bytes, out);
}
