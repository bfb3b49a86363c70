//! Dialects: applications that were written for other servers, as their documentation says.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::control::{AuthorizeRequest, Grant, Intent, Protocol, Verdict};
use dataplane::ids::{Secret, StreamName};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};

use super::tests::{Bench, application, asking, request, stream_of};
use super::*;
use crate::dialect::{Asker, Dialect, Verb};
use crate::outbound::scripted::{Application as Scripted, Reply};

/// Rules by which an application of `dialect` at `url` is asked.
fn speaking(dialect: Dialect, url: &str) -> Rules {
    let asker = Asker { node: "edge-1".into(), subject: "rtmp_event".into(), host: "".into() };
    let secret = Secret("s3cret".into());
    let application = Application { dialect, secret, asker, signing: None, ..application(url) };
    Rules { connect: Mode::Callback, ..asking(application) }
}

/// A peer with everything that messages tell of.
fn peer(intent: Intent) -> AuthorizeRequest {
    AuthorizeRequest {
        query: Secret("token=a%26b&name=x".into()),
        url: match intent {
            Intent::Connect => "rtmp://video.example:1935/live".into(),
            _ => "rtmp://video.example:1935/live/cam-1".into(),
        },
        referer: Some("http://page.example/?a=b".into()),
        peer: "[::ffff:192.0.2.7]:4000".parse().unwrap(),
        agent: "OBS/1 (\u{e9})".into(),
        stream: StreamName::parse(if intent == Intent::Connect { "live" } else { "cam-1" })
            .unwrap(),
        ..request(intent, "cam-1", "a&b")
    }
}

fn body(seen: &str) -> &str {
    seen.split_once("\r\n\r\n").unwrap().1
}

fn header<'a>(seen: &'a str, name: &str) -> Option<&'a str> {
    let lines = seen.lines().take_while(|line| !line.is_empty());
    let mut fields = lines.filter_map(|line| line.split_once(": "));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The verdict on each of `intents`, and what the application was asked about it.
async fn ask(rules: Rules, scripted: &Scripted, intents: &[Intent]) -> Vec<(String, String)> {
    let mut bench = Bench::new(rules);
    let mut told = Vec::new();
    for intent in intents {
        let before = scripted.seen().len();
        let verdict = stream_of(&bench.verdict(peer(*intent)).await).to_owned();
        told.push((verdict, scripted.seen().get(before).cloned().unwrap_or_default()));
    }
    told
}

const ALL: [Intent; 3] = [Intent::Connect, Intent::Publish, Intent::Play];

/// What a dialect's application answers, and what comes of it for a publisher of `news/cam`.
async fn answers(dialect: Dialect, table: &[(Reply, &str)]) {
    for (at, (reply, expected)) in table.iter().enumerate() {
        let (bytes, last) = match reply {
            Reply::Bytes(bytes) => (bytes.clone(), false),
            Reply::Last(bytes) => (bytes.clone(), true),
            Reply::Endless(_) | Reply::Hang => panic!("not in a table"),
        };
        let scripted = Scripted::start(move |_| match last {
            true => Reply::Last(bytes.clone()),
            false => Reply::Bytes(bytes.clone()),
        });
        let mut bench = Bench::new(speaking(dialect, &scripted.url("/")));
        let verdict = bench.verdict(request(Intent::Publish, "news/cam", "k")).await;
        assert_eq!(stream_of(&verdict), *expected, "{dialect:?}, row {at}");
    }
}

