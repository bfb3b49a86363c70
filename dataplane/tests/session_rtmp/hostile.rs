//! Peers that mean harm: each runs into a named limit, holds little, and leaves nothing.

use codecs::amf0::Value;
use codecs::rtmp::message::{Control, MessageKind};
use dataplane::Error;
use dataplane::config::{LimitId, Limits, SessionConfig};
use dataplane::session::Command;
use proptest::prelude::*;

use crate::peer::*;

/// Feeds `bytes` after `steps` until the session ends; its reason.
fn end_of(limits: &Limits, steps: &[Vec<u8>], bytes: &[u8]) -> Error {
    let mut bench = Bench::with(limits, &SessionConfig::default(), pool(16, 16));
    bench.verdict = Some(Command::PublishStarted);
    for step in steps {
        bench.feed(step).unwrap();
    }
    let error = bench.feed(bytes).unwrap_err();
    assert!(!bench.server.wants_bytes());
    bench.close();
    error
}

fn connected() -> Vec<Vec<u8>> {
    vec![hello(), connect("live")]
}

fn publishing() -> Vec<Vec<u8>> {
    vec![hello(), connect("live"), publish("cam")]
}

#[test]
fn what_is_no_rtmp_is_told_by_its_first_byte() {
    for first in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0x16, 3, 1], &[6], &[0]] {
        let error = end_of(&Limits::default(), &[], first);
        assert_eq!(error.reason(), "malformed");
    }
}

#[test]
fn limits_have_names() {
    let limits = Limits::default();
    let command_limit = usize::try_from(limits.rtmp_command_bytes_max).unwrap();
    let nest = |depth| (0..depth).fold(Value::Null, |v, _| Value::object([("a", v)]));
    let many = Value::StrictArray(vec![Value::Null; 2000]);
    let csids: Vec<u8> =
        (10..90).flat_map(|csid| message(csid, MessageKind::Unknown(99), 0, 0, &[0])).collect();
    let partials: Vec<u8> = (10..20)
        .flat_map(|csid| {
            let big = message(csid, MessageKind::DataAmf0, 0, 0, &[0; 160 * 128]);
            big[..big.len() - 129].to_vec()
        })
        .collect();
    let floods = create_stream().repeat(17);
    let controls = control(Control::Acknowledgement(1)).repeat(201);
    let messages = message(4, MessageKind::Audio, 0, 1, &[]).repeat(5_001);
    let command = message(3, MessageKind::CommandAmf0, 0, 0, &vec![0; command_limit + 1]);
    let media = message(6, MessageKind::Video, 0, 1, &vec![0; (8 << 20) + 1]);
    for (steps, bytes, limit) in [
        (connected(), call("x", 1.0, 0, &[nest(20)]), LimitId::AmfDepthMax),
        (connected(), call("x", 1.0, 0, &[many]), LimitId::AmfElementsMax),
        (connected(), csids, LimitId::RtmpChunkStreamsMax),
        (connected(), partials, LimitId::RtmpPartialBytesPreauthMax),
        (connected(), floods, LimitId::RtmpStreamsMax),
        (connected(), controls, LimitId::RtmpControlPerSecondMax),
        (connected(), command, LimitId::RtmpCommandBytesMax),
        (publishing(), messages, LimitId::RtmpMessagesPerSecondMax),
        (publishing(), media, LimitId::RtmpMessageBytesMax),
    ] {
        assert_eq!(end_of(&limits, &steps, &bytes), Error::Limit(limit));
    }
    let few = Limits { rtmp_chunks_per_second_max: 100, ..Limits::default() };
    let chunks = message(6, MessageKind::Video, 0, 1, &[0; 20_000]);
    let expected = Error::Limit(LimitId::RtmpChunksPerSecondMax);
    assert_eq!(end_of(&few, &publishing(), &chunks), expected);
    let short = Limits { reply_bytes_max: 4_000, ..Limits::default() };
    let asks = call("_checkbw", 1.0, 0, &[]).repeat(150);
    assert_eq!(end_of(&short, &connected(), &asks), Error::Limit(LimitId::ReplyBytesMax));
}

#[test]
fn sizes_that_break_the_format_end_the_session() {
    for bytes in [
        control(Control::SetChunkSize(0)),
        control(Control::SetChunkSize(0x8000_0000)),
        message(2, MessageKind::SetChunkSize, 0, 0, &[1]),
        message(3, MessageKind::CommandAmf0, 0, 0, &[0]),
        message(2, MessageKind::UserControl, 0, 0, &[0]),
    ] {
        assert_eq!(end_of(&Limits::default(), &connected(), &bytes).reason(), "malformed");
    }
}

#[test]
fn illegal_names_and_streams_are_refused_with_a_status() {
    for (bytes, status, reason) in [
        (publish("../x"), "onStatus NetStream.Publish.BadName", "bad_name"),
        (play("a b"), "onStatus NetStream.Play.StreamNotFound", "bad_name"),
        (
            call("play", 3.0, 7, &[Value::from("cam")]),
            "onStatus NetStream.Play.Failed",
            "bad_stream_id",
        ),
    ] {
        let mut bench = Bench::after(None, &connected());
        assert_eq!(bench.feed(&bytes), Err(Error::Rejected(reason)));
        assert_eq!(bench.replies().last().unwrap(), status);
        bench.close();
    }
}

#[test]
fn a_one_byte_chunk_size_is_legal() {
    let mut bench = Bench::after(Some(Command::PublishStarted), &publishing());
    bench.events.clear();
    bench.feed(&control(Control::SetChunkSize(1))).unwrap();
    let header = [&[4, 0, 0, 0, 0, 0, 3, 8, 1, 0, 0, 0][..]].concat();
    bench.feed(&[&header[..], &[0xaf, 0xc4, 1, 0xc4, 9]].concat()).unwrap();
    assert!(bench.events[0].starts_with("aac/0 dts 0 cts 0 key 1 bytes"), "{:?}", bench.events);
    bench.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn noise_in_any_state_neither_panics_nor_leaks(
        noise in prop::collection::vec(any::<u8>(), 0..2000),
        depth in 0..3_usize,
        kind in 0..24_u8,
    ) {
        let steps = publishing();
        let mut bench = Bench::answered(Some(Command::PublishStarted));
        for step in &steps[..=depth] {
            bench.feed(step).unwrap();
        }
        // First as the body of a message, then as chunks.
        let framed = message(5, MessageKind::from_wire(kind), 1, 1, &noise);
        if bench.feed(&framed).is_ok() {
            let _ = bench.feed(&noise);
        }
        bench.close();
    }
}
