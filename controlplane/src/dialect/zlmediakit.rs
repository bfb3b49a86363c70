//! The dialect of ZLMediaKit: an object of JSON for each hook, and an object with a `code`.
//!
//! Shape: `mediaServerId`, `app`, `stream`, `vhost` and `schema`; of peers `ip`, `port`, `id` and
//! `params`. 200 with `"code": 0` lets in, and `stream_replace` gives the stream another name in
//! its application; what else an answer says is about things that this server does not do for each
//! stream.

use dataplane::control::{AuthorizeRequest, Denial, Intent, Protocol};
use dataplane::ids::StreamName;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::note::Note;
use super::peer::Peer;
use super::place::Place;
use super::reply::{Reply, Yes};
use crate::events::{Event, Kind, Party};
use crate::outbound::Answer;

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
        Kind::StreamStarted { .. } => changed(node, event, true),
        Kind::StreamStopped { .. } => changed(node, event, false),
        // A node has shards from 0 on, and tells of each.
        Kind::ShardStarted { shard: 0 } => {
            vec![Note::json("on_server_started", &json!({ "mediaServerId": node }))]
        }
        _ => Vec::new(),
    }
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
        return Ok(Reply::No(Denial::Forbidden));
    }
    let name = body.get("stream_replace").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || request.intent != Intent::Publish {
        return Ok(Reply::yes());
    }
    let stream = match request.stream.as_str().rsplit_once('/') {
        Some((app, _)) => format!("{app}/{name}"),
        None => name.to_owned(),
    };
    let stream = StreamName::parse(&stream).ok_or("its stream_replace is no name of a stream")?;
    Ok(Reply::Yes(Yes { stream: Some(stream), ..Yes::default() }))
}
