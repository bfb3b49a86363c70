//! Where a stream is published or played.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail, ensure};

use crate::srt::SrtTarget;

/// How the stream travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RTMP.
    Rtmp,
    /// FLV over HTTP.
    HttpFlv,
    /// An MPEG transport stream over HTTP.
    HttpTs,
    /// FLV over WebSocket.
    WebSocketFlv,
    /// Playlists and segments over HTTP.
    Hls,
    /// An MPEG transport stream over SRT.
    Srt,
}

impl Scheme {
    /// Whether streams are published that way.
    #[must_use]
    pub const fn publishes(self) -> bool {
        matches!(self, Self::Rtmp | Self::Srt)
    }
}

/// The port of SRT unless told: that of a Grandstand.
const SRT_PORT: u16 = 8890;

/// The name that says nothing of its stream.
const INDEX: &str = "index.m3u8";

/// A stream's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl {
    /// How it travels.
    pub scheme: Scheme,
    /// Whether all of it is inside TLS.
    pub is_tls: bool,
    /// Host and port, as the peer is to be called.
    pub authority: String,
    /// Host and port to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The RTMP application, or the folder; may have slashes or be empty for HTTP.
    pub app: String,
    /// The stream's name, without its query.
    pub name: String,
    /// The query with its `?`, or nothing.
    pub query: String,
    /// What the query says, of SRT.
    pub srt: Option<SrtTarget>,
}

impl StreamUrl {
    /// Takes `rtmp[s]://host[:port]/app/name[?query]`, `http[s]://host[:port]/path[?query]`,
    /// `ws[s]://` or `srt://host[:port]?streamid=..` apart. What HTTP brings is told by the path's
    /// end: `.ts`, `.m3u8`, else FLV.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").context("a URL needs a scheme")?;
        let (scheme, is_tls, default_port) = match scheme {
            "rtmp" => (Scheme::Rtmp, false, 1935),
            "rtmps" => (Scheme::Rtmp, true, 443),
            "http" => (Scheme::HttpFlv, false, 80),
            "https" => (Scheme::HttpFlv, true, 443),
            "ws" => (Scheme::WebSocketFlv, false, 80),
            "wss" => (Scheme::WebSocketFlv, true, 443),
            "srt" => return Self::parse_srt(rest),
            other => {
                bail!("cannot speak {other}://, only rtmp, rtmps, http, https, ws, wss and srt")
            }
        };
        let (authority, path) = rest.split_once('/').context("the URL names no stream")?;
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (path, String::new()),
        };
        let (app, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || authority.is_empty() {
            bail!("the URL names no stream: {text}");
        }
        if app.is_empty() && scheme == Scheme::Rtmp {
            bail!("an RTMP URL needs an application and a name: {text}");
        }
        let (host, port) = split_authority(authority, default_port)?;
        let scheme = match name.rsplit_once('.') {
            Some((_, "ts")) if scheme == Scheme::HttpFlv => Scheme::HttpTs,
            Some((_, "m3u8")) if scheme == Scheme::HttpFlv => Scheme::Hls,
            _ => scheme,
        };
        Ok(Self {
            scheme,
            is_tls,
            authority: authority.to_owned(),
            host,
            port,
            app: app.to_owned(),
            name: name.to_owned(),
            query,
            srt: None,
        })
    }

    /// What follows `srt://`: an address, and a query that names the stream.
    fn parse_srt(rest: &str) -> Result<Self> {
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        ensure!(!authority.is_empty(), "the URL names no host");
        ensure!(!authority.contains('/'), "an SRT URL names its stream by ?streamid=");
        let target = SrtTarget::parse(query)?;
        let (host, port) = split_authority(authority, SRT_PORT)?;
        Ok(Self {
            scheme: Scheme::Srt,
            is_tls: false,
            authority: authority.to_owned(),
            host,
            port,
            app: String::new(),
            name: target.name().to_owned(),
            query: format!("?{query}"),
            srt: Some(target),
        })
    }

    /// The address of the host.
    ///
    /// # Errors
    /// If it has none.
    pub fn resolve(&self) -> Result<SocketAddr> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        found
            .with_context(|| format!("cannot resolve {}", self.host))?
            .next()
            .with_context(|| format!("{} has no address", self.host))
    }

    /// The address of stream `index` of `count`: the name itself if there is one, else `NAME-0`
    /// and so on, with the extension of a file kept at the end. The name of a stream whose
    /// playlist is `NAME/index.m3u8` is its folder.
    #[must_use]
    pub fn nth(&self, index: usize, count: usize) -> Self {
        let mut url = self.clone();
        if count <= 1 {
            return url;
        }
        if let Some(target) = &self.srt {
            let target = target.nth(index);
            url.name = target.name().to_owned();
            url.srt = Some(target);
            return url;
        }
        if self.scheme == Scheme::Hls && self.name == INDEX && !self.app.is_empty() {
            url.app = format!("{}-{index}", self.app);
            return url;
        }
        url.name = match self.name.rsplit_once('.').filter(|_| self.scheme != Scheme::Rtmp) {
            Some((stem, extension)) => format!("{stem}-{index}.{extension}"),
            None => format!("{}-{index}", self.name),
        };
        url
    }

    /// What a link in an answer from here leads to: a whole URL, or a part of one. Brought the same
    /// way, whatever its name ends in.
    ///
    /// Spec: RFC 3986 5.2, without fragments.
    ///
    /// # Errors
    /// If it leads to no stream, or from inside TLS to the outside.
    pub fn join(&self, link: &str) -> Result<Self> {
        let link = link.split('#').next().unwrap_or_default();
        let secure = if self.is_tls { "s" } else { "" };
        let origin = || format!("http{secure}://{}", self.authority);
        let path = self.request_target();
        let path = path.split('?').next().unwrap_or_default();
        let text = match link {
            link if has_scheme(link) => link.to_owned(),
            link if link.starts_with("//") => format!("http{secure}:{link}"),
            link if link.starts_with('/') => format!("{}{}", origin(), without_dots(link)),
            link if link.is_empty() || link.starts_with('?') => {
                format!("{}{path}{link}", origin())
            }
            link => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{}{}", origin(), without_dots(&format!("{folder}/{link}")))
            }
        };
        let mut found = Self::parse(&text)?;
        let is_http = matches!(found.scheme, Scheme::HttpFlv | Scheme::HttpTs | Scheme::Hls);
        ensure!(is_http, "a link to {found}, which is not of HTTP");
        ensure!(found.is_tls || !self.is_tls, "a link from inside TLS to {found}");
        found.scheme = self.scheme;
        Ok(found)
    }

    /// Whether what is there comes from the same server in the same way.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        (&self.host, self.port, self.is_tls) == (&other.host, other.port, other.is_tls)
    }

    /// The path and query of an HTTP request.
    #[must_use]
    pub fn request_target(&self) -> String {
        let slash = if self.app.is_empty() { "" } else { "/" };
        format!("/{}{slash}{}{}", self.app, self.name, self.query)
    }

    /// The name with its query, as RTMP's `publish` and `play` take it.
    #[must_use]
    pub fn stream_key(&self) -> String {
        format!("{}{}", self.name, self.query)
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Rtmp => "rtmp",
            Scheme::HttpFlv | Scheme::HttpTs | Scheme::Hls => "http",
            Scheme::WebSocketFlv => "ws",
            Scheme::Srt => return write!(f, "srt://{}?streamid={}", self.authority, self.name),
        };
        let tls = if self.is_tls { "s" } else { "" };
        // The query may hold a key, which no message may show.
        let slash = if self.app.is_empty() { "" } else { "/" };
        write!(f, "{scheme}{tls}://{}/{}{slash}{}", self.authority, self.app, self.name)
    }
}

