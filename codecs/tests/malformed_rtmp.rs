//! No byte of a peer may panic a parser, and none may make it hold more than its limits say.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use codecs::amf0::{self, Limits};
use codecs::flv::{AudioTagHeader, FlvReader, VideoTagHeader};
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::message::AggregateMessages;
use codecs::rtmp::{
    ChunkLimits, ChunkReader, Command, Control, Csid, MessageHeader, MessageKind, UserControl,
};
use codecs::{Error, amf3};
use proptest::prelude::*;

const LIMITS: ChunkLimits =
    ChunkLimits { csids_max: 8, message_bytes_max: 10_000, partial_bytes_max: 2_000 };

/// What makes the parsers go further than noise does.
const STARTS: [&[u8]; 7] = [
    b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x09\0\0\x05",
    b"\x96\x11hvc1",
    b"\x97\x02\0\0\0\x06",
    b"\x95\x21",
    b"\x02\0\x01a\x11\x0a\x0b\x01",
    b"\x08\0\0\x01\0\0\0\0\0\0\0",
    b"\x02\0\x01a\x08",
];

/// Feeds everything, also after an error, and returns the first error.
fn read_chunks(bytes: &[u8], step: usize) -> Result<usize, Error> {
    let mut reader = ChunkReader::new(LIMITS);
    let mut verdict = Ok(0);
    for piece in bytes.chunks(step) {
        let mut rest = piece;
        loop {
            match reader.feed(rest) {
                Ok((used, Some(fragment))) => {
                    let partial_bytes_max = u64::from(LIMITS.partial_bytes_max);
                    assert!(verdict.is_err() || reader.partial_bytes() <= partial_bytes_max);
                    let end = fragment.offset as usize + fragment.data.len();
                    assert_eq!(fragment.last, end == fragment.header.len as usize);
                    verdict = verdict.map(|count| count + usize::from(fragment.last));
                    if fragment.header.kind == MessageKind::SetChunkSize {
                        let size =
                            fragment.data.iter().fold(0, |size, byte| size << 8 | u32::from(*byte));
                        let _ = reader.set_chunk_size(size);
                    }
                    if fragment.header.kind == MessageKind::Abort {
                        reader.abort(fragment.header.csid);
                        reader.abort(Csid::VIDEO);
                    }
                    rest = &rest[used..];
                }
                Ok((used, None)) => {
                    assert_eq!(used, rest.len());
                    break;
                }
                Err(error) => {
                    verdict = verdict.and(Err(error));
                    break;
                }
            }
        }
    }
    verdict
}

fn parse_everything(bytes: &[u8]) {
    let limits = Limits::default();
    let _ = amf0::decode_all(bytes, &limits);
    let _ = amf3::decode(bytes, &limits);
    for amf3 in [false, true] {
        let _ = Command::parse(bytes, &limits, amf3);
    }
    for kind in (0..=22).map(MessageKind::from_wire) {
        let _ = Control::parse(kind, bytes);
    }
    let _ = UserControl::parse(bytes);
    let (csid, kind) = (Csid::VIDEO, MessageKind::Aggregate);
    let len = u32::try_from(bytes.len()).unwrap();
    let header = MessageHeader { csid, timestamp: 0, len, kind, msid: 1 };
    let bodies = AggregateMessages::new(bytes, &header).flatten().map(|(_, body)| body.len());
    assert!(bodies.sum::<usize>() <= bytes.len());
    if let Ok(header) = VideoTagHeader::parse(bytes) {
        assert!(header.header_len <= bytes.len());
        for track in header.tracks(bytes).flatten() {
            assert!(bytes.get(track.range).is_some());
        }
    }
    if let Ok(header) = AudioTagHeader::parse(bytes) {
        assert!(header.header_len <= bytes.len());
        for track in header.tracks(bytes).flatten() {
            assert!(bytes.get(track.range).is_some());
        }
    }
    let mut reader = FlvReader::new(1000);
    let mut rest = bytes;
    while let Ok((used, Some(_))) = reader.feed(rest) {
        rest = &rest[used..];
    }
}

