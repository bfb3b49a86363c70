//! Router: which path is answered by what, and what holds for every answer.
//!
//! A room of the API gives its handlers as `routes!(...)`, each with its description: add them to
//! one of the four lists of [`described`] and they are served, guarded and documented.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::address::fold;
use super::document;
use super::guard::Guard;
use super::listing::{Seats, take_seat};
use super::reply::Refusal;
use super::state::ApiState;
use super::transfer;
use super::{
    auth, config, coordinator, events, health, hooks, live, moving, penalties, recordings,
    requests, sessions, streams, templates, tenants, usage,
};
use crate::console::pages;

/// Bytes of a request's body at most.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// A request is answered within this, whatever happens; only the head of an endless answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// The routes of the control listener.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = described(&state).split_for_parts();
    state.document.publish(document);
    let routes = routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(state.clone(), check_host))
        .layer(from_fn_with_state(state.requests.clone(), requests::count))
        .with_state(state);
    // Outside of the routes, because it says which of them is meant.
    Router::new().fallback_service(routes).layer(map_request(fold))
}

/// Every handler with its description.
fn described(state: &ApiState) -> OpenApiRouter<ApiState> {
    let open = OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(live::metrics))
        .routes(routes!(live::version));
    let lists = OpenApiRouter::new()
        .routes(routes!(streams::streams))
        .routes(routes!(templates::templates))
        .routes(routes!(tenants::tenants))
        .routes(routes!(sessions::sessions))
        .routes(routes!(transfer::export_streams))
        .route_layer(from_fn_with_state(Seats::default(), take_seat));
    let reports = OpenApiRouter::new()
        .routes(routes!(usage::usage))
        .route_layer(from_fn_with_state(Seats::alone(), take_seat));
    // The seat is taken before the body is read: that is what it takes the memory for.
    let large = OpenApiRouter::new()
        .routes(routes!(streams::change_streams))
        .routes(routes!(transfer::import_streams))
        .route_layer(from_fn_with_state(Seats::alone(), take_seat));
    let closed = OpenApiRouter::new()
        .routes(routes!(live::shards))
        .routes(routes!(
            streams::stream,
            streams::put_stream,
            streams::patch_stream,
            streams::delete_stream
        ))
        .routes(routes!(streams::restart_stream))
        .routes(routes!(
            templates::template,
            templates::put_template,
            templates::patch_template,
            templates::delete_template
        ))
        .routes(routes!(
            tenants::tenant,
            tenants::put_tenant,
            tenants::patch_tenant,
            tenants::delete_tenant
        ))
        .routes(routes!(moving::move_stream))
        .routes(routes!(events::events))
        .routes(routes!(sessions::session, sessions::kick_session))
        .routes(routes!(hooks::hooks, hooks::create_hook))
        .routes(routes!(hooks::hook, hooks::put_hook, hooks::delete_hook))
        .routes(routes!(hooks::test_hook))
        .routes(routes!(hooks::dead_letters, hooks::delete_dead_letters))
        .routes(routes!(hooks::retry_dead_letters))
        .routes(routes!(health::health))
        .routes(routes!(auth::auth))
        .routes(routes!(auth::forget_verdicts))
        .routes(routes!(coordinator::coordinator))
        .routes(routes!(coordinator::peers))
        .routes(routes!(recordings::recordings))
        .routes(routes!(recordings::recording, recordings::delete_recording))
        .routes(routes!(penalties::penalties, penalties::lift_penalty))
        .routes(routes!(config::config))
        .routes(routes!(config::reload))
        .routes(routes!(document::openapi))
        .merge(lists)
        .merge(reports)
        .merge(large)
        .route_layer(middleware::from_fn_with_state(state.clone(), check_token));
    open.merge(closed).merge(pages().into())
}

