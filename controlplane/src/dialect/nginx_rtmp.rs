//! The dialect of nginx-rtmp-module: forms, and what the status of an answer says.
//!
//! Shape: `app`, `flashver`, `swfurl`, `tcurl`, `pageurl`, `addr` and `clientid`, then `call` and
//! what is its own, then the arguments of the peer. 2xx lets in, 3xx lets in under the name that
//! `Location` says, or sends to the address that it says, everything else does not.
//!
//! nginx-rtmp-module fetches a stream from an `rtmp://` address for its player, or brings it there
//! for its publisher. This server speaks to no other one about media: it sends the peer there.

use dataplane::control::{AuthorizeRequest, Intent, Protocol, Role};
use dataplane::ids::StreamName;
use http::header::LOCATION;

use super::claim::Asker;
use super::form::Form;
use super::note::Note;
use super::peer::Peer;
use super::place::{ending, named};
use super::reply::{Reply, Yes};
use crate::events::{Event, Kind, Party};
use crate::outbound::Answer;

/// What players of RTMP ask for who want what is live or, without that, a file.
const START: &str = "4294965296";
/// The port of an address without one.
const RTMP_PORT: u16 = 1_935;
/// Bytes of an address of another server at most: the source has room for no longer name.
const LOCATION_BYTES_MAX: usize = 256;

/// May the peer do what it wants?
pub(super) fn question(intent: Intent, peer: &Peer<'_>) -> Note {
    let mut form = common(peer);
    match intent {
        Intent::Connect => form.field("epoch", "0").field("call", "connect"),
        Intent::Publish => {
            form.field("call", "publish").field("name", &peer.place.name).field("type", "live")
        }
        Intent::Play => form
            .field("call", "play")
            .field("name", &peer.place.name)
            .field("start", START)
            .field("duration", "0")
            .field("reset", "0"),
    };
    Note::new(intent.name(), form.arguments(peer.query).text())
}

/// Whether the peer may go on with what it does since so many seconds.
pub(super) fn update(role: Role, peer: &Peer<'_>, seconds: u64) -> Note {
    let call = if role == Role::Publish { "update_publish" } else { "update_play" };
    let mut form = common(peer);
    let time = seconds.to_string();
    let timestamp = seconds.saturating_mul(1_000).to_string();
    form.field("call", call).field("time", &time).field("timestamp", &timestamp);
    Note::new(call, form.field("name", &peer.place.name).arguments(peer.query).text())
}

fn common(peer: &Peer<'_>) -> Form {
    let mut form = Form::default();
    form.field("app", &peer.place.app)
        .field("flashver", peer.agent)
        .field("swfurl", "")
        .field("tcurl", &peer.place.tc_url)
        .field("pageurl", peer.page)
        .field("addr", &peer.ip().to_string())
        .field("clientid", &peer.session.0.to_string());
    form
}

/// What is told of `event`: that somebody publishes or plays no more, at once, and
/// which files are recorded.
pub(super) fn notes(node: &str, event: &Event) -> Vec<Note> {
    let Some(stream) = event.stream() else { return Vec::new() };
    let done = |call: &str, party: &Party| {
        let peer = Peer::of_party(node, party, stream);
        let mut form = common(&peer);
        form.field("call", call).field("name", &peer.place.name);
        Note::new(call, form.arguments(peer.query).text())
    };
    match event.kind() {
        Kind::PublishEnded { party, .. } => vec![done("publish_done", party), done("done", party)],
        Kind::SessionClosed { party, .. } | Kind::SessionUnopened { party } => {
            vec![done("play_done", party), done("done", party)]
        }
        Kind::RecordingStarted { path, publisher, .. } => {
            vec![recorded(node, stream, publisher.as_ref(), ("record_started", path))]
        }
        Kind::RecordingFinished { path, publisher, .. } => {
            vec![recorded(node, stream, publisher.as_ref(), ("record_done", path))]
        }
        _ => Vec::new(),
    }
}

/// What is told of a file; its recorder is the one that nobody gave a name.
fn recorded(
    node: &str,
    stream: &StreamName,
    publisher: Option<&Party>,
    (call, path): (&str, &str),
) -> Note {
    let peer = Peer::of_publisher(node, publisher, stream);
    let mut form = common(&peer);
    form.field("call", call)
        .field("recorder", "")
        .field("name", &peer.place.name)
        .field("path", path);
    Note::new(call, form.arguments(peer.query).text())
}

/// What an answer says.
pub(super) fn reply(
    asker: &Asker,
    request: &AuthorizeRequest,
    answer: &Answer,
) -> Result<Reply, &'static str> {
    if answer.status.is_success() {
        return Ok(Reply::yes());
    }
    if !answer.status.is_redirection() {
        return Reply::unless_broken(answer);
    }
    let Some(location) = answer.headers.get(LOCATION) else { return Ok(Reply::yes()) };
    let name = location.to_str().map_err(|_| "its Location is no name of a stream")?.trim();
    if name.is_empty() {
        return Ok(Reply::yes());
    }
    if let Some((scheme, address)) = name.split_once("://") {
        return of_address(&scheme.to_ascii_lowercase(), address, (asker, request));
    }
    renamed(
        request,
        &match request.stream.as_str().rsplit_once('/') {
            Some((app, _)) => format!("{app}/{name}"),
            None => name.to_owned(),
        },
    )
}