/// A publisher's start: chunk size, connect, a video and an audio message, some of it extended.
fn session() -> Vec<u8> {
    let connect = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09";
    let video = [&b"\x17\x01\0\0\0"[..], &[5; 700]].concat();
    let multitrack = b"\x96\x11hvc1\0\0\0\x05\0\0\x07ab\x01\0\0\x04\xff\xff\xffc";
    let mut bytes = Vec::new();
    for (csid, timestamp, kind, body) in [
        (Csid::CONTROL, 0, MessageKind::SetChunkSize, &[0, 0, 2, 0][..]),
        (Csid::COMMAND, 0, MessageKind::CommandAmf0, connect),
        (Csid::VIDEO, 0x0100_0000, MessageKind::Video, &video),
        (Csid::AUDIO, 0x00ff_fff0, MessageKind::Audio, b"\xaf\x01aac"),
        (Csid::VIDEO, 0x0100_0028, MessageKind::Video, multitrack),
    ] {
        let len = u32::try_from(body.len()).unwrap();
        let header = MessageHeader { csid, timestamp, len, kind, msid: 1 };
        let chunk_size = if csid == Csid::CONTROL { 128 } else { 512 };
        frame_message(&header, body, chunk_size, &mut bytes);
    }
    bytes
}

#[test]
fn the_intact_session_reads() {
    assert_eq!(read_chunks(&session(), 7), Ok(5));
}

#[test]
fn a_session_may_end_anywhere() {
    let bytes = session();
    for end in 0..bytes.len() {
        assert!(read_chunks(&bytes[..end], 64).is_ok(), "cut at {end}");
    }
}

#[test]
fn any_bit_may_flip() {
    let mut bytes = session();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = read_chunks(&bytes, 64);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_command_of_nested_arrays_is_refused() {
    let mut body = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0".to_vec();
    body.extend(b"\x0a\0\0\0\x01".repeat(100_000));
    let error = Command::parse(&body, &Limits::default(), false).unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "amf.depth", .. }));
}

#[test]
fn a_switch_to_amf3_does_not_escape_the_depth_limit() {
    let mut body = b"\x0a\0\0\0\x01".repeat(15);
    body.push(0x11);
    body.extend(b"\x09\x03\x01".repeat(2));
    body.push(0x01);
    let error = amf0::decode_all(&body, &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "amf.depth", .. }));
}

#[test]
fn many_chunk_streams_and_many_partial_messages_are_refused() {
    let mut streams = Vec::new();
    for id in 2..=255 {
        streams.extend([0, id, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]);
    }
    let error = Error::TooLarge { what: "rtmp.csids", value: 9, max: 8 };
    assert_eq!(read_chunks(&streams, 100), Err(error));
    let mut partial = Vec::new();
    for id in 3..10 {
        partial.extend([id, 0, 0, 0, 0, 0x27, 0x10, 9, 1, 0, 0, 0]);
        partial.extend([0; 128]);
        for _ in 0..3 {
            partial.push(0xc0 | id);
            partial.extend([0; 128]);
        }
    }
    let error = read_chunks(&partial, 128).unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "rtmp.partial_bytes", .. }));
}

proptest! {
    #[test]
    fn noise_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        step in 1_usize..40,
    ) {
        let _ = read_chunks(&bytes, step);
        parse_everything(&bytes);
    }

    #[test]
    fn noise_near_the_formats_never_panics(
        start in prop::sample::select(&STARTS),
        rest in prop::collection::vec(0_u8..0x20, 0..200),
    ) {
        parse_everything(&[start, &rest].concat());
    }

    #[test]
    fn the_verdict_does_not_depend_on_the_pieces(
        bytes in prop::collection::vec(prop::sample::select(
            &[0_u8, 1, 2, 3, 4, 6, 8, 9, 0x46, 0x86, 0xc6, 0xc4, 0x44, 0xff],
        ), 0..400),
        step in 1_usize..40,
    ) {
        prop_assert_eq!(read_error(&bytes, step), read_error(&bytes, bytes.len().max(1)));
    }
}

/// Whether and why reading stops, without what a caller does in between.
fn read_error(bytes: &[u8], step: usize) -> Option<Error> {
    let mut reader = ChunkReader::new(ChunkLimits { csids_max: 3, ..LIMITS });
    for piece in bytes.chunks(step) {
        let mut rest = piece;
        while let (used, Some(_)) = match reader.feed(rest) {
            Ok(fed) => fed,
            Err(error) => return Some(error),
        } {
            rest = &rest[used..];
        }
    }
    None
}
