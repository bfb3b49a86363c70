//! Streams: what is wanted of them, and what they are doing.
//!
//! `GET` shows both; `PUT`, `PATCH` and `DELETE` change what is wanted, and restart only what they
//! must. The `ETag` names what is wanted: what a stream is doing does not change it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dataplane::control::Detail;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::change::{DryRun, DryRunOutcome, Outcome};
use super::listing::Seat;
use super::paging::Page;
use super::pieces::weight_of_json;
use super::reply::{BUSY, ErrorBody, Refusal};
use super::request::{Body, Named, Params, Text, json, says_json, stream_name};
use super::state::ApiState;
use super::stream::{StreamFilter, StreamView, etag};
use super::transfer::{too_heavy, weight_max};
use crate::bridge::{Ask, Sighting};
use crate::registry::{
    Change, Made, PAGE_MAX, RegistryAsk, Shown, StreamPage, StreamPatch, StreamSpec,
};

/// Changes of one request at most.
pub(super) const BULK_MAX: usize = 1_000;
/// Streams of a list that are looked at before others have their turn on the control thread.
const VIEWS_PER_TURN: usize = 100;

const UNKNOWN: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_stream",
    "no stream of this name is declared or on the air; GET /api/v1/streams lists them",
    Some("name"),
);

/// Streams, by name.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamList {
    streams: Vec<StreamView>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
    /// Shards that did not answer in time.
    missing: Vec<u16>,
    /// Milliseconds since the shards told the figures. What is wanted, and which streams are on
    /// the air, is as of now.
    figures_age_ms: u64,
}

/// What is added to a stream that is shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Expand {
    /// `template`: what holds, with what the template adds, stands in `resolved`.
    #[param(inline)]
    expand: Option<Expansion>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Expansion {
    Template,
}

/// Many changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    /// In their order: all of them are made, or none.
    #[schema(min_items = 1, max_items = 1000)]
    changes: Vec<BulkChange>,
}

/// One of many changes.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum BulkChange {
    /// The stream shall be as described.
    Put {
        name: String,
        #[schema(value_type = StreamSpec)]
        spec: Value,
    },
    /// What was declared shall differ by a merge patch.
    Patch {
        name: String,
        #[schema(value_type = StreamPatch)]
        patch: Value,
    },
    /// The stream shall be no more.
    Delete { name: String },
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    /// Changes that were made.
    pub(super) changed: usize,
}

/// Streams by name, declared or on the air.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    tag = "streams",
    params(Page, StreamFilter, Expand),
    responses((status = 200, description = "A page of them", body = StreamList)),
)]
pub(super) async fn streams(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
    Params(filter): Params<StreamFilter>,
    Params(Expand { expand }): Params<Expand>,
) -> Result<Json<StreamList>, Refusal> {
    let (limit, cursor) = page.bounds()?;
    let mut after = cursor.map(|cursor| stream_name(cursor, "cursor")).transpose()?;
    let gathered = state.gather(Detail::STREAMS).await?;
    let clip = match &gathered.clip {
        Some(clip) => state.stream(clip).await?.item.map(|item| item.name),
        None => None,
    };
    let mut streams: Vec<StreamView> = Vec::new();
    let mut next = None;
    'pages: loop {
        let (after_this, filter_by) = (after.clone(), filter.declared(clip.is_some()));
        // One more than fit says whether there is a next page.
        let wanted = if filter.is_by_state() { PAGE_MAX } else { limit + 1 - streams.len() };
        let ask = |reply| {
            let (after, limit, filter) = (after_this, wanted, filter_by);
            Ask::Registry(RegistryAsk::Streams { after, limit, filter, reply })
        };
        let StreamPage { items, next: following } = state.ask(ask).await?;
        for (at, item) in items.iter().filter(|item| filter.takes(item, &gathered)).enumerate() {
            if streams.len() == limit {
                next = streams.last().map(|stream| stream.name.clone());
                break 'pages;
            }
            streams.push(StreamView::of(item, &gathered, expand.is_some()));
            if (at + 1).is_multiple_of(VIEWS_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
        match following {
            Some(following) => after = Some(following),
            None => break,
        }
    }
    if let Some(clip) = gathered.clip.as_ref().filter(|_| clip.is_none())
        && filter.takes_clip(clip)
        && cursor.is_none_or(|cursor| clip.as_str() > cursor)
        && next.as_ref().is_none_or(|next| clip.as_str() < next.as_str())
    {
        streams.push(StreamView::of_clip(clip, &gathered));
        streams.sort_by(|one, other| one.name.cmp(&other.name));
        if streams.len() > limit {
            streams.truncate(limit);
            next = streams.last().map(|stream| stream.name.clone());
        }
    }
    Ok(Json(StreamList {
        streams,
        next,
        missing: gathered.missing.iter().map(|shard| shard.0).collect(),
        figures_age_ms: gathered.age_ms(),
    }))
}

/// One stream.
#[utoipa::path(
    get,
    path = "/api/v1/streams/{name}",
    tag = "streams",
    params(("name" = String, Path, description = "Its name"), Expand),
    responses(
        (status = 200, description = "The stream; ETag names what is wanted", body = StreamView),
        (status = 304, description = "What is wanted is as the asker knows it"),
        (status = 404, description = "There is none", body = ErrorBody),
    ),
)]
pub(super) async fn stream(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(Expand { expand }): Params<Expand>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Sighting { item, gathered, peers, recording } = state.stream(&name).await?;
    let Some(item) = item else {
        gathered.clip.as_ref().filter(|&clip| *clip == name).ok_or(UNKNOWN)?;
        let view = StreamView::of_clip(&name, &gathered);
        return Ok(Json(view.aged(&gathered)).into_response());
    };
    let view =
        StreamView::of(&item, &gathered, expand.is_some()).aged(&gathered).with(peers, recording);
    Ok(etag(&item).answer(&headers, Json(view)))
}

