//! Moving: `POST /api/v1/shards/move` moves a live stream to another shard.

use axum::Json;
use axum::extract::State;
use dataplane::control::{MoveOutcome, MoveRefusal};
use dataplane::ids::ShardId;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reply::Refusal;
use super::request::{Body, stream_name};
use super::state::ApiState;
use crate::bridge::Ask;

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Move {
    /// The stream.
    #[schema(max_length = 128, pattern = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")]
    stream: String,
    /// The shard that it shall be on.
    shard: u16,
}

/// Where the stream is now.
#[derive(Serialize, ToSchema)]
pub(super) struct Moved {
    stream: String,
    shard: u16,
    /// Where it was.
    from: u16,
    /// False if it was there already.
    moved: bool,
}

/// Moves a live stream to another shard; answers when it is there.
#[utoipa::path(
    post,
    path = "/api/v1/shards/move",
    tag = "shards",
    request_body = Move,
    responses((status = 200, description = "It is there", body = Moved)),
)]
pub(super) async fn move_stream(
    State(state): State<ApiState>,
    Body(Move { stream, shard }): Body<Move>,
) -> Result<Json<Moved>, Refusal> {
    let (name, to) = (stream_name(&stream, "stream")?, ShardId(shard));
    match state.ask(|reply| Ask::Move { stream: name, to, reply }).await? {
        MoveOutcome::Moved { from } => Ok(Json(Moved { stream, shard, from: from.0, moved: true })),
        MoveOutcome::AlreadyThere => Ok(Json(Moved { stream, shard, from: shard, moved: false })),
        MoveOutcome::Refused(why) => Err(refusal(why)),
    }
}

/// A stable word, a status, and what to do.
const fn refusal(why: MoveRefusal) -> Refusal {
    let (status, code, message, field) = match why {
        MoveRefusal::UnknownStream => (
            StatusCode::NOT_FOUND,
            "unknown_stream",
            "no stream of this name is on the air; GET /api/v1/streams lists them",
            Some("stream"),
        ),
        MoveRefusal::UnknownShard => (
            StatusCode::NOT_FOUND,
            "unknown_shard",
            "there is no such shard; GET /api/v1/shards lists them",
            Some("shard"),
        ),
        MoveRefusal::Busy => (
            StatusCode::CONFLICT,
            "move_busy",
            "the stream is being moved, or its last moves are still being read; try again later",
            None,
        ),
        MoveRefusal::NoRoom => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no_room",
            "the shard has too few free pages; choose another, or raise limits.memory_max",
            Some("shard"),
        ),
        MoveRefusal::Bound => (
            StatusCode::CONFLICT,
            "publisher_bound",
            "its publisher speaks SRT and stays where it is; shards.pin places it when it begins",
            Some("stream"),
        ),
        MoveRefusal::Timeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "move_timeout",
            "the shards did not answer in time; GET /api/v1/streams tells where the stream is",
            None,
        ),
        MoveRefusal::Ended => (
            StatusCode::CONFLICT,
            "stream_ended",
            "the stream ended before it was moved",
            Some("stream"),
        ),
        MoveRefusal::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining", "the server is going down", None)
        }
    };
    Refusal::fixed(status, code, message, field)
}
