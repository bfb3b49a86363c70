//! Page: the files of the console, with what keeps a browser from running anything else.
//!
//! Nothing here is secret: whoever opens the console is asked for the token, and each request of it
//! to the API shows that.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderMap, HeaderName};

use crate::api::Etag;

/// Scripts and styles of this server alone; no other page may show this one in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($path:literal, $kind:ident, $name:literal) => {
        ($path, $kind, include_bytes!(concat!("../../assets/console/", $name)).as_slice())
    };
}

/// Path, kind and bytes of each file.
const FILES: &[(&str, &str, &[u8])] = &[
    file!("/", HTML, "index.html"),
    file!("/console/console.css", STYLE, "console.css"),
    file!("/console/icon.svg", ICON, "icon.svg"),
    file!("/console/console.js", SCRIPT, "console.js"),
    file!("/console/api.js", SCRIPT, "api.js"),
    file!("/console/page.js", SCRIPT, "page.js"),
    file!("/console/streams.js", SCRIPT, "streams.js"),
    file!("/console/sessions.js", SCRIPT, "sessions.js"),
    file!("/console/shards.js", SCRIPT, "shards.js"),
    file!("/console/events.js", SCRIPT, "events.js"),
    file!("/console/config.js", SCRIPT, "config.js"),
];
const ICON: &str = "image/svg+xml";

/// A route for each file.
pub(crate) fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, bytes)| {
        let etag = Etag::of_bytes(bytes);
        let answer = async move |headers: HeaderMap| {
            let about: [(HeaderName, &str); 4] = [
                (CONTENT_TYPE, kind),
                (CONTENT_SECURITY_POLICY, POLICY),
                (REFERRER_POLICY, "no-referrer"),
                // Asked for anew each time, and sent again only after an update.
                (CACHE_CONTROL, "no-cache"),
            ];
            etag.answer(&headers, (about, bytes)).into_response()
        };
        router.route(path, get(answer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_load_nothing_that_is_not_part_of_the_program() {
        let known = |path: &str| FILES.iter().any(|&(known, ..)| known == path);
        for &(path, kind, bytes) in FILES {
            let text = std::str::from_utf8(bytes).unwrap();
            for imported in text.split("from \"./").skip(1) {
                let (name, _) = imported.split_once('"').unwrap();
                assert!(known(&format!("/console/{name}")), "{path} imports {name}");
            }
            for attribute in ["src=\"", "href=\"/"] {
                for linked in text.split(attribute).skip(1) {
                    let (name, _) = linked.split_once('"').unwrap();
                    let name = format!("/{}", name.trim_start_matches('/'));
                    assert!(kind != HTML || known(&name), "{path} loads {name}");
                }
            }
            let namespace = "http://www.w3.org/2000/svg";
            let text = text.replace(namespace, "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
            assert!(!text.contains("innerHTML") && !text.contains(" style=\""), "{path}");
        }
    }
}
