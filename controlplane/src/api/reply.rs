//! Reply: errors of the API in their one shape.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

/// `{"error": {"code", "message", "field"}}`
#[derive(Serialize)]
struct Body {
    error: Inner,
}

#[derive(Serialize)]
struct Inner {
    code: &'static str,
    message: &'static str,
    field: Option<&'static str>,
}

/// Why a request was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: StatusCode,
    /// One fixed word.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) message: &'static str,
    /// The part of the request that is wrong.
    pub(crate) field: Option<&'static str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message, field } = self;
        let mut reply =
            (status, Json(Body { error: Inner { code, message, field } })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = http::HeaderValue::from_static("Bearer");
            reply.headers_mut().insert(http::header::WWW_AUTHENTICATE, scheme);
        }
        reply
    }
}
