//! Players: replies, filters, ends.

use std::time::Duration;

use codecs::amf0::Value;
use dataplane::config::SessionConfig;
use dataplane::session::{Command, Refusal};

use crate::peer::*;

fn playing() -> Bench {
    let steps = [hello(), connect("live"), create_stream(), play("cam")];
    let mut bench = Bench::after(Some(Command::PlayStarted), &steps);
    bench.replies();
    bench.events.clear();
    bench
}

#[test]
fn a_play_starts_with_its_statuses() {
    let steps = [hello(), connect("news"), create_stream(), play("cam?latency=low&cache=no")];
    let mut bench = Bench::after(Some(Command::PlayStarted), &steps);
    assert_eq!(
        bench.replies()[4..],
        [
            "_result 1",
            "StreamBegin(1)",
            "onStatus NetStream.Play.Reset",
            "onStatus NetStream.Play.Start",
            "|RtmpSampleAccess",
        ]
    );
    let asked = "play news/cam  Some((NextKeyframe, true, \"rtmp\"))";
    assert_eq!(bench.events, [asked]);
    bench.close();
}

#[test]
fn a_play_without_reset_says_so() {
    let numbers = [Value::Number(-2000.0), Value::Number(-1.0)];
    let args = [&[Value::from("cam")][..], &numbers, &[Value::Boolean(false)]].concat();
    let steps = [hello(), connect("live"), call("play", 4.0, 1, &args)];
    let mut bench = Bench::after(Some(Command::PlayStarted), &steps);
    let replies = bench.replies();
    assert!(!replies.iter().any(|reply| reply.contains("Reset")), "{replies:?}");
    bench.close();
}

#[test]
fn commands_of_a_player_move_its_cursor() {
    let mut bench = playing();
    let flag = |on| [Value::Boolean(on), Value::Number(0.0)];
    for (bytes, events, replies) in [
        (
            call("pause", 0.0, 1, &flag(true)),
            vec!["Pause"],
            vec!["StreamEof(1)", "onStatus NetStream.Pause.Notify"],
        ),
        (
            call("pauseRaw", 0.0, 1, &flag(true)),
            vec![],
            vec!["StreamEof(1)", "onStatus NetStream.Pause.Notify"],
        ),
        (
            call("pause", 0.0, 1, &flag(false)),
            vec!["Resume"],
            vec!["StreamBegin(1)", "onStatus NetStream.Unpause.Notify"],
        ),
        (
            call("receiveAudio", 0.0, 1, &flag(false)[..1]),
            vec!["Filter { audio: false, video: true }"],
            vec![],
        ),
        (
            call("receiveVideo", 0.0, 1, &flag(true)[..1]),
            vec![],
            vec!["onStatus NetStream.Seek.Notify", "onStatus NetStream.Play.Start"],
        ),
        (
            call("seek", 0.0, 1, &[Value::Number(5.0)]),
            vec![],
            vec!["onStatus NetStream.Seek.Notify", "onStatus NetStream.Play.Start"],
        ),
        (call("play2", 0.0, 1, &[Value::Null]), vec![], vec!["onStatus NetStream.Play.Failed"]),
        (call("getStreamLength", 9.0, 0, &[Value::from("cam")]), vec![], vec!["_result 0"]),
        (call("_checkbw", 9.0, 0, &[]), vec![], vec!["_result"]),
        (call("nonsense", 9.0, 0, &[]), vec![], vec!["_error NetConnection.Call.Failed"]),
        (call("nonsense", 0.0, 0, &[]), vec![], vec![]),
        (call("deleteStream", 0.0, 0, &[Value::Number(2.0)]), vec![], vec![]),
        (call("closeStream", 0.0, 1, &[]), vec!["PlayEnded"], vec![]),
    ] {
        bench.feed(&bytes).unwrap();
        assert_eq!(std::mem::take(&mut bench.events), events);
        assert_eq!(bench.replies(), replies);
    }
    assert_eq!(bench.server.state_name(), "connected");
    bench.close();
}

#[test]
fn ends_of_a_play() {
    let over = ["onStatus NetStream.Play.UnpublishNotify", "StreamEof(1)"];
    let mut bench = playing();
    bench.command(Command::StreamEnded).unwrap();
    assert_eq!(bench.replies(), over);
    assert_eq!(bench.events, ["Close { reason: \"stream_ended\" }"]);
    bench.close();
    for (reason, code) in [
        ("draining", "onStatus NetConnection.Connect.AppShutdown"),
        ("kicked", "onStatus NetConnection.Connect.Closed"),
    ] {
        let mut bench = playing();
        bench.command(Command::Shutdown { reason }).unwrap();
        assert_eq!(bench.replies(), [over[0], over[1], code]);
        assert_eq!(bench.events, [format!("Close {{ reason: {reason:?} }}")]);
        bench.close();
    }
}

