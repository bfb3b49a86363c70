//! Which stream an RTMP peer means: the app, `tcUrl` and stream name of any encoder, parsed once.
//!
//! Accepted shapes: `live/NAME` (`live` is stripped), `NAME` alone as app or as stream, any number
//! of segments on either side, doubled and trailing slashes (Wirecast), percent-encoding decoded
//! once (GStreamer), `_definst_` (Wowza encoders), `mp4:` and `flv:` prefixes, and a query on the
//! app, on `tcUrl` or on the stream name (OBS's stream key field). A later place wins.
//! Limits: [`SECRET_BYTES_MAX`], [`QUERY_BYTES_MAX`]; the name's own limits are those of
//! [`StreamName`].

use std::sync::Arc;

use codecs::http1::percent_decode;
use codecs::rtmp::command::ConnectInfo;

use crate::config::{Latency, SessionConfig, UrlDialect};
use crate::ids::{Secret, StreamName};
use crate::session::contract::told_url;
use crate::session::{
    Credentials, Dialect, Format, Framing, Join, LogKey, PlayOptions, QUERY_BYTES_MAX, TrackId,
};
use crate::words::{WORD_BYTES_MAX, Words};

/// Bytes of a stream key at most: room for a signed token.
pub(in crate::session) const SECRET_BYTES_MAX: usize = 2048;

/// What the query of an address asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Params {
    /// `key`, `token` or `jwt`.
    pub(in crate::session) key: Secret,
    /// Everything, as it was sent.
    pub(in crate::session) query: Secret,
    latency: Option<Latency>,
    join: Option<Join>,
    legacy_ids: bool,
    /// The number of the tracks.
    pub(in crate::session) track: TrackId,
}

impl Params {
    /// Takes one query, pair by pair; unknown pairs are other people's and are ignored.
    ///
    /// `None` if a key or the whole is over its limit or does not decode, or a track is no number
    /// of one.
    pub(in crate::session) fn take(&mut self, query: &str) -> Option<()> {
        let kept = &mut self.query.0;
        // Encoders say the query of the app in tcUrl as well.
        if kept != query {
            kept.push_str(if kept.is_empty() || query.is_empty() { "" } else { "&" });
            kept.push_str(query);
        }
        if kept.len() > QUERY_BYTES_MAX {
            return None;
        }
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "key" | "token" | "jwt" if value.len() > SECRET_BYTES_MAX => return None,
                "key" | "token" | "jwt" => self.key = Secret(percent_decode(value).ok()?),
                "latency" => {
                    self.latency = match value {
                        "low" => Some(Latency::Low),
                        "auto" => Some(Latency::Auto),
                        _ => None,
                    };
                }
                "cache" => {
                    self.join = match value {
                        "no" => Some(Join::NextKeyframe),
                        "clear" => Some(Join::ClearKeyframe),
                        _ => None,
                    };
                }
                "dialect" => self.legacy_ids = value == "legacy",
                "track" => self.track = value.parse().ok()?,
                _ => {}
            }
        }
        Some(())
    }

    /// How the peer wants to play, from a log of `format`.
    pub(in crate::session) const fn play(&self, format: Format) -> PlayOptions {
        let legacy = self.legacy_ids && !matches!(format, Format::MpegTs);
        let dialect = if legacy { Dialect::LegacyIds } else { Dialect::Native };
        let join = match self.join {
            Some(join) => join,
            None => Join::NewestKeyframe,
        };
        let (latency, track) = (self.latency, self.track);
        PlayOptions {
            log: LogKey { format, dialect, track },
            join,
            latency,
            framing: Framing::Bare,
        }
    }
}

/// The stream of a path: encoded segments, empty ones dropped, a leading `live` stripped.
///
/// A path of `live` alone is somebody who forgot the stream's name, so it names nothing.
pub(in crate::session) fn stream_of(path: &str) -> Option<StreamName> {
    let path = percent_decode(path).ok()?;
    let mut segments = path.split('/').filter(|s| !s.is_empty() && *s != "_definst_").peekable();
    if segments.peek() == Some(&"live") {
        segments.next();
    }
    let mut name = String::with_capacity(path.len());
    for segment in segments {
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(segment);
    }
    StreamName::parse(&name)
}

