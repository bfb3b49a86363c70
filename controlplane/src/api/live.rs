//! Live: what the shards tell at this moment.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dataplane::control::Detail;
use http::{StatusCode, header};

use super::metrics::render;
use super::paging::Page;
use super::process::Process;
use super::reply::Refusal;
use super::request::{Named, Params};
use super::state::ApiState;
use super::view;
use crate::bridge::Ask;

const UNKNOWN_STREAM: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_stream",
    "no stream of this name is on the air; GET /api/v1/streams lists them",
    Some("name"),
);

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
    let counts = state.ask(|reply| Ask::Counts { reply }).await?;
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
    Ok(Json(state.gather(Detail::NONE).await?.into()))
}

/// The streams on the air, by name.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    tag = "streams",
    params(Page),
    responses((status = 200, description = "A page of them", body = view::Streams)),
)]
pub(super) async fn streams(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
) -> Result<Json<view::Streams>, Refusal> {
    page.bounds()?;
    view::Streams::page(state.gather(Detail::STREAMS).await?, &page).map(Json)
}

/// One stream on the air.
#[utoipa::path(
    get,
    path = "/api/v1/streams/{name}",
    tag = "streams",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The stream", body = view::Stream),
        (status = 404, description = "It is not on the air", body = super::reply::ErrorBody),
    ),
)]
pub(super) async fn stream(
    State(state): State<ApiState>,
    Named(name): Named,
) -> Result<Json<view::Stream>, Refusal> {
    let gathered = state.gather(Detail::STREAMS).await?;
    view::Stream::find(&gathered, &name).map(Json).ok_or(UNKNOWN_STREAM)
}
