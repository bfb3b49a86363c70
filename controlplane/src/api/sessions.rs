//! Sessions: who publishes, plays and views, who did, and how to end it.
//!
//! What goes on is asked of the shards; what ended is remembered by the control plane
//! ([`crate::viewing`]). A session is closed when its shard has said so.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dataplane::control::{CloseReason, Detail, Protocol, Role, SessionStatus};
use dataplane::ids::{SessionId, StreamName};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::{IntoParams, ToSchema};

use super::paging::Page;
use super::reply::{BUSY, ErrorBody, Refusal};
use super::request::{Params, Segment, stream_name};
use super::state::ApiState;
use crate::bridge::{Ask, Gathered};
use crate::coordinator::Policy;
use crate::viewing::{ClosedSession, KickOutcome, SessionsAsk};

const UNKNOWN: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_session",
    "no session has this id; GET /api/v1/sessions lists those that go on",
    Some("id"),
);
const LATE: Refusal = Refusal::fixed(
    StatusCode::GATEWAY_TIMEOUT,
    "kick_late",
    "the session was told to end, and its shard has not said yet that it did; ask again",
    Some("id"),
);

/// Which sessions are listed.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct SessionFilter {
    /// Of this stream.
    stream: Option<String>,
    /// Of this protocol: `rtmp`, `http-flv`, `http-ts`, `ws-flv`, `ws-ts`, `hls`, `http`.
    protocol: Option<String>,
    /// `publish` or `play`.
    role: Option<String>,
    /// `live` (unless told otherwise), `closed` or `all`.
    status: Option<String>,
    /// From this address, with or without its port.
    peer: Option<String>,
}

/// The filter, every word of it known.
#[derive(Debug, Default)]
struct Wanted {
    stream: Option<StreamName>,
    protocol: Option<Protocol>,
    role: Option<Role>,
    live: bool,
    closed: bool,
    peer: Option<(IpAddr, Option<u16>)>,
}

/// A page of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
    /// Shards that did not answer.
    missing: Vec<u16>,
    /// Milliseconds since the shards told the figures.
    figures_age_ms: u64,
}

/// A session: a connection, or a viewer of HLS on however many.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Unique for the life of the process.
    id: String,
    shard: u16,
    protocol: &'static str,
    /// What it does, once that is known.
    role: Option<&'static str>,
    stream: Option<String>,
    peer: String,
    /// `flashVer` or `User-Agent`.
    agent: String,
    /// The version of TLS; of a session that ended only that it was inside TLS.
    tls: Option<&'static str>,
    /// `live` or `closed`.
    status: &'static str,
    /// The state of its protocol.
    state: &'static str,
    /// When it began to publish or play.
    started: Option<String>,
    /// When it ended.
    ended: Option<String>,
    /// Why it ended; null for one that goes on, and if that was lost.
    #[schema(schema_with = close_reason)]
    close_reason: Option<&'static str>,
    /// Milliseconds since it was accepted; of one that ended, how long it published or played.
    age_ms: u64,
    bytes_in: u64,
    bytes_out: u64,
    jumps: u64,
    /// What the application lets its stream do, of one that publishes, if it said so: `record`,
    /// `previews`, `resolutions`.
    #[schema(value_type = Option<Object>)]
    policy: Option<Policy>,
    /// Where it stands in the list.
    #[serde(skip)]
    key: String,
}

/// The sessions, by id.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "sessions",
    params(Page, SessionFilter),
    responses((status = 200, description = "A page of them", body = Sessions)),
)]
pub(super) async fn sessions(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
    Params(filter): Params<SessionFilter>,
) -> Result<Json<Sessions>, Refusal> {
    page.bounds()?;
    let wanted = Wanted::parse(&filter)?;
    let gathered = match wanted.live {
        true => state.gather(Detail::SESSIONS).await?,
        false => Arc::default(),
    };
    let closed = match wanted.closed {
        true => state.ask(|reply| Ask::Sessions(SessionsAsk::Closed { reply })).await?,
        false => Vec::new(),
    };
    let live = gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions);
    let live = live.filter(|status| wanted.takes_live(status));
    let live = live.map(|status| Session::from(status).with_policy(status, &gathered));
    let closed = closed.iter().filter(|closed| wanted.takes_closed(closed));
    let mut all: Vec<_> = live.chain(closed.map(|closed| Session::from(&**closed))).collect();
    all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let (sessions, next) = page.of(all, |session| &session.key)?;
    let missing = gathered.missing.iter().map(|shard| shard.0).collect();
    let figures_age_ms = gathered.age_ms();
    Ok(Json(Sessions { sessions, next, missing, figures_age_ms }))
}