/// What follows of the address of a server.
fn of_address(
    scheme: &str,
    address: &str,
    (asker, request): (&Asker, &AuthorizeRequest),
) -> Result<Reply, &'static str> {
    const NO_ADDRESS: &str = "its Location is no address of a server and a stream there";
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    let (authority, path) = address.split_once('/').ok_or(NO_ADDRESS)?;
    let sound = !path.is_empty() && !authority.is_empty() && !authority.contains('@');
    if !sound || address.len() > LOCATION_BYTES_MAX || !address.bytes().all(legal) {
        return Err(NO_ADDRESS);
    }
    let web = request.protocol != Protocol::Rtmp;
    let socket = matches!(request.protocol, Protocol::WsFlv | Protocol::WsTs);
    let url = match scheme {
        "rtmp" | "rtmps" => {
            if let Some(stream) = here(address, asker, request).filter(|_| scheme == "rtmp") {
                return renamed(request, &stream);
            }
            if web && leads_back(authority, path, request) {
                return Ok(Reply::yes());
            }
            if web { translated(authority, path, request) } else { format!("{scheme}://{address}") }
        }
        "http" | "https" if web => format!("{scheme}://{address}"),
        "ws" | "wss" if socket => format!("{scheme}://{address}"),
        _ => return Err("its Location is an address of another protocol than the peer's"),
    };
    Ok(Reply::Elsewhere(url.into()))
}

/// The address of the same stream for who came by HTTP or WebSocket: at that host, by the port and
/// in the format by which it was asked for here.
fn translated(authority: &str, path: &str, request: &AuthorizeRequest) -> String {
    let scheme = match (request.protocol, request.tls) {
        (Protocol::WsFlv | Protocol::WsTs, false) => "ws",
        (Protocol::WsFlv | Protocol::WsTs, true) => "wss",
        (_, false) => "http",
        (_, true) => "https",
    };
    let host = without_port(authority);
    let (ours, asked) = request.url.split_once('/').unwrap_or((&request.url, ""));
    let port = &ours[without_port(ours).len()..];
    let (path, query) = path.split_once('?').map_or((path, ""), |(path, query)| (path, query));
    let sign = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{host}{port}/{path}{}{sign}{query}", ending(asked))
}

/// True if whoever came by HTTP or WebSocket is sent to the very stream that he asks for, by the
/// port that he came by: RTMP comes here through a port of somebody in front, and whoever went
/// there would be sent there again, without end.
fn leads_back(authority: &str, path: &str, request: &AuthorizeRequest) -> bool {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let host = without_port(&request.url[..request.url.find('/').unwrap_or(request.url.len())]);
    host.eq_ignore_ascii_case(without_port(authority)) && named(path, &request.stream).is_some()
}

/// The host of an authority, with the brackets of a number.
fn without_port(authority: &str) -> &str {
    let colon = authority.rfind(':').filter(|&at| !authority[at..].contains(']'));
    &authority[..colon.unwrap_or(authority.len())]
}

/// The port that stands behind a host, be it none; no number is no port.
fn port_of(rest: &str) -> Option<u16> {
    rest.strip_prefix(':').map_or(Some(RTMP_PORT), |digits| digits.parse().ok())
}

/// The peer is let in under another name.
fn renamed(request: &AuthorizeRequest, stream: &str) -> Result<Reply, &'static str> {
    if request.intent == Intent::Connect {
        return Err("its Location names another application, which a connection keeps here");
    }
    let stream = StreamName::parse(stream).ok_or("its Location is no name of a stream")?;
    Ok(Reply::Yes(Yes { stream: Some(stream), ..Yes::default() }))
}

/// The stream of an address without its scheme, if it leads to where the peer came to: one of HTTP
/// came by another port, so that the address is one of ours if RTMP comes to us by its port.
fn here(address: &str, asker: &Asker, request: &AuthorizeRequest) -> Option<String> {
    let (authority, path) = address.split_once('/')?;
    let bare = |authority: &str| authority.strip_suffix(":1935").unwrap_or(authority).to_owned();
    let ours = request.url.split_once("://").map_or(&*request.url, |(_, ours)| ours);
    let ours = ours.split('/').next().unwrap_or_default();
    let same = match request.protocol {
        Protocol::Rtmp => bare(authority).eq_ignore_ascii_case(&bare(ours)),
        _ => {
            let host = without_port(authority);
            let is_ours = |port: u16| asker.rtmp_ports.contains(&port);
            host.eq_ignore_ascii_case(without_port(ours))
                && port_of(&authority[host.len()..]).is_some_and(is_ours)
        }
    };
    let path = path.strip_prefix("live/").unwrap_or(path);
    same.then(|| path.to_owned())
}
