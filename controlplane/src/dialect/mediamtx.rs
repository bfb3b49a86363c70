//! The dialect of MediaMTX: an object of JSON for each question, and a status for an answer.
//!
//! Shape: `ip`, `user`, `password`, `token`, `action`, `path`, `protocol`, `id`, `query` and
//! `userAgent`. User and password are those of the query (`user` and `pass`); 20x lets in.

use codecs::http1::percent_decode;
use dataplane::control::{Intent, Protocol};
use serde_json::json;

use super::note::Note;
use super::peer::Peer;
use super::reply::Reply;
use crate::outbound::Answer;

/// May the peer do what it wants?
pub(super) fn question(intent: Intent, peer: &Peer<'_>) -> Note {
    let action = if intent == Intent::Publish { "publish" } else { "read" };
    let protocol = match (peer.protocol, peer.tls) {
        (Protocol::Rtmp, true) => "rtmps",
        (protocol, _) => protocol.name(),
    };
    // A version and a variant that nobody else uses; the number is what tells sessions apart.
    let id = format!("00000000-0000-8000-8000-{}", peer.session);
    let fields = json!({
        "ip": peer.ip(),
        "user": argument(peer.query, "user"),
        "password": argument(peer.query, "pass"),
        "token": peer.key,
        "action": action,
        "path": peer.place.path,
        "protocol": protocol,
        "id": id,
        "query": peer.query,
        "userAgent": peer.agent,
    });
    Note::json(action, &fields)
}

/// The first argument of that name, or nothing.
fn argument(query: &str, name: &str) -> String {
    let value = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| percent_decode(&value.replace('+', " ")).ok())?
    };
    query.split('&').find_map(value).unwrap_or_default()
}

/// What an answer says.
pub(super) fn reply(answer: &Answer) -> Result<Reply, &'static str> {
    match answer.status.is_success() {
        true => Ok(Reply::yes()),
        false => Reply::unless_broken(answer),
    }
}
