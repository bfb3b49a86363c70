//! Place: where a stream is in the words of other servers: virtual host, application and name.

use std::borrow::Cow;
use std::net::IpAddr;

use codecs::http1::percent_decode;
use dataplane::control::Protocol;
use dataplane::ids::StreamName;

/// The application of a stream that names none: leading, it is no part of our names.
const APP: &str = "live";
/// What other servers call the host that nobody gave a name.
const NO_HOST: &str = "__defaultVhost__";
/// What follows a stream's name in the addresses of players.
const ENDINGS: [&str; 5] = ["/index.m3u8", "/media.m3u8", ".m3u8", ".flv", ".ts"];

/// Where a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A name, or [`NO_HOST`] where an address says a number.
    pub(super) vhost: String,
    /// Everything before the last segment, as the peer wrote it.
    pub(super) app: String,
    /// The last segment.
    pub(super) name: String,
    /// Address and application without a query.
    pub(super) tc_url: String,
    /// The whole path, as the peer wrote it.
    pub(super) path: String,
}

impl Place {
    /// Of a stream alone, of which no peer said how it found it.
    pub(super) fn of_stream(stream: &StreamName) -> Self {
        let (app, name) = split(stream.as_str());
        let path = stream.to_string();
        Self { vhost: NO_HOST.to_owned(), app, name, tc_url: String::new(), path }
    }

    /// Of the stream that a peer named by `url`, an address without its query.
    pub(super) fn of_url(url: &str, protocol: Protocol, stream: &StreamName) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or((scheme(protocol), url));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = named(path, stream).unwrap_or_else(|| stream.to_string());
        let (app, name) = split(&path);
        let tc_url = match authority {
            "" => String::new(),
            authority => format!("{scheme}://{authority}/{app}"),
        };
        Self { vhost: vhost(authority), app, name, tc_url, path }
    }

    /// Of a peer that only connects: `app` is what it named.
    pub(super) fn of_connection(url: &str, app: &StreamName) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        Self {
            vhost: vhost(authority),
            app: app.to_string(),
            name: String::new(),
            tc_url: url.to_owned(),
            path: app.to_string(),
        }
    }
}

const fn scheme(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rtmp => "rtmp",
        _ => "http",
    }
}

/// What follows the stream's name in the path of a player of HTTP.
pub(super) fn ending(path: &str) -> &'static str {
    ENDINGS.into_iter().find(|ending| path.ends_with(ending)).unwrap_or_default()
}

/// The path as the peer wrote it, if it names `stream`.
pub(super) fn named(path: &str, stream: &StreamName) -> Option<String> {
    let decoded = percent_decode(path).ok()?;
    let bare = ENDINGS.iter().find_map(|ending| decoded.strip_suffix(ending));
    let segments = bare.unwrap_or(&decoded).split('/').filter(|s| !s.is_empty());
    let segments = segments.filter(|segment| *segment != "_definst_");
    let prefix = |segment: &str| {
        let bare = ["mp4:", "flv:", "f4v:"].iter().find_map(|prefix| segment.strip_prefix(prefix));
        bare.unwrap_or(segment).to_owned()
    };
    let path = segments.map(prefix).collect::<Vec<_>>().join("/");
    let whole = path.strip_prefix("live/").unwrap_or(&path);
    (whole == stream.as_str() || path == stream.as_str()).then_some(path)
}

fn split(path: &str) -> (String, String) {
    let (app, name) = path.rsplit_once('/').unwrap_or((APP, path));
    (app.to_owned(), name.to_owned())
}

/// The host without its port, if it is a name.
fn vhost(authority: &str) -> String {
    let bare = match authority.strip_prefix('[') {
        Some(rest) => Cow::Borrowed(rest.split(']').next().unwrap_or_default()),
        None => Cow::Borrowed(authority.split(':').next().unwrap_or_default()),
    };
    let number = bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost");
    if bare.is_empty() || number { NO_HOST.to_owned() } else { bare.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_as_the_peer_wrote_it() {
        let stream = |name| StreamName::parse(name).unwrap();
        for (url, protocol, name, expected) in [
            (
                "rtmp://h.example/live/cam",
                Protocol::Rtmp,
                "cam",
                ("h.example", "live", "cam", "rtmp://h.example/live"),
            ),
            (
                "rtmp://127.0.0.1:1935/app/cam",
                Protocol::Rtmp,
                "app/cam",
                (NO_HOST, "app", "cam", "rtmp://127.0.0.1:1935/app"),
            ),
            (
                "rtmp://[::1]/live//news/mp4:a",
                Protocol::Rtmp,
                "news/a",
                (NO_HOST, "live/news", "a", "rtmp://[::1]/live/news"),
            ),
            ("rtmp://h/cam", Protocol::Rtmp, "cam", ("h", "live", "cam", "rtmp://h/live")),
            (
                "h:8080/live/cam.flv",
                Protocol::HttpFlv,
                "cam",
                ("h", "live", "cam", "http://h:8080/live"),
            ),
            (
                "H/news/cam/index.m3u8",
                Protocol::Hls,
                "news/cam",
                ("h", "news", "cam", "http://H/news"),
            ),
            // Who wrote something else than it means is told by what it means.
            ("rtmp://h/x/y/z", Protocol::Rtmp, "cam", ("h", "live", "cam", "rtmp://h/live")),
            ("rtmp://h/%zz", Protocol::Rtmp, "a/b", ("h", "a", "b", "rtmp://h/a")),
            ("", Protocol::Rtmp, "cam", (NO_HOST, "live", "cam", "")),
        ] {
            let place = Place::of_url(url, protocol, &stream(name));
            let Place { vhost, app, name, tc_url, .. } = &place;
            assert_eq!((&**vhost, &**app, &**name, &**tc_url), expected, "{url}");
        }
        let place = Place::of_stream(&stream("a/b/c"));
        assert_eq!((place.path.as_str(), place.vhost.as_str()), ("a/b/c", NO_HOST));
        let place = Place::of_connection("rtmp://h:99/live", &stream("live"));
        assert_eq!((place.app.as_str(), place.tc_url.as_str()), ("live", "rtmp://h:99/live"));
    }
}
