//! The dialect of MediaMTX.

use codecs::time::WallTime;
use dataplane::control::{AuthorizeRequest, Intent, Protocol};
use dataplane::ids::{Secret, SessionId, ShardId};
use dataplane::session::view_token::ViewIds;
use serde_json::{Value, json};

use super::super::tests::{Bench, stream_of};
use super::rig::*;
use crate::dialect::Dialect;
use crate::outbound::scripted::{Application as Scripted, Reply};

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
    // What headers of HTTP say is a login, or a key with a colon; of two words for a token the
    // address counts.
    for (protocol, (login, key), query, expected) in [
        (Protocol::Hls, ("jo:p:w", ""), "", json!(["jo", "p:w", ""])),
        (Protocol::HttpFlv, ("jo:pw", ""), "user=x&pass=y", json!(["jo", "pw", ""])),
        (Protocol::Hls, ("jo:pw", "t"), "token=t", json!(["jo", "pw", "t"])),
        (Protocol::Hls, ("", "jo:p:w"), "", json!(["jo", "p:w", ""])),
        (Protocol::HttpFlv, ("", "jo:pw"), "user=x&pass=y", json!(["jo", "pw", ""])),
        (Protocol::Hls, ("", "a.b.c"), "user=x&pass=y", json!(["x", "y", "a.b.c"])),
        (Protocol::Hls, ("", "a:b"), "token=a:b", json!(["", "", "a:b"])),
        (Protocol::Rtmp, ("", "a:b"), "jwt=a:b&user=x", json!(["x", "", "a:b"])),
    ] {
        let [login, key, query] = [login, key, query].map(|text| Secret(text.into()));
        let asked = AuthorizeRequest { query, key, login, protocol, ..peer(Intent::Play) };
        bench.verdict(asked).await;
        let fields: Value = serde_json::from_str(body(&scripted.seen().pop().unwrap())).unwrap();
        assert_eq!(json!([fields["user"], fields["password"], fields["token"]]), expected);
    }
    // Who showed nothing is asked for it; who showed something was judged by it.
    let no = Scripted::start(|_| Reply::status(401, "", ""));
    for (login, key, query, word) in [
        ("", "", "", "anonymous"),
        ("", "", "x=y", "anonymous"),
        ("", "", "user=x", "forbidden"),
        ("", "jo:pw", "", "forbidden"),
        ("jo:pw", "", "", "forbidden"),
        ("", ":", "", "anonymous"),
        (":", "", "", "anonymous"),
    ] {
        let (shown, protocol) = (format!("{login} {key} {query}"), Protocol::Hls);
        let [login, key, query] = [login, key, query].map(|text| Secret(text.into()));
        let asked = AuthorizeRequest { query, key, login, protocol, ..peer(Intent::Play) };
        let mut bench = Bench::new(speaking(Dialect::Mediamtx, &no.url("/")));
        assert_eq!(stream_of(&bench.verdict(asked).await), word, "{shown}");
    }
    let mut table = vec![
        (Reply::status(200, "", ""), "news/cam"),
        (Reply::status(299, "", ""), "news/cam"),
        (Reply::status(302, "location: /x\r\n", ""), "unavailable"),
    ];
    table.extend(nonsense());
    answers(Dialect::Mediamtx, &table).await;
}

/// Whatever the number, the id has the shape that those who parse one demand.
#[tokio::test]
async fn mediamtx_is_told_a_uuid_of_every_session() {
    let scripted = Scripted::start(|_| Reply::status(204, "", ""));
    let mut bench = Bench::new(speaking(Dialect::Mediamtx, &scripted.url("/auth")));
    let viewer = ViewIds::default().next(ShardId(2), WallTime::from_unix_millis(1_704_067_201_000));
    for (session, id) in [
        (SessionId::new(ShardId(1), 7), "00000000-0000-8000-8001-000000000007"),
        (SessionId::new(ShardId(63), 7), "00000000-0000-8000-803f-000000000007"),
        (viewer, "00000000-0000-8000-8002-800000020000"),
        (SessionId(u64::MAX), "00000000-0000-800f-8fff-ffffffffffff"),
    ] {
        let query = Secret(format!("n={session}"));
        bench.verdict(AuthorizeRequest { session, query, ..peer(Intent::Play) }).await;
        let fields: Value = serde_json::from_str(body(&scripted.seen().pop().unwrap())).unwrap();
        assert_eq!(fields["id"], id);
    }
}