async fn check_host(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if let Err(refusal) = state.guard.host(request.headers()) {
        return refusal.into_response();
    }
    let answer = tokio::time::timeout(ANSWER_DEADLINE, next.run(request)).await;
    let mut reply = answer.unwrap_or_else(|_| {
        let (status, what) = (StatusCode::SERVICE_UNAVAILABLE, "no answer in time");
        Refusal::fixed(status, "timeout", what, None).into_response()
    });
    let headers = reply.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

async fn check_token(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Err(refusal) = state.guard.token(headers) {
        let challenge = [(header::WWW_AUTHENTICATE, Guard::challenge(headers))];
        return (challenge, refusal).into_response();
    }
    match Guard::origin(request.method(), headers) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn not_found() -> Refusal {
    Refusal::fixed(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", None)
}

async fn method_not_allowed() -> Refusal {
    Refusal::fixed(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method",
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use http::Method;
    use std::collections::BTreeSet;

    /// The paths of a router, which tells them only to a debugger.
    fn paths(router: &Router<ApiState>) -> BTreeSet<String> {
        let text = format!("{router:?}");
        let (text, _) = text.split_once("fallback_router").unwrap();
        let quoted = text.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
        quoted.map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn every_route_is_described_and_every_description_is_a_route() {
        let mut bench = Bench::new("described");
        let (routes, document) = described(&bench.state).split_for_parts();
        let document = serde_json::to_value(document).unwrap();
        let described = document["paths"].as_object().unwrap();
        let expected: BTreeSet<String> = described.keys().cloned().collect();
        let mut served = paths(&routes);
        // The console is for people: it describes itself.
        served.retain(|path| path != "/" && !path.starts_with("/console/"));
        assert_eq!(served, expected);

        // Whoever is asked may not answer here: a stranger gets no further than the token, and
        // the open pages need nobody.
        bench.asks.close();
        for (path, item) in described {
            for method in ["get", "put", "post", "patch", "delete"] {
                let concrete = path.replace(['{', '}'], "");
                let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let answer = bench.answer(bench.stranger(&verb, &concrete)).await;
                let refused = answer.status == StatusCode::METHOD_NOT_ALLOWED;
                let operation = &item[method];
                assert_eq!(refused, operation.is_null(), "{method} {path}: {answer:?}");
                if refused {
                    assert!(answer.headers.contains_key(header::ALLOW), "{method} {path}");
                    assert_eq!(answer.json["error"]["code"], "method_not_allowed");
                    continue;
                }
                let open = operation["security"] == serde_json::json!([{}]);
                let shut = answer.status == StatusCode::UNAUTHORIZED;
                assert_eq!(shut, !open, "{method} {path}: {answer:?}");
                assert!(operation["description"].is_string() || operation["summary"].is_string());
                let name = operation["operationId"].as_str().unwrap();
                let same = described.values().flat_map(|item| item.as_object().unwrap().values());
                let same = same.filter(|other| other["operationId"] == name).count();
                assert_eq!(same, 1, "two handlers are called {name}");
            }
        }
    }

    #[tokio::test]
    async fn whatever_is_refused_is_refused_in_one_shape() {
        let bench = Bench::new("shape");
        let moving = "/api/v1/shards/move";
        let large = format!("{{\"stream\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
        for (method, path, body, status, code, field) in [
            (Method::GET, "/nothing", "", 404, "not_found", None),
            (Method::PUT, "/healthz", "", 405, "method_not_allowed", None),
            (Method::POST, moving, "", 400, "bad_body", None),
            (Method::POST, moving, "{", 400, "bad_body", None),
            (Method::POST, moving, "{\"stream\":\"a\"}", 422, "bad_body", Some("shard")),
            (Method::POST, moving, "{\"x\":1}", 422, "bad_body", Some("x")),
            (Method::POST, moving, "{\"stream\":1}", 422, "bad_body", Some("stream")),
            (
                Method::POST,
                moving,
                "{\"stream\":\"..\",\"shard\":1}",
                400,
                "bad_stream_name",
                Some("stream"),
            ),
            (Method::POST, moving, &large, 413, "body_too_large", None),
        ] {
            let answer = bench.answer(bench.request(&method, path, body)).await;
            assert_eq!(answer.status.as_u16(), status, "{path} {body:.40}: {answer:?}");
            let error = &answer.json["error"];
            assert_eq!((error["code"].as_str(), error["field"].as_str()), (Some(code), field));
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
        }
        let mut plain = bench.request(&Method::POST, moving, "{}");
        plain.headers_mut().remove(header::CONTENT_TYPE);
        let answer = bench.answer(plain).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(answer.json["error"]["code"], "not_json");
    }

    #[tokio::test]
    async fn a_stranger_is_told_how_to_show_the_token() {
        let bench = Bench::new("stranger");
        let answer = bench.answer(bench.stranger(&Method::GET, "/api/v1/shards")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let shown = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(shown.starts_with("Bearer") && shown.contains("Basic"), "{shown}");
    }

    #[tokio::test]
    async fn the_document_is_served_once() {
        let bench = Bench::new("document");
        let path = "/api/v1/openapi.json";
        let answer = bench.answer(bench.request(&Method::GET, path, "")).await;
        assert_eq!(answer.json["openapi"], "3.1.0");
        assert_eq!(
            answer.json["paths"]["/api/v1/shards/move"]["post"]["responses"]["default"]["content"]
                ["application/json"]["schema"]["$ref"],
            "#/components/schemas/ErrorBody"
        );
        let mut again = bench.request(&Method::GET, path, "");
        again.headers_mut().insert(header::IF_NONE_MATCH, answer.headers[header::ETAG].clone());
        assert_eq!(bench.answer(again).await.status, StatusCode::NOT_MODIFIED);
    }
}
