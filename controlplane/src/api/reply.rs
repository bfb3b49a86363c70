//! Reply: errors of the API in their one shape.
//!
//! `{"error": {"code", "message", "field"}}`: `code` is a stable word for programs, `message` a
//! sentence for people, `field` the part of the request that is wrong, or null.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// The body of every answer that is an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// A stable word for programs.
    #[schema(value_type = String, example = "not_found")]
    code: &'static str,
    /// A sentence for people.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
    /// The part of the request that is wrong.
    #[schema(value_type = Option<String>)]
    field: Option<Cow<'static, str>>,
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: StatusCode,
    /// One fixed word.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) message: Cow<'static, str>,
    /// The part of the request that is wrong.
    pub(crate) field: Option<Cow<'static, str>>,
}

/// Who hears 503 asks again after so many seconds.
const AGAIN_S: &str = "2";

/// Nobody answers.
pub(crate) const BUSY: Refusal = Refusal::fixed(
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "the server is busy or going down",
    None,
);

impl Refusal {
    /// A refusal in words that are always the same.
    pub(crate) const fn fixed(
        status: StatusCode,
        code: &'static str,
        message: &'static str,
        field: Option<&'static str>,
    ) -> Self {
        let field = match field {
            Some(field) => Some(Cow::Borrowed(field)),
            None => None,
        };
        Self { status, code, message: Cow::Borrowed(message), field }
    }

    /// A refusal of this request, in words that name what it asked.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, message: message.into(), field: None }
    }

    /// The part of the request that is wrong.
    #[must_use]
    pub(crate) fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message, field } = self;
        let body = ErrorBody { error: ErrorDetail { code, message, field } };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(AGAIN_S));
        }
        response
    }
}
