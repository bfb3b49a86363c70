//! The dialect of RTMP servers that sign a header `rtmp-event`: `start` asks whether a channel may
//! be published with a key, `stop` tells that it is not any more.
//!
//! Shape: a POST without a body; the header is a token of JWT by HS256 with `sub`, `event`,
//! `channel`, `key`, `client_ip`, `rtmp_host`, `rtmp_port`, `stream_id` (of `stop`), `iat` and
//! `exp`. `start` is accepted by 200 with a header `stream-id`, which `stop` says again.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::claim::{Asker, SUBJECT};
use super::note::Note;
use super::peer::Peer;
use super::reply::{Reply, Yes};
use crate::events::{Event, Kind};
use crate::outbound::Answer;

/// The header of a question and of what is told.
pub(super) const HEADER: &str = "rtmp-event";
/// The header of an answer.
const STREAM_ID: &str = "stream-id";
/// Bytes of what an application may call a publication.
const STREAM_ID_BYTES_MAX: usize = 128;
/// Seconds that a token is good for.
const LIFETIME: u64 = 120;

/// May it be published?
pub(super) fn start(asker: &Asker, peer: &Peer<'_>) -> Note {
    Note::new("start", claims("start", asker, peer).to_string())
}

/// What is told of `event`: that somebody publishes no more, at once.
pub(super) fn notes(node: &str, event: &Event) -> Vec<Note> {
    let (Kind::PublishEnded { party, .. }, Some(stream)) = (event.kind(), event.stream()) else {
        return Vec::new();
    };
    let claim = party.claim.as_deref();
    let asker = claim.map(|claim| claim.asker.clone()).unwrap_or_default();
    let mut claims = claims("stop", &asker, &Peer::of_party(node, party, stream));
    let id = claim.and_then(|claim| claim.stream_id.as_deref()).unwrap_or_default();
    claims["stream_id"] = Value::from(id);
    vec![Note::new("stop", claims.to_string())]
}

fn claims(event: &str, asker: &Asker, peer: &Peer<'_>) -> Value {
    let subject = if asker.subject.is_empty() { SUBJECT } else { &asker.subject };
    let host = match (&*asker.host, peer.local) {
        ("", Some(local)) => local.ip().to_canonical().to_string(),
        (host, _) => host.to_owned(),
    };
    json!({
        "sub": subject,
        "event": event,
        "channel": peer.stream.as_str(),
        "key": peer.key,
        "client_ip": peer.ip(),
        "rtmp_host": host,
        "rtmp_port": peer.local.map(|local| local.port()),
    })
}

/// The claims with the time at which they are sent.
pub(super) fn dated(claims: &str, seconds: u64) -> String {
    let mut claims: Map<String, Value> = serde_json::from_str(claims).unwrap_or_default();
    claims.insert("iat".to_owned(), seconds.into());
    claims.insert("exp".to_owned(), seconds.saturating_add(LIFETIME).into());
    Value::Object(claims).to_string()
}

/// What an answer to `start` says.
pub(super) fn reply(answer: &Answer) -> Result<Reply, &'static str> {
    if answer.status != StatusCode::OK {
        return Reply::unless_broken(answer);
    }
    let id = answer.header(STREAM_ID).unwrap_or_default().trim();
    let legal = id.bytes().all(|byte| byte.is_ascii_graphic());
    if id.is_empty() || id.len() > STREAM_ID_BYTES_MAX || !legal {
        return Err("its header stream-id is missing, or no id");
    }
    Ok(Reply::Yes(Yes { stream_id: Some(id.into()), ..Yes::default() }))
}
