//! Request: what handlers take from a request, each refused in the one shape of errors.
//!
//! `Body` is JSON, `Params` the query, `Segment` a part of the path, `Named` a stream's name in
//! the path. The extractors of axum would refuse in plain text.

use std::future::poll_fn;
use std::pin::Pin;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use dataplane::ids::StreamName;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;

use super::reply::Refusal;
use super::router::BODY_BYTES_MAX;
use super::state::ApiState;

/// Pieces of a body that are taken before others have their turn on the control thread.
const FRAMES_PER_TURN: usize = 1_024;

/// What is said to be too long is not waited for.
fn too_large(bytes_max: usize) -> Refusal {
    let what = format!("a body has at most {bytes_max} bytes here");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", what)
}

fn too_long(bytes_max: usize) -> Refusal {
    let what = format!(
        "an import has at most {bytes_max} bytes here; say it in several, or raise \
         streams.import_bytes_max"
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", what)
}

/// The JSON of a body of at most so many bytes, which is what the route allows.
pub(crate) struct Body<T>(pub(crate) T);

/// A body of text, of at most as many bytes as an import may have.
pub(crate) struct Text(pub(crate) String);

/// The query of an address.
pub(crate) struct Params<T>(pub(crate) T);

/// One segment of a path, percent-decoded.
pub(crate) struct Segment<T>(pub(crate) T);

/// A stream's name in the path.
pub(crate) struct Named(pub(crate) StreamName);

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large(BODY_BYTES_MAX));
        }
        let body: Result<Json<T>, _> = Json::from_request(request, state).await;
        body.map(|Json(body)| Self(body)).map_err(|rejection| body_refusal(&rejection))
    }
}

impl FromRequest<ApiState> for Text {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refusal> {
        text_in(request.into_body(), state.import_bytes_max).await.map(Self)
    }
}

/// The text of a body. It is kept in one piece as it comes: a body may come in pieces of one
/// letter, each of which holds what was received with it.
async fn text_in(mut body: axum::body::Body, bytes_max: usize) -> Result<String, Refusal> {
    let said = body.size_hint();
    if said.lower() > bytes_max as u64 {
        return Err(too_long(bytes_max));
    }
    // The system gives what is written to alone, so that no growth makes two of it.
    let room = said.exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(bytes_max);
    let (mut text, mut frames) = (Vec::with_capacity(room), 0);
    let wrong = |what: String| Refusal::new(StatusCode::BAD_REQUEST, "bad_body", what);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| wrong(error.to_string()))?;
        let data = frame.data_ref().map_or(b"".as_slice(), |data| &data[..]);
        if data.len() > bytes_max - text.len() {
            return Err(too_long(bytes_max));
        }
        text.extend_from_slice(data);
        frames += 1;
        if frames % FRAMES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    String::from_utf8(text).map_err(|error| wrong(error.to_string()))
}

/// What a text of JSON says, which was a body by itself.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let read: Result<Json<T>, _> = Json::from_bytes(text.as_bytes());
    read.map(|Json(value)| value).map_err(|rejection| body_refusal(&rejection))
}

/// Errors: a body is not said to be JSON.
pub(crate) fn says_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    Err(Refusal::fixed(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "say what the body is by Content-Type: application/json",
        None,
    ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use axum::body::Bytes;
    use hyper::body::Frame;

    /// A body in pieces of one letter, which sees that none is kept.
    struct Letters {
        left: usize,
        letter: u8,
        held: Arc<()>,
    }

    /// The bytes of a piece, and what they hold.
    struct Letter {
        letter: [u8; 1],
        _held: Arc<()>,
    }

    impl AsRef<[u8]> for Letter {
        fn as_ref(&self) -> &[u8] {
            &self.letter
        }
    }

    impl hyper::body::Body for Letters {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            assert_eq!(Arc::strong_count(&self.held), 1, "the piece before is kept");
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            let letter = Letter { letter: [self.letter], _held: Arc::clone(&self.held) };
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(letter)))))
        }
    }

    #[tokio::test]
    async fn pieces_of_a_body_are_kept_as_one_text_that_is_bounded() {
        const BYTES_MAX: usize = 3 * FRAMES_PER_TURN + 1;
        let told = async |left: usize, letter: u8| {
            let letters = Letters { left, letter, held: Arc::default() };
            text_in(axum::body::Body::new(letters), BYTES_MAX).await
        };
        let text = told(BYTES_MAX, b'a').await.unwrap();
        assert_eq!((text.len(), text.capacity()), (BYTES_MAX, BYTES_MAX));
        assert_eq!(told(BYTES_MAX + 1, b'a').await, Err(too_long(BYTES_MAX)));
        assert_eq!(told(1, 0xff).await.unwrap_err().code, "bad_body");
        assert_eq!(told(0, b'a').await.unwrap(), "");
    }
}
