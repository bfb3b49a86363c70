//! Address: names with slashes in the path of a request.
//!
//! A stream is named `news/studio/1`, and a person writes its address so:
//! `/api/v1/streams/news/studio/1`. A program writes `/api/v1/streams/news%2Fstudio%2F1`, which is
//! the form that the routes know. This turns the first into the second before a route is looked
//! for.
//!
//! What can be done to a stream stands behind its name, as in
//! `POST /api/v1/streams/news/1/restart`. So a stream that is itself called `news/restart` wants
//! the form with `%2F`.

use axum::extract::Request;
use http::Uri;

/// Where names stand.
const NAMED: &[&str] = &["/api/v1/streams/", "/api/v1/templates/"];
/// What can be done to what is named.
const VERBS: &[&str] = &["restart"];

/// The request with its name as one segment.
pub(super) async fn fold(mut request: Request) -> Request {
    let uri = request.uri();
    if let Some(folded) = folded(uri.path()) {
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

fn folded(path: &str) -> Option<String> {
    let (before, rest) = NAMED
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix).map(|rest| (*prefix, rest)))
        .filter(|(_, rest)| rest.contains('/'))?;
    let verb = rest.rsplit_once('/').filter(|(_, verb)| VERBS.contains(verb));
    match verb {
        Some((name, verb)) => Some(format!("{before}{}/{verb}", name.replace('/', "%2F"))),
        None => Some(format!("{before}{}", rest.replace('/', "%2F"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        for (path, expected) in [
            ("/api/v1/streams/a/b/c", Some("/api/v1/streams/a%2Fb%2Fc")),
            ("/api/v1/streams/a%2Frestart", None),
            ("/api/v1/streams/a/restart", Some("/api/v1/streams/a/restart")),
            ("/api/v1/streams/a/b/restart", Some("/api/v1/streams/a%2Fb/restart")),
            ("/api/v1/streams/a%2Fb/restart", Some("/api/v1/streams/a%2Fb/restart")),
            ("/api/v1/streams/bulk", None),
            ("/api/v1/templates/a/b", Some("/api/v1/templates/a%2Fb")),
            ("/api/v1/streams/a%2Fb", None),
            ("/api/v1/streams/a//b", Some("/api/v1/streams/a%2F%2Fb")),
            ("/api/v1/streams/", None),
            ("/api/v1/streams", None),
            ("/api/v1/sessions/a/b", None),
        ] {
            assert_eq!(folded(path).as_deref(), expected, "{path}");
        }
    }
}
