//! Recordings: the files that streams were recorded in.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dataplane::ids::StreamName;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{BAD_CURSOR, Page};
use super::reply::{BUSY, ErrorBody, Refusal};
use super::request::{Params, Segment, stream_name};
use super::state::ApiState;
use crate::record::{FileId, Kept, ShelfFile};

/// A disk deletes a file within this.
const DELETE_MAX: Duration = Duration::from_secs(10);
const UNKNOWN: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_recording",
    "no file of a recording is called that; GET /api/v1/recordings lists them",
    Some("id"),
);

/// Which files are listed.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct RecordingFilter {
    /// Those of this stream.
    #[param(max_length = 256)]
    stream: Option<String>,
}

/// Files, the oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordingList {
    recordings: Vec<RecordingView>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

/// One file.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordingView {
    /// Its name, by which it is deleted.
    id: String,
    /// The stream.
    stream: String,
    /// Where it is.
    path: String,
    /// When it was begun.
    started: String,
    /// It is being written.
    active: bool,
    /// Its bytes until now.
    bytes: u64,
    /// How long it plays; null while it is being written.
    duration_ms: Option<u64>,
}

impl RecordingView {
    fn of(file: &ShelfFile) -> Self {
        Self {
            id: file.id.to_string(),
            stream: file.stream.to_string(),
            path: file.path.display().to_string(),
            started: file.id.began(),
            active: file.duration_ms.is_none(),
            bytes: file.bytes,
            duration_ms: file.duration_ms,
        }
    }
}

/// Files of recordings.
#[utoipa::path(
    get,
    path = "/api/v1/recordings",
    tag = "recordings",
    params(Page, RecordingFilter),
    responses(
        (status = 200, description = "A page of them", body = RecordingList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn recordings(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
    Params(RecordingFilter { stream }): Params<RecordingFilter>,
) -> Result<Json<RecordingList>, Refusal> {
    let (limit, cursor) = page.bounds()?;
    let after = cursor.map(|text| FileId::parse(text).ok_or(BAD_CURSOR)).transpose()?;
    let stream: Option<StreamName> = stream.map(|text| stream_name(&text, "stream")).transpose()?;
    let (files, more) = state.shelf.list(after.as_ref(), stream.as_ref(), limit);
    let next = files.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(RecordingList { recordings: files.iter().map(RecordingView::of).collect(), next }))
}

/// One file.
#[utoipa::path(
    get,
    path = "/api/v1/recordings/{id}",
    tag = "recordings",
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "It", body = RecordingView),
        (status = 404, description = "There is none", body = ErrorBody),
    ),
)]
pub(super) async fn recording(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<Json<RecordingView>, Refusal> {
    let file = FileId::parse(&id).and_then(|id| state.shelf.get(&id)).ok_or(UNKNOWN)?;
    Ok(Json(RecordingView::of(&file)))
}

/// Deletes a file that is not being written.
#[utoipa::path(
    delete,
    path = "/api/v1/recordings/{id}",
    tag = "recordings",
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 409, description = "It is being written", body = ErrorBody),
        (status = 500, description = "The disk refuses", body = ErrorBody),
        (status = 503, description = "The disk is slow, or it is being deleted", body = ErrorBody),
    ),
)]
pub(super) async fn delete_recording(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Refusal> {
    let id = FileId::parse(&id).ok_or(UNKNOWN)?;
    let answer = state.shelf.delete(&id).map_err(|refused| match refused {
        Kept::Unknown => UNKNOWN,
        Kept::Written => Refusal::fixed(
            StatusCode::CONFLICT,
            "recording_active",
            "it is being written; set record = \"off\" of its stream first",
            Some("id"),
        ),
        Kept::Busy => BUSY,
    })?;
    // A disk that hangs is not waited for: the file goes when it can.
    let answer = tokio::time::timeout(DELETE_MAX, answer).await;
    match answer.map_err(|_| BUSY)?.map_err(|_| BUSY)? {
        None => Ok(StatusCode::NO_CONTENT),
        Some(error) => {
            let what = format!("the disk refuses: {error}; see to recording.dir");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "recording_kept", what).at("id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use crate::record::FileId;
    use dataplane::ids::StreamName;
    use http::{Method, StatusCode};
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_not_waited_for() {
        let bench = Bench::new("recordings-hang");
        let (stream, id) = (StreamName::parse("cam"), FileId::parse("20260504T030201Z-1"));
        // Nobody looks after this shelf: its answer never comes.
        let _ = bench.state.shelf.clone().knowing(&stream.unwrap(), &id.unwrap());
        for round in ["it waits", "it is being deleted"] {
            let path = "/api/v1/recordings/20260504T030201Z-1";
            let answer = bench.answer(bench.request(&Method::DELETE, path, "")).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{round}");
            assert_eq!(answer.json["error"]["code"], "unavailable", "{round}: {}", answer.json);
        }
    }

    #[tokio::test]
    async fn nothing_but_the_name_of_a_file_is_asked_for() {
        let bench = Bench::new("recordings");
        let list = bench.answer(bench.request(&Method::GET, "/api/v1/recordings", "")).await;
        assert_eq!(list.json, json!({ "recordings": [], "next": null }));
        for (method, path, status, code) in [
            (Method::GET, "/api/v1/recordings?cursor=x", 400, "bad_cursor"),
            (Method::GET, "/api/v1/recordings?limit=0", 400, "bad_limit"),
            (Method::GET, "/api/v1/recordings?stream=a..b", 400, "bad_stream_name"),
            (Method::GET, "/api/v1/recordings/20260504T030201Z-1", 404, "unknown_recording"),
            (Method::DELETE, "/api/v1/recordings/20260504T030201Z-1", 404, "unknown_recording"),
            (Method::DELETE, "/api/v1/recordings/..%2Fapi-token", 404, "unknown_recording"),
        ] {
            let answer = bench.answer(bench.request(&method, path, "")).await;
            assert_eq!(answer.status, StatusCode::from_u16(status).unwrap(), "{path}");
            assert_eq!(answer.json["error"]["code"], code, "{path}: {}", answer.json);
        }
    }
}
