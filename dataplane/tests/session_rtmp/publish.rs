//! Publishers: replies, access units, tolerances.

use codecs::amf0::{self, Value};
use codecs::rtmp::message::{Control, MessageKind, UserControl};
use dataplane::config::{Limits, SessionConfig};
use dataplane::session::{Command, Refusal};
use proptest::prelude::*;

use crate::peer::*;

const AVCC: &[u8] = include_bytes!("../../../codecs/testdata/avcc/ffmpeg_high_1080p.bin");
const HVCC: &[u8] = include_bytes!("../../../codecs/testdata/hvcc/ffmpeg_main_320x180.bin");
const ASC: &[u8] = include_bytes!("../../../codecs/testdata/asc/ffmpeg_lc_stereo.bin");

pub(crate) fn video(timestamp: u32, body: &[u8]) -> Vec<u8> {
    message(6, MessageKind::Video, timestamp, 1, body)
}

pub(crate) fn audio(timestamp: u32, body: &[u8]) -> Vec<u8> {
    message(4, MessageKind::Audio, timestamp, 1, body)
}

/// A tag body: header, then a payload.
fn tag(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, payload].concat()
}

/// One NAL unit behind a four-byte length.
fn nal(len: u32) -> Vec<u8> {
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend((0..len).map(|i| i.to_be_bytes()[3]));
    bytes
}

fn metadata(names: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for name in names {
        amf0::encode(&Value::from(*name), &mut body);
    }
    amf0::encode(&Value::EcmaArray(vec![("width".into(), Value::Number(1920.0))]), &mut body);
    message(4, MessageKind::DataAmf0, 0, 1, &body)
}

/// Up to an accepted publication.
pub(crate) fn opening() -> Vec<Vec<u8>> {
    vec![
        hello(),
        connect("live"),
        call("releaseStream", 2.0, 0, &[Value::from("cam")]),
        call("FCPublish", 3.0, 0, &[Value::from("cam")]),
        create_stream(),
        publish("cam?key=s3cret"),
    ]
}

fn script() -> Vec<u8> {
    let mut steps = opening();
    steps.push(metadata(&["@setDataFrame", "onMetaData"]));
    steps.push(video(0, &tag(&[0x17, 0, 0, 0, 0], AVCC)));
    steps.push(audio(0, &tag(&[0xaf, 0], ASC)));
    steps.push(video(40, &tag(&[0x17, 1, 0, 0, 80], &nal(100_000))));
    steps.push(audio(23, &tag(&[0xaf, 1], &[5; 300])));
    steps.push(video(80, &tag(&[0x27, 1, 0xff, 0xff, 0xd8], &nal(20))));
    steps.push(call("FCUnpublish", 6.0, 0, &[Value::from("cam")]));
    steps.push(call("deleteStream", 7.0, 0, &[Value::Number(1.0)]));
    steps.push(audio(46, &tag(&[0xaf, 1], &[5; 300])));
    steps.concat()
}

#[test]
fn a_publication_from_connect_to_delete_stream() {
    let mut bench = Bench::answered(Some(Command::PublishStarted));
    bench.feed(&script()).unwrap();
    assert_eq!(
        bench.replies(),
        [
            "WindowAckSize(5000000)",
            "SetPeerBandwidth { size: 5000000, limit: Dynamic }",
            "SetChunkSize(60000)",
            "_result NetConnection.Connect.Success",
            "_result",
            "onFCPublish NetStream.Publish.Start",
            "_result",
            "_result 1",
            "StreamBegin(1)",
            "onStatus NetStream.Publish.Start",
            "onFCUnpublish NetStream.Unpublish.Success",
            "_result",
            "onStatus NetStream.Unpublish.Success",
        ]
    );
    let sum = |bytes: &[u8]| {
        let sum = |sum: u32, byte: &u8| sum.wrapping_mul(31).wrapping_add(u32::from(*byte));
        format!("{:08x}", bytes.iter().fold(0, sum))
    };
    assert_eq!(
        bench.events,
        [
            "publish cam s3cret None".to_owned(),
            "metadata 37 bytes at 0us".to_owned(),
            format!("config h264/0 {} bytes at 0us", AVCC.len()),
            format!("config aac/0 {} bytes at 0us", ASC.len()),
            format!("h264/0 dts 40000000 cts 80 key 100004 bytes {}", sum(&nal(100_000))),
            format!("aac/0 dts 23000000 cts 0 key 300 bytes {}", sum(&[5; 300])),
            format!("h264/0 dts 80000000 cts -40 24 bytes {}", sum(&nal(20))),
            "PublishEnded".to_owned(),
        ]
    );
    assert_eq!(bench.server.state_name(), "connected");
    bench.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same_events_and_bytes(
        cuts in prop::collection::vec(1..5000_usize, 1..60),
    ) {
        let script = script();
        let mut whole = Bench::answered(Some(Command::PublishStarted));
        whole.feed(&script).unwrap();
        let mut cut = Bench::answered(Some(Command::PublishStarted));
        let (mut rest, mut sizes) = (script.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().copied().unwrap_or(1).min(rest.len());
            let (now, later) = rest.split_at(size);
            cut.feed(now).unwrap();
            rest = later;
        }
        prop_assert_eq!(&whole.events, &cut.events);
        prop_assert_eq!(&whole.sent, &cut.sent);
        whole.close();
        cut.close();
    }
}

