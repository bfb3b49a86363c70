//! The dialect of SRS.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rig::*;
use crate::dialect::Dialect;
use crate::outbound::scripted::{Application as Scripted, Reply};

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
