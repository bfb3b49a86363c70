//! Publishers of Enhanced RTMP: codecs, modifiers, several tracks, and what a peer of bad will
//! makes of them.

use codecs::amf0::Value;
use codecs::rtmp::command::ConnectInfo;
use codecs::rtmp::message::MessageKind;
use dataplane::Error;
use dataplane::config::{LimitId, Limits, ReconnectUrl, SessionConfig};
use dataplane::session::Command;

use crate::peer::*;
use crate::publish::{audio, events_of, opening, video};

const VPCC: &[u8] = include_bytes!("../../../codecs/testdata/vpcc/ffmpeg_320x180.bin");
const STREAMINFO: &[u8] = include_bytes!("../../../codecs/testdata/streaminfo/ffmpeg_mono.bin");
const OPUS_HEAD: &[u8] = include_bytes!("../../../codecs/testdata/opushead/ffmpeg_stereo.bin");

/// The starts of the events that the messages cause.
fn assert_starts(messages: &[Vec<u8>], starts: &[&str]) {
    let events = events_of(messages);
    assert_eq!(events.len(), starts.len(), "{events:?}");
    for (event, start) in events.iter().zip(starts) {
        assert!(event.starts_with(start), "{event}, not {start}");
    }
}

#[test]
fn tracks_and_refined_times_of_enhanced_rtmp() {
    let multitrack = [0x96, 0x01, b'h', b'v', b'c', b'1', 3, 0, 0, 7, 1, 2];
    let nano = [0x97, 2, 0, 0, 5, 0x03, b'a', b'v', b'c', b'1', 1, 2];
    let many = [0x96, 0x13, b'a', b'v', b'0', b'1', 1, 0, 0, 2, 8, 8, 2, 0, 0, 1, 9];
    let messages =
        [video(1, &multitrack), video(2, &nano), video(3, &many), audio(4, b"\x91Opus\x01\x02")];
    let starts = [
        "hevc/3 dts 1000000 cts 7 key 2 bytes",
        "h264/0 dts 2000005 cts 0 key 2 bytes",
        "av1/1 dts 3000000 cts 0 key 2 bytes",
        "av1/2 dts 3000000 cts 0 key 1 bytes",
        "opus/0 dts 4000000 cts 0 key 2 bytes",
    ];
    assert_starts(&messages, &starts);
}

/// Header of a tag, then a payload.
fn tag(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, payload].concat()
}

#[test]
fn every_codec_begins_as_its_encoders_do() {
    let messages = [
        video(0, &tag(b"\x90vp09", VPCC)),
        video(0, b"\xd4vp09\x02\x00\x01x"),
        video(1, b"\x91vp09\x82"),
        video(2, b"\xa1vp08\x11"),
        audio(0, &tag(b"\x90Opus", OPUS_HEAD)),
        audio(0, b"\x94Opus\x01\x02\0\0\0\x03"),
        audio(3, b"\x91Opus\xfc"),
        audio(0, &tag(b"\x90fLaC", STREAMINFO)),
        audio(4, b"\x91fLaC\xff\xf8"),
        audio(0, b"\x90ac-3"),
        audio(5, b"\x91ac-3\x0b\x77"),
        audio(0, b"\x90ec-3"),
        audio(0, b"\x90.mp3"),
        audio(6, b"\x91.mp3\xff\xfb"),
        audio(0, b"\x90Opus"),
        audio(7, b"\x92Opus"),
    ];
    let starts = [
        "config vp9/0 12 bytes",
        "detail vp9/0 4 bytes",
        "vp9/0 dts 1000000 cts 0 key 1 bytes",
        "vp8/0 dts 2000000 cts 0 1 bytes",
        "config opus/0 11 bytes",
        "detail opus/0 6 bytes",
        "opus/0 dts 3000000 cts 0 key 1 bytes",
        "config flac/0 34 bytes",
        "flac/0 dts 4000000 cts 0 key 2 bytes",
        "config ac3/0 0 bytes",
        "ac3/0 dts 5000000 cts 0 key 2 bytes",
        "config eac3/0 0 bytes",
        "config mp3/0 0 bytes",
        "mp3/0 dts 6000000 cts 0 key 2 bytes",
        "config opus/0 0 bytes",
        "MediaDropped { reason: \"sequence_end\" }",
    ];
    assert_starts(&messages, &starts);
}

