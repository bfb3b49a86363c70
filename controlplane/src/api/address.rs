//! Address: names with slashes in the path of a request.
//!
//! A stream is named `news/studio/1`, and a person writes its address so:
//! `/api/v1/streams/news/studio/1`. A program writes `/api/v1/streams/news%2Fstudio%2F1`, which is
//! the form that the routes know. This turns the first into the second before a route is looked
//! for.
//!
//! Only a POST has a verb behind the name, as in `POST /api/v1/streams/news/1/restart`. So a stream
//! that is itself called `news/restart` can be read, changed and deleted by its plain path; only
//! what is done to it wants `news%2Frestart/restart`.

use axum::extract::Request;
use http::{Method, Uri};

/// Where names stand.
const NAMED: &[&str] = &["/api/v1/streams/", "/api/v1/templates/"];
/// What can be done to what is named.
const VERBS: &[&str] = &["restart"];

/// The request with its name as one segment.
pub(super) async fn fold(mut request: Request) -> Request {
    let uri = request.uri();
    if let Some(folded) = folded(request.method(), uri.path()) {
        let whole = match uri.query() {
            Some(query) => format!("{folded}?{query}"),
            None => folded,
        };
        // What was part of an address is part of one again.
        if let Ok(uri) = Uri::try_from(whole) {
            *request.uri_mut() = uri;
        }
    }
    request
}

fn folded(method: &Method, path: &str) -> Option<String> {
    let (before, rest) = NAMED
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix).map(|rest| (*prefix, rest)))
        .filter(|(_, rest)| rest.contains('/'))?;
    let verb = rest.rsplit_once('/').filter(|(_, verb)| VERBS.contains(verb));
    match verb.filter(|_| method == Method::POST) {
        Some((name, verb)) => Some(format!("{before}{}/{verb}", name.replace('/', "%2F"))),
        None => Some(format!("{before}{}", rest.replace('/', "%2F"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_whatever_the_method() {
        for (method, path, expected) in [
            (Method::GET, "/api/v1/streams/a/b/c", Some("/api/v1/streams/a%2Fb%2Fc")),
            (Method::GET, "/api/v1/streams/a/restart", Some("/api/v1/streams/a%2Frestart")),
            (Method::POST, "/api/v1/streams/a/restart", Some("/api/v1/streams/a/restart")),
            (Method::POST, "/api/v1/streams/a/b/restart", Some("/api/v1/streams/a%2Fb/restart")),
            (Method::POST, "/api/v1/streams/a%2Fb/restart", Some("/api/v1/streams/a%2Fb/restart")),
            (Method::POST, "/api/v1/streams/bulk", None),
            (Method::PUT, "/api/v1/templates/a/b", Some("/api/v1/templates/a%2Fb")),
            (Method::GET, "/api/v1/streams/a%2Fb", None),
            (Method::GET, "/api/v1/streams/a//b", Some("/api/v1/streams/a%2F%2Fb")),
            (Method::GET, "/api/v1/streams/", None),
            (Method::GET, "/api/v1/streams", None),
            (Method::GET, "/api/v1/sessions/a/b", None),
        ] {
            assert_eq!(folded(&method, path).as_deref(), expected, "{method} {path}");
        }
    }
}
