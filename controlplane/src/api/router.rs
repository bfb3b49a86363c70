//! Router: which path is answered by what.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dataplane::config::Limits;
use dataplane::control::Detail;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{mpsc, oneshot, watch};
use tracing_appender::non_blocking::ErrorCounter;

use super::guard::Guard;
use super::listing::{Seats, take_seat};
use super::metrics::render;
use super::moving::move_stream;
use super::process::Process;
use super::reply::Refusal;
use super::token::Token;
use super::view;
use crate::bridge::{Ask, Gathered};

/// Bytes of a request's body at most.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A request is answered within this, whatever happens.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Nobody answers.
pub(super) const BUSY: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "unavailable",
    message: "the server is busy or going down",
    field: None,
};

/// What requests are answered from.
#[derive(Clone)]
pub struct ApiState {
    pub(super) asks: mpsc::Sender<Ask>,
    ready: watch::Receiver<bool>,
    limits: watch::Receiver<Limits>,
    log_lines_dropped: ErrorCounter,
    guard: Guard,
}

impl ApiState {
    /// Answers from the bridge behind `asks`.
    #[must_use]
    pub fn new(
        asks: mpsc::Sender<Ask>,
        ready: watch::Receiver<bool>,
        limits: watch::Receiver<Limits>,
        log_lines_dropped: ErrorCounter,
        secrets: (Token, Vec<String>),
    ) -> Self {
        let (token, hosts) = secrets;
        let guard = Guard { token: Arc::new(token), hosts: hosts.into() };
        Self { asks, ready, limits, log_lines_dropped, guard }
    }

    async fn gather(&self, detail: Detail) -> Result<Gathered, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask::Snapshot { detail, reply }).map_err(|_| BUSY)?;
        answer.await.map_err(|_| BUSY)
    }
}

/// The routes of the control listener.
pub fn router(state: ApiState) -> Router {
    let open = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/version", get(version));
    let lists = Router::new()
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/sessions", get(sessions))
        .route_layer(middleware::from_fn_with_state(Seats::default(), take_seat));
    let closed = Router::new()
        .route("/api/v1/shards", get(shards))
        .route("/api/v1/shards/move", post(move_stream))
        .merge(lists)
        .route_layer(middleware::from_fn_with_state(state.clone(), check_token));
    open.merge(closed)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(state.clone(), check_host))
        .with_state(state)
}

async fn check_host(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if let Err(refusal) = state.guard.host(request.headers()) {
        return refusal.into_response();
    }
    let answer = tokio::time::timeout(ANSWER_DEADLINE, next.run(request)).await;
    let mut reply = answer.unwrap_or_else(|_| {
        Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "timeout",
            message: "no answer in time",
            field: None,
        }
        .into_response()
    });
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

async fn check_token(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    match state.guard.token(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn readyz(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    match *state.ready.borrow() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn version() -> Json<view::Version> {
    Json(view::Version { name: "grandstand", version: env!("CARGO_PKG_VERSION") })
}

async fn shards(State(state): State<ApiState>) -> Result<Json<view::Shards>, Refusal> {
    Ok(Json(state.gather(Detail::NONE).await?.into()))
}

async fn streams(State(state): State<ApiState>) -> Result<Json<view::Streams>, Refusal> {
    Ok(Json(state.gather(Detail::STREAMS).await?.into()))
}

async fn sessions(State(state): State<ApiState>) -> Result<Json<view::Sessions>, Refusal> {
    Ok(Json(state.gather(Detail::SESSIONS).await?.into()))
}

async fn metrics(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let gathered = state.gather(Detail::NONE).await?;
    let dropped = state.log_lines_dropped.dropped_lines();
    let text = render(&gathered, &state.limits.borrow(), &Process::read(), dropped);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text).into_response())
}

async fn not_found() -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        message: "there is nothing at this path",
        field: None,
    }
}

async fn method_not_allowed() -> Refusal {
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message: "this path does not take this method",
        field: None,
    }
}