/// Declares a stream, or replaces what was declared.
#[utoipa::path(
    put,
    path = "/api/v1/streams/{name}",
    tag = "streams",
    params(("name" = String, Path, description = "Its name"), DryRun),
    request_body(content = StreamSpec, description = "What is wanted"),
    responses(
        (status = 200, description = "It was replaced", body = StreamView),
        (status = 201, description = "It is new", body = StreamView),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 409, description = "The configuration file declares it", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn put_stream(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
    Body(value): Body<Value>,
) -> Result<Response, Refusal> {
    change(&state, dry_run, &headers, Change::PutStream { name, value }).await
}

/// Changes what was declared by a merge patch (RFC 7396).
#[utoipa::path(
    patch,
    path = "/api/v1/streams/{name}",
    tag = "streams",
    params(("name" = String, Path, description = "Its name"), DryRun),
    request_body(
        description = "The patch",
        content(
            (StreamPatch = "application/json"),
            (StreamPatch = "application/merge-patch+json"),
        ),
    ),
    responses(
        (status = 200, description = "It was changed", body = StreamView),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 404, description = "It is not declared", body = ErrorBody),
        (status = 409, description = "The configuration file declares it", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn patch_stream(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, Refusal> {
    change(&state, dry_run, &headers, Change::PatchStream { name, patch }).await
}

/// Deletes what was declared; whoever publishes or plays the stream is dropped.
#[utoipa::path(
    delete,
    path = "/api/v1/streams/{name}",
    tag = "streams",
    params(("name" = String, Path, description = "Its name"), DryRun),
    responses(
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 204, description = "It is no more"),
        (status = 404, description = "It is not declared", body = ErrorBody),
        (status = 409, description = "The configuration file declares it", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
    ),
)]
pub(super) async fn delete_stream(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    dry_run.answer(&state, Change::DeleteStream { name }, &headers).await
}

/// Drops everybody on a stream; they may all come back at once.
#[utoipa::path(
    post,
    path = "/api/v1/streams/{name}/restart",
    tag = "streams",
    params(("name" = String, Path, description = "Its name"), DryRun),
    responses(
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 204, description = "They were dropped"),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 409, description = "It is disabled", body = ErrorBody),
    ),
)]
pub(super) async fn restart_stream(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    dry_run.answer(&state, Change::Restart { name }, &headers).await
}

/// Makes many changes, all of them or none.
#[utoipa::path(
    post,
    path = "/api/v1/streams/bulk",
    tag = "streams",
    params(DryRun),
    request_body = Bulk,
    responses(
        (status = 200, description = "All were made", body = Done),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 404, description = "One is not declared; none was made", body = ErrorBody),
        (status = 409, description = "The file declares one; none was made", body = ErrorBody),
        (status = 422, description = "A field is wrong; none was made", body = ErrorBody),
    ),
)]
pub(super) async fn change_streams(
    State(state): State<ApiState>,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
    seat: Seat,
    Text(text): Text,
) -> Result<Response, Refusal> {
    says_json(&headers)?;
    // A change is read in two steps, and each of them makes values.
    let weight_max = weight_max(state.import_bytes_max) / 2;
    let read = move || match weight_of_json(&text) <= weight_max {
        true => (seat, json(&text)),
        false => (seat, Err(too_heavy("bad_bulk").at("changes"))),
    };
    let (seat, read) = tokio::task::spawn_blocking(read).await.map_err(|_| BUSY)?;
    let Bulk { changes } = read?;
    let changed = changes.len();
    if !(1..=BULK_MAX).contains(&changed) {
        let what = format!("1 to {BULK_MAX} changes fit into one request");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Refusal::new(status, "bad_bulk", what).at("changes"));
    }
    let changes = changes.into_iter().enumerate().map(|(at, change)| change.read(at));
    let changes = Change::All(changes.collect::<Result<_, _>>()?);
    Ok(match dry_run.make_seated(&state, changes, seat).await? {
        Outcome::Asked(told) => told,
        Outcome::Made(_) => Json(Done { changed }).into_response(),
    })
}

impl BulkChange {
    fn read(self, at: usize) -> Result<Change, Refusal> {
        let name = |text: String| {
            let wrong = |refusal: Refusal| refusal.at(format!("changes[{at}].name"));
            stream_name(&text, "name").map_err(wrong)
        };
        Ok(match self {
            Self::Put { name: text, spec } => Change::PutStream { name: name(text)?, value: spec },
            Self::Patch { name: text, patch } => Change::PatchStream { name: name(text)?, patch },
            Self::Delete { name: text } => Change::DeleteStream { name: name(text)? },
        })
    }
}

