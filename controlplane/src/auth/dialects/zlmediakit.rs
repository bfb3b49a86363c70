//! The dialect of ZLMediaKit.

use serde_json::{Value, json};

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