/// Answers that are none in any dialect.
fn nonsense() -> Vec<(Reply, &'static str)> {
    let large = "x".repeat(100_000);
    vec![
        (Reply::status(401, "", ""), "forbidden"),
        (Reply::status(403, "", "0"), "forbidden"),
        (Reply::status(404, "", ""), "forbidden"),
        (Reply::status(500, "", "0"), "unavailable"),
        (Reply::status(503, "", r#"{"code":0}"#), "unavailable"),
        (Reply::status(200, "stream-id: x\r\n", &large), "unavailable"),
        (Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n0".to_vec()), "unavailable"),
        (Reply::Last(b"0".to_vec()), "unavailable"),
        (Reply::Last(Vec::new()), "unavailable"),
    ]
}

#[tokio::test]
async fn rtmp_event_is_a_signed_header_and_gives_the_stream_its_id() {
    let id = "0000019af0c3d2e100000007a1b2c3d4";
    let scripted =
        Scripted::start(move |_| Reply::status(200, &format!("stream-id: {id}\r\n"), ""));
    let rules = speaking(Dialect::RtmpEvent, &scripted.url("/callback"));
    let told = ask(rules.clone(), &scripted, &ALL).await;
    let (verdicts, seen): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    assert_eq!(verdicts, ["live", "cam-1", "cam-1"]);
    assert_eq!((seen[0].as_str(), seen[2].as_str()), ("", ""), "publishers alone are asked about");
    assert!(seen[1].starts_with("POST /callback HTTP/1.1\r\n") && body(&seen[1]).is_empty());
    let token = header(&seen[1], "rtmp-event").unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret").unwrap();
    let mac = mac.chain_update(message).finalize().into_bytes();
    assert_eq!(signature, URL_SAFE_NO_PAD.encode(mac));
    let part = |at| {
        let part = message.split('.').nth(at).unwrap();
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({ "alg": "HS256", "typ": "JWT" }));
    let (mut claims, now) = (part(1), Seconds::of(std::time::SystemTime::now()).0);
    let dates = ["iat", "exp"].map(|date| claims[date].take().as_u64().unwrap());
    assert!(dates[1] == dates[0] + 120 && dates[0] <= now, "{dates:?} {now}");
    let expected = json!({
        "sub": "rtmp_event", "event": "start", "channel": "cam-1", "key": "a&b",
        "client_ip": "192.0.2.7", "rtmp_host": "192.0.2.2", "rtmp_port": 1935,
        "iat": null, "exp": null,
    });
    assert_eq!(claims, expected);

    let mut bench = Bench::new(rules);
    let Verdict::Allow(grant) = bench.verdict(peer(Intent::Publish)).await else { panic!() };
    assert_eq!(grant.id.unwrap().to_string(), id);
    // Whoever plays shows the key that it is published with, and waits for it.
    let play = bench.verdict(peer(Intent::Play)).await;
    assert!(matches!(play, Verdict::Allow(Grant { same_key: true, waits: true, .. })));

    let ok = |head: &str| Reply::status(200, head, "");
    let long = format!("stream-id: {}\r\n", "x".repeat(129));
    let mut table = vec![
        (ok("Stream-ID: abc\r\n"), "news/cam"),
        (ok(""), "unavailable"),
        (ok("stream-id: \r\n"), "unavailable"),
        (ok("stream-id: a b\r\n"), "unavailable"),
        (ok(&long), "unavailable"),
        (Reply::status(204, "stream-id: abc\r\n", ""), "unavailable"),
        (Reply::status(302, "location: /x\r\nstream-id: abc\r\n", ""), "unavailable"),
    ];
    table.extend(nonsense());
    answers(Dialect::RtmpEvent, &table).await;
}

#[tokio::test]
async fn nginx_rtmp_is_a_form_and_a_location_renames() {
    let scripted = Scripted::start(|_| Reply::status(201, "", ""));
    let url = scripted.url("/on?app=mine");
    let told = ask(speaking(Dialect::NginxRtmp, &url), &scripted, &ALL).await;
    let client = "flashver=OBS%2F1%20%28%C3%A9%29&swfurl=\
                  &tcurl=rtmp%3A%2F%2Fvideo.example%3A1935%2Flive\
                  &pageurl=http%3A%2F%2Fpage.example%2F%3Fa%3Db&addr=192.0.2.7&clientid=7";
    // What a peer calls like a field of ours is not passed on.
    let forms = [
        format!("app=live&{client}&epoch=0&call=connect&token=a%26b&name=x"),
        format!("app=live&{client}&call=publish&name=cam-1&type=live&token=a%26b"),
        format!(
            "app=live&{client}&call=play&name=cam-1&start=4294965296&duration=0&reset=0&\
             token=a%26b"
        ),
    ];
    for ((verdict, seen), (form, name)) in
        told.iter().zip(forms.iter().zip(["live", "cam-1", "cam-1"]))
    {
        assert!(seen.starts_with("POST /on?app=mine HTTP/1.1\r\n"), "{seen}");
        assert_eq!(header(seen, "content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!((body(seen), verdict.as_str()), (form.as_str(), name));
    }
    let mut rules = speaking(Dialect::NginxRtmp, &url);
    if let Some(application) = &mut rules.application {
        application.verb = Verb::Get;
    }
    let told = ask(rules, &scripted, &[Intent::Publish]).await;
    let line = format!("GET /on?app=mine&{} HTTP/1.1\r\n", forms[1]);
    assert!(told[0].1.starts_with(&line) && body(&told[0].1).is_empty(), "{}", told[0].1);

    let to = |location: &str| Reply::status(302, &format!("location: {location}\r\n"), "");
    let mut table = vec![
        (Reply::status(200, "", "whatever"), "news/cam"),
        (Reply::status(204, "", ""), "news/cam"),
        (to("other"), "news/other"),
        (Reply::status(301, "location: other-2\r\n", ""), "news/other-2"),
        (Reply::status(302, "", ""), "news/cam"),
        (to("../etc"), "unavailable"),
        (to("http://elsewhere.example/x"), "unavailable"),
        (to("//elsewhere.example/x"), "unavailable"),
        (to("rtmp://h/live/other"), "other"),
        (to("RTMP://H:1935/sport/other"), "sport/other"),
        (to("rtmp://h.elsewhere.example/live/other"), "unavailable"),
        (to("rtmp://h:1936/live/other"), "unavailable"),
        (to("rtmp://h"), "unavailable"),
        (to("a b"), "unavailable"),
        (to(&"x".repeat(200)), "unavailable"),
        (to("\u{e9}"), "unavailable"),
    ];
    table.extend(nonsense());
    answers(Dialect::NginxRtmp, &table).await;
    // A connection cannot be told that it is in another application.
    let elsewhere = Scripted::start(|_| Reply::status(302, "location: other\r\n", ""));
    let rules = speaking(Dialect::NginxRtmp, &elsewhere.url("/"));
    assert_eq!(ask(rules, &elsewhere, &[Intent::Connect]).await[0].0, "unavailable");
}

#[tokio::test]
async fn srs_is_an_object_for_each_call_and_zero_is_a_yes() {
    let scripted = Scripted::start(|_| Reply::status(200, "", "0"));
    let rules = speaking(Dialect::Srs, &scripted.url("/api/v1/clients"));
    let told = ask(rules, &scripted, &ALL).await;
    let client = json!({
        "server_id": "edge-1", "client_id": "000000000007", "ip": "192.0.2.7",
        "vhost": "video.example", "app": "live",
    });
    let of_stream = json!({
        "tcUrl": "rtmp://video.example:1935/live", "stream": "cam-1",
        "param": "?token=a%26b&name=x", "stream_url": "video.example/live/cam-1",
    });
    let page = json!({ "pageUrl": "http://page.example/?a=b" });
    let connect = json!({
        "tcUrl": "rtmp://video.example:1935/live?token=a%26b&name=x",
        "pageUrl": "http://page.example/?a=b",
    });
    let action = |action| json!({ "action": action });
    let expected = [
        ("live", vec![action("on_connect"), client.clone(), connect]),
        ("cam-1", vec![action("on_publish"), client.clone(), of_stream.clone()]),
        ("cam-1", vec![action("on_play"), client, of_stream, page]),
    ];
    let mut streams = Vec::new();
    for ((verdict, seen), (name, parts)) in told.iter().zip(expected) {
        assert_eq!(
            (verdict.as_str(), header(seen, "content-type")),
            (name, Some("application/json"))
        );
        let mut fields: BTreeMap<String, Value> = serde_json::from_str(body(seen)).unwrap();
        assert!(fields.remove("service_id").is_some_and(|id| id.is_string()));
        streams.extend(fields.remove("stream_id"));
        let whole: BTreeMap<String, Value> =
            parts.into_iter().flat_map(|part| part.as_object().unwrap().clone()).collect();
        assert_eq!(fields, whole);
    }
    assert!(streams.len() == 2 && streams[0] == streams[1] && streams[0].is_string());

    let ok = |body: &str| Reply::status(200, "", body);
    let mut table = vec![
        (ok("0"), "news/cam"),
        (ok(" 0\r\n"), "news/cam"),
        (ok(r#"{"code":0}"#), "news/cam"),
        (ok(r#"{"code":0,"msg":"OK","data":null}"#), "news/cam"),
        (ok("1"), "forbidden"),
        (ok("-1"), "forbidden"),
        (ok(r#"{"code":403}"#), "forbidden"),
        (ok(""), "unavailable"),
        (ok("OK"), "unavailable"),
        (ok("{}"), "unavailable"),
        (ok(r#"{"code":"0"}"#), "unavailable"),
        (ok("[0]"), "unavailable"),
        (ok("null"), "unavailable"),
        (ok("0.0"), "unavailable"),
        (Reply::status(201, "", "0"), "unavailable"),
        (Reply::status(302, "location: /x\r\n", "0"), "unavailable"),
    ];
    table.extend(nonsense());
    answers(Dialect::Srs, &table).await;
}

#[tokio::test]
async fn zlmediakit_is_an_object_and_may_replace_the_stream() {
    let scripted = Scripted::start(|_| Reply::status(200, "", r#"{"code":0,"msg":"success"}"#));
    let url = scripted.url("/index/hook");
    let told = ask(speaking(Dialect::Zlmediakit, &url), &scripted, &ALL).await;
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("live", ""), "connections are not asked");
    let mut publish = json!({
        "mediaServerId": "edge-1", "app": "live", "stream": "cam-1", "vhost": "__defaultVhost__",
        "schema": "rtmp", "params": "token=a%26b&name=x", "ip": "192.0.2.7", "port": 4000,
        "id": "000000000007",
    });
    let play = publish.clone();
    publish["originType"] = 1.into();
    publish["originTypeStr"] = "rtmp_push".into();
    for ((verdict, seen), expected) in told[1..].iter().zip([publish, play]) {
        let fields: Value = serde_json::from_str(body(seen)).unwrap();
        assert_eq!((verdict.as_str(), fields), ("cam-1", expected));
    }

    let ok = |body: &str| Reply::status(200, "", body);
    let mut table = vec![
        (ok(r#"{"code":0,"enable_hls":true,"enable_mp4":false}"#), "news/cam"),
        (ok(r#"{"code":0,"stream_replace":"public"}"#), "news/public"),
        (ok(r#"{"code":0,"stream_replace":""}"#), "news/cam"),
        (ok(r#"{"code":0,"stream_replace":"../etc"}"#), "unavailable"),
        (ok(r#"{"code":-1,"msg":"no"}"#), "forbidden"),
        (ok(r#"{"code":"0"}"#), "unavailable"),
        (ok(r#"{"msg":"success"}"#), "unavailable"),
        (ok("0"), "unavailable"),
        (ok(""), "unavailable"),
        (ok("<html>"), "unavailable"),
        (Reply::status(204, "", ""), "unavailable"),
    ];
    table.extend(nonsense());
    answers(Dialect::Zlmediakit, &table).await;
}

#[tokio::test]
async fn mediamtx_is_an_object_and_any_20x_is_a_yes() {
    let scripted = Scripted::start(|_| Reply::status(204, "", ""));
    let rules = speaking(Dialect::Mediamtx, &scripted.url("/auth"));
    assert_eq!(ask(rules.clone(), &scripted, &[Intent::Connect]).await[0].1, "");
    let mut bench = Bench::new(rules);
    let login = "user=j%C3%B6+e&pass=p%26w&jwt=t0k";
    for (intent, action, protocol, tls, word) in [
        (Intent::Publish, "publish", Protocol::Rtmp, false, "rtmp"),
        (Intent::Play, "read", Protocol::Rtmp, true, "rtmps"),
        (Intent::Play, "read", Protocol::Hls, false, "hls"),
    ] {
        let url = if protocol == Protocol::Hls {
            "h/live/cam-1/index.m3u8"
        } else {
            "rtmp://h/live/cam-1"
        };
        let (query, key) = (Secret(login.into()), Secret("t0k".into()));
        let asked = AuthorizeRequest { query, key, protocol, tls, url: url.into(), ..peer(intent) };
        assert_eq!(stream_of(&bench.verdict(asked).await), "cam-1");
        let seen = scripted.seen().pop().unwrap();
        let expected = json!({
            "ip": "192.0.2.7", "user": "j\u{f6} e", "password": "p&w", "token": "t0k",
            "action": action, "path": "live/cam-1", "protocol": word,
            "id": "00000000-0000-8000-8000-000000000007", "query": login,
            "userAgent": "OBS/1 (\u{e9})",
        });
        assert_eq!(serde_json::from_str::<Value>(body(&seen)).unwrap(), expected);
    }
    let mut table = vec![
        (Reply::status(200, "", ""), "news/cam"),
        (Reply::status(299, "", ""), "news/cam"),
        (Reply::status(302, "location: /x\r\n", ""), "unavailable"),
    ];
    table.extend(nonsense());
    answers(Dialect::Mediamtx, &table).await;
}

/// Each question has an address of its own, if it is given one, and where none is, nobody asks.
#[tokio::test]
async fn a_question_without_an_address_is_not_asked() {
    let scripted = Scripted::start(|_| Reply::status(403, "", ""));
    let mut rules = speaking(Dialect::NginxRtmp, &scripted.url("/all"));
    let told = ask(rules.clone(), &scripted, &ALL).await;
    assert!(told.iter().all(|(verdict, _)| verdict == "forbidden"));
    if let Some(application) = &mut rules.application {
        let publish = application.addresses.all.take();
        application.addresses.publish = publish;
    }
    let told = ask(rules, &scripted, &ALL).await;
    let verdicts: Vec<_> = told.iter().map(|(verdict, _)| verdict.as_str()).collect();
    assert_eq!(
        (verdicts.as_slice(), scripted.seen().len()),
        (&["live", "forbidden", "cam-1"][..], 4)
    );
}

/// Applications count those who come, so that each is asked about; those who only look a peer up
/// are asked once.
#[tokio::test]
async fn whoever_counts_is_asked_about_everybody() {
    for dialect in Dialect::ALL {
        let scripted = Scripted::start(|_| Reply::status(200, "stream-id: a\r\n", r#"{"code":0}"#));
        let mut bench = Bench::new(speaking(dialect, &scripted.url("/")));
        for _ in 0..2 {
            let verdict = bench.verdict(request(Intent::Publish, "cam", "k")).await;
            assert_eq!(stream_of(&verdict), "cam", "{dialect:?}");
        }
        let asked = if dialect.forgets_questions() { 1 } else { 2 };
        assert_eq!(scripted.seen().len(), asked, "{dialect:?}");
    }
}

/// A yes without an answer is what the configuration makes of it, in every dialect.
#[tokio::test]
async fn silence_is_no_unless_the_configuration_says_yes() {
    for dialect in Dialect::ALL {
        let silent = Scripted::start(|_| Reply::Hang);
        for (on_failure, expected) in [(OnFailure::Deny, "unavailable"), (OnFailure::Allow, "cam")]
        {
            let mut rules = speaking(dialect, &silent.url("/"));
            if let Some(application) = &mut rules.application {
                application.on_failure = on_failure;
                application.timeout = std::time::Duration::from_millis(50);
            }
            let verdict = Bench::new(rules).verdict(request(Intent::Publish, "cam", "k")).await;
            assert_eq!(stream_of(&verdict), expected, "{dialect:?}");
        }
    }
}