#[test]
fn colours_of_another_codec_leave_the_track_as_it_is() {
    let starts = [
        "h264/0 dts 1000000",
        "MediaDropped { reason: \"detail_codec\" }",
        "h264/0 dts 2000000",
        "detail hevc/1 1 bytes",
    ];
    let messages = [
        video(1, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]),
        video(1, b"\xd4hvc1x"),
        video(2, &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x61]),
        video(2, b"\xd6\x04hvc1\x01x"),
    ];
    assert_starts(&messages, &starts);
}

#[test]
fn multitrack_of_every_kind_is_split_into_its_tracks() {
    let messages = [
        // One track: a configuration, a frame, a speaker map.
        audio(0, &tag(b"\x95\x00mp4a\x03", &[0x12, 0x10])),
        audio(1, b"\x95\x01mp4a\x03\x01\x02"),
        audio(1, b"\x95\x04mp4a\x03\x01\x02\0\0\0\x03"),
        // Many tracks of one codec, and of a codec each.
        audio(2, b"\x95\x11Opus\x01\0\0\x01a\x02\0\0\x02bc"),
        audio(3, b"\x95\x21.mp3\x04\0\0\x01aac-3\x05\0\0\x01b"),
        // Colours of two tracks, refined time before them.
        video(4, b"\xd7\x02\0\0\x09\x06\x14av01\x00\0\0\x01x\x01\0\0\x02yz"),
        // Configurations without a byte.
        audio(5, b"\x95\x10ac-3\x05\0\0\0"),
    ];
    let starts = [
        "config aac/3 2 bytes",
        "aac/3 dts 1000000 cts 0 key 2 bytes",
        "detail aac/3 6 bytes",
        "opus/1 dts 2000000 cts 0 key 1 bytes",
        "opus/2 dts 2000000 cts 0 key 2 bytes",
        "mp3/4 dts 3000000 cts 0 key 1 bytes",
        "ac3/5 dts 3000000 cts 0 key 1 bytes",
        "detail av1/0 1 bytes at 4",
        "detail av1/1 2 bytes at 4",
        "config ac3/5 0 bytes",
    ];
    assert_starts(&messages, &starts);
}

#[test]
fn what_is_unknown_is_passed_over() {
    let dropped = |reason: &str| format!("MediaDropped {{ reason: {reason:?} }}");
    let (codec, track) = (dropped("codec"), dropped("multitrack"));
    let messages = [
        video(0, b"\x90XXXX\x01"),
        audio(0, b"\x91XXXX\x01"),
        video(0, b"\x96\x01XXXX\x00\x01"),
        // A kind of multitrack, and one track of two.
        video(0, b"\x96\x31hvc1\x00\x01"),
        video(1, b"\x96\x23XXXX\x00\0\0\x02abvp08\x01\0\0\x01c"),
        // A packet type, and codecs of the other kind.
        video(0, b"\x98hvc1\x01"),
        audio(0, b"\x91avc1\x01"),
        video(0, b"\x96\x21Opus\x00\0\0\x01a"),
        // A sequence start as a transport stream has it, which AV1 has beside its own.
        video(0, b"\x95av01\x80\x04"),
        audio(0, &[]),
    ];
    let starts = [
        codec.as_str(),
        &codec,
        &codec,
        &codec,
        &track,
        "vp8/1 dts 1000000 cts 0 key 1 bytes",
        &dropped("video_header"),
        &codec,
        &track,
        &dropped("mpeg2ts_config"),
        &dropped("silence"),
    ];
    assert_starts(&messages, &starts);
}

/// A video message of `count` modifiers of unknown kind and `len` bytes each.
fn modified(count: usize, len: usize) -> Vec<u8> {
    let size = u16::try_from(len - 1).unwrap();
    let mut body = vec![0x97];
    for left in (0..count).rev() {
        if len < 256 {
            body.push(size.to_be_bytes()[1]);
        } else {
            body.push(0xff);
            body.extend_from_slice(&size.to_be_bytes());
        }
        body.extend(vec![0xee; len]);
        // An unknown sub-type; the last one is followed by a frame.
        body.push(if left > 0 { 0x57 } else { 0x51 });
    }
    body.extend_from_slice(b"av01payload");
    body
}

