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

use super::reply::Refusal;
use crate::registry::{Condition, Unmet, Version, Versions};

/// The name of a state, which is shown in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Etag(Version);

impl From<Version> for Etag {
    fn from(version: Version) -> Self {
        Self(version)
    }
}

impl Etag {
    /// The name of the state that `value` is.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        Self(Version::of(value))
    }

    /// The name of a body that is already bytes.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(Version::of_bytes(bytes))
    }

    /// Lets a change through if `If-Match` and `If-None-Match` agree with what `exists`.
    ///
    /// Errors: 412 with what to do.
    pub(crate) fn check(exists: Option<&Self>, headers: &HeaderMap) -> Result<(), Refusal> {
        condition(headers).check(exists.map(|etag| &etag.0)).map_err(refusal)
    }

    /// `answer` under this name, or 304 if the asker knows it.
    pub(crate) fn answer(self, headers: &HeaderMap, answer: impl IntoResponse) -> Response {
        let asked = Condition { is: None, ..condition(headers) };
        let known = asked.check(Some(&self.0)).is_err();
        let name = self.header();
        if known {
            return (StatusCode::NOT_MODIFIED, [(ETAG, name)]).into_response();
        }
        ([(ETAG, name)], answer).into_response()
    }

    /// The header's value.
    pub(crate) fn header(&self) -> HeaderValue {
        let quoted = format!("\"{}\"", self.0.as_str());
        HeaderValue::try_from(quoted).expect("hex in quotes is a header's value")
    }
}

/// What the headers of a request ask of what it would change.
pub(crate) fn condition(headers: &HeaderMap) -> Condition {
    // A weak name is never equal to a strong one where a change depends on it.
    Condition { is: listed(headers, IF_MATCH), is_not: listed(headers, IF_NONE_MATCH) }
}

fn listed(headers: &HeaderMap, name: HeaderName) -> Option<Versions> {
    headers.contains_key(&name).then(|| {
        let weak_counts = name == IF_NONE_MATCH;
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        let words: Vec<_> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        if words.contains(&"*") {
            return Versions::Any;
        }
        let named = words.into_iter().filter_map(|word| {
            let strong = if weak_counts { word.strip_prefix("W/") } else { None };
            let quoted = strong.unwrap_or(word).strip_prefix('"')?.strip_suffix('"')?;
            Some(Version::named(quoted))
        });
        Versions::These(named.collect())
    })
}

/// 412, and what to do.
pub(crate) const fn refusal(unmet: Unmet) -> Refusal {
    let (message, field) = match unmet {
        Unmet::Changed => ("somebody else changed it; get it again and decide anew", "If-Match"),
        Unmet::Exists => ("it exists already in that state", "If-None-Match"),
    };
    Refusal::fixed(StatusCode::PRECONDITION_FAILED, "precondition_failed", message, Some(field))
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
        let quoted = |etag: &Etag| etag.header().to_str().unwrap().to_owned();
        let (known, other) = (quoted(&one), quoted(&two));
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
        let asked =
            headers(IF_NONE_MATCH, &format!("\"x\", W/{}", etag.header().to_str().unwrap()));
        let answer = etag.clone().answer(&asked, "body");
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer.headers()[ETAG], etag.header());
        assert_eq!(etag.answer(&HeaderMap::new(), "body").status(), StatusCode::OK);
    }
}
