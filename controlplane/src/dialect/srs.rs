//! The dialect of SRS: an object of JSON for each call, and a number for an answer.
//!
//! Shape: `action`, `server_id`, `service_id`, `client_id`, `ip`, `vhost` and `app` of all; of
//! streams `tcUrl`, `stream`, `param`, `stream_url` and `stream_id`. 200 with `0`, or with an
//! object whose `code` is 0, lets in.

use dataplane::control::{Denial, Intent};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::note::Note;
use super::peer::Peer;
use super::reply::Reply;
use crate::events::{Event, Kind};
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

/// What is told of `event`: that somebody publishes or plays no more, and is gone.
pub(super) fn notes(node: &str, event: &Event) -> Vec<Note> {
    let (call, party, bytes_in, bytes_out) = match event.kind() {
        Kind::PublishEnded { party, bytes_in, bytes_out, .. } => {
            ("on_unpublish", party, *bytes_in, *bytes_out)
        }
        Kind::SessionClosed { party, bytes_in, bytes_out, .. } => {
            ("on_stop", party, *bytes_in, *bytes_out)
        }
        _ => return Vec::new(),
    };
    let Some(stream) = event.stream() else { return Vec::new() };
    let peer = Peer::of_party(node, party, stream);
    let mut close = client("on_close", &peer);
    close["send_bytes"] = bytes_out.into();
    close["recv_bytes"] = bytes_in.into();
    vec![Note::json(call, &of_stream(call, &peer)), Note::json("on_close", &close)]
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
        _ => Ok(Reply::No(Denial::Forbidden)),
    }
}
