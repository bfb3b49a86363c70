//! Rig: a gate, and an application of a dialect.

use dataplane::control::{AuthorizeRequest, Intent};
use dataplane::ids::{Secret, StreamName};

use super::super::tests::{Bench, application, asking, request, stream_of};
use super::super::*;
use crate::dialect::{Asker, Dialect};
use crate::outbound::scripted::{Application as Scripted, Reply};

/// Rules by which an application of `dialect` at `url` is asked.
pub(super) fn speaking(dialect: Dialect, url: &str) -> Rules {
    let rtmp_ports = [1935, 1940].into();
    let asker =
        Asker { node: "edge-1".into(), subject: "rtmp_event".into(), host: "".into(), rtmp_ports };
    let secret = Secret("s3cret".into());
    let application = Application { dialect, secret, asker, signing: None, ..application(url) };
    Rules { connect: Mode::Callback, ..asking(application) }
}

/// A peer with everything that messages tell of.
pub(super) fn peer(intent: Intent) -> AuthorizeRequest {
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

pub(super) fn body(seen: &str) -> &str {
    seen.split_once("\r\n\r\n").unwrap().1
}

pub(super) fn header<'a>(seen: &'a str, name: &str) -> Option<&'a str> {
    let lines = seen.lines().take_while(|line| !line.is_empty());
    let mut fields = lines.filter_map(|line| line.split_once(": "));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The verdict on each of `intents`, and what the application was asked about it.
pub(super) async fn ask(
    rules: Rules,
    scripted: &Scripted,
    intents: &[Intent],
) -> Vec<(String, String)> {
    let mut bench = Bench::new(rules);
    let mut told = Vec::new();
    for intent in intents {
        let before = scripted.seen().len();
        let verdict = stream_of(&bench.verdict(peer(*intent)).await).to_owned();
        told.push((verdict, scripted.seen().get(before).cloned().unwrap_or_default()));
    }
    told
}

pub(super) const ALL: [Intent; 3] = [Intent::Connect, Intent::Publish, Intent::Play];

/// What a dialect's application answers, and what comes of it for a publisher of `news/cam`.
pub(super) async fn answers(dialect: Dialect, table: &[(Reply, &str)]) {
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
pub(super) fn nonsense() -> Vec<(Reply, &'static str)> {
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
