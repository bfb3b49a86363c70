//! FLV tags.
//!
//! Spec: Adobe FLV 10.1, Annex E.3 and E.4.

use codecs::flv::tag::{self, TagHeader, TagKind};
use codecs::media::TrackKind;
use codecs::writer::Writer;

use super::Piece;
use crate::log::{LogWriter, Preamble};
use crate::slab::{Exhausted, Pool};

fn header(piece: &Piece<'_>) -> TagHeader {
    let kind = match piece.kind {
        TrackKind::Video => TagKind::Video,
        TrackKind::Audio => TagKind::Audio,
        TrackKind::Data => TagKind::Script,
    };
    let data_len = u32::try_from(piece.body_len()).expect("message_bytes_max is under 24 bits");
    // The wire clock has 32 bits and wraps; the player unrolls it.
    TagHeader { kind, data_len, timestamp_ms: piece.dts.as_millis() as u32 }
}

fn encode(header: &TagHeader) -> [u8; tag::TAG_HEADER_LEN] {
    let mut bytes = [0; tag::TAG_HEADER_LEN];
    header.encode(&mut Writer::new(&mut bytes));
    bytes
}

fn previous_tag_size(header: &TagHeader) -> [u8; 4] {
    header.previous_tag_size().to_be_bytes()
}

/// Frames one tag and the size behind it into the open entry of a log.
pub(super) fn append(piece: &Piece<'_>, log: &mut LogWriter, pool: &Pool) -> Result<(), Exhausted> {
    let header = header(piece);
    log.put(pool, &encode(&header))?;
    for part in piece.parts(pool) {
        log.put(pool, part)?;
    }
    log.put(pool, &previous_tag_size(&header))
}

/// Frames one tag without slab payload into a connection's own bytes.
pub(super) fn write(piece: &Piece<'_>, out: &mut Vec<u8>) {
    let header = header(piece);
    // CONTROL: the header of a tag of the preamble.
    out.extend_from_slice(&encode(&header));
    // COPY(config): metadata or a record.
    out.extend_from_slice(piece.head);
    // CONTROL: the length behind the tag.
    out.extend_from_slice(&previous_tag_size(&header));
}

/// Writes the file header and the size of the tag before the first one, which is 0.
pub(super) fn write_file_header(preamble: &Preamble, out: &mut Vec<u8>) {
    let Preamble { video, audio, .. } = *preamble;
    // A stream that has not begun may have both.
    let unknown = !video && !audio;
    let mut bytes = [0; tag::FILE_HEADER_LEN];
    let flags = tag::FileHeader { audio: audio || unknown, video: video || unknown };
    flags.encode(&mut Writer::new(&mut bytes));
    // CONTROL: the file header.
    out.extend_from_slice(&bytes);
}
