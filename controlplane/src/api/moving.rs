//! Moving: `POST /api/v1/shards/move` moves a live stream to another shard.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use dataplane::control::{MoveOutcome, MoveRefusal};
use dataplane::ids::{ShardId, StreamName};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::reply::Refusal;
use super::router::{ApiState, BUSY};
use crate::bridge::Ask;

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    stream: String,
    shard: u16,
}

/// Where the stream is now.
#[derive(Serialize)]
pub(super) struct Moved {
    stream: String,
    shard: u16,
    /// Where it was.
    from: u16,
    /// False if it was there already.
    moved: bool,
}

/// Answers when the stream is at its new home, or says why it is not.
pub(super) async fn move_stream(
    State(state): State<ApiState>,
    body: Result<Json<Body>, JsonRejection>,
) -> Result<Json<Moved>, Refusal> {
    let Json(Body { stream, shard }) = body.map_err(|rejection| Refusal {
        status: rejection.status(),
        code: "bad_request",
        message: "the body is JSON: {\"stream\": \"NAME\", \"shard\": NUMBER}",
        field: None,
    })?;
    let name = StreamName::parse(&stream).ok_or(Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "bad_stream_name",
        message: "a stream name has segments of letters, digits, _ and -, joined by /",
        field: Some("stream"),
    })?;
    let (reply, answer) = oneshot::channel();
    let ask = Ask::Move { stream: name, to: ShardId(shard), reply };
    state.asks.try_send(ask).map_err(|_| BUSY)?;
    match answer.await.map_err(|_| BUSY)? {
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
    Refusal { status, code, message, field }
}
