//! Events: `GET /api/v1/events`, what happens while it happens.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::IntoParams;

use super::feed::{CLIENTS_MAX, Feed, PATTERNS_MAX, Wanted};
use super::reply::Refusal;
use super::request::Params;
use super::state::ApiState;
use crate::events::{Bus, EventId, StreamPattern, TypePattern};

/// What the handler answers from.
#[derive(Clone, Debug)]
pub(super) struct Feeds {
    bus: Bus,
    seats: Arc<Semaphore>,
}

impl Feeds {
    pub(super) fn new(bus: Bus) -> Self {
        Self { bus, seats: Arc::new(Semaphore::new(CLIENTS_MAX)) }
    }
}

const BAD_TYPE: Refusal = Refusal::fixed(
    StatusCode::BAD_REQUEST,
    "bad_event_type",
    "types are at most 32 names of events, `group.*` or `*`, joined by commas",
    Some("types"),
);
const BAD_STREAM: Refusal = Refusal::fixed(
    StatusCode::BAD_REQUEST,
    "bad_stream_pattern",
    "streams are at most 32 names or patterns with *, joined by commas",
    Some("stream"),
);
const FULL: Refusal = Refusal::fixed(
    StatusCode::SERVICE_UNAVAILABLE,
    "too_many_clients",
    "as many clients as allowed listen to events already",
    None,
);

/// Which events are told.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventFilter {
    /// Types such as `stream.started`, groups such as `session.*`, joined by commas.
    types: Option<String>,
    /// Names of streams, in which `*` stands for any letters, joined by commas.
    stream: Option<String>,
}

/// Events as Server-Sent Events, from now on or after that of `Last-Event-ID`.
///
/// Each `data:` is one `Event`, described by `#/components/schemas/Event`; `event:` is its type.
/// A client that reads too slowly gets `event: missed` with the number of events, and goes on.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "events",
    params(
        EventFilter,
        ("Last-Event-ID" = Option<String>, Header, description = "Goes on after that event"),
    ),
    responses((
        status = 200,
        description = "Events for as long as the client reads, at most five minutes",
        body = String,
        content_type = "text/event-stream",
    )),
)]
pub(super) async fn events(
    State(state): State<ApiState>,
    Params(filter): Params<EventFilter>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let wanted = Wanted {
        types: list(filter.types.as_deref(), TypePattern::parse).ok_or(BAD_TYPE)?,
        streams: list(filter.stream.as_deref(), StreamPattern::parse).ok_or(BAD_STREAM)?,
    };
    let Feeds { bus, seats } = &state.feeds;
    let seat = Arc::clone(seats).try_acquire_owned().map_err(|_| FULL)?;
    // What is no id of ours is from another server: then the client begins anew.
    let last = headers.get("last-event-id").and_then(|id| EventId::parse(id.to_str().ok()?));
    let cursor = last.map_or_else(|| bus.cursor(), |id| bus.cursor_after(id));
    let kind = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((kind, Body::new(Feed::start(cursor, wanted, seat))).into_response())
}

fn list<T>(text: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
    let list: Vec<T> = words.take(PATTERNS_MAX + 1).map(parse).collect::<Option<_>>()?;
    (list.len() <= PATTERNS_MAX).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use http::Method;

    #[tokio::test]
    async fn filters_are_judged_and_clients_bounded() {
        let bench = Bench::new("events");
        let path = "/api/v1/events";
        for (query, code) in [
            ("?types=none", "bad_event_type"),
            ("?types=stream.*,x", "bad_event_type"),
            ("?stream=a%20b", "bad_stream_pattern"),
            ("?kind=x", "bad_query"),
        ] {
            let request = bench.request(&Method::GET, &format!("{path}{query}"), "");
            let answer = bench.answer(request).await;
            assert_eq!(answer.json["error"]["code"], code, "{query}");
        }
        let seats = Arc::clone(&bench.state.feeds.seats);
        let _all = seats.acquire_many_owned(CLIENTS_MAX as u32).await.unwrap();
        let answer = bench.answer(bench.request(&Method::GET, path, "")).await;
        assert_eq!(answer.json["error"]["code"], "too_many_clients");
    }

    #[test]
    fn lists_have_a_bound() {
        let types = vec!["*"; PATTERNS_MAX].join(",");
        let parsed = |text: &str| list(Some(text), TypePattern::parse).map(|list| list.len());
        assert_eq!(parsed(&types), Some(PATTERNS_MAX));
        assert_eq!(parsed(&format!("{types},*")), None);
        assert_eq!((parsed(" , "), list(None, TypePattern::parse)), (Some(0), Some(Vec::new())));
    }
}
