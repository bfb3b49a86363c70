//! Hooks: who is told of events.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::etag::Etag;
use super::paging::Page;
use super::reply::{BUSY, Refusal};
use super::request::{Body, Params, Segment};
use super::state::ApiState;
use crate::hooks::{DeadLetter, HookSpec, HookState, HooksError, Moved, Origin};
use crate::store::StoreError;

const UNKNOWN: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_hook",
    "there is no hook of this id; GET /api/v1/hooks lists them",
    Some("id"),
);

/// A hook, and how it is doing.
#[derive(Serialize, ToSchema)]
pub(super) struct HookView {
    #[serde(flatten)]
    spec: HookSpec,
    /// Those of the file cannot be changed here.
    origin: Origin,
    status: HookStatus,
}

/// How a hook is doing.
#[derive(Serialize, ToSchema)]
pub(super) struct HookStatus {
    /// Events that wait.
    waiting: u64,
    /// Their bytes.
    waiting_bytes: u64,
    /// How long the oldest of them has waited.
    oldest_ms: Option<u64>,
    /// Events that were given up and are kept.
    dead_letters: u64,
    /// Events that were taken since the start.
    delivered: u64,
    /// Tries of events that failed.
    failed: u64,
    /// Events that were given up.
    given_up: u64,
    /// Why the newest try failed, until one succeeds.
    failing: Option<String>,
}

/// Every hook.
#[derive(Serialize, ToSchema)]
pub(super) struct HookList {
    hooks: Vec<HookView>,
    next: Option<String>,
}

/// What came of a try.
#[derive(Serialize, ToSchema)]
pub(super) struct HookTested {
    delivered: bool,
    /// The status that the receiver answered.
    status: Option<u16>,
    took_ms: u64,
}

/// An event that was given up.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadLetterView {
    id: String,
    /// What failed last.
    reason: String,
    /// How often it was tried.
    attempts: u32,
    /// When it was given up.
    time: String,
    /// The event; null if this version cannot read it.
    event: Option<Value>,
}

/// Events that were given up, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadLetterList {
    items: Vec<DeadLetterView>,
    next: Option<String>,
}

/// How many events it concerned.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadLetterCount {
    events: u64,
    /// Those that stay, because this version cannot read them.
    unread: u64,
}

impl From<Moved> for DeadLetterCount {
    fn from(Moved { events, unread }: Moved) -> Self {
        Self { events, unread }
    }
}

/// Which dead letter; without it all.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichLetter {
    /// Its id.
    letter: Option<String>,
}

/// Every hook, by id.
#[utoipa::path(
    get,
    path = "/api/v1/hooks",
    tag = "events",
    params(Page),
    responses((status = 200, description = "The hooks", body = HookList)),
)]
pub(super) async fn hooks(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
) -> Result<Json<HookList>, Refusal> {
    let hooks = state.hooks.list().into_iter().map(HookView::from);
    let (hooks, next) = page.of(hooks, |hook| &hook.spec.id)?;
    Ok(Json(HookList { hooks, next }))
}

/// One hook.
#[utoipa::path(
    get,
    path = "/api/v1/hooks/{id}",
    tag = "events",
    params(("id" = String, Path, description = "The hook's id")),
    responses((status = 200, description = "The hook", body = HookView)),
)]
pub(super) async fn hook(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<Response, Refusal> {
    shown(&state, &id, StatusCode::OK)
}

/// Makes a hook; without an id it gets one.
#[utoipa::path(
    post,
    path = "/api/v1/hooks",
    tag = "events",
    request_body = HookSpec,
    responses((status = 201, description = "It is made", body = HookView)),
)]
pub(super) async fn create_hook(
    State(state): State<ApiState>,
    Body(mut spec): Body<HookSpec>,
) -> Result<Response, Refusal> {
    if spec.id.is_empty() {
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(|_| BUSY)?;
        spec.id = random.iter().map(|byte| format!("{byte:02x}")).collect();
    }
    if state.hooks.get(&spec.id).is_some() {
        let what = "a hook of this id exists; PUT /api/v1/hooks/ID replaces it";
        return Err(Refusal::fixed(StatusCode::CONFLICT, "hook_exists", what, Some("id")));
    }
    let id = spec.id.clone();
    state.hooks.put(spec).await.map_err(refusal)?;
    shown(&state, &id, StatusCode::CREATED)
}

