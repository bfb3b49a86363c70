//! Session: one session as it is shown, and which of them somebody wants.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use dataplane::control::{CloseReason, Protocol, Role, SessionStatus};
use dataplane::ids::{SessionId, StreamName};
use dataplane::session::view_token::asked_as;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::{IntoParams, ToSchema};

use super::reply::Refusal;
use super::request::stream_name;
use super::srt::SrtConnection;
use crate::bridge::{Gathered, SessionSight};
use crate::coordinator::Policy;
use crate::viewing::{ClosedSession, LiveSession};

/// Which sessions are listed.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct SessionFilter {
    /// Of this stream.
    stream: Option<String>,
    /// Of this protocol: `rtmp`, `srt`, `udp`, `http-flv`, `http-ts`, `ws-flv`, `ws-ts`, `hls`,
    /// `http`.
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
pub(super) struct Wanted {
    stream: Option<StreamName>,
    protocol: Option<Protocol>,
    role: Option<Role>,
    pub(super) live: bool,
    pub(super) closed: bool,
    peer: Option<(IpAddr, Option<u16>)>,
}

/// A session: a connection, or a viewer of HLS on however many.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Unique for the life of the process, and what applications and events call it.
    id: String,
    shard: u16,
    protocol: &'static str,
    /// What it does, once that is known.
    role: Option<&'static str>,
    stream: Option<String>,
    peer: String,
    /// `flashVer` or `User-Agent`.
    agent: String,
    /// The version of TLS; of a session that ended, and of one that no shard was asked about yet,
    /// only that it is inside TLS.
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
    policy: Option<Policy>,
    /// Milliseconds since its shard told `bytes_in`, `bytes_out` and `jumps`, of one that goes on;
    /// not in a list, which says it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    figures_age_ms: Option<u64>,
    /// What the connection of an SRT peer counted, of one that goes on; not in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    srt: Option<Box<SrtConnection>>,
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
    pub(super) fn parse(filter: &SessionFilter) -> Result<Self, Refusal> {
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

    pub(super) fn takes_live(&self, status: &SessionStatus) -> bool {
        self.live && self.takes(status.stream.as_ref(), status.role, status.protocol, status.peer)
    }

    pub(super) fn takes_closed(&self, closed: &ClosedSession) -> bool {
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
    /// One that goes on, with what the application said of the stream that it publishes.
    pub(super) fn listed(status: &SessionStatus, gathered: &Gathered) -> Self {
        let publishes = status.role == Some(Role::Publish);
        let stream = status.stream.as_ref().filter(|_| publishes);
        let policy = stream.and_then(|stream| gathered.policies.get(stream));
        Self { policy: policy.map(|policy| Policy::clone(policy)), ..Self::from(status) }
    }

    /// One as it was seen last.
    pub(super) fn seen(sight: SessionSight) -> Option<Self> {
        match sight {
            SessionSight::Told { id, gathered } => {
                let status = gathered.session(id)?;
                let told = Self::listed(status, &gathered);
                let srt = status.srt.as_deref().map(|srt| Box::new(SrtConnection::from(srt)));
                let age = gathered.age_ms();
                Some(Self { age_ms: told.age_ms + age, figures_age_ms: Some(age), srt, ..told })
            }
            SessionSight::Began { id, live, policy } => {
                let policy = policy.map(|policy| Policy::clone(&policy));
                Some(Self { policy, ..Self::began(id, &live) })
            }
            SessionSight::Closed(closed) => Some(Self::from(&*closed)),
            SessionSight::Unknown => None,
        }
    }

    /// One that began, of which no shard told any figures yet.
    fn began(id: SessionId, live: &LiveSession) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let began = u64::try_from(live.started.as_unix_millis()).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: asked_as(id).to_string(),
            shard: live.shard.0,
            protocol: live.protocol.name(),
            role: Some(live.role.name()),
            stream: Some(live.stream.to_string()),
            peer: live.peer.to_string(),
            agent: live.agent.to_string(),
            tls: live.tls.then_some("TLS"),
            status: "live",
            state: match (live.role, live.protocol) {
                (Role::Publish, _) => "publishing",
                (Role::Play, Protocol::Hls) => "viewing",
                (Role::Play, _) => "playing",
            },
            started: Some(live.started.to_string()),
            ended: None,
            close_reason: None,
            age_ms: now.saturating_sub(began),
            bytes_in: 0,
            bytes_out: 0,
            jumps: 0,
            policy: None,
            figures_age_ms: None,
            srt: None,
        }
    }
}

impl From<&SessionStatus> for Session {
    fn from(session: &SessionStatus) -> Self {
        Self {
            id: asked_as(session.id).to_string(),
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
            figures_age_ms: None,
            srt: None,
        }
    }
}

impl From<&ClosedSession> for Session {
    fn from(closed: &ClosedSession) -> Self {
        let was = &closed.was;
        Self {
            id: asked_as(closed.session).to_string(),
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
            figures_age_ms: None,
            srt: None,
        }
    }
}

#[cfg(test)]
impl SessionFilter {
    pub(super) fn role(role: &str) -> Self {
        Self { role: Some(role.to_owned()), ..Self::default() }
    }

    pub(super) fn closed() -> Self {
        Self { status: Some("closed".to_owned()), ..Self::default() }
    }

    pub(super) fn stream(stream: &str) -> Self {
        Self { stream: Some(stream.to_owned()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