/// One session, also if it ended a while ago.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The session", body = Session),
        (status = 404, description = "There is none", body = ErrorBody),
    ),
)]
pub(super) async fn session(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<Json<Session>, Refusal> {
    let id = parse_id(&id)?;
    let gathered = state.gather(Detail::SESSIONS).await?;
    let mut live = gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions);
    if let Some(status) = live.find(|status| status.id == id) {
        return Ok(Json(Session::from(status).with_policy(status, &gathered)));
    }
    let closed = state.ask(|reply| Ask::Sessions(SessionsAsk::Closed { reply })).await?;
    let found = closed.iter().find(|closed| closed.session == id);
    found.map(|closed| Json(Session::from(&**closed))).ok_or(UNKNOWN)
}

/// Closes a session, whatever it does: also one that waits for its stream. Answered when its shard
/// has said that it ended. A publication ends without grace; a viewer of HLS is refused from its
/// next request on.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is closed"),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 504, description = "Its shard has not answered", body = ErrorBody),
    ),
)]
pub(super) async fn kick_session(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Refusal> {
    let session = parse_id(&id)?;
    let asked = |reply| Ask::Sessions(SessionsAsk::Kick { session, reply });
    match state.ask(asked).await? {
        KickOutcome::Closed => Ok(StatusCode::NO_CONTENT),
        KickOutcome::Unknown => Err(UNKNOWN),
        KickOutcome::Late => Err(LATE),
        KickOutcome::Busy => Err(BUSY),
    }
}

fn parse_id(text: &str) -> Result<SessionId, Refusal> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = (digits && (1..=16).contains(&text.len())).then(|| u64::from_str_radix(text, 16));
    id.and_then(Result::ok).map(SessionId).ok_or(UNKNOWN)
}

/// The words of [`Session::close_reason`].
fn close_reason() -> Object {
    let words = CloseReason::ALL.into_iter().map(|reason| Value::from(reason.name()));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(words.chain([Value::Null])))
        .description(Some("Why it ended; null for one that goes on, and if that was lost."))
        .build()
}

impl Wanted {
    fn parse(filter: &SessionFilter) -> Result<Self, Refusal> {
        let word = |field: &'static str, text: &str| {
            let what = format!("\"{text}\" is no {field} of a session");
            Refusal::new(StatusCode::BAD_REQUEST, "bad_filter", what).at(field)
        };
        let mut wanted = Self { live: true, ..Self::default() };
        if let Some(text) = &filter.stream {
            wanted.stream = Some(stream_name(text, "stream")?);
        }
        if let Some(text) = &filter.protocol {
            let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == text);
            wanted.protocol = Some(found.ok_or_else(|| word("protocol", text))?);
        }
        if let Some(text) = &filter.role {
            let found = [Role::Publish, Role::Play].into_iter().find(|role| role.name() == text);
            wanted.role = Some(found.ok_or_else(|| word("role", text))?);
        }
        (wanted.live, wanted.closed) = match filter.status.as_deref() {
            None | Some("live") => (true, false),
            Some("closed") => (false, true),
            Some("all") => (true, true),
            Some(other) => return Err(word("status", other)),
        };
        if let Some(text) = &filter.peer {
            let socket = text.parse::<SocketAddr>().map(|peer| (peer.ip(), Some(peer.port())));
            let peer = socket.or_else(|_| text.parse::<IpAddr>().map(|ip| (ip, None)));
            wanted.peer = Some(peer.map_err(|_| word("peer", text))?);
        }
        Ok(wanted)
    }

    fn takes_live(&self, status: &SessionStatus) -> bool {
        self.live && self.takes(status.stream.as_ref(), status.role, status.protocol, status.peer)
    }

    fn takes_closed(&self, closed: &Arc<ClosedSession>) -> bool {
        let was = &closed.was;
        self.closed && self.takes(Some(&was.stream), Some(was.role), was.protocol, was.peer)
    }

    fn takes(
        &self,
        stream: Option<&StreamName>,
        role: Option<Role>,
        protocol: Protocol,
        peer: SocketAddr,
    ) -> bool {
        let from = |(ip, port): (IpAddr, Option<u16>)| {
            ip.to_canonical() == peer.ip().to_canonical()
                && port.is_none_or(|port| port == peer.port())
        };
        (self.stream.is_none() || self.stream.as_ref() == stream)
            && (self.role.is_none() || self.role == role)
            && self.protocol.is_none_or(|wanted| wanted == protocol)
            && self.peer.is_none_or(from)
    }
}

impl Session {
    /// With what the application said of the stream that it publishes.
    fn with_policy(self, status: &SessionStatus, gathered: &Gathered) -> Self {
        let publishes = status.role == Some(Role::Publish);
        let stream = status.stream.as_ref().filter(|_| publishes);
        let policy = stream.and_then(|stream| gathered.policies.get(stream));
        Self { policy: policy.map(|policy| Policy::clone(policy)), ..self }
    }
}

