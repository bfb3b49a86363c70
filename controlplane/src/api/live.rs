//! Live: what the shards tell at this moment.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dataplane::control::Detail;
use http::header;

use super::metrics::render;
use super::process::Process;
use super::reply::Refusal;
use super::state::ApiState;
use super::view;
use crate::bridge::Ask;

/// What shards and process count, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "node",
    security(()),
    responses((status = 200, description = "Text", body = String, content_type = "text/plain")),
)]
pub(super) async fn metrics(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let gathered = state.gather(Detail::NONE).await?;
    let dropped = state.log_lines_dropped.dropped_lines();
    let mut counts = state.ask(|reply| Ask::Counts { reply }).await?;
    state.requests.count(&mut counts);
    let text = render((&gathered, &counts), &state.limits.borrow(), &Process::read(), dropped);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text).into_response())
}

/// Name and version of the program.
#[utoipa::path(
    get,
    path = "/api/v1/version",
    tag = "node",
    security(()),
    responses((status = 200, description = "The version", body = view::Version)),
)]
pub(super) async fn version() -> Json<view::Version> {
    Json(view::Version { name: "grandstand", version: env!("CARGO_PKG_VERSION") })
}

/// Every shard: load, room, players, memory.
#[utoipa::path(
    get,
    path = "/api/v1/shards",
    tag = "shards",
    responses((status = 200, description = "The shards", body = view::Shards)),
)]
pub(super) async fn shards(State(state): State<ApiState>) -> Result<Json<view::Shards>, Refusal> {
    Ok(Json(view::Shards::from(&*state.gather(Detail::NONE).await?)))
}
