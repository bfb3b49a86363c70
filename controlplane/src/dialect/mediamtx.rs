//! The dialect of MediaMTX: an object of JSON for each question, and a status for an answer.
//!
//! Shape: `ip`, `user`, `password`, `token`, `action`, `path`, `protocol`, `id`, `query` and
//! `userAgent`. User and password are those of HTTP (`Basic`), else of the query (`user` and
//! `pass`); 20x lets in. A client of HTTP that showed nothing is asked for it.

use codecs::http1::percent_decode;
use dataplane::control::{AuthorizeRequest, Denial, Intent, Protocol};
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
    let (high, low) = (peer.session.0 >> 48, peer.session.0 & ((1 << 48) - 1));
    let id = format!("00000000-0000-800{:x}-8{:03x}-{low:012x}", high >> 12, high & 0xfff);
    let login = login(peer.protocol, (peer.login, peer.key), peer.query);
    let fields = json!({
        "ip": peer.ip(),
        "user": login.user,
        "password": login.password,
        "token": login.token,
        "action": action,
        "path": peer.place.path,
        "protocol": protocol,
        "id": id,
        "query": peer.query,
        "userAgent": peer.agent,
    });
    Note::json(action, &fields)
}

/// What a peer shows of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
    token: String,
}

/// What a peer shows by headers of HTTP, or by `query`: user and password with a colon between them
/// are what `Basic` says, or a `key` that `Bearer` says. No token has a colon.
fn login(protocol: Protocol, (basic, key): (&str, &str), query: &str) -> Login {
    let headed = protocol != Protocol::Rtmp
        && ["token", "jwt"].iter().all(|name| argument(query, name).is_empty());
    let by_key = key.split_once(':').filter(|_| headed);
    let token = if by_key.is_some() { String::new() } else { key.to_owned() };
    let (user, password) = match basic.split_once(':').or(by_key) {
        Some((user, password)) => (user.to_owned(), password.to_owned()),
        None => (argument(query, "user"), argument(query, "pass")),
    };
    Login { user, password, token }
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
pub(super) fn reply(request: &AuthorizeRequest, answer: &Answer) -> Result<Reply, &'static str> {
    if answer.status.is_success() {
        return Ok(Reply::yes());
    }
    let reply = Reply::unless_broken(answer)?;
    let headers = (&*request.login.0, &*request.key.0);
    let shown = login(request.protocol, headers, &request.query.0);
    Ok(match shown == Login::default() {
        true => Reply::No(Denial::Anonymous),
        false => reply,
    })
}
