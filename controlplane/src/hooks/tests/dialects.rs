//! Dialects: receivers that were written for other servers, as their documentation says.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::control::{AuthorizeRequest, Intent, Protocol};
use dataplane::ids::{Secret, SessionId, StreamName};
use serde_json::{Value, json};

use super::super::{HookSpec, HooksError, Origin};
use super::rig::*;
use crate::auth::tests::request;
use crate::dialect::{Asker, Claim};
use crate::events::{Bus, Kind, Party, RingLimits, Wants};
use crate::outbound::scripted::Reply;

fn hook(dialect: &str, target: &str, more: Value) -> HookSpec {
    let mut spec = json!({ "id": "app", "type": "http", "dialect": dialect, "target": target });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

/// Somebody who came in with a query, and what its application called it.
fn party(intent: Intent) -> Party {
    let (name, url) = match intent {
        Intent::Connect => ("live", "rtmp://video.example/live"),
        _ => ("cam", "rtmp://video.example/live/cam"),
    };
    let request = AuthorizeRequest {
        session: SessionId(0xbeef),
        query: Secret("token=t&call=x".into()),
        url: url.into(),
        ..request(intent, name, "k3y")
    };
    let asker = Asker { subject: "sub".into(), host: "edge.example".into(), ..Asker::default() };
    let claim = Claim { request: Box::new(request), asker, stream_id: Some("the-id".into()) };
    Party { claim: Some(Arc::new(claim)), ..bare() }
}

/// Somebody of whom nobody kept how it came in.
fn bare() -> Party {
    Party {
        session: SessionId(0xbeef),
        protocol: Protocol::Rtmp,
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "OBS".into(),
        claim: None,
    }
}

fn unpublished(party: Party) -> Kind {
    let (bytes_in, bytes_out, duration_ms, reason) = (5_000, 60, 7_900, "peer_closed");
    Kind::PublishEnded { party, bytes_in, bytes_out, duration_ms, reason }
}

fn left(party: Party) -> Kind {
    let (bytes_in, bytes_out, duration_ms, reason) = (60, 5_000, 7_900, "peer_closed");
    Kind::SessionClosed { party, bytes_in, bytes_out, duration_ms, reason }
}

fn closed(party: Party) -> Kind {
    let (bytes_in, bytes_out, duration_ms, reason) = (90, 6_000, 8_000, "peer_closed");
    Kind::ConnectionClosed { party, bytes_in, bytes_out, duration_ms, reason }
}

/// Bytes that are counted are those of the events that are kept, with how peers came in.
#[test]
fn ends_that_are_forgotten_take_no_room() {
    let bus = Bus::new("edge-1".into(), RingLimits { events: 4, bytes: 1 << 20 });
    let publish = |count: u32| {
        for _ in 0..count {
            bus.publish(None, None, left(party(Intent::Play)));
        }
        bus.held()
    };
    let ((events, bytes), later) = (publish(4), publish(1_000));
    assert_eq!((events, later.0), (4, 4));
    assert!(later.1.abs_diff(bytes) < 64, "{} bytes, then {}", bytes, later.1);
}

/// What the receiver of a hook is sent of these events.
async fn told(name: &str, dialect: &str, more: Value, kinds: Vec<Kind>) -> Vec<String> {
    let dir = Dir::new(name);
    let (receiver, mut seen) = receiver(|_| ok());
    let rig = Rig::new(&dir, vec![hook(dialect, &receiver.url("/hook"), more)]);
    rig.until("app", |_| rig.bus.wants().claims).await;
    let stream = StreamName::parse("cam").unwrap();
    for kind in kinds {
        rig.bus.publish(Some(&stream), None, kind);
    }
    rig.hooks.close().await;
    rig.until("app", |state| state.waiting == 0).await;
    let mut requests = Vec::new();
    while let Ok(request) = seen.try_recv() {
        requests.push(request);
    }
    requests
}

#[tokio::test]
async fn rtmp_event_tells_the_stop_with_the_id_of_the_start() {
    let (secret, kinds) = (
        json!({ "secret": "s3cret-of-ours" }),
        vec![Kind::StreamLost {}, unpublished(party(Intent::Publish)), left(party(Intent::Play))],
    );
    let seen = told("event", "rtmp-event", secret, kinds).await;
    let [stop] = seen.as_slice() else { panic!("{seen:?}") };
    assert!(stop.starts_with("POST /hook HTTP/1.1\r\n") && body(stop).is_empty());
    let claims = header(stop, "rtmp-event").unwrap().split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    assert!(["iat", "exp"].iter().all(|date| claims[date].take().is_u64()));
    let expected = json!({
        "sub": "sub", "event": "stop", "channel": "cam", "key": "k3y", "stream_id": "the-id",
        "client_ip": "192.0.2.1", "rtmp_host": "edge.example", "rtmp_port": 1935,
        "iat": null, "exp": null,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn nginx_rtmp_tells_who_is_done_and_both_by_call() {
    let kinds = || vec![unpublished(party(Intent::Publish)), left(bare())];
    let seen = told("nginx", "nginx-rtmp", json!({}), kinds()).await;
    let of = |call| {
        format!(
            "app=live&flashver=test&swfurl=&tcurl=rtmp%3A%2F%2Fvideo.example%2Flive&pageurl=&\
             addr=192.0.2.1&clientid=48879&call={call}&name=cam&token=t"
        )
    };
    let mut forms: Vec<_> = seen.iter().map(|request| body(request).to_owned()).collect();
    let at = |form: &str| forms.iter().position(|one| one == form).unwrap();
    assert!(at(&of("publish_done")) < at(&of("done")), "{forms:?}");
    forms.sort();
    let bare = |call| {
        format!(
            "app=live&flashver=OBS&swfurl=&tcurl=&pageurl=&addr=192.0.2.1&clientid=48879&\
             call={call}&name=cam"
        )
    };
    let mut expected = [of("publish_done"), of("done"), bare("play_done"), bare("done")];
    expected.sort();
    assert_eq!(forms, expected);

    let one = json!({ "calls": ["play_done"], "method": "GET" });
    let seen = told("nginx-one", "nginx-rtmp", one, kinds()).await;
    let [request] = seen.as_slice() else { panic!("{seen:?}") };
    let line = format!("GET /hook?{} HTTP/1.1\r\n", bare("play_done"));
    assert!(request.starts_with(&line) && body(request).is_empty(), "{request}");
}

#[tokio::test]
async fn srs_tells_the_end_of_a_stream_and_of_its_client() {
    let segment = || Kind::SegmentFinished {
        number: 41,
        duration_ms: 2_040,
        publisher: Some(party(Intent::Publish)),
    };
    let kinds = || vec![left(party(Intent::Play)), closed(party(Intent::Connect)), segment()];
    let seen = told("srs", "srs", json!({}), kinds()).await;
    // Lanes are brought beside each other: a player's end is not that of the stream.
    let seen: Vec<Value> = seen.iter().map(|request| json(request)).collect();
    let one = |action: &str| seen.iter().find(|fields| fields["action"] == action).unwrap().clone();
    let (stop, close) = (one("on_stop"), one("on_close"));
    assert_eq!(seen.len(), 2, "segments are told to those who name them");
    let common = json!({
        "server_id": "edge-1", "client_id": "00000000beef", "ip": "192.0.2.1",
        "vhost": "video.example", "app": "live", "service_id": stop["service_id"],
    });
    let with = |more: Value| {
        let mut whole = common.clone();
        let fields = whole.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        whole
    };
    let expected = with(json!({
        "action": "on_stop", "tcUrl": "rtmp://video.example/live", "stream": "cam",
        "param": "?token=t&call=x", "stream_url": "video.example/live/cam",
        "stream_id": stop["stream_id"],
    }));
    assert_eq!(stop, expected);
    let bytes = json!({ "action": "on_close", "send_bytes": 6_000, "recv_bytes": 90 });
    assert_eq!(close, with(bytes));
    let ends = vec![unpublished(party(Intent::Publish)), closed(party(Intent::Connect))];
    let seen = told("srs-p", "srs", json!({}), ends).await;
    let actions = seen.iter().map(|request| json(request)["action"].clone());
    assert_eq!(actions.collect::<Vec<_>>(), ["on_unpublish", "on_close"], "in their order");

    let named = json!({ "calls": ["on_hls"] });
    let seen = told("srs-h", "srs", named, kinds()).await;
    let [segment] = seen.as_slice() else { panic!("{seen:?}") };
    let expected = with(json!({
        "action": "on_hls", "stream": "cam", "param": "?token=t&call=x", "duration": 2.04,
        "cwd": "/", "file": "./cam/seg.41.ts", "url": "cam/seg.41.ts", "m3u8": "./cam/index.m3u8",
        "m3u8_url": "cam/index.m3u8", "seq_no": 41,
    }));
    assert_eq!(json(segment), expected);
}

/// A file of the stream `cam`.
fn recorded(publisher: Option<Party>) -> [Kind; 2] {
    let (recording, path) = ("20260504T030201Z-1", "/var/rec/cam/20260504T030201Z-1.flv");
    let (recording, path) = (recording.to_owned(), path.to_owned());
    let (bytes, duration_ms, reason) = (5_000, 7_900, "stream_ended");
    [
        Kind::RecordingStarted {
            recording: recording.clone(),
            path: path.clone(),
            publisher: publisher.clone(),
        },
        Kind::RecordingFinished { recording, path, bytes, duration_ms, reason, publisher },
    ]
}

#[tokio::test]
async fn nginx_rtmp_tells_where_a_file_is() {
    let whole = recorded(Some(party(Intent::Publish))).into_iter().chain(recorded(None)).collect();
    let seen = told("nginx-rec", "nginx-rtmp", json!({}), whole).await;
    let forms: Vec<_> = seen.iter().map(|request| body(request).to_owned()).collect();
    let path = "&recorder=&name=cam&path=%2Fvar%2Frec%2Fcam%2F20260504T030201Z-1.flv";
    let known = "app=live&flashver=test&swfurl=&tcurl=rtmp%3A%2F%2Fvideo.example%2Flive&pageurl=&\
                 addr=192.0.2.1&clientid=48879";
    let unknown = "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=0.0.0.0&clientid=0";
    let expected = [
        format!("{known}&call=record_started{path}&token=t"),
        format!("{known}&call=record_done{path}&token=t"),
        format!("{unknown}&call=record_started{path}"),
        format!("{unknown}&call=record_done{path}"),
    ];
    assert_eq!(forms, expected, "in their order");
}

#[tokio::test]
async fn srs_tells_where_a_file_is() {
    let kinds = recorded(Some(party(Intent::Publish))).into();
    let seen = told("srs-dvr", "srs", json!({}), kinds).await;
    let [dvr] = seen.as_slice() else { panic!("{seen:?}") };
    let dvr = json(dvr);
    let expected = json!({
        "action": "on_dvr", "server_id": "edge-1", "service_id": dvr["service_id"],
        "client_id": "00000000beef", "ip": "192.0.2.1", "vhost": "video.example", "app": "live",
        "tcUrl": "rtmp://video.example/live", "stream": "cam", "param": "?token=t&call=x",
        "stream_url": "video.example/live/cam", "stream_id": dvr["stream_id"],
        "cwd": "/var/rec", "file": "./cam/20260504T030201Z-1.flv",
    });
    assert_eq!(dvr, expected);
}

/// A viewer who was let in and never played is no player any more to those who count them.
#[tokio::test]
async fn a_viewer_who_never_played_is_told_of_as_one_who_left() {
    for (dialect, call, about) in [
        ("nginx-rtmp", "call=play_done&", "&clientid=48879&"),
        ("srs", r#""action":"on_stop""#, r#""client_id":"00000000beef""#),
        ("zlmediakit", r#""totalBytes":0"#, r#""id":"00000000beef""#),
    ] {
        let kinds = vec![Kind::SessionUnopened { party: party(Intent::Play) }];
        let seen = told(&format!("unopened-{dialect}"), dialect, json!({}), kinds).await;
        let is_told = |request: &String| request.contains(call) && request.contains(about);
        assert_eq!(seen.iter().filter(|request| is_told(request)).count(), 1, "{seen:?}");
    }
}

/// Only what some hook names has shards tell more.
#[tokio::test]
async fn hooks_say_what_they_want_to_be_told() {
    let dir = Dir::new("wants");
    let rig = Rig::new(&dir, Vec::new());
    let (receiver, _seen) = receiver(|_| ok());
    let wants =
        |claims, segments, connections, players| Wants { claims, segments, connections, players };
    for (more, expected) in [
        (json!({ "dialect": "nginx-rtmp" }), wants(true, false, false, true)),
        (
            json!({ "dialect": "nginx-rtmp", "calls": ["publish_done"] }),
            wants(true, false, false, false),
        ),
        (json!({ "dialect": "srs" }), wants(true, false, true, true)),
        (json!({ "dialect": "srs", "calls": ["on_hls"] }), wants(true, true, false, false)),
        (json!({ "dialect": "zlmediakit" }), wants(true, false, false, true)),
        (
            json!({ "dialect": "srs", "calls": ["on_hls"], "enabled": false }),
            wants(true, false, false, false),
        ),
        (json!({}), wants(false, false, false, false)),
    ] {
        let mut fields = json!({ "id": "app", "type": "http", "target": receiver.url("/") });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rig.configure(vec![serde_json::from_value(fields).unwrap()]);
        rig.until_wants(expected).await;
    }
}

#[tokio::test]
async fn zlmediakit_tells_flows_and_changes() {
    let kinds = vec![
        Kind::ShardStarted { shard: 1 },
        Kind::StreamStarted { shard: 0, protocol: Protocol::Rtmp, party: None },
        unpublished(party(Intent::Publish)),
        Kind::StreamStopped { reason: "idle" },
        Kind::ShardStopped { shard: 1 },
    ];
    let seen = told("zlm", "zlmediakit", json!({}), kinds).await;
    let seen: Vec<Value> = seen.iter().map(|request| json(request)).collect();
    let changed = |regist: bool, schema: &str| {
        let mut fields = json!({
            "mediaServerId": "edge-1", "app": "live", "stream": "cam", "schema": schema,
            "vhost": "__defaultVhost__", "regist": regist,
        });
        if regist {
            fields["originType"] = 1.into();
            fields["originTypeStr"] = "rtmp_push".into();
        }
        fields
    };
    let flow = json!({
        "mediaServerId": "edge-1", "app": "live", "stream": "cam", "vhost": "__defaultVhost__",
        "schema": "rtmp", "params": "token=t&call=x", "ip": "192.0.2.1", "port": 5,
        "id": "00000000beef", "player": false, "totalBytes": 5_000, "duration": 7,
    });
    let schemas = ["rtmp", "ts", "hls"];
    let mut expected: Vec<_> = schemas.map(|schema| changed(true, schema)).into();
    expected.push(flow);
    expected.extend(schemas.map(|schema| changed(false, schema)));
    assert_eq!(seen, expected, "in their order, as all are about one stream");
}

/// A beat that is not taken is not told later, and the next one comes all the same.
#[tokio::test]
async fn zlmediakit_is_told_again_and_again_that_the_node_lives() {
    let dir = Dir::new("beats");
    let (receiver, mut seen) = receiver(|_| Reply::status(500, "", ""));
    let more = json!({ "calls": ["on_server_keepalive"], "interval_ms": 100 });
    let spec = hook("zlmediakit", &receiver.url("/alive"), more);
    let rig = Rig::new(&dir, vec![spec.clone()]);
    for _ in 0..3 {
        let beat = next(&mut seen).await;
        assert!(beat.starts_with("POST /alive HTTP/1.1\r\n"), "{beat}");
        assert_eq!(json(&beat), json!({ "mediaServerId": "edge-1", "data": {} }));
    }
    let state = rig.state("app");
    assert_eq!((state.waiting, state.dead_letters, state.tally.failed), (0, 0, 0));
    // Without its name none comes: what is under way when it is taken away is the last.
    rig.configure(vec![HookSpec { calls: Vec::new(), ..spec }]);
    rig.until("app", |state| state.spec.calls.is_empty()).await;
    // An event of the same lane comes after every beat that was under way.
    rig.bus.publish(None, None, Kind::ShardStarted { shard: 0 });
    while json(&next(&mut seen).await).get("data").is_some() {}
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn what_a_peer_showed_survives_in_the_queue_and_is_shown_to_nobody() {
    let dir = Dir::new("noted");
    let (receiver, mut seen) = receiver(|_| Reply::status(500, "", ""));
    let mut spec = hook("nginx-rtmp", &receiver.url("/"), json!({ "calls": ["publish_done"] }));
    spec.retries_max = 0;
    let rig = Rig::new(&dir, vec![spec]);
    rig.until("app", |_| rig.bus.wants().claims).await;
    let stream = StreamName::parse("cam").unwrap();
    let mut feed = rig.bus.cursor();
    rig.bus.publish(Some(&stream), None, unpublished(party(Intent::Publish)));
    let first = next(&mut seen).await;
    rig.until("app", |state| state.dead_letters == 1).await;
    let letters = rig.hooks.letters("app", 0, 9).await.unwrap();
    let shown = letters[0].event.as_ref().unwrap();
    assert_eq!(json_of(&letters[0])["type"], "publish.ended");
    let events = feed.read(9).events;
    for text in [shown.as_str(), events[0].json(), &format!("{:?} {letters:?}", events[0])] {
        assert!(!text.contains("token=t") && !text.contains("k3y"), "{text}");
    }
    // It is whole when it is tried again.
    rig.hooks.retry("app", None).await.unwrap();
    assert_eq!(body(&next(&mut seen).await), body(&first));
    assert!(body(&first).ends_with("&token=t"));
    rig.until("app", |state| state.dead_letters == 1 && state.waiting == 0).await;
    let tried = rig.hooks.test("app").await.unwrap();
    assert_eq!(tried.failure.map(|(word, _)| word), Some("dialect"));
    rig.configure(Vec::new());
    while rig.hooks.get("app").is_some() || rig.bus.wants().claims {
        tokio::task::yield_now().await;
    }
    assert!(matches!(rig.hooks.test("app").await, Err(HooksError::Unknown)));
}

#[test]
fn a_hook_says_what_its_dialect_cannot() {
    let check = |dialect: &str, more: Value| {
        let spec = hook(dialect, "http://h/", more);
        spec.check(Origin::Config).map_err(|misfit| (misfit.field, misfit.expected))
    };
    for (dialect, more) in [
        ("native", json!({})),
        ("rtmp-event", json!({ "secret": "long-enough", "calls": ["stop"] })),
        ("nginx-rtmp", json!({ "calls": ["done", "record_done"], "method": "GET" })),
        ("srs", json!({ "calls": ["on_close", "on_stop", "on_hls", "on_dvr"] })),
        ("zlmediakit", json!({ "calls": ["on_server_exited", "on_server_keepalive"] })),
        ("zlmediakit", json!({})),
    ] {
        assert_eq!(check(dialect, more), Ok(()), "{dialect}");
    }
    for (dialect, more, field, part) in [
        ("rtmp-event", json!({}), "secret", "signs tokens"),
        ("zlmediakit", json!({ "calls": ["on_record_mp4"] }), "calls", "MP4 and TS alone"),
        ("nginx-rtmp", json!({ "calls": ["publish"] }), "calls", "auth.callback"),
        ("nginx-rtmp", json!({ "calls": ["nothing"] }), "calls", "play_done"),
        ("srs", json!({ "calls": ["on_connect"] }), "calls", "auth.callback"),
        ("zlmediakit", json!({ "calls": ["on_stream_none_reader"] }), "calls", "auth.callback"),
        ("zlmediakit", json!({ "calls": ["on_http_access"] }), "calls", "nothing"),
        ("zlmediakit", json!({ "interval_ms": 99 }), "interval_ms", "100"),
        ("native", json!({ "calls": ["done"] }), "calls", "empty"),
        ("mediamtx", json!({}), "dialect", "asks alone"),
        ("srs", json!({ "method": "GET" }), "method", "POST"),
        ("native", json!({ "method": "GET" }), "method", "POST"),
        ("srs", json!({ "type": "file", "target": "x" }), "dialect", "for a file"),
    ] {
        let (named, expected) = check(dialect, more).unwrap_err();
        assert!(named == field && expected.contains(part), "{dialect}: {named} {expected}");
    }
}