async fn change(
    state: &ApiState,
    dry_run: DryRun,
    headers: &HeaderMap,
    change: Change,
) -> Result<Response, Refusal> {
    let made = match dry_run.make(state, change, headers).await? {
        Outcome::Asked(told) => return Ok(told),
        Outcome::Made(made) => made,
    };
    let Made { created, shown: Shown::Stream(Some(item)), .. } = made else { return Err(UNKNOWN) };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let Sighting { gathered, peers, recording, .. } = state.stream(&item.name).await?;
    let view = StreamView::of(&item, &gathered, false).aged(&gathered).with(peers, recording);
    let header = [(http::header::ETAG, etag(&item).header())];
    Ok((status, header, Json(view)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::desk::Desk;
    use http::Method;
    use http::header::{IF_MATCH, IF_NONE_MATCH};
    use std::collections::BTreeSet;

    const CAM: &str = "/api/v1/streams/cam";

    #[tokio::test]
    async fn of_writers_who_know_the_same_state_one_goes_through() {
        let desk = Desk::start("writers").await;
        let made = desk.ask(Method::PUT, CAM, r#"{"tags": ["0"]}"#).await;
        assert_eq!((made.status, &made.json["name"]), (StatusCode::CREATED, &"cam".into()));
        let known = made.headers[http::header::ETAG].clone();
        let write = |method, body| desk.ask_if((method, CAM, body), (IF_MATCH, known.clone()));
        let (one, two, three, gone) = tokio::join!(
            write(Method::PUT, r#"{"tags": ["1"]}"#),
            write(Method::PATCH, r#"{"tags": ["2"]}"#),
            write(Method::PUT, r#"{"tags": ["3"]}"#),
            write(Method::DELETE, ""),
        );
        let all = [one, two, three, gone];
        let through: Vec<_> = all.iter().filter(|answer| answer.status.is_success()).collect();
        assert_eq!(through.len(), 1, "{all:#?}");
        for refused in all.iter().filter(|answer| !answer.status.is_success()) {
            assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{refused:?}");
            assert_eq!(refused.json["error"]["code"], "precondition_failed");
        }
        // A dry run is bound by the same.
        let old = (IF_MATCH, known.clone());
        let dry = format!("{CAM}?dry_run=true");
        assert_eq!(desk.ask_if((Method::PUT, &dry, "{}"), old).await.status.as_u16(), 412);
        // Of those who want to be the first, one is.
        desk.ask(Method::DELETE, CAM, "").await;
        let first = || {
            let any = http::HeaderValue::from_static("*");
            desk.ask_if((Method::PUT, CAM, "{}"), (IF_NONE_MATCH, any))
        };
        let (one, other) = tokio::join!(first(), first());
        let mut heard = [one.status.as_u16(), other.status.as_u16()];
        heard.sort_unstable();
        assert_eq!(heard, [201, 412]);
    }

    #[tokio::test]
    async fn a_walk_meets_each_stream_once_while_others_come_and_go() {
        const STREAMS: usize = 10_000;
        let desk = Desk::start("walk").await;
        let stays = |number: usize| format!("s/{number:05}");
        let mut text = String::new();
        for number in 0..STREAMS {
            text.push_str(&format!("[[streams.stream]]\ncode = \"{}\"\n", stays(number)));
        }
        let answer = desk.ask(Method::POST, "/api/v1/streams/import", &text).await;
        assert_eq!(answer.json["changed"], STREAMS, "{answer:?}");
        let (mut met, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let path = format!("/api/v1/streams?limit=700{after}");
            let page = desk.ask(Method::GET, &path, "").await.json;
            let streams = page["streams"].as_array().unwrap();
            met.extend(streams.iter().map(|stream| stream["name"].as_str().unwrap().to_owned()));
            pages += 1;
            // Before, at and behind the cursor some come; those of the round before go.
            let put = |name: String| serde_json::json!({"op": "put", "name": name, "spec": {}});
            let last = met.last().unwrap();
            let mut changes: Vec<_> =
                ["a".to_owned(), last.replace("s/", "r/"), format!("{last}-")]
                    .into_iter()
                    .map(|name| put(format!("{name}x{pages}")))
                    .collect();
            if pages > 1 {
                changes
                    .push(serde_json::json!({"op": "delete", "name": format!("ax{}", pages - 1)}));
            }
            let body = serde_json::json!({ "changes": changes }).to_string();
            let changed = desk.ask(Method::POST, "/api/v1/streams/bulk", &body).await;
            assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.replace('/', "%2F")),
                None => break,
            }
        }
        assert!(met.is_sorted_by(|one, next| one < next), "none comes twice, all in their order");
        let met: BTreeSet<_> = met.into_iter().collect();
        let missing: Vec<_> = (0..STREAMS).map(stays).filter(|name| !met.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(pages > STREAMS / 700, "{pages} pages");
    }
}
