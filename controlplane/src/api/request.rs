//! Request: what handlers take from a request, each refused in the one shape of errors.
//!
//! `Body` is JSON, `Params` the query, `Segment` a part of the path, `Named` a stream's name in
//! the path. The extractors of axum would refuse in plain text.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use dataplane::ids::StreamName;
use http::StatusCode;
use http::request::Parts;
use hyper::body::Body as _;
use serde::de::DeserializeOwned;

use super::reply::Refusal;
use super::router::BODY_BYTES_MAX;

/// What is said to be too long is not waited for.
fn too_large(bytes_max: usize) -> Refusal {
    let what = format!("a body has at most {bytes_max} bytes here");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", what)
}

/// The JSON of a body of at most so many bytes, which is what the route allows.
pub(crate) struct Body<T, const BYTES_MAX: usize = BODY_BYTES_MAX>(pub(crate) T);

/// A body of text, of at most so many bytes, which is what the route allows.
pub(crate) struct Text<const BYTES_MAX: usize>(pub(crate) String);

/// The query of an address.
pub(crate) struct Params<T>(pub(crate) T);

/// One segment of a path, percent-decoded.
pub(crate) struct Segment<T>(pub(crate) T);

/// A stream's name in the path.
pub(crate) struct Named(pub(crate) StreamName);

impl<S, T, const BYTES_MAX: usize> FromRequest<S> for Body<T, BYTES_MAX>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if request.body().size_hint().lower() > BYTES_MAX as u64 {
            return Err(too_large(BYTES_MAX));
        }
        let body: Result<Json<T>, _> = Json::from_request(request, state).await;
        body.map(|Json(body)| Self(body)).map_err(|rejection| body_refusal(&rejection))
    }
}

impl<S: Send + Sync, const BYTES_MAX: usize> FromRequest<S> for Text<BYTES_MAX> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if request.body().size_hint().lower() > BYTES_MAX as u64 {
            return Err(too_large(BYTES_MAX));
        }
        String::from_request(request, state).await.map(Self).map_err(|rejection| {
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => too_large(BYTES_MAX),
                _ => Refusal::new(StatusCode::BAD_REQUEST, "bad_body", rejection.body_text()),
            }
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let params = Query::from_request_parts(parts, state).await;
        params.map(|Query(params)| Self(params)).map_err(|rejection: QueryRejection| {
            let text = rejection.body_text();
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "bad_query", text.clone());
            name_field(refusal, &text)
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(part)| Self(part)).map_err(|rejection: PathRejection| {
            Refusal::new(StatusCode::BAD_REQUEST, "bad_path", rejection.body_text())
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Segment(name) = Segment::<String>::from_request_parts(parts, state).await?;
        stream_name(&name, "name").map(Self)
    }
}

/// The name that `text` is; `field` says where it stood.
pub(crate) fn stream_name(text: &str, field: &'static str) -> Result<StreamName, Refusal> {
    StreamName::parse(text).ok_or(Refusal::fixed(
        StatusCode::BAD_REQUEST,
        "bad_stream_name",
        "a stream name has segments of letters, digits, _ and -, joined by /, at most 128 bytes",
        Some(field),
    ))
}

fn body_refusal(rejection: &JsonRejection) -> Refusal {
    let code = match rejection {
        JsonRejection::MissingJsonContentType(_) => "not_json",
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        _ => "bad_body",
    };
    let text = rejection.body_text();
    name_field(Refusal::new(rejection.status(), code, text.clone()), &text)
}

/// Adds the field that a deserialiser complains of, which it names between grave accents.
fn name_field(refusal: Refusal, text: &str) -> Refusal {
    let named = ["unknown field `", "missing field `", "duplicate field `"];
    let path = text.split_once("target type: ").map(|(_, rest)| rest);
    let field = named
        .iter()
        .find_map(|before| text.split_once(before)?.1.split_once('`'))
        .map(|(field, _)| field.to_owned())
        .or_else(|| {
            // "... target type: limits.max: invalid value": the path stands before the colon.
            let (path, _) = path?.split_once(": ")?;
            let is_path = |c: char| c.is_ascii_alphanumeric() || "._-[]".contains(c);
            (!path.is_empty() && path.chars().all(is_path)).then(|| path.to_owned())
        });
    match field {
        Some(field) => refusal.at(field),
        None => refusal,
    }
}