/// Makes or replaces a hook; what waits stays. What is shown as `***` stays as it was.
#[utoipa::path(
    put,
    path = "/api/v1/hooks/{id}",
    tag = "events",
    params(
        ("id" = String, Path, description = "The hook's id"),
        ("If-Match" = Option<String>, Header, description = "Only if this is its ETag"),
    ),
    request_body = HookSpec,
    responses(
        (status = 200, description = "It is replaced", body = HookView),
        (status = 201, description = "It is made", body = HookView),
    ),
)]
pub(super) async fn put_hook(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
    headers: HeaderMap,
    Body(mut spec): Body<HookSpec>,
) -> Result<Response, Refusal> {
    let known = state.hooks.get(&id).map(|hook| Etag::of(&hook.spec));
    Etag::check(known.as_ref(), &headers)?;
    if spec.id.is_empty() {
        spec.id.clone_from(&id);
    }
    if spec.id != id {
        let what = "the id of the address and that of the body differ";
        return Err(Refusal::fixed(StatusCode::BAD_REQUEST, "bad_hook", what, Some("id")));
    }
    let created = state.hooks.put(spec).await.map_err(refusal)?;
    shown(&state, &id, if created { StatusCode::CREATED } else { StatusCode::OK })
}

/// Deletes a hook, with what waits and its dead letters.
#[utoipa::path(
    delete,
    path = "/api/v1/hooks/{id}",
    tag = "events",
    params(("id" = String, Path, description = "The hook's id")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete_hook(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Refusal> {
    state.hooks.delete(&id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends an event `hook.test` at once, past the queue.
#[utoipa::path(
    post,
    path = "/api/v1/hooks/{id}/test",
    tag = "events",
    params(("id" = String, Path, description = "The hook's id")),
    responses(
        (status = 200, description = "The receiver took it", body = HookTested),
        (status = 502, description = "It did not", body = super::reply::ErrorBody),
    ),
)]
pub(super) async fn test_hook(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<Json<HookTested>, Refusal> {
    let delivery = state.hooks.test(&id).await.map_err(refusal)?;
    let took_ms = u64::try_from(delivery.took.as_millis()).unwrap_or(u64::MAX);
    match delivery.failure {
        None => Ok(Json(HookTested { delivered: true, status: delivery.status, took_ms })),
        Some((_, reason)) => {
            Err(Refusal::new(StatusCode::BAD_GATEWAY, "delivery_failed", reason).at("target"))
        }
    }
}

/// Events that a hook gave up, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/hooks/{id}/dead-letters",
    tag = "events",
    params(("id" = String, Path, description = "The hook's id"), Page),
    responses((status = 200, description = "The events", body = DeadLetterList)),
)]
pub(super) async fn dead_letters(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
    Params(page): Params<Page>,
) -> Result<Json<DeadLetterList>, Refusal> {
    let (limit, cursor) = page.bounds()?;
    let from = number(cursor, "cursor")?.map_or(0, |last| last.saturating_add(1));
    let mut letters = state.hooks.letters(&id, from, limit + 1).await.map_err(refusal)?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let next = letters.last().filter(|_| more).map(|last| last.number.to_string());
    let items = letters.into_iter().map(DeadLetterView::from).collect();
    Ok(Json(DeadLetterList { items, next }))
}

/// Tries events again that a hook gave up.
#[utoipa::path(
    post,
    path = "/api/v1/hooks/{id}/dead-letters/retry",
    tag = "events",
    params(("id" = String, Path, description = "The hook's id"), WhichLetter),
    responses((status = 200, description = "They wait again", body = DeadLetterCount)),
)]
pub(super) async fn retry_dead_letters(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
    Params(which): Params<WhichLetter>,
) -> Result<Json<DeadLetterCount>, Refusal> {
    let letter = number(which.letter.as_deref(), "letter")?;
    let moved = state.hooks.retry(&id, letter).await.map_err(refusal)?;
    Ok(Json(moved.into()))
}

