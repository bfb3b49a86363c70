//! The dialect of servers that sign a header `rtmp-event`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::control::{Grant, Intent, Verdict};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};

use super::super::Seconds;
use super::super::tests::Bench;
use super::rig::*;
use crate::dialect::Dialect;
use crate::outbound::scripted::{Application as Scripted, Reply};

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