#[test]
fn a_duration_completes_the_play() {
    let args = [Value::from("cam"), Value::Number(-1.0), Value::Number(2.5)];
    let steps = [hello(), connect("live"), call("play", 4.0, 1, &args)];
    let mut bench = Bench::after(Some(Command::PlayStarted), &steps);
    let end = bench.now + Duration::from_millis(2500);
    assert_eq!(bench.server.poll_timeout(), Some(end));
    bench.server.handle_timeout(end).unwrap();
    bench.drain();
    let replies = bench.replies();
    let end = &replies[replies.len() - 3..];
    assert_eq!(end, ["onPlayStatus", "onStatus NetStream.Play.Stop", "StreamEof(1)"]);
    assert_eq!(bench.events.last().unwrap(), "PlayEnded");
    bench.close();
}

#[test]
fn every_refusal_has_its_status() {
    for (refusal, status) in [
        (Refusal::NotFound, "onStatus NetStream.Play.StreamNotFound"),
        (Refusal::Denied, "onStatus NetStream.Play.Failed"),
        (Refusal::Overloaded, "onStatus NetStream.Play.Failed"),
        (Refusal::Timeout, "onStatus NetStream.Play.Failed"),
    ] {
        let steps = [hello(), connect("live"), play("cam")];
        let mut bench = Bench::after(Some(Command::Refused(refusal)), &steps);
        assert_eq!(bench.replies().last().unwrap(), status);
        let close = format!("Close {{ reason: {:?} }}", refusal.name());
        assert_eq!(bench.events.last(), Some(&close));
        bench.close();
    }
}

#[test]
fn a_player_without_room_hears_that_its_connection_is_rejected() {
    let steps = [hello(), connect("live"), play("cam")];
    let mut bench = Bench::after(Some(Command::Refused(Refusal::Full)), &steps);
    let replies = bench.replies();
    let last = &replies[replies.len() - 2..];
    assert_eq!(last, ["onStatus NetStream.Play.Failed", "onStatus NetConnection.Connect.Rejected"]);
    assert_eq!(bench.events.last().unwrap(), "Close { reason: \"full\" }");
    bench.close();
}

/// As SRS says it, for whom its clients and its own edges are written.
#[test]
fn a_player_hears_where_else_its_stream_is() {
    let elsewhere = Some(Command::Elsewhere("rtmp://b:1936/live/cam?t=1".into()));
    let steps = [hello(), connect("live"), play("cam")];
    let mut bench = Bench::after(elsewhere.clone(), &steps);
    let call = bench.last_call();
    assert_eq!((call.name.as_str(), call.args.len()), ("onStatus", 1));
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let ex = call.args[0].get("ex").unwrap();
    assert_eq!(text(&call.args[0], "code").as_deref(), Some("NetConnection.Connect.Rejected"));
    assert_eq!(text(ex, "redirect").as_deref(), Some("rtmp://b:1936/live"));
    assert_eq!(text(ex, "redirect2").as_deref(), Some("rtmp://b:1936/live/cam?t=1"));
    assert_eq!(ex.get("code"), Some(&Value::Number(302.0)));
    assert_eq!(bench.events.last().unwrap(), "Close { reason: \"elsewhere\" }");
    bench.close();
}

#[test]
fn enhanced_capabilities_are_echoed_to_those_who_have_them() {
    let object = Value::object([
        ("app", Value::from("live")),
        ("objectEncoding", Value::Number(3.0)),
        ("fourCcList", Value::StrictArray(vec![Value::from("*")])),
        ("videoFourCcInfoMap", Value::object([("*", Value::Number(7.0))])),
        ("capsEx", Value::Number(15.0)),
    ]);
    let bench = Bench::after(None, &[hello(), call_with("connect", 1.0, 0, object, &[])]);
    let has = |bench: &Bench, text: &[u8]| bench.sent.windows(text.len()).any(|w| w == text);
    for text in [&b"fourCcList"[..], b"hvc1", b"Opus", b"videoFourCcInfoMap", b"capsEx"] {
        assert!(has(&bench, text));
    }
    assert!(!has(&bench, b"audioFourCcInfoMap"));
    bench.close();
    let plain = Bench::after(None, &[hello(), connect("live")]);
    assert!(!has(&plain, b"fourCcList") && !has(&plain, b"capsEx"));
    plain.close();
}

#[test]
fn the_wait_for_a_verdict_is_not_counted() {
    let config = SessionConfig::default();
    let mut bench = Bench::after(None, &[hello(), connect("live")]);
    let start = bench.now;
    assert_eq!(bench.server.poll_timeout(), Some(start + config.connect_deadline));
    bench.now = start + Duration::from_secs(9);
    bench.feed(&play("cam")).unwrap();
    assert_eq!(bench.server.poll_timeout(), None);
    bench.now = start + Duration::from_secs(60);
    assert_eq!(bench.server.handle_timeout(bench.now), Ok(()));
    bench.command(Command::PlayStarted).unwrap();
    assert_eq!(bench.server.state_name(), "playing");
    bench.close();
}

#[test]
fn players_are_pinged_for_as_long_as_they_stay() {
    let mut bench = playing();
    for n in 1..=3 {
        let interval = SessionConfig::default().ping_interval;
        let at = bench.server.poll_timeout().unwrap();
        assert_eq!(at, bench.now + interval);
        bench.now = at;
        bench.server.handle_timeout(at).unwrap();
        bench.drain();
        assert_eq!(bench.replies(), [format!("PingRequest({})", n * interval.as_millis())]);
    }
    bench.close();
}