/// Splits at the first `?`.
fn split_query(text: &str) -> (&str, Option<&str>) {
    text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)))
}

/// The path of an absolute URL, without scheme and host; empty if there is none.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or("", |(_, path)| path)
}

/// Where a peer connected, and from which page: what a stream's name is put behind.
///
/// Shape: one word, because thousands of players share it: the lines of `tcUrl` without its query
/// and of `pageUrl`, then a path, and behind a `?` the queries of `tcUrl` and of the app.
#[derive(Debug, Default)]
pub(super) struct Address(Arc<str>);

/// The lines of an [`Address`].
struct Lines<'a> {
    url: &'a str,
    page: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl Address {
    /// Takes what matters of `connect`.
    pub(super) fn new(peer: &ConnectInfo) -> Self {
        let (tc_url, tc_query) = split_query(&peer.tc_url);
        let (app_path, app_query) = split_query(&peer.app);
        // Encoders that leave the app empty still say in tcUrl where they connected.
        let path = if app_path.is_empty() { path_of(tc_url) } else { app_path };
        let told = |url| told_url(url).unwrap_or_default();
        let mut address = format!("{}\n{}\n{path}", told(tc_url), told(&peer.page_url));
        let app_query = app_query.filter(|query| tc_query != Some(query));
        for (query, sign) in [tc_query, app_query].into_iter().flatten().zip(['?', '&']) {
            address.push(sign);
            address.push_str(query);
        }
        Self(address.into())
    }

    fn lines(&self) -> Lines<'_> {
        // No letter that ends a line is left in the first two.
        let mut lines = self.0.splitn(3, '\n');
        let mut next = || lines.next().unwrap_or_default();
        let (url, page) = (next(), next());
        let (path, query) = split_query(next());
        Lines { url, page, path, query }
    }

    pub(super) fn share(&mut self, words: &mut Words) {
        words.share(&mut self.0);
    }

    /// Bytes of an address too long to be shared, which is held by this session alone.
    pub(super) fn buffer_bytes(&self) -> usize {
        let len = self.0.len();
        if len > WORD_BYTES_MAX { len } else { 0 }
    }

    /// The application, if it is a legal name of a stream.
    pub(super) fn application(&self) -> Option<Target> {
        let Lines { url, page, path, query } = self.lines();
        let mut params = Params::default();
        params.take(query.unwrap_or_default())?;
        let stream = StreamName::parse(percent_decode(path).ok()?.trim_matches('/'))?;
        Some(Target { stream, params, url: url.into(), referer: told_url(page) })
    }

    /// Says what is wrong with an application that is to be a channel.
    pub(super) fn check(&self, config: &SessionConfig) -> Result<(), &'static str> {
        let channel = self.lines().path.trim_matches('/');
        let legal = config.url == UrlDialect::Name || is_id(channel, config.id_bytes_max);
        legal.then_some(()).ok_or(
            "the application must be a channel: letters, digits, _ and -, no slash, not too long",
        )
    }

    /// The stream that is named here; `None` if that is no legal name.
    pub(super) fn target(&self, stream: &str, config: &SessionConfig) -> Option<Target> {
        match config.url {
            UrlDialect::Name => self.named(stream),
            UrlDialect::ChannelKey => self.channel(stream, config.id_bytes_max),
        }
    }

    /// `CHANNEL/KEY`: what the peer calls a stream is its key, which nobody is told.
    fn channel(&self, key: &str, bytes_max: u32) -> Option<Target> {
        let Lines { url, page, path, query } = self.lines();
        let (key, key_query) = split_query(key);
        let channel = path.trim_matches('/');
        if !is_id(channel, bytes_max) || !is_id(key, bytes_max) {
            return None;
        }
        let mut params = Params::default();
        for query in [query, key_query].into_iter().flatten() {
            params.take(query)?;
        }
        params.key = Secret(key.to_owned());
        let (stream, url) = (StreamName::parse(channel)?, url.into());
        Some(Target { stream, params, url, referer: told_url(page) })
    }

    fn named(&self, stream: &str) -> Option<Target> {
        let Lines { url, page, path, query } = self.lines();
        let (stream_path, stream_query) = split_query(stream);
        let url = told_url(&format!("{}/{stream_path}", url.trim_end_matches('/')))?;
        let stream_path = ["mp4:", "flv:", "f4v:"]
            .iter()
            .find_map(|prefix| stream_path.strip_prefix(prefix))
            .unwrap_or(stream_path);
        let mut params = Params::default();
        for query in [query, stream_query].into_iter().flatten() {
            params.take(query)?;
        }
        let stream = stream_of(&format!("{path}/{stream_path}"))?;
        Some(Target { stream, params, url, referer: told_url(page) })
    }
}