/// Whether a link is a whole URL: letters, then `://`.
fn has_scheme(link: &str) -> bool {
    let scheme = link.split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A path without the segments that mean this folder and the one above.
fn without_dots(path: &str) -> String {
    let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

fn split_authority(authority: &str, default_port: u16) -> Result<(String, u16)> {
    // An IPv6 address has brackets, and colons of its own.
    let host_end = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[host_end..].rfind(':') {
        Some(at) => {
            let (host, port) = authority.split_at(host_end + at);
            let port = port[1..].parse().with_context(|| format!("no port: {authority}"))?;
            (host, port)
        }
        None => (authority, default_port),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let table = [
            ("rtmp://h/live/a", ("h", 1935, "live", "a", "")),
            ("rtmp://h:19/live/b/a?key=x/y", ("h", 19, "live/b", "a", "?key=x/y")),
            ("http://127.0.0.1:8080/a.flv", ("127.0.0.1", 8080, "", "a.flv", "")),
            ("http://[::1]:81/live/a.flv?t=1", ("::1", 81, "live", "a.flv", "?t=1")),
            ("http://[::1]/a.flv", ("::1", 80, "", "a.flv", "")),
        ];
        for (text, parts) in table {
            let url = StreamUrl::parse(text).unwrap();
            let read = (&*url.host, url.port, &*url.app, &*url.name, &*url.query);
            assert_eq!(read, parts, "{text}");
        }
        for text in [
            "",
            "h/live/a",
            "srt://h/live/a",
            "srt://h/live/a?streamid=a",
            "srt://h",
            "srt://?streamid=a",
            "srt://h:x?streamid=a",
            "rtmps://h/a",
            "rtmp://h/a",
            "http://h/",
            "rtmp://h",
            "rtmp:///live/a",
            "rtmp://h:x/live/a",
        ] {
            assert!(StreamUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_path_tells_what_http_brings() {
        let table = [
            ("rtmps://h/live/a.ts", Scheme::Rtmp, true, 443),
            ("http://h/a.ts?k=1", Scheme::HttpTs, false, 80),
            ("https://h:8443/live/a/index.m3u8", Scheme::Hls, true, 8443),
            ("https://h/a", Scheme::HttpFlv, true, 443),
            ("ws://h/a.flv", Scheme::WebSocketFlv, false, 80),
            ("wss://h/a.flv", Scheme::WebSocketFlv, true, 443),
        ];
        for (text, scheme, is_tls, port) in table {
            let url = StreamUrl::parse(text).unwrap();
            assert_eq!((url.scheme, url.is_tls, url.port), (scheme, is_tls, port), "{text}");
            assert_eq!(url.to_string(), text.split('?').next().unwrap());
        }
    }

    #[test]
    fn srt_is_told_by_its_query_and_shows_no_secret() {
        let text = "srt://[::1]:9000?streamid=publish:live/a:me:hidden&passphrase=hidden%20words";
        let url = StreamUrl::parse(text).unwrap();
        assert_eq!((url.scheme, &*url.host, url.port), (Scheme::Srt, "::1", 9000));
        assert_eq!(url.to_string(), "srt://[::1]:9000?streamid=live/a");
        let third = url.nth(3, 4);
        assert_eq!(third.to_string(), "srt://[::1]:9000?streamid=live/a-3");
        assert_eq!(third.srt.unwrap().stream_id, "publish:live/a-3:me:hidden");
        assert_eq!(url.nth(0, 1), url);
        let url = StreamUrl::parse("srt://h/?streamid=a").unwrap();
        assert_eq!((&*url.host, url.port), ("h", SRT_PORT));
    }

    #[test]
    fn streams_of_a_set_are_numbered() {
        let flv = StreamUrl::parse("http://h/live/a.flv?k=1").unwrap();
        assert_eq!(flv.nth(3, 4).request_target(), "/live/a-3.flv?k=1");
        assert_eq!(flv.nth(0, 1).request_target(), "/live/a.flv?k=1");
        let rtmp = StreamUrl::parse("rtmp://h/live/a.b?k=1").unwrap();
        assert_eq!(rtmp.nth(3, 4).stream_key(), "a.b-3?k=1");
        let hls = |text: &str| StreamUrl::parse(text).unwrap().nth(3, 4).request_target();
        assert_eq!(hls("http://h/live/a/index.m3u8"), "/live/a-3/index.m3u8");
        assert_eq!(hls("http://h/a.m3u8?k=1"), "/a-3.m3u8?k=1");
        assert_eq!(hls("http://h/a.ts"), "/a-3.ts");
    }

    #[test]
    fn links_lead_where_a_browser_would_go() {
        let base = StreamUrl::parse("http://h:81/live/a/index.m3u8?k=1").unwrap();
        for (link, wanted) in [
            ("media.m3u8", "http://h:81/live/a/media.m3u8"),
            ("b/1.ts?t=2#x", "http://h:81/live/a/b/1.ts?t=2"),
            ("../b/./1.ts?u=../x", "http://h:81/live/b/1.ts?u=../x"),
            ("../../../../1.ts", "http://h:81/1.ts"),
            ("/c.ts?u=http://x/", "http://h:81/c.ts?u=http://x/"),
            ("c.ts?u=http://x/", "http://h:81/live/a/c.ts?u=http://x/"),
            ("?k=2", "http://h:81/live/a/index.m3u8?k=2"),
            ("//i/d.ts", "http://i/d.ts"),
            ("http://[::1]:82/d/e.flv", "http://[::1]:82/d/e.flv"),
            ("https://i/d/e.ts?k=3", "https://i/d/e.ts?k=3"),
        ] {
            let found = base.join(link).unwrap();
            assert_eq!(format!("{found}{}", found.query), wanted, "{link}");
            assert_eq!(found.scheme, Scheme::Hls, "{link}");
        }
        let beside = |link: &str| base.join(link).unwrap().is_beside(&base);
        assert!(beside("/b.ts") && beside("http://h:81/b.ts"));
        assert!(!beside("http://h/b.ts") && !beside("https://h:81/b.ts"));
        for link in ["rtmp://h/live/a", "ws://h/a.flv", "ftp://h/a", "http://h", "/", "http://"] {
            assert!(base.join(link).is_err(), "{link}");
        }
        let inside = StreamUrl::parse("https://h/a.flv").unwrap();
        assert!(inside.join("http://h/a.flv").is_err());
        assert_eq!(inside.join("/b.flv").unwrap().to_string(), "https://h/b.flv");
    }
}