/// Deletes events that a hook gave up.
#[utoipa::path(
    delete,
    path = "/api/v1/hooks/{id}/dead-letters",
    tag = "events",
    params(("id" = String, Path, description = "The hook's id"), WhichLetter),
    responses((status = 200, description = "They are gone", body = DeadLetterCount)),
)]
pub(super) async fn delete_dead_letters(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
    Params(which): Params<WhichLetter>,
) -> Result<Json<DeadLetterCount>, Refusal> {
    let letter = number(which.letter.as_deref(), "letter")?;
    let moved = state.hooks.discard(&id, letter).await.map_err(refusal)?;
    Ok(Json(moved.into()))
}

fn shown(state: &ApiState, id: &str, status: StatusCode) -> Result<Response, Refusal> {
    let hook = state.hooks.get(id).ok_or(UNKNOWN)?;
    let etag = Etag::of(&hook.spec);
    let mut reply = etag.answer(&HeaderMap::new(), Json(HookView::from(hook)));
    *reply.status_mut() = status;
    Ok(reply)
}

fn number(text: Option<&str>, field: &'static str) -> Result<Option<u64>, Refusal> {
    let what = "ids of dead letters are numbers that this API gave";
    let wrong = Refusal::fixed(StatusCode::BAD_REQUEST, "bad_query", what, Some(field));
    text.map(|text| text.parse().map_err(|_| wrong.clone())).transpose()
}

fn refusal(error: HooksError) -> Refusal {
    let text = error.to_string();
    match error {
        HooksError::Unknown => UNKNOWN,
        HooksError::UnknownLetter => {
            Refusal::new(StatusCode::NOT_FOUND, "unknown_dead_letter", text).at("letter")
        }
        HooksError::UnreadableLetter => {
            Refusal::new(StatusCode::CONFLICT, "unreadable_dead_letter", text).at("letter")
        }
        HooksError::Masked(misfit) => {
            Refusal::new(StatusCode::BAD_REQUEST, "bad_hook", text).at(misfit.field)
        }
        HooksError::FileTaken(_) => {
            Refusal::new(StatusCode::CONFLICT, "file_taken", text).at("target")
        }
        HooksError::ReadOnly => Refusal::new(StatusCode::CONFLICT, "read_only", text).at("id"),
        HooksError::Full => Refusal::new(StatusCode::CONFLICT, "too_many_hooks", text),
        HooksError::Misfit(misfit) => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_hook", text).at(misfit.field)
        }
        HooksError::Store(StoreError::Busy) | HooksError::Gone => BUSY,
        HooksError::Store(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", text),
    }
}