#[test]
fn modifiers_are_passed_over_up_to_a_limit() {
    for (count, len, taken) in [
        (1, 1, true),
        (20, 2, true),
        (100, 30, true),
        (1, 300, true),
        (1, 4_000, true),
        (1, 4_096, false),
        (1, 65_536, false),
        (2_000, 2, false),
        (60_000, 1, false),
    ] {
        let events = events_of(&[video(9, &modified(count, len))]);
        let start = if taken {
            "av1/0 dts 9000000 cts 0 key 7 bytes"
        } else {
            "MediaDropped { reason: \"video_header\" }"
        };
        assert_eq!(events.len(), 1, "{count} of {len}: {events:?}");
        assert!(events[0].starts_with(start), "{count} of {len}: {events:?}");
    }
    // Over a millisecond, and cut short.
    for body in [&b"\x97\x02\x0f\x42\x40\x01av01x"[..], b"\x97\x01\0\0\x01av01x", b"\x97\xff\xff"] {
        let dropped = "MediaDropped { reason: \"video_header\" }";
        assert_eq!(events_of(&[video(0, body)]), [dropped]);
    }
}

/// A publisher's bench, and the error of the first message that is refused.
fn refused(messages: impl IntoIterator<Item = Vec<u8>>) -> (Bench, Option<Error>) {
    let mut bench = Bench::after(Some(Command::PublishStarted), &opening());
    let error = messages.into_iter().find_map(|message| bench.feed(&message).err());
    (bench, error)
}

#[test]
fn a_peer_of_256_tracks_is_closed_at_the_limit() {
    let one = |id: u8| audio(u32::from(id), &[&b"\x95\x01Opus"[..], &[id, 1, 2, 3]].concat());
    let (bench, error) = refused((0..=255).map(one));
    assert_eq!(error, Some(Error::Limit(LimitId::TracksMax)));
    let units = bench.events.iter().filter(|event| event.starts_with("opus/")).count();
    assert_eq!(units, 8, "as many as a stream may have");
    bench.close();

    let mut body = b"\x95\x11Opus".to_vec();
    (0..=255_u8).for_each(|id| body.extend_from_slice(&[id, 0, 0, 1, id]));
    let (bench, error) = refused([audio(0, &body)]);
    assert_eq!(error, Some(Error::Limit(LimitId::TracksMax)));
    bench.close();
}

#[test]
fn one_message_has_as_many_events_as_a_stream_has_tracks() {
    // The same track, and unknown ones, again and again.
    let mut same = b"\x95\x11Opus".to_vec();
    let mut unknown = b"\x95\x21".to_vec();
    for _ in 0..10_000 {
        same.extend_from_slice(b"\x01\0\0\x01a");
        unknown.extend_from_slice(b"XXXX\x01\0\0\x01a");
    }
    let huge = [&b"\x95\x11Opus\x01\xff\xff\xff"[..], &[0; 1_000]].concat();
    for (body, events) in [(same, 9), (unknown, 9), (huge, 1)] {
        assert_eq!(events_of(&[audio(0, &body)]).len(), events);
    }
}

#[test]
fn details_and_records_over_their_limit_are_dropped() {
    let long = |header: &[u8], len: usize| [header, &vec![7; len]].concat();
    let messages = [
        video(0, &long(b"\xd4hvc1", 4_097)),
        audio(0, &long(b"\x94Opus", 4_096)),
        audio(0, &long(b"\x90fLaC", 65_537)),
    ];
    let starts = [
        "MediaDropped { reason: \"detail_bytes\" }",
        "detail opus/0 4096 bytes",
        "MediaDropped { reason: \"config_bytes\" }",
    ];
    assert_starts(&messages, &starts);
}