/// What a peer hears that named no stream.
pub(super) const fn illegal(dialect: UrlDialect) -> &'static str {
    match dialect {
        UrlDialect::Name => "the stream's name is not legal",
        UrlDialect::ChannelKey => "the key must be letters, digits, _ and -, and not too long",
    }
}

/// True for `^[A-Za-z0-9_-]+$` of legal length.
fn is_id(text: &str, bytes_max: u32) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !text.is_empty() && text.len() <= bytes_max as usize && text.bytes().all(legal)
}

/// What a peer addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) stream: StreamName,
    pub(super) params: Params,
    /// The whole address without its query.
    url: Arc<str>,
    /// The page that the peer comes from.
    referer: Option<Arc<str>>,
}

impl Target {
    /// Who the peer says it is.
    pub(super) fn credentials(&self) -> Box<Credentials> {
        let Params { key, query, .. } = &self.params;
        let (url, referer) = (self.url.clone(), self.referer.clone());
        let (key, query) = (key.clone(), query.clone());
        Box::new(Credentials { key, query, url, referer, ..Credentials::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(app: &str, tc_url: &str) -> Address {
        let (app, tc_url) = (app.to_owned(), tc_url.to_owned());
        Address::new(&ConnectInfo { app, tc_url, ..ConnectInfo::default() })
    }

    #[test]
    fn every_shape_that_encoders_send_names_the_stream() {
        let h = "rtmp://h:1935";
        let shapes = [
            ("live", "rtmp://h/live", "cam", "cam", ""),
            ("cam", "rtmp://h/cam", "", "cam", ""),
            ("", h, "cam", "cam", ""),
            ("", "rtmp://h/live", "cam", "cam", ""),
            ("news", "rtmp://h/news", "cam", "news/cam", ""),
            ("live/news", h, "a/b", "news/a/b", ""),
            ("live/", h, "/cam", "cam", ""),
            ("/live//", h, "//cam//", "cam", ""),
            ("live/_definst_", h, "cam", "cam", ""),
            ("live", h, "mp4:cam", "cam", ""),
            ("live", h, "news%2Fcam", "news/cam", ""),
            ("live", h, "cam?key=s3cret", "cam", "s3cret"),
            ("live?token=abc", "rtmp://h/live?token=abc", "cam", "cam", "abc"),
            ("live", h, "cam?jwt=eyJ.e30.x", "cam", "eyJ.e30.x"),
            ("live", "rtmp://h/live?key=tc", "cam", "cam", "tc"),
            ("live?key=app", h, "cam?key=stream", "cam", "stream"),
            ("cam?key=a%2Bb", h, "", "cam", "a+b"),
            ("live", h, "live", "live", ""),
        ];
        for (app, tc_url, stream, name, key) in shapes {
            let target =
                address(app, tc_url).named(stream).unwrap_or_else(|| panic!("{app} {stream}"));
            assert_eq!((target.stream.as_str(), target.params.key.0.as_str()), (name, key));
        }
    }

    #[test]
    fn what_names_no_stream_is_refused() {
        for (app, stream) in [
            ("", ""),
            ("live", ""),
            ("live", "../etc/passwd"),
            ("live", "%2e%2e/x"),
            ("live", "cam.flv"),
            ("live", "c\u{e4}m"),
            ("live", "%00"),
            ("live", "%zz"),
        ] {
            assert_eq!(address(app, "rtmp://h/").named(stream), None, "{app} {stream}");
        }
        for track in ["256", "-1", "two", ""] {
            let target = address("live", "").named(&format!("cam?track={track}"));
            assert_eq!(target, None, "{track}");
        }
        let long = format!("cam?key={}", "k".repeat(SECRET_BYTES_MAX + 1));
        assert_eq!(address("live", "").named(&long), None);
    }

    #[test]
    fn the_query_says_how_to_play() {
        let query = "cam?latency=low&cache=no&dialect=legacy&track=3&x=y&&";
        let play = address("live", "").named(query).map(|t| t.params.play(Format::Flv));
        let expected = PlayOptions {
            log: LogKey { format: Format::Flv, dialect: Dialect::LegacyIds, track: 3 },
            join: Join::NextKeyframe,
            latency: Some(Latency::Low),
            framing: Framing::Bare,
        };
        assert_eq!(play, Some(expected));
    }

    #[test]
    fn a_request_says_by_which_address_it_came() {
        for (app, tc_url, stream, url, query) in [
            ("live", "rtmp://h:1935/live", "cam", "rtmp://h:1935/live/cam", ""),
            ("live", "rtmp://h/live/", "mp4:cam?k=v", "rtmp://h/live/mp4:cam", "k=v"),
            ("a?x=1", "rtmps://h/a?x=1", "b?y=2&y", "rtmps://h/a/b", "x=1&y=2&y"),
            ("a?x=1", "rtmp://h/a?z=0", "b?", "rtmp://h/a/b", "z=0&x=1"),
            ("live", "rtmp://h\n/live\r", "c", "rtmp://h/live/c", ""),
        ] {
            let target = address(app, tc_url).named(stream).unwrap();
            let told = target.credentials();
            assert_eq!((&*told.url, told.query.0.as_str()), (url, query), "{tc_url} {stream}");
        }
        let peer = ConnectInfo {
            app: "live?key=k".into(),
            tc_url: format!("rtmp://h/{}", "x".repeat(2_000)),
            page_url: "https://page/\u{e4}".into(),
            ..ConnectInfo::default()
        };
        let told = Address::new(&peer).named("cam").unwrap().credentials();
        assert_eq!((told.url.len(), told.key.0.as_str()), (1_024, "k"));
        assert_eq!(told.referer.as_deref(), Some("https://page/\u{e4}"));
        let application = Address::new(&peer).application().unwrap();
        assert_eq!((application.stream.as_str(), &*application.params.key.0), ("live", "k"));
        let long = format!("cam?x={}", "y".repeat(QUERY_BYTES_MAX));
        assert_eq!(address("live", "rtmp://h/live").named(&long), None);
        assert!(address("a//b", "").application().is_none(), "no legal name");
    }

    #[test]
    fn a_channel_and_its_key_are_both_ids() {
        let config = SessionConfig {
            url: UrlDialect::ChannelKey,
            id_bytes_max: 8,
            ..SessionConfig::default()
        };
        let target = address("cam_1/", "rtmp://h/cam_1").target("s3-cret?cache=no&key=x", &config);
        let target = target.unwrap();
        let told = target.credentials();
        assert_eq!((target.stream.as_str(), told.key.0.as_str()), ("cam_1", "s3-cret"));
        assert_eq!((&*told.url, told.query.0.as_str()), ("rtmp://h/cam_1", "cache=no&key=x"));
        assert_eq!(target.params.play(Format::Rtmp).join, Join::NextKeyframe);
        let clear = address("c", "").target("k?cache=clear", &config).unwrap();
        assert_eq!(clear.params.play(Format::Rtmp).join, Join::ClearKeyframe);
        for (app, key) in [
            ("cam", ""),
            ("cam", "a/b"),
            ("cam", "a%20b"),
            ("cam", "k\u{e4}y"),
            ("cam", "123456789"),
            ("", "key"),
            ("live/cam", "key"),
            ("ca m", "key"),
            ("123456789", "key"),
        ] {
            assert_eq!(address(app, "").target(key, &config), None, "{app} {key}");
        }
        for (app, legal) in [("cam", true), ("/cam/", true), ("live/cam", false), ("a.b", false)] {
            assert_eq!(address(app, "").check(&config).is_ok(), legal, "{app}");
            assert!(address(app, "").check(&SessionConfig::default()).is_ok());
        }
    }
}
