//! Commands: `/commands/`, by which the application asks and orders as of a coordinator.
//!
//! Shape: JSON names, status codes and credentials are those of the contract; the token of the API
//! is none of them. No page of the open web can know a credential, and none is kept by a browser
//! for a name that it was made to believe in, so the Host does not matter here.
//! Limits: a request has no body; the listener bounds its head.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};

use crate::bridge::{Ask, CommandAsk};
use crate::config::{CommandsAuth, CommandsScheme, CoordinatorSection};
use crate::coordinator::StreamingServer;
use crate::coordinator::attached::{self, ActiveReport, PeerId};
use crate::coordinator::wire::{Role, Source, Whereabouts};
use crate::outbound::Credentials;

/// What commands are answered from.
#[derive(Clone)]
pub struct Commands(Arc<Inner>);

struct Inner {
    asks: mpsc::Sender<Ask>,
    auth: CommandsAuth,
    /// Streams that the encoder takes; -1 for as many as come.
    capacity: i64,
    server: StreamingServer,
}

#[derive(Serialize)]
struct CapacityReport {
    load: usize,
    capacity: i64,
    #[serde(rename = "encoderCount")]
    encoder_count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    streaming_servers: Vec<ServerReport>,
    encoders: Vec<EncoderReport>,
    active_streams: Vec<StreamReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerReport {
    id: u64,
    ip: String,
    port: u16,
    ssl: bool,
    server_type: &'static str,
}

#[derive(Serialize)]
struct EncoderReport {
    id: u64,
    capacity: i64,
    load: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamReport {
    channel: String,
    stream_id: String,
    stream_server: u64,
    encoder: u64,
}

impl Commands {
    /// Answers from the bridge behind `asks`, about this node as `server`.
    #[must_use]
    pub fn new(
        asks: mpsc::Sender<Ask>,
        section: &CoordinatorSection,
        server: StreamingServer,
    ) -> Self {
        let capacity = section.encoder_capacity.0.map_or(-1, i64::from);
        Self(Arc::new(Inner { asks, auth: section.commands.clone(), capacity, server }))
    }

    /// The routes of commands.
    pub fn router(self) -> Router {
        Router::new()
            .route("/commands/capacity", get(capacity))
            .route("/commands/report", get(report))
            .route("/commands/close", post(close))
            .with_state(self)
    }

    async fn standing(&self) -> Result<attached::Report, Rejection> {
        self.ask(|reply| CommandAsk::Report { reply }).await
    }

    /// This node, and the encoders that are attached.
    fn encoders(&self, standing: &attached::Report) -> Vec<EncoderReport> {
        let own = EncoderReport {
            id: PeerId::SELF.0,
            capacity: self.0.capacity,
            load: standing.own_load,
        };
        let others = standing.encoders.iter().map(|encoder| EncoderReport {
            id: encoder.id.0,
            capacity: encoder.capacity.map_or(-1, i64::from),
            load: encoder.load,
        });
        std::iter::once(own).chain(others).collect()
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> CommandAsk,
    ) -> Result<T, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.0.asks.try_send(Ask::Command(ask(reply))).map_err(|_| Rejection::Busy)?;
        answer.await.map_err(|_| Rejection::Busy)
    }

    /// Refuses who does not show the credential; without one nobody may.
    fn check(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let auth = &self.0.auth;
        let expected = match auth.scheme {
            CommandsScheme::None => return Err(Rejection::Unauthorized(auth.scheme)),
            CommandsScheme::Basic => Credentials::basic(&auth.user, &auth.basic_password().0),
            CommandsScheme::Bearer => Credentials::bearer(&auth.token.0),
        };
        let expected = expected.as_ref().and_then(Credentials::header);
        let expected = expected.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let right = shown.is_some_and(|shown| same(shown, expected));
        if right { Ok(()) } else { Err(Rejection::Unauthorized(auth.scheme)) }
    }
}

/// Schemes are compared as words, credentials in a time that tells nothing of them.
fn same(shown: &str, expected: &str) -> bool {
    let parts = |text| str::split_once(text, ' ');
    let (Some((shown, key)), Some((scheme, expected))) = (parts(shown), parts(expected)) else {
        return false;
    };
    let right: bool = key.trim().as_bytes().ct_eq(expected.as_bytes()).into();
    shown.eq_ignore_ascii_case(scheme) && right
}

/// Why a command is not obeyed.
#[derive(Clone, Copy, Debug)]
enum Rejection {
    Unauthorized(CommandsScheme),
    Busy,
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthorized(CommandsScheme::None) => {
                (StatusCode::UNAUTHORIZED, "commands are refused unless COMMANDS_API_AUTH is set\n")
                    .into_response()
            }
            Self::Unauthorized(scheme) => {
                let name = if scheme == CommandsScheme::Basic { "Basic" } else { "Bearer" };
                let challenge = format!("{name} realm=\"commands\"");
                let head = [(WWW_AUTHENTICATE, challenge)];
                (StatusCode::UNAUTHORIZED, head, "unauthorized\n").into_response()
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy\n").into_response(),
        }
    }
}

/// A JSON that nobody keeps.
fn fresh(body: impl Serialize) -> Response {
    ([(CACHE_CONTROL, "no-cache")], Json(body)).into_response()
}

async fn capacity(
    State(commands): State<Commands>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    commands.check(&headers)?;
    let encoders = commands.encoders(&commands.standing().await?);
    let load = encoders.iter().map(|encoder| encoder.load).sum();
    let any = encoders.iter().any(|encoder| encoder.capacity < 0);
    let capacity = if any { -1 } else { encoders.iter().map(|encoder| encoder.capacity).sum() };
    Ok(fresh(CapacityReport { load, capacity, encoder_count: encoders.len() }))
}