#[test]
fn what_both_sides_can_do_is_told_at_connect() {
    let (forward, wildcard) = (Value::Number(4.0), Value::Number(7.0));
    let object = Value::object([
        ("app", Value::from("live")),
        ("capsEx", Value::Number(15.0)),
        ("fourCcList", Value::StrictArray(vec![Value::from("av01"), Value::from("hvc1")])),
        ("videoFourCcInfoMap", Value::object([("*", wildcard.clone())])),
        ("audioFourCcInfoMap", Value::object([("Opus", wildcard)])),
    ]);
    let mut bench = Bench::after(None, &[hello(), call_with("connect", 1.0, 0, object, &[])]);
    let info = bench.result_of_connect();
    assert_eq!(info.get("capsEx").and_then(Value::as_f64), Some(15.0));
    for (map, codec) in [
        ("videoFourCcInfoMap", "vp08"),
        ("videoFourCcInfoMap", "vvc1"),
        ("audioFourCcInfoMap", "fLaC"),
        ("audioFourCcInfoMap", ".mp3"),
        ("audioFourCcInfoMap", "mp4a"),
    ] {
        assert_eq!(info.get(map).and_then(|map| map.get(codec)), Some(&forward), "{codec}");
    }
    assert_eq!(info.get("videoFourCcInfoMap").and_then(|map| map.get("Opus")), None);
    bench.close();
    let mut bench = Bench::after(None, &[hello(), connect("live")]);
    let info = bench.result_of_connect();
    for key in ["capsEx", "fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"] {
        assert_eq!(info.get(key), None, "an old peer hears nothing new");
    }
    bench.close();
    let info = ConnectInfo::default();
    assert_eq!((info.caps_ex, info.four_cc_list.len()), (0, 0));
}

#[test]
fn a_peer_is_asked_to_reconnect_only_if_it_can() {
    let reconnect_url = ReconnectUrl::parse("rtmp://other/live");
    let config = SessionConfig { reconnect_url, ..SessionConfig::default() };
    for (caps_ex, url) in [(1.0, true), (3.0, false), (2.0, true)] {
        let config = if url { config.clone() } else { SessionConfig::default() };
        let mut bench = Bench::with(&Limits::default(), &config, pool(16, 16));
        bench.verdict = Some(Command::PlayStarted);
        bench.feed(&[hello(), connect_with("live", caps_ex), play("cam")].concat()).unwrap();
        let _ = bench.replies();
        let able = caps_ex != 2.0;
        assert_eq!(bench.server.reconnects(), able);
        let result = bench.command(Command::Reconnect);
        if !able {
            assert!(matches!(result, Err(Error::Misbehaved { .. })));
            continue;
        }
        result.unwrap();
        let call = bench.last_call();
        assert_eq!((call.name.as_str(), call.transaction_id), ("onStatus", 0.0));
        let text = |key| call.args[0].get(key).and_then(Value::as_str);
        assert_eq!(text("code"), Some("NetConnection.Connect.ReconnectRequest"));
        assert_eq!(text("level"), Some("status"));
        assert_eq!(text("tcUrl"), url.then_some("rtmp://other/live"));
        assert_eq!(bench.server.state_name(), "playing", "it is served on");
        bench.close();
    }
    for text in ["", "rtmp://a b", "http://x/", "rtmp://x/\u{e4}", &"x".repeat(1_025)] {
        assert_eq!(ReconnectUrl::parse(text), None, "{text}");
    }
    assert!(
        ReconnectUrl::parse("/other/app").is_some() && ReconnectUrl::parse("//h:1935").is_some()
    );
}

#[test]
fn metadata_keeps_what_it_says_of_tracks() {
    let track = || Value::object([("width", Value::Number(640.0))]);
    let map = Value::object([("1", track()), ("2", track())]);
    let mut body = Vec::new();
    codecs::amf0::encode(&Value::from("@setDataFrame"), &mut body);
    let start = body.len();
    codecs::amf0::encode(&Value::from("onMetaData"), &mut body);
    let values = vec![
        ("videoTrackIdInfoMap".to_owned(), map.clone()),
        ("audioTrackIdInfoMap".to_owned(), map),
    ];
    codecs::amf0::encode(&Value::EcmaArray(values), &mut body);
    let events = events_of(&[message(4, MessageKind::DataAmf0, 0, 1, &body)]);
    assert_eq!(events, [format!("metadata {} bytes at 0us", body.len() - start)]);
}
