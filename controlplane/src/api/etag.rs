//! ETag: a strong name for one state of a resource, and the conditions that speak of it.
//!
//! The name is a hash of the state as JSON: the same state has the same name after a restart and
//! on another node. `If-None-Match` spares an answer that is known; `If-Match` lets a change
//! through only if nobody else changed the resource meanwhile (412 otherwise).
//!
//! Spec: RFC 9110 8.8.3, 13.1.

use axum::response::{IntoResponse, Response};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::reply::Refusal;

/// Bytes of the hash that are shown.
const HASH_BYTES: usize = 12;

/// The name of a state, in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Etag(String);

impl Etag {
    /// The name of the state that `value` is.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        Self::of_bytes(&serde_json::to_vec(value).unwrap_or_default())
    }

    /// The name of a body that is already bytes.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let hash: String = digest.iter().take(HASH_BYTES).map(|b| format!("{b:02x}")).collect();
        Self(format!("\"{hash}\""))
    }

    /// Lets a change through if `If-Match` and `If-None-Match` agree with what `exists`.
    ///
    /// Errors: 412 with what to do.
    pub(crate) fn check(exists: Option<&Self>, headers: &HeaderMap) -> Result<(), Refusal> {
        let matches = |name| exists.is_some_and(|etag| etag.is_in(headers, name));
        if headers.contains_key(IF_MATCH) && !matches(IF_MATCH) {
            return Err(Refusal::fixed(
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "somebody else changed it; get it again and decide anew",
                Some("If-Match"),
            ));
        }
        if matches(IF_NONE_MATCH) {
            return Err(Refusal::fixed(
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "it exists already in that state",
                Some("If-None-Match"),
            ));
        }
        Ok(())
    }

    /// `answer` under this name, or 304 if the asker knows it.
    pub(crate) fn answer(self, headers: &HeaderMap, answer: impl IntoResponse) -> Response {
        let known = self.is_in(headers, IF_NONE_MATCH);
        let name = self.header();
        if known {
            return (StatusCode::NOT_MODIFIED, [(ETAG, name)]).into_response();
        }
        ([(ETAG, name)], answer).into_response()
    }

    /// The header's value.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::try_from(self.0).expect("hex in quotes is a header's value")
    }

    /// Whether the header `name` lists it, or anything with `*`.
    fn is_in(&self, headers: &HeaderMap, name: HeaderName) -> bool {
        // A weak name is never equal to a strong one where a change depends on it.
        let weak_counts = name == IF_NONE_MATCH;
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim).any(|listed| {
            let strong = if weak_counts { listed.strip_prefix("W/") } else { None };
            listed == "*" || strong.unwrap_or(listed) == self.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_change_goes_through_only_if_it_knows_the_state() {
        let (one, two) = (Etag::of(&"one"), Etag::of(&"two"));
        assert_ne!(one, two);
        let (known, other) = (one.0.clone(), two.0.clone());
        for (name, value, exists, expected) in [
            (IF_MATCH, known.as_str(), Some(&one), true),
            (IF_MATCH, &format!("{other}, {known}"), Some(&one), true),
            (IF_MATCH, "*", Some(&one), true),
            (IF_MATCH, &other, Some(&one), false),
            (IF_MATCH, &format!("W/{known}"), Some(&one), false),
            (IF_MATCH, "*", None, false),
            (IF_NONE_MATCH, "*", None, true),
            (IF_NONE_MATCH, "*", Some(&one), false),
            (IF_NONE_MATCH, &other, Some(&one), true),
        ] {
            let checked = Etag::check(exists, &headers(name.clone(), value));
            assert_eq!(checked.is_ok(), expected, "{name}: {value}, {exists:?}");
        }
        assert!(Etag::check(None, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_known_state_is_not_sent_again() {
        let etag = Etag::of(&"one");
        let asked = headers(IF_NONE_MATCH, &format!("\"x\", W/{}", etag.0));
        let answer = etag.clone().answer(&asked, "body");
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer.headers()[ETAG], etag.0);
        assert_eq!(etag.answer(&HeaderMap::new(), "body").status(), StatusCode::OK);
    }
}