/// What a publisher's messages become.
pub(crate) fn events_of(messages: &[Vec<u8>]) -> Vec<String> {
    let mut bench = Bench::after(Some(Command::PublishStarted), &opening());
    bench.events.clear();
    for message in messages {
        bench.feed(message).unwrap();
    }
    assert_eq!(bench.server.state_name(), "publishing");
    let events = std::mem::take(&mut bench.events);
    bench.close();
    events
}

#[test]
fn what_is_no_frame_is_dropped_with_its_reason() {
    for (bytes, reason) in [
        (audio(0, &[]), "silence"),
        (video(0, &[]), "empty"),
        (video(0, &[0x17, 2, 0, 0, 0]), "sequence_end"),
        (video(0, &[0x57, 0]), "video_command"),
        (video(0, &[0x17, 1, 0, 0, 0]), "empty"),
        (video(0, &[0x22, 0, 0, 0, 0]), "codec"),
        (video(0, &[0x17]), "video_header"),
        (video(0, b"\x90hvc1"), "empty"),
        (video(0, b"\x90av0"), "video_header"),
        (audio(0, &[0x30, 1]), "codec"),
        (audio(0, &[0xaf]), "audio_header"),
        (audio(0, &[0x92, b'O', b'p', b'u', b's']), "sequence_end"),
        (message(4, MessageKind::DataAmf0, 0, 1, &[2, 0, 9, b'x']), "data"),
        (message(4, MessageKind::Aggregate, 0, 1, &[9, 0]), "aggregate"),
    ] {
        assert_eq!(events_of(&[bytes]), [format!("MediaDropped {{ reason: {reason:?} }}")]);
    }
    let none: [String; 0] = [];
    assert_eq!(events_of(&[metadata(&["@clearDataFrame", "onMetaData"])]), none);
    assert_eq!(events_of(&[message(7, MessageKind::Unknown(99), 0, 1, &[1; 500])]), none);
}

#[test]
fn metadata_is_known_with_and_without_its_wrapper() {
    let one = events_of(&[metadata(&["onMetaData"])]);
    assert_eq!(one, events_of(&[metadata(&["@setDataFrame", "onMetaData"])]));
    assert_eq!(one, ["metadata 37 bytes at 0us"]);
    assert_eq!(events_of(&[metadata(&["onCuePoint"])]), ["data 37 bytes at 0us"]);
    // Type 15 has a format byte before the same values.
    let mut body = vec![0];
    amf0::encode(&Value::from("onMetaData"), &mut body);
    amf0::encode(&Value::Number(1.0), &mut body);
    let amf3 = message(4, MessageKind::DataAmf3, 5, 1, &body);
    assert_eq!(events_of(&[amf3]), ["metadata 22 bytes at 5000us"]);
}

#[test]
fn hevc_under_the_id_of_avc_is_hevc() {
    let events = events_of(&[
        video(0, &tag(&[0x17, 0, 0, 0, 0], HVCC)),
        video(10, &tag(&[0x17, 1, 0, 0, 0], &nal(9))),
        // Back to what it says.
        video(20, &tag(&[0x17, 0, 0, 0, 0], AVCC)),
    ]);
    assert_eq!(events[0], format!("config hevc/0 {} bytes at 0us", HVCC.len()));
    assert!(events[1].starts_with("hevc/0 dts 10000000 cts 0 key"), "{}", events[1]);
    assert!(events[2].starts_with("config h264/0"), "{}", events[2]);
}

#[test]
fn short_lengths_are_widened() {
    let mut avcc = AVCC.to_vec();
    avcc[4] = 0xfc | 1;
    let narrow = [0, 3, 1, 2, 3, 0, 1, 4];
    let events = events_of(&[
        video(0, &tag(&[0x17, 0, 0, 0, 0], &avcc)),
        video(0, &tag(&[0x17, 1, 0, 0, 0], &narrow)),
        video(0, &tag(&[0x17, 1, 0, 0, 0], &narrow[..4])),
    ]);
    assert!(events[1].contains("key 12 bytes"), "{}", events[1]);
    assert_eq!(events[2], "MediaDropped { reason: \"nal_length\" }");
}

