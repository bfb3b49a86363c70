//! Hooks: who is told of events.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::etag::{self, Etag, condition};
use super::paging::Page;
use super::reply::{BUSY, Refusal};
use super::request::{Body, Params, Segment};
use super::state::ApiState;
use crate::hooks::{DeadLetter, HookSpec, HookState, HooksError, Made, Moved, Origin};
use crate::registry::{Condition, Versions};
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
    responses(
        (status = 200, description = "The hook; ETag names what is wanted", body = HookView),
        (status = 304, description = "What is wanted is as the asker knows it"),
    ),
)]
pub(super) async fn hook(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let hook = state.hooks.get(&id).ok_or(UNKNOWN)?;
    Ok(Etag::from(hook.version.clone()).answer(&headers, Json(HookView::from(hook))))
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
    // Of two who make one of the same id, one makes it.
    let only_new = Condition { is_not: Some(Versions::Any), is: None };
    match state.hooks.put(spec, only_new).await {
        Ok(made) => Ok(shown(made)),
        Err(HooksError::Unmet(_) | HooksError::ReadOnly) => {
            let what = "a hook of this id exists; PUT /api/v1/hooks/ID replaces it";
            Err(Refusal::fixed(StatusCode::CONFLICT, "hook_exists", what, Some("id")))
        }
        Err(error) => Err(refusal(error)),
    }
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
    if spec.id.is_empty() {
        spec.id.clone_from(&id);
    }
    if spec.id != id {
        let what = "the id of the address and that of the body differ";
        return Err(Refusal::fixed(StatusCode::BAD_REQUEST, "bad_hook", what, Some("id")));
    }
    state.hooks.put(spec, condition(&headers)).await.map(shown).map_err(refusal)
}

/// Deletes a hook, with what waits and its dead letters.
#[utoipa::path(
    delete,
    path = "/api/v1/hooks/{id}",
    tag = "events",
    params(
        ("id" = String, Path, description = "The hook's id"),
        ("If-Match" = Option<String>, Header, description = "Only if this is its ETag"),
    ),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete_hook(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    state.hooks.delete(&id, condition(&headers)).await.map_err(refusal)?;
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

/// A hook as a change left it, whoever changes it next.
fn shown(Made { created, state }: Made) -> Response {
    let etag = Etag::from(state.version.clone());
    let mut reply = etag.answer(&HeaderMap::new(), Json(HookView::from(state)));
    *reply.status_mut() = if created { StatusCode::CREATED } else { StatusCode::OK };
    reply
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
        HooksError::Unmet(unmet) => etag::refusal(unmet),
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
    use super::super::bench::{Answer, Bench};
    use super::*;
    use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
    use http::{HeaderName, HeaderValue, Method};

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

    /// A hook that is made, and its name.
    async fn made(bench: &Bench, body: &str) -> HeaderValue {
        let made = bench.answer(bench.request(&Method::POST, HOOKS, body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.headers[ETAG].clone()
    }

    /// The answer to a request of the hook `a`, under a condition.
    async fn asked(
        bench: &Bench,
        (method, body): (Method, &str),
        (name, value): (HeaderName, HeaderValue),
    ) -> Answer {
        let mut request = bench.request(&method, &format!("{HOOKS}/a"), body);
        request.headers_mut().insert(name, value);
        bench.answer(request).await
    }

    const BODY: &str = r#"{"id":"a","type":"http","target":"http://127.0.0.1:9/?k=v"}"#;

    #[tokio::test]
    async fn of_two_writers_who_know_the_same_hook_one_goes_through() {
        let bench = Bench::new("hooks-race");
        let post = || bench.answer(bench.request(&Method::POST, HOOKS, BODY));
        let (one, other) = tokio::join!(post(), post());
        assert_eq!((one.status, other.status), (StatusCode::CREATED, StatusCode::CONFLICT));
        assert_eq!(other.json["error"]["code"], "hook_exists");
        let known = one.headers[ETAG].clone();
        let put = |body| asked(&bench, (Method::PUT, body), (IF_MATCH, known.clone()));
        let named = |name: &str| BODY.replace("\"type\"", &format!("\"name\":\"{name}\",\"type\""));
        let (first, second) = (named("first"), named("second"));
        let (one, other) = tokio::join!(put(&first), put(&second));
        let statuses = (one.status, other.status);
        assert_eq!(statuses, (StatusCode::OK, StatusCode::PRECONDITION_FAILED));
        assert_eq!(one.json["name"], "first");
        assert_eq!(bench.state.hooks.get("a").unwrap().spec.name, "first");
    }

    #[tokio::test]
    async fn a_hook_is_deleted_by_who_knows_it_and_not_sent_to_who_has_it() {
        let bench = Bench::new("hooks-known");
        let known = made(&bench, BODY).await;
        let get = |etag| asked(&bench, (Method::GET, ""), (IF_NONE_MATCH, etag));
        let again = get(known.clone()).await;
        assert_eq!((again.status, &again.headers[ETAG]), (StatusCode::NOT_MODIFIED, &known));
        // What nobody is shown has a part in the name.
        let mut names = vec![known.clone()];
        for body in [
            BODY.replace("k=v", "k=w"),
            BODY.replace("\"id\"", "\"secret\":\"hunter22\",\"id\""),
            BODY.replace("\"id\"", "\"secret\":\"hunter23\",\"id\""),
        ] {
            let last = names.last().unwrap().clone();
            let put = asked(&bench, (Method::PUT, &body), (IF_MATCH, last.clone())).await;
            assert_eq!(put.status, StatusCode::OK, "{put:?}");
            assert_eq!(get(last).await.status, StatusCode::OK, "it is another one");
            names.push(put.headers[ETAG].clone());
        }
        let delete = |etag| asked(&bench, (Method::DELETE, ""), (IF_MATCH, etag));
        let stale = delete(known.clone()).await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(stale.json["error"]["field"], "If-Match");
        assert!(bench.state.hooks.get("a").is_some());
        assert_eq!(delete(names.pop().unwrap()).await.status, StatusCode::NO_CONTENT);
        // Nor can a secret be guessed by the name of what it is in.
        let other = made(&Bench::new("hooks-salt"), BODY).await;
        assert_ne!(other, known);
    }
}