impl From<&SessionStatus> for Session {
    fn from(session: &SessionStatus) -> Self {
        let id = session.id.to_string();
        Self {
            key: id.clone(),
            id,
            shard: session.shard.0,
            protocol: session.protocol.name(),
            role: session.role.map(Role::name),
            stream: session.stream.as_ref().map(ToString::to_string),
            peer: session.peer.to_string(),
            agent: session.agent.to_string(),
            tls: session.tls,
            status: "live",
            state: session.state,
            started: session.started.map(|at| at.to_string()),
            ended: None,
            close_reason: None,
            age_ms: session.age_ms,
            bytes_in: session.bytes_in,
            bytes_out: session.bytes_out,
            jumps: session.jumps,
            policy: None,
        }
    }
}

impl From<&ClosedSession> for Session {
    fn from(closed: &ClosedSession) -> Self {
        let (id, was) = (closed.session.to_string(), &closed.was);
        Self {
            // A number may come again: a connection plays twice, a viewer returns.
            key: format!("{id}.{}", closed.ended.as_unix_millis()),
            id,
            shard: was.shard.0,
            protocol: was.protocol.name(),
            role: Some(was.role.name()),
            stream: Some(was.stream.to_string()),
            peer: was.peer.to_string(),
            agent: was.agent.to_string(),
            tls: was.tls.then_some("TLS"),
            status: "closed",
            state: "closed",
            started: Some(was.started.to_string()),
            ended: Some(closed.ended.to_string()),
            close_reason: closed.reason.map(CloseReason::name),
            age_ms: closed.age_ms,
            bytes_in: closed.bytes_in,
            bytes_out: closed.bytes_out,
            jumps: 0,
            policy: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Answer, Bench};
    use super::*;
    use crate::bridge::snapshots::empty;
    use crate::viewing::LiveSession;
    use codecs::time::WallTime;
    use dataplane::ids::ShardId;
    use http::Method;
    use tokio::sync::mpsc;

    const NOON: WallTime = WallTime::from_unix_millis(1_800_000_000_000);

    fn status(id: u64, protocol: Protocol, role: Option<Role>, stream: &str) -> SessionStatus {
        SessionStatus {
            id: SessionId(id),
            shard: ShardId(0),
            protocol,
            role,
            stream: StreamName::parse(stream),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "test".into(),
            tls: None,
            state: "playing",
            age_ms: 9,
            started: role.map(|_| NOON),
            bytes_in: 1,
            bytes_out: 2,
            jumps: 0,
        }
    }

    fn closed(id: u64) -> Arc<ClosedSession> {
        Arc::new(ClosedSession {
            session: SessionId(id),
            was: LiveSession {
                shard: ShardId(1),
                role: Role::Play,
                protocol: Protocol::Hls,
                tls: true,
                stream: StreamName::parse("cam").unwrap(),
                peer: "[2001:db8::1]:7".parse().unwrap(),
                agent: "test".into(),
                started: NOON,
            },
            ended: WallTime::from_unix_millis(NOON.as_unix_millis() + 1_500),
            age_ms: 1_500,
            bytes_in: 3,
            bytes_out: 4,
            reason: Some(CloseReason::TooSlow),
        })
    }

    /// A desk with four sessions that go on and one that ended.
    async fn desk(mut asks: mpsc::Receiver<Ask>) {
        while let Some(ask) = asks.recv().await {
            match ask {
                Ask::Snapshot { reply, .. } => {
                    let mut snapshot = empty(ShardId(0), 0);
                    snapshot.sessions = vec![
                        status(3, Protocol::Rtmp, Some(Role::Publish), "cam"),
                        status(1, Protocol::Rtmp, Some(Role::Play), "cam"),
                        status(2, Protocol::HttpFlv, Some(Role::Play), "other"),
                        status(4, Protocol::Http, None, ""),
                    ];
                    let policy = Policy { record: true, ..Policy::default() };
                    let policies = [(StreamName::parse("cam").unwrap(), Arc::new(policy))];
                    let gathered = Gathered {
                        snapshots: vec![snapshot],
                        missing: vec![ShardId(1)],
                        policies: policies.into(),
                        ..Gathered::default()
                    };
                    drop(reply.send(Arc::new(gathered)));
                }
                Ask::Sessions(SessionsAsk::Closed { reply }) => drop(reply.send(vec![closed(9)])),
                Ask::Sessions(SessionsAsk::Kick { session, reply }) => {
                    drop(reply.send(match session.0 {
                        1 => KickOutcome::Closed,
                        2 => KickOutcome::Late,
                        3 => KickOutcome::Busy,
                        _ => KickOutcome::Unknown,
                    }));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// A router in front of the desk.
    fn bench(name: &str) -> Bench {
        let mut bench = Bench::new(name);
        tokio::spawn(desk(std::mem::replace(&mut bench.asks, mpsc::channel(1).1)));
        bench
    }

    async fn asked(bench: &Bench, method: Method, path: &str) -> Answer {
        bench.answer(bench.request(&method, path, "")).await
    }

    fn ids(answer: &Answer) -> Vec<&str> {
        let sessions = answer.json["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["id"].as_str().unwrap().trim_matches('0')).collect()
    }

    #[tokio::test]
    async fn sessions_are_filtered_and_come_in_pages() {
        let bench = bench("sessions");
        for (query, expected) in [
            ("", &["1", "2", "3", "4"] as &[_]),
            ("?stream=cam", &["1", "3"]),
            ("?protocol=rtmp&role=play", &["1"]),
            ("?peer=192.0.2.1", &["1", "2", "3", "4"]),
            ("?peer=192.0.2.1:6", &[]),
            ("?status=closed", &["9"]),
            ("?status=all&stream=cam", &["1", "3", "9"]),
            ("?status=closed&peer=2001:db8::1", &["9"]),
        ] {
            let answer = asked(&bench, Method::GET, &format!("/api/v1/sessions{query}")).await;
            assert_eq!(ids(&answer), expected, "{query}");
            assert_eq!(answer.json["next"], Value::Null);
        }
        let first = asked(&bench, Method::GET, "/api/v1/sessions?limit=3").await;
        assert_eq!((ids(&first), &first.json["missing"][0]), (vec!["1", "2", "3"], &1.into()));
        let next = first.json["next"].as_str().unwrap();
        let rest = format!("/api/v1/sessions?limit=3&cursor={next}");
        assert_eq!(ids(&asked(&bench, Method::GET, &rest).await), ["4"]);
        for (query, field) in [
            ("protocol=tcp", "protocol"),
            ("role=pull", "role"),
            ("status=open", "status"),
            ("peer=nobody", "peer"),
            ("stream=..", "stream"),
            ("limit=0", "limit"),
        ] {
            let path = format!("/api/v1/sessions?{query}");
            let answer = bench.answer(bench.request(&Method::GET, &path, "")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
            assert_eq!(answer.json["error"]["field"], field);
        }
    }

    #[tokio::test]
    async fn one_session_is_found_whether_it_goes_on_or_ended() {
        let bench = bench("session");
        let live = asked(&bench, Method::GET, "/api/v1/sessions/000000000003").await.json;
        assert_eq!((&live["status"], &live["close_reason"]), (&"live".into(), &Value::Null));
        assert_eq!(live["started"], "2027-01-15T08:00:00.000Z");
        let policy = serde_json::json!({
            "record": true, "previews": null, "resolutions": "ORIGINAL",
        });
        assert_eq!(live["policy"], policy, "of who publishes");
        let player = asked(&bench, Method::GET, "/api/v1/sessions/1").await.json;
        assert_eq!(player["policy"], Value::Null);
        let closed = asked(&bench, Method::GET, "/api/v1/sessions/9").await.json;
        assert_eq!(
            (&closed["status"], &closed["close_reason"]),
            (&"closed".into(), &"too_slow".into())
        );
        assert_eq!(
            (&closed["ended"], &closed["bytes_out"]),
            (&"2027-01-15T08:00:01.500Z".into(), &4.into())
        );
        for id in ["77", "x", "00000000000000001", "-1"] {
            let path = format!("/api/v1/sessions/{id}");
            let answer = asked(&bench, Method::GET, &path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
            assert_eq!(answer.json["error"]["code"], "unknown_session");
        }
    }

    #[test]
    fn every_reason_is_in_the_schema_and_the_manual() {
        let schema = serde_json::to_value(close_reason()).unwrap();
        let readme = include_str!("../../../README.md");
        for reason in CloseReason::ALL {
            let word = reason.name();
            assert!(schema["enum"].as_array().unwrap().contains(&word.into()), "{word}");
            assert!(readme.contains(&format!("`{word}`")), "{word}");
        }
    }

    #[tokio::test]
    async fn a_kick_says_what_became_of_it() {
        let bench = bench("kick");
        for (id, status) in [(1, 204), (2, 504), (3, 503), (4, 404)] {
            let path = format!("/api/v1/sessions/{id}");
            let answer = asked(&bench, Method::DELETE, &path).await;
            assert_eq!(answer.status.as_u16(), status, "{id}");
        }
    }
}