#[test]
fn widened_units_are_counted_once() {
    let mut avcc = AVCC.to_vec();
    avcc[4] = 0xfc | 1;
    let mut bench = Bench::after(Some(Command::PublishStarted), &opening());
    bench.feed(&video(0, &tag(&[0x17, 0, 0, 0, 0], &avcc))).unwrap();
    bench.feed(&video(0, &tag(&[0x17, 1, 0, 0, 0], &[0, 3, 1, 2, 3]))).unwrap();
    bench.feed(&video(1, &tag(&[0x27, 1, 0, 0, 0], &[0, 1, 4]))).unwrap();
    assert_eq!(bench.server.take_counts().units_converted, 2);
    assert_eq!(bench.server.take_counts().units_converted, 0);
    bench.close();
}

#[test]
fn time_goes_on_over_the_wrap_and_inside_aggregates() {
    let sub = |kind: u8, timestamp: u32, body: &[u8]| {
        let [_, len @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let [high, low @ ..] = timestamp.to_be_bytes();
        let mut bytes = [&[kind][..], &len, &low, &[high], &[0, 0, 0], body].concat();
        bytes.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        bytes
    };
    let aggregate = [sub(8, 1000, &[0xaf, 1, 1]), sub(8, 1023, &[0xaf, 1, 2])].concat();
    let events = events_of(&[
        audio(u32::MAX, &[0xaf, 1, 1]),
        message(5, MessageKind::Aggregate, 9, 1, &aggregate),
    ]);
    let wrapped = (u64::from(u32::MAX) + 1) * 1_000_000;
    for (event, nanos) in
        events.iter().zip([wrapped - 1_000_000, wrapped + 9_000_000, wrapped + 32_000_000])
    {
        assert!(event.starts_with(&format!("aac/0 dts {nanos} ")), "{event}");
    }
    assert_eq!(events.len(), 3);
}

#[test]
fn without_pages_frames_are_dropped_and_the_publisher_stays() {
    let (limits, config) = (Limits::default(), SessionConfig::default());
    let mut bench = Bench::with(&limits, &config, pool(1, 1));
    bench.verdict = Some(Command::PublishStarted);
    for step in opening() {
        bench.feed(&step).unwrap();
    }
    bench.events.clear();
    bench.feed(&video(0, &tag(&[0x17, 1, 0, 0, 0], &nal(100_000)))).unwrap();
    bench.feed(&video(40, &tag(&[0x27, 1, 0, 0, 0], &nal(10)))).unwrap();
    assert_eq!(bench.events[0], "MediaDropped { reason: \"memory\" }");
    assert!(bench.events[1].starts_with("h264/0 dts 40000000"), "{:?}", bench.events);
    bench.close();
}

#[test]
fn an_abort_and_a_message_begun_anew_drop_the_partial_one() {
    let mut bench = Bench::after(Some(Command::PublishStarted), &opening());
    bench.events.clear();
    let big = video(0, &tag(&[0x17, 1, 0, 0, 0], &nal(5000)));
    // Whole chunks only: an abort stands between chunks.
    bench.feed(&big[..12 + 128]).unwrap();
    bench.feed(&control(Control::Abort(codecs::rtmp::message::Csid::VIDEO))).unwrap();
    bench.feed(&video(7, &tag(&[0x27, 1, 0, 0, 0], &nal(10)))).unwrap();
    assert_eq!(bench.events.len(), 1);
    assert!(bench.events[0].starts_with("h264/0 dts 7000000"), "{:?}", bench.events);
    bench.feed(&big[..12 + 128]).unwrap();
    bench.close();
}

#[test]
fn every_refusal_has_its_status() {
    for (refusal, status) in [
        (Refusal::Denied, "onStatus NetStream.Publish.Denied"),
        (Refusal::Busy, "onStatus NetStream.Publish.BadName"),
        (Refusal::NotFound, "onStatus NetStream.Publish.BadName"),
        (Refusal::Overloaded, "onStatus NetConnection.Connect.Rejected"),
        (Refusal::Timeout, "onStatus NetStream.Publish.Denied"),
        (Refusal::Draining, "onStatus NetConnection.Connect.Rejected"),
    ] {
        let steps = [hello(), connect("live"), publish("cam")];
        let mut bench = Bench::after(Some(Command::Refused(refusal)), &steps);
        assert_eq!(bench.replies().last().unwrap(), status);
        let close = format!("Close {{ reason: {:?} }}", refusal.name());
        assert_eq!(bench.events.last(), Some(&close));
        assert!(!bench.server.wants_bytes());
        bench.close();
    }
}

#[test]
fn acknowledgements_and_pings_are_answered() {
    let mut bench = Bench::after(None, &[hello()]);
    bench.feed(&control(Control::WindowAckSize(1000))).unwrap();
    let mut ping = vec![0; 6];
    UserControl::PingRequest(77).encode(&mut codecs::writer::Writer::new(&mut ping));
    bench.feed(&message(2, MessageKind::UserControl, 0, 0, &ping)).unwrap();
    bench.feed(&message(7, MessageKind::Unknown(50), 0, 0, &[0; 2000])).unwrap();
    let replies = bench.replies();
    assert_eq!(replies[0], "PingResponse(77)");
    assert!(replies[1].starts_with("Acknowledgement("), "{replies:?}");
    bench.close();
}
