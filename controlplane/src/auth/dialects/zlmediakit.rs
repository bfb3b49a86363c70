//! The dialect of ZLMediaKit.

use dataplane::control::{AuthorizeRequest, Intent, Protocol};
use serde_json::{Value, json};

use super::super::tests::{Bench, request, stream_of};
use super::rig::*;
use crate::dialect::Dialect;
use crate::outbound::scripted::{Application as Scripted, Reply};

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
        (ok(r#"{"code":0,"enable_hls":[],"auto_close":{}}"#), "news/cam"),
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

/// What the answer about a publisher says of its players holds for as long as it publishes.
#[tokio::test]
async fn zlmediakit_says_how_a_stream_is_played() {
    use Protocol::{Hls, HttpFlv, HttpTs, Rtmp};
    for (options, refused) in [
        (r#""enable_rtmp":false"#, &[Rtmp, HttpFlv][..]),
        (r#""enable_rtmp":1,"enable_ts":"0""#, &[HttpTs]),
        (r#""enable_hls":0"#, &[Hls]),
        (r#""enable_hls":false,"enable_hls_fmp4":true"#, &[]),
        (r#""enable_hls":"no","enable_mp4":false,"modify_stamp":0"#, &[]),
    ] {
        let body = format!("{{\"code\":0,{options}}}");
        let scripted = Scripted::start(move |_| Reply::status(200, "", &body));
        let mut bench = Bench::new(speaking(Dialect::Zlmediakit, &scripted.url("/")));
        let publisher = request(Intent::Publish, "cam", "k");
        let (session, stream) = (publisher.session, publisher.stream.clone());
        bench.verdict(publisher).await;
        bench.gate.policies_mut().published(&stream, session);
        for protocol in [Rtmp, HttpFlv, HttpTs, Hls] {
            let asked = AuthorizeRequest { protocol, ..request(Intent::Play, "cam", "k") };
            let expected = if refused.contains(&protocol) { "not_found" } else { "cam" };
            let verdict = bench.verdict(asked).await;
            assert_eq!(stream_of(&verdict), expected, "{options} {protocol:?}");
        }
        bench.gate.policies_mut().ended(&stream);
        let asked = AuthorizeRequest { protocol: Hls, ..request(Intent::Play, "cam", "k") };
        assert_eq!(stream_of(&bench.verdict(asked).await), "cam", "the next one is another");
    }
}