async fn report(
    State(commands): State<Commands>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    commands.check(&headers)?;
    let standing = commands.standing().await?;
    let StreamingServer { ip, port, ssl } = commands.0.server;
    let server = |id: PeerId, at: Whereabouts, role: Role| ServerReport {
        id: id.0,
        ip: at.ip.to_string(),
        port: at.port,
        ssl: at.ssl,
        server_type: Source::of(role).name(),
    };
    let own = server(PeerId::SELF, Whereabouts { ip, port, ssl }, Role::Rtmp);
    let others = standing.servers.iter().map(|other| server(other.id, other.at, other.role));
    let encoders = commands.encoders(&standing);
    let streaming_servers = std::iter::once(own).chain(others).collect();
    let stream = |active: ActiveReport| StreamReport {
        channel: active.channel.to_string(),
        stream_id: active.id.to_string(),
        stream_server: active.server.0,
        encoder: active.encoder.0,
    };
    let active_streams = standing.active.into_iter().map(stream).collect();
    Ok(fresh(Report { streaming_servers, encoders, active_streams }))
}

/// Whoever is meant, or nobody: who may order it is told that it is so.
async fn close(
    State(commands): State<Commands>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    commands.check(&headers)?;
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().trim().to_owned()
    };
    let (channel, id) = (text("x-streaming-channel"), text("x-streaming-id"));
    commands.ask(|reply| CommandAsk::Close { channel, id, reply }).await?;
    Ok(([(CONTENT_TYPE, "text/plain"), (CACHE_CONTROL, "no-cache")], "SUCCESS").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::ids::{Secret, StreamId};

    fn commands(auth: CommandsAuth) -> Commands {
        let server = StreamingServer { ip: "192.0.2.5".parse().unwrap(), port: 1935, ssl: false };
        let section = CoordinatorSection { commands: auth, ..CoordinatorSection::default() };
        Commands::new(mpsc::channel(1).0, &section, server)
    }

    fn auth(scheme: CommandsScheme, password: &str, token: &str) -> CommandsAuth {
        let secret = |text: &str| Secret(text.to_owned());
        CommandsAuth {
            scheme,
            user: "app".to_owned(),
            password: secret(password),
            token: secret(token),
        }
    }

    fn allowed(auth: &CommandsAuth, header: &str) -> bool {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
        commands(auth.clone()).check(&headers).is_ok()
    }

    #[test]
    fn nobody_may_unless_something_is_set() {
        let none = auth(CommandsScheme::None, "pw", "t0ken");
        for header in ["Bearer t0ken", "Basic YXBwOnB3", "Bearer ", ""] {
            assert!(!allowed(&none, header), "{header}");
        }
        assert!(commands(none).check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn basic_takes_the_password_and_else_the_token() {
        // app:pw and app:t0ken
        let (pw, token) = ("YXBwOnB3", "YXBwOnQwa2Vu");
        let both = auth(CommandsScheme::Basic, "pw", "t0ken");
        assert!(allowed(&both, &format!("Basic {pw}")) && allowed(&both, &format!("bAsIc {pw}")));
        let only = auth(CommandsScheme::Basic, "", "t0ken");
        assert!(allowed(&only, &format!("Basic {token}")));
        for (auth, header) in [
            (&both, format!("Basic {token}")),
            (&both, format!("Bearer {pw}")),
            (&both, pw.to_owned()),
            (&both, "Bearer t0ken".to_owned()),
            (&both, format!("Basic {pw}x")),
            (&both, "Basic".to_owned()),
            (&only, format!("Basic {pw}")),
            (&only, "Basic YXBwOg==".to_owned()),
        ] {
            assert!(!allowed(auth, &header), "{header}");
        }
    }

    #[test]
    fn bearer_takes_the_token_alone() {
        let bearer = auth(CommandsScheme::Bearer, "pw", "t0ken");
        assert!(allowed(&bearer, "Bearer t0ken") && allowed(&bearer, "BEARER  t0ken "));
        for header in ["Bearer pw", "Bearer t0ke", "Bearer T0KEN", "Basic t0ken", "t0ken"] {
            assert!(!allowed(&bearer, header), "{header}");
        }
    }

    #[test]
    fn a_report_has_the_names_of_the_contract() {
        let stream = StreamReport {
            channel: "cam7".to_owned(),
            stream_id: StreamId([0xab; 16]).to_string(),
            stream_server: 1,
            encoder: 1,
        };
        let report = |active_streams: Vec<StreamReport>| {
            let (ip, port, ssl) = ("10.1.0.7".to_owned(), 1935, false);
            let load = active_streams.len();
            serde_json::to_string(&Report {
                streaming_servers: vec![ServerReport { id: 1, ip, port, ssl, server_type: "RTMP" }],
                encoders: vec![EncoderReport { id: 1, capacity: -1, load }],
                active_streams,
            })
            .unwrap()
        };
        assert_eq!(
            report(vec![stream]),
            "{\"streamingServers\":[{\"id\":1,\"ip\":\"10.1.0.7\",\"port\":1935,\"ssl\":false,\
             \"serverType\":\"RTMP\"}],\"encoders\":[{\"id\":1,\"capacity\":-1,\"load\":1}],\
             \"activeStreams\":[{\"channel\":\"cam7\",\"streamId\":\
             \"abababababababababababababababab\",\"streamServer\":1,\"encoder\":1}]}"
        );
        assert!(report(Vec::new()).ends_with("\"activeStreams\":[]}"));
        let capacity = CapacityReport { load: 1, capacity: 8, encoder_count: 1 };
        assert_eq!(
            serde_json::to_string(&capacity).unwrap(),
            "{\"load\":1,\"capacity\":8,\"encoderCount\":1}"
        );
    }
}
