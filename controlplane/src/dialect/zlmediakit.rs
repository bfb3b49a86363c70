//! The dialect of ZLMediaKit: an object of JSON for each hook, and an object with a `code`.
//!
//! Shape: `mediaServerId`, `app`, `stream`, `vhost` and `schema`; of peers `ip`, `port`, `id` and
//! `params`. 200 with `"code": 0` lets in. Of what else an answer about a publisher says,
//! `stream_replace` gives the stream another name in its application; `enable_rtmp` (FLV, too),
//! `enable_ts`, `enable_hls` and `enable_hls_fmp4` say how it may be played, and `auto_close` that
//! it ends when nobody plays it; the rest is about things that this server does not do. An answer
//! about who misses something says `close`.

use dataplane::control::{AuthorizeRequest, Intent, Protocol};
use dataplane::ids::StreamName;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::note::Note;
use super::peer::Peer;
use super::place::Place;
use super::reply::{PublishOptions, Reply, Yes};
use crate::events::{Event, Kind, Party};
use crate::outbound::Answer;
use crate::registry::Protocols;

/// The host of installations without virtual ones.
const VHOST: &str = "__defaultVhost__";
/// How players reach a stream, each announced by itself.
const SCHEMAS: [&str; 3] = ["rtmp", "ts", "hls"];
/// A publisher of RTMP, as a number and in words.
const ORIGIN: (u8, &str) = (1, "rtmp_push");

/// May the peer do what it wants?
pub(super) fn question(intent: Intent, peer: &Peer<'_>) -> Note {
    let mut fields = of_peer(peer);
    if intent == Intent::Publish {
        fields["originType"] = ORIGIN.0.into();
        fields["originTypeStr"] = ORIGIN.1.into();
        return Note::json("on_publish", &fields);
    }
    Note::json("on_play", &fields)
}

/// What is told of `event`.
pub(super) fn notes(node: &str, event: &Event) -> Vec<Note> {
    let flow = |party: &Party, player: bool, bytes: u64, duration_ms: u64| {
        let Some(stream) = event.stream() else { return Vec::new() };
        let mut fields = of_peer(&Peer::of_party(node, party, stream));
        fields["player"] = player.into();
        fields["totalBytes"] = bytes.into();
        fields["duration"] = (duration_ms / 1_000).into();
        vec![Note::json("on_flow_report", &fields)]
    };
    match event.kind() {
        Kind::PublishEnded { party, bytes_in, duration_ms, .. } => {
            flow(party, false, *bytes_in, *duration_ms)
        }
        Kind::SessionClosed { party, bytes_out, duration_ms, .. } => {
            flow(party, true, *bytes_out, *duration_ms)
        }
        Kind::SessionUnopened { party } => flow(party, true, 0, 0),
        Kind::StreamStarted { .. } => changed(node, event, true),
        Kind::StreamStopped { .. } => changed(node, event, false),
        // A node has shards from 0 on, and tells of each.
        Kind::ShardStarted { shard: 0 } => {
            vec![Note::json("on_server_started", &json!({ "mediaServerId": node }))]
        }
        Kind::ShardStopped { shard: 0 } => {
            vec![Note::json("on_server_exited", &json!({ "mediaServerId": node }))]
        }
        _ => Vec::new(),
    }
}

/// A player waits for a stream that nobody publishes.
pub(super) fn not_found(peer: &Peer<'_>) -> Note {
    Note::json("on_stream_not_found", &of_peer(peer))
}

/// Nobody plays a stream.
pub(super) fn none_reader(node: &str, stream: &StreamName) -> Note {
    let Place { app, name, .. } = Place::of_stream(stream);
    let fields = json!({
        "mediaServerId": node,
        "schema": "rtmp",
        "vhost": VHOST,
        "app": app,
        "stream": name,
    });
    Note::json("on_stream_none_reader", &fields)
}

/// The node is there. What it counts is in its own metrics.
pub(super) fn alive(node: &str) -> Note {
    Note::json("on_server_keepalive", &json!({ "mediaServerId": node, "data": {} }))
}

