//! Document: the OpenAPI description, made of the handlers themselves.
//!
//! Every route is registered together with its description, so none is missing. What holds for all
//! of them is added here once: how the token is shown, and the shape of errors.
//!
//! Spec: OpenAPI 3.1.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, header};
use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::etag::Etag;
use super::reply::{BUSY, ErrorBody, Refusal};
use super::state::ApiState;
use crate::events::Event;

/// The parts that no handler tells.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Grandstand",
        description = "The control plane of a Grandstand node. Errors have one shape: \
                       `{\"error\": {\"code\", \"message\", \"field\"}}`, with stable codes. Names \
                       with slashes stand in a path as they are or with `%2F`.",
        version = env!("CARGO_PKG_VERSION"),
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/")),
    components(schemas(ErrorBody, Event)),
    security(("bearer" = []), ("basic" = [])),
    modifiers(&Schemes),
)]
struct Frame;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = |scheme| SecurityScheme::Http(Http::new(scheme));
        components.add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer));
        components.add_security_scheme("basic", scheme(HttpAuthScheme::Basic));
    }
}

/// What a router of handlers starts from.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}

/// The document as it is served, once all handlers have told theirs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document(Arc<OnceLock<(Bytes, Etag)>>);

impl Document {
    /// Adds what holds for every handler, and keeps the text.
    pub(super) fn publish(&self, mut document: utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            operations.into_iter().flatten().for_each(refuses);
        }
        let mut document = serde_json::to_value(&document).unwrap_or_default();
        tell_unsigned(&mut document);
        let text = document.to_string();
        let etag = Etag::of_bytes(text.as_bytes());
        // A second router of the same state has the same handlers.
        let _ = self.0.set((text.into(), etag));
    }
}

/// The formats of integers have a sign: what has none is told by its bounds.
fn tell_unsigned(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tell_unsigned),
        Value::Object(members) => {
            members.values_mut().for_each(tell_unsigned);
            let least = members.get("minimum").and_then(Value::as_f64);
            let most = match members.get("format").and_then(Value::as_str) {
                Some("int32") => u64::from(u32::MAX),
                Some("int64") => u64::MAX,
                _ => return,
            };
            if least.is_some_and(|least| least >= 0.0) {
                members.remove("format");
                members.entry("maximum").or_insert(most.into());
            }
        }
        _ => {}
    }
}

/// Every handler may refuse, in the one shape.
fn refuses(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    let error = ResponseBuilder::new()
        .description("An error, in the one shape of errors")
        .content("application/json", content)
        .build();
    operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(error));
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "node",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), (status = 304)),
)]
pub(super) async fn openapi(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (text, etag) = state.document.0.get().ok_or(BUSY)?.clone();
    Ok(etag.answer(&headers, ([(header::CONTENT_TYPE, "application/json")], text)))
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::tell_unsigned;
    use http::Method;
    use serde_json::{Value, json};

    /// The document as it is served.
    async fn document() -> Value {
        let bench = Bench::new("schemas");
        bench.answer(bench.request(&Method::GET, "/api/v1/openapi.json", "")).await.json
    }

    /// Every schema of the document, with the path to it.
    fn schemas(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        let below = |key: &str| format!("{path}/{key}");
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    schemas(member, &below(key), found);
                }
                found.push((path.to_owned(), value.clone()));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| {
                    schemas(item, &below(&at.to_string()), found);
                });
            }
            _ => {}
        }
    }

    /// True of a schema that says of an object nothing but that it is one.
    fn is_bare(document: &Value, schema: &Value) -> bool {
        if let Some(to) = schema["$ref"].as_str() {
            let meant = document.pointer(&to[1..]).unwrap_or_else(|| panic!("{to} is nowhere"));
            return is_bare(document, meant);
        }
        let parts = ["oneOf", "anyOf", "allOf"].map(|kind| schema[kind].as_array());
        let parts: Vec<_> = parts.into_iter().flatten().flatten().collect();
        if !parts.is_empty() {
            return parts.into_iter().any(|part| is_bare(document, part));
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            Value::Null => return true,
            kind => vec![kind.clone()],
        };
        let says = ["properties", "additionalProperties"].iter().any(|key| !schema[key].is_null());
        kinds.contains(&"object".into()) && !says
    }

    #[tokio::test]
    async fn every_body_and_every_description_tells_its_fields() {
        let document = document().await;
        let mut found = Vec::new();
        schemas(&document, "", &mut found);
        let (mut bodies, mut descriptions) = (0, 0);
        for (path, schema) in &found {
            if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(&to[1..]).is_some(), "{path}: {to} is nowhere");
            }
            let body = path.contains("/requestBody/content/") && path.ends_with("/schema");
            let field = path.rsplit_once("/properties/").map(|(_, field)| field);
            let description = matches!(field, Some("spec" | "patch" | "resolved" | "policy"));
            if body || description {
                assert!(!is_bare(&document, schema), "{path}: {schema}");
            }
            bodies += usize::from(body);
            descriptions += usize::from(description);
        }
        assert!(bodies >= 12 && descriptions >= 6, "{bodies} {descriptions}");
    }

    #[test]
    fn a_bare_object_is_known_wherever_it_hides() {
        let document = serde_json::json!({ "a": { "type": "object" } });
        for (schema, bare) in [
            (r##"{"$ref": "#/a"}"##, true),
            (r#"{"oneOf": [{"type": "null"}, {"type": ["object", "null"]}]}"#, true),
            ("{}", true),
            (r#"{"type": "object", "properties": {"a": {"type": "string"}}}"#, false),
            (r#"{"type": "object", "additionalProperties": {"type": "string"}}"#, false),
            (r#"{"type": "string"}"#, false),
        ] {
            assert_eq!(is_bare(&document, &schema.parse().unwrap()), bare, "{schema}");
        }
    }

    #[tokio::test]
    async fn what_has_no_sign_is_told_by_its_bounds() {
        let mut told = json!([
            {"type": ["integer", "null"], "format": "int32", "minimum": 0},
            {"type": "integer", "format": "int64", "minimum": 1, "maximum": 7},
            {"type": "integer", "format": "int64"},
        ]);
        tell_unsigned(&mut told);
        let bounds = json!([
            {"type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX},
            {"type": "integer", "minimum": 1, "maximum": 7},
            {"type": "integer", "format": "int64"},
        ]);
        assert_eq!(told, bounds);
        let document = document().await;
        let quota = document.pointer("/components/schemas/QuotaSpec/properties").unwrap();
        let most = |field: &str| quota[field]["maximum"].as_u64();
        assert_eq!(
            (most("players_max"), most("bytes_max")),
            (Some(u32::MAX.into()), Some(u64::MAX))
        );
    }
}
