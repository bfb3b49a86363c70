//! The program association and program map tables, each in one packet.
//!
//! Spec: ITU-T H.222.0 2.4.4; Annex A (CRC).
//! Shape: a pointer of 0, table id (8), section length (12), id (16), version (5), section numbers
//! (16), the table's own fields, CRC (32).
//! Limits: one program of [`STREAMS_MAX`] streams, whose descriptors are short: a section fits its
//! packet by construction.

use super::es::ElementaryStream;
use super::packet::{BODY_LEN, Pid};
use crate::writer::Writer;

/// Streams of the program: one video and one audio track.
pub const STREAMS_MAX: usize = 2;

const TRANSPORT_STREAM_ID: u16 = 1;
const PROGRAM_NUMBER: u16 = 1;
/// Table id and section length, which the length does not count.
const UNCOUNTED_LEN: usize = 3;
const CRC_LEN: usize = 4;

/// Writes the payload of a packet that holds the program association table.
pub(super) fn encode_pat(version: u8, writer: &mut Writer<'_>) {
    let mut section = [0xff; BODY_LEN];
    let mut out = Writer::new(&mut section);
    begin(0, TRANSPORT_STREAM_ID, version, 4, &mut out);
    out.u16(PROGRAM_NUMBER);
    out.u16(0xe000 | Pid::PMT.get());
    let written = out.written();
    finish(section, written, writer);
}

/// Writes the payload of a packet that holds the program map table.
pub(super) fn encode_pmt(
    version: u8,
    clock: Pid,
    streams: impl Iterator<Item = ElementaryStream> + Clone,
    writer: &mut Writer<'_>,
) {
    let mut section = [0xff; BODY_LEN];
    let mut out = Writer::new(&mut section);
    let of_streams: usize = streams.clone().map(|stream| 5 + stream.descriptors().len()).sum();
    begin(2, PROGRAM_NUMBER, version, 4 + of_streams, &mut out);
    out.u16(0xe000 | clock.get());
    out.u16(0xf000);
    for stream in streams {
        let descriptors = stream.descriptors();
        out.u8(stream.stream_type());
        out.u16(0xe000 | stream.pid().get());
        out.u16(0xf000 | u16::try_from(descriptors.len()).expect("short descriptors"));
        out.put(descriptors);
    }
    let written = out.written();
    finish(section, written, writer);
}

/// The pointer and the fields that every table of this kind begins with.
fn begin(table_id: u8, id: u16, version: u8, own_len: usize, out: &mut Writer<'_>) {
    let counted = u16::try_from(5 + own_len + CRC_LEN).expect("a section fits its packet");
    out.u8(0);
    out.u8(table_id);
    out.u16(0xb000 | counted);
    out.u16(id);
    // Two reserved bits, the version, and "this is in force now".
    out.u8(0xc1 | (version & 0x1f) << 1);
    out.u16(0);
}

/// Appends the checksum; what is left of the packet stays stuffing.
fn finish(mut section: [u8; BODY_LEN], written: usize, writer: &mut Writer<'_>) {
    let crc = crc32(&section[1..written]);
    Writer::new(&mut section[written..]).u32(crc);
    debug_assert_eq!(
        usize::from(u16::from_be_bytes([section[2] & 0x0f, section[3]])),
        written + CRC_LEN - 1 - UNCOUNTED_LEN,
        "the length was computed before the fields were written"
    );
    writer.put(&section);
}

/// CRC-32 of MPEG-2: polynomial 0x04c11db7, most significant bit first, neither end inverted.
///
/// Tables are some tens of bytes twice a second, so a bit at a time is fast enough.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;

    #[test]
    fn the_checksum_is_that_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
        assert_eq!(crc32(&[]), u32::MAX);
    }

    fn section(encode: impl FnOnce(&mut Writer<'_>)) -> alloc::vec::Vec<u8> {
        let mut payload = [0; BODY_LEN];
        let mut writer = Writer::new(&mut payload);
        encode(&mut writer);
        assert_eq!(writer.written(), BODY_LEN);
        let len = usize::from(u16::from_be_bytes([payload[2] & 0x0f, payload[3]])) + 4;
        assert!(payload[len..].iter().all(|&byte| byte == 0xff), "stuffing");
        assert_eq!(crc32(&payload[1..len]), 0, "a section with its checksum");
        payload[..len - CRC_LEN].to_vec()
    }

    #[test]
    fn the_association_names_one_program() {
        let pat = section(|writer| encode_pat(0, writer));
        assert_eq!(pat, [0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0]);
    }

    #[test]
    fn the_map_lists_streams_and_their_descriptors() {
        let streams = [Codec::H264, Codec::Ac3]
            .map(|codec| ElementaryStream::of(codec, None).expect("a codec that is carried"));
        let pmt = section(|out| {
            encode_pmt(33, streams[0].pid(), streams.into_iter(), out);
        });
        let expected = [
            &[0, 2, 0xb0, 29, 0, 1, 0xc3, 0, 0, 0xe1, 0, 0xf0, 0][..],
            &[0x1b, 0xe1, 0, 0xf0, 0],
            &[0x81, 0xe1, 0x12, 0xf0, 6, 5, 4, b'A', b'C', b'-', b'3'],
        ];
        assert_eq!(pmt, expected.concat());
        let empty = section(|out| encode_pmt(0, Pid::NULL, [].into_iter(), out));
        assert_eq!(empty, [0, 2, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0xff, 0xff, 0xf0, 0]);
    }
}