/// True if an answer says that what was asked about is to end.
pub(super) fn closes(answer: &Answer) -> bool {
    let fields = serde_json::from_slice::<Map<String, Value>>(&answer.body).unwrap_or_default();
    let sound = answer.status == StatusCode::OK && fields.get("code") == Some(&json!(0));
    sound && fields.get("close").and_then(truth) == Some(true)
}

/// A stream can be played, or no more.
fn changed(node: &str, event: &Event, regist: bool) -> Vec<Note> {
    let Some(stream) = event.stream() else { return Vec::new() };
    let Place { app, name, .. } = Place::of_stream(stream);
    let note = |schema| {
        let mut fields = json!({
            "mediaServerId": node,
            "app": app,
            "stream": name,
            "vhost": VHOST,
            "schema": schema,
            "regist": regist,
        });
        if regist {
            fields["originType"] = ORIGIN.0.into();
            fields["originTypeStr"] = ORIGIN.1.into();
        }
        Note::json("on_stream_changed", &fields)
    };
    SCHEMAS.map(note).into()
}

fn of_peer(peer: &Peer<'_>) -> Value {
    let schema = match peer.protocol {
        Protocol::Hls => "hls",
        Protocol::HttpTs | Protocol::WsTs => "ts",
        Protocol::Srt => "srt",
        _ => "rtmp",
    };
    json!({
        "mediaServerId": peer.node,
        "app": peer.place.app,
        "stream": peer.place.name,
        "vhost": VHOST,
        "schema": schema,
        "params": peer.query,
        "ip": peer.ip(),
        "port": peer.addr.port(),
        "id": peer.session.to_string(),
    })
}

/// What an answer says.
pub(super) fn reply(request: &AuthorizeRequest, answer: &Answer) -> Result<Reply, &'static str> {
    if answer.status != StatusCode::OK {
        return Reply::unless_broken(answer);
    }
    const NO_ANSWER: &str = "its body is no object with a code";
    let body: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| NO_ANSWER)?;
    if body.get("code").and_then(Value::as_i64).ok_or(NO_ANSWER)? != 0 {
        return Ok(Reply::NotNow);
    }
    if request.intent != Intent::Publish {
        return Ok(Reply::yes());
    }
    let options = options(&body);
    let name = body.get("stream_replace").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Ok(Reply::Yes(Yes { options, ..Yes::default() }));
    }
    let stream = match request.stream.as_str().rsplit_once('/') {
        Some((app, _)) => format!("{app}/{name}"),
        None => name.to_owned(),
    };
    let stream = StreamName::parse(&stream).ok_or("its stream_replace is no name of a stream")?;
    Ok(Reply::Yes(Yes { stream: Some(stream), options, ..Yes::default() }))
}

/// What an answer says of what a publication offers its players.
fn options(body: &Map<String, Value>) -> PublishOptions {
    let said = |name: &str| body.get(name).and_then(truth);
    let (rtmp, mpegts) = (said("enable_rtmp"), said("enable_ts"));
    let hls = match (said("enable_hls"), said("enable_hls_fmp4")) {
        (None, None) => None,
        // Either is the playlist and segments of this server.
        (plain, fragments) => Some(plain == Some(true) || fragments == Some(true)),
    };
    let protocols = [rtmp, mpegts, hls].iter().any(Option::is_some).then(|| Protocols {
        rtmp: rtmp.unwrap_or(true),
        flv: rtmp.unwrap_or(true),
        mpegts: mpegts.unwrap_or(true),
        hls: hls.unwrap_or(true),
        ..Protocols::ALL
    });
    PublishOptions { protocols, closes_unread: said("auto_close") == Some(true) }
}

/// What a field says that is true or false in one of the ways in which applications write it.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(said) => Some(*said),
        Value::Number(number) => Some(number.as_i64() != Some(0)),
        Value::String(text) => match text.as_str() {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