impl From<HookState> for HookView {
    fn from(hook: HookState) -> Self {
        let tally = hook.tally;
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).ok();
        let status = HookStatus {
            waiting: hook.waiting,
            waiting_bytes: hook.waiting_bytes,
            oldest_ms: hook.oldest.and_then(millis),
            dead_letters: hook.dead_letters,
            delivered: tally.delivered,
            failed: tally.failed,
            given_up: tally.given_up,
            failing: tally.failing,
        };
        Self { spec: hook.spec, origin: hook.origin, status }
    }
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.number.to_string(),
            reason: letter.reason,
            attempts: letter.attempts,
            time: letter.at,
            event: letter.event.map(|event| serde_json::from_str(&event).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use http::Method;

    const HOOKS: &str = "/api/v1/hooks";

    #[tokio::test]
    async fn hooks_are_made_shown_changed_and_deleted() {
        let bench = Bench::new("hooks");
        let body = r#"{"id":"a","type":"http","target":"http://127.0.0.1:9/","secret":"hunter22"}"#;
        let made = bench.answer(bench.request(&Method::POST, HOOKS, body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert_eq!((&made.json["secret"], &made.json["origin"]), (&"***".into(), &"api".into()));
        let again = bench.answer(bench.request(&Method::POST, HOOKS, body)).await;
        assert_eq!(again.json["error"]["code"], "hook_exists");

        let one = format!("{HOOKS}/a");
        let shown = bench.answer(bench.request(&Method::GET, &one, "")).await;
        let etag = shown.headers[http::header::ETAG].clone();
        let changed = r#"{"type":"http","target":"http://127.0.0.1:9/","secret":"***"}"#;
        let mut put = bench.request(&Method::PUT, &one, changed);
        put.headers_mut().insert(http::header::IF_MATCH, etag.clone());
        assert_eq!(bench.answer(put).await.status, StatusCode::OK);
        let hook = bench.state.hooks.get("a").unwrap();
        assert!(hook.spec.secret.is_some(), "a masked secret stays");
        let mut stale =
            bench.request(&Method::PUT, &one, r#"{"type":"http","target":"http://x/"}"#);
        stale.headers_mut().insert(http::header::IF_MATCH, "\"other\"".parse().unwrap());
        assert_eq!(bench.answer(stale).await.status, StatusCode::PRECONDITION_FAILED);

        let new = format!("{HOOKS}/new");
        let unsigned = bench.answer(bench.request(&Method::PUT, &new, changed)).await;
        assert_eq!(unsigned.status, StatusCode::BAD_REQUEST, "{unsigned:?}");
        assert_eq!(unsigned.json["error"]["field"], "secret");
        assert!(bench.state.hooks.get("new").is_none());
        let file = r#"{"type":"file","target":"x.jsonl"}"#;
        let made = bench.answer(bench.request(&Method::PUT, &new, file)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let other = format!("{HOOKS}/other");
        let second = bench.answer(bench.request(&Method::PUT, &other, file)).await;
        assert_eq!(second.status, StatusCode::CONFLICT, "{second:?}");
        assert_eq!(second.json["error"]["code"], "file_taken");
        let gone = bench.answer(bench.request(&Method::DELETE, &new, "")).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);

        for (body, code, field) in [
            (r#"{"id":"b","type":"http","target":"x"}"#, "bad_hook", "target"),
            (r#"{"id":"b","type":"file","target":"/etc/x"}"#, "bad_hook", "target"),
            (r#"{"id":"b","type":"http","target":"http://x/","try":1}"#, "bad_body", "try"),
        ] {
            let answer = bench.answer(bench.request(&Method::POST, HOOKS, body)).await;
            let error = &answer.json["error"];
            assert_eq!(
                (error["code"].as_str(), error["field"].as_str()),
                (Some(code), Some(field))
            );
        }
        let tested = bench.answer(bench.request(&Method::POST, &format!("{one}/test"), "")).await;
        assert_eq!(tested.json["error"]["code"], "delivery_failed");
        let list = bench.answer(bench.request(&Method::GET, HOOKS, "")).await;
        assert_eq!(list.json["hooks"].as_array().unwrap().len(), 1);
        let letters = format!("{one}/dead-letters");
        let none = bench.answer(bench.request(&Method::GET, &letters, "")).await;
        assert_eq!(none.json, serde_json::json!({ "items": [], "next": null }));
        let wrong = format!("{letters}?letter=x");
        let wrong = bench.answer(bench.request(&Method::DELETE, &wrong, "")).await;
        assert_eq!(wrong.json["error"]["field"], "letter");
        let gone = bench.answer(bench.request(&Method::DELETE, &one, "")).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        let unknown = bench.answer(bench.request(&Method::GET, &one, "")).await;
        assert_eq!(unknown.json["error"]["code"], "unknown_hook");
    }
}
