//! The dialect of SRS: an object of JSON for each call, and a number for an answer.
//!
//! Shape: `action`, `server_id`, `service_id`, `client_id`, `ip`, `vhost` and `app` of all; of
//! streams `tcUrl`, `stream`, `param`, `stream_url` and `stream_id`; of recordings
//! `cwd` and `file`, of segments `duration`, `cwd`, `file`, `url`, `m3u8`, `m3u8_url` and `seq_no`.
//! 200 with `0`, or with an object whose `code` is 0, lets in.

use std::time::Duration;

use dataplane::control::Intent;
use dataplane::ids::StreamName;
use dataplane::segment::uri::Asset;
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::note::Note;
use super::peer::Peer;
use super::reply::Reply;
use crate::events::{Event, Kind, Party};
use crate::outbound::Answer;

/// May the peer do what it wants?
pub(super) fn question(intent: Intent, peer: &Peer<'_>) -> Note {
    match intent {
        Intent::Connect => {
            let mut fields = client("on_connect", peer);
            let param = param(peer);
            fields["tcUrl"] = format!("{}{param}", peer.place.tc_url).into();
            fields["pageUrl"] = peer.page.into();
            Note::json("on_connect", &fields)
        }
        Intent::Publish => Note::json("on_publish", &of_stream("on_publish", peer)),
        Intent::Play => {
            let mut fields = of_stream("on_play", peer);
            fields["pageUrl"] = peer.page.into();
            Note::json("on_play", &fields)
        }
    }
}

/// What is told of `event`: that somebody publishes or plays no more, that a client is gone, or
/// that a segment or a recording is finished.
pub(super) fn notes(node: &str, event: &Event) -> Vec<Note> {
    let over = |call, party: &Party| {
        let stream = event.stream()?;
        Some(Note::json(call, &of_stream(call, &Peer::of_party(node, party, stream))))
    };
    let note = match event.kind() {
        Kind::PublishEnded { party, .. } => over("on_unpublish", party),
        Kind::SessionClosed { party, .. } | Kind::SessionUnopened { party } => {
            over("on_stop", party)
        }
        Kind::ConnectionClosed { party, bytes_in, bytes_out, .. }
        | Kind::ConnectionUnused { party, bytes_in, bytes_out, .. } => {
            closed(node, party, *bytes_in, *bytes_out)
        }
        Kind::RecordingFinished { path, publisher, .. } => event.stream().map(|stream| {
            recorded(&Peer::of_publisher(node, publisher.as_ref(), stream), stream, path)
        }),
        Kind::SegmentFinished { number, duration_ms, publisher: Some(party) } => {
            event.stream().map(|stream| {
                finished(&Peer::of_party(node, party, stream), stream, *number, *duration_ms)
            })
        }
        _ => None,
    };
    note.into_iter().collect()
}

fn closed(node: &str, party: &Party, bytes_in: u64, bytes_out: u64) -> Option<Note> {
    // Of a connection it is always known how it came in.
    let request = &party.claim.as_ref()?.request;
    let mut fields = client("on_close", &Peer::of_party(node, party, &request.stream));
    fields["send_bytes"] = bytes_out.into();
    fields["recv_bytes"] = bytes_in.into();
    Some(Note::json("on_close", &fields))
}

/// A segment, which is in no file: `file` and `m3u8` are where it would be below the document root
/// of this server's HTTP, and `url` and `m3u8_url` where it is.
fn finished(peer: &Peer<'_>, stream: &StreamName, number: u64, duration_ms: u64) -> Note {
    let mut segment = String::new();
    Asset::Segment(number).write(&mut segment);
    let mut list = String::new();
    Asset::Multivariant.write(&mut list);
    let at = |asset: &str| format!("{stream}/{asset}");
    let mut fields = client("on_hls", peer);
    let more = json!({
        "stream": peer.place.name,
        "param": param(peer),
        "duration": Duration::from_millis(duration_ms).as_secs_f64(),
        "cwd": "/",
        "file": format!("./{}", at(&segment)),
        "url": at(&segment),
        "m3u8": format!("./{}", at(&list)),
        "m3u8_url": at(&list),
        "seq_no": number,
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    Note::json("on_hls", &fields)
}

/// A file: `file` is where it is below `cwd`.
fn recorded(peer: &Peer<'_>, stream: &StreamName, path: &str) -> Note {
    let mut fields = of_stream("on_dvr", peer);
    let name = path.rsplit('/').next().unwrap_or_default();
    let file = format!("{stream}/{name}");
    let cwd = path.strip_suffix(&file).map_or("/", |cwd| cwd.trim_end_matches('/'));
    fields["cwd"] = cwd.into();
    fields["file"] = format!("./{file}").into();
    Note::json("on_dvr", &fields)
}

fn client(action: &str, peer: &Peer<'_>) -> Value {
    json!({
        "action": action,
        "server_id": peer.node,
        "service_id": format!("{:08x}", std::process::id()),
        "client_id": peer.session.to_string(),
        "ip": peer.ip(),
        "vhost": peer.place.vhost,
        "app": peer.place.app,
    })
}

fn of_stream(action: &str, peer: &Peer<'_>) -> Value {
    let place = &peer.place;
    let url = format!("{}/{}/{}", place.vhost, place.app, place.name);
    let digest = Sha256::digest(&url);
    let id = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let mut fields = client(action, peer);
    fields["tcUrl"] = place.tc_url.as_str().into();
    fields["stream"] = place.name.as_str().into();
    fields["param"] = param(peer).into();
    fields["stream_url"] = url.into();
    fields["stream_id"] = format!("vid-{id:08x}").into();
    fields
}

fn param(peer: &Peer<'_>) -> String {
    if peer.query.is_empty() { String::new() } else { format!("?{}", peer.query) }
}

/// What an answer says.
pub(super) fn reply(answer: &Answer) -> Result<Reply, &'static str> {
    if answer.status != StatusCode::OK {
        return Reply::unless_broken(answer);
    }
    const NO_ANSWER: &str = "its body is neither a number nor an object with a code";
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| NO_ANSWER)?;
    let code = match &body {
        Value::Object(fields) => fields.get("code"),
        other => Some(other),
    };
    match code.and_then(Value::as_i64).ok_or(NO_ANSWER)? {
        0 => Ok(Reply::yes()),
        _ => Ok(Reply::NotNow),
    }
}
