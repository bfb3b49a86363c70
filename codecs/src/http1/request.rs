//! Request heads, and the fields of them that decide about framing.
//!
//! Limits: [`RequestLimits`]; whatever is ambiguous about where a body ends is an error, because a
//! proxy in front may read it another way.

use core::ops::Range;

use crate::Error;

/// The most header fields of any request.
pub const HEADERS_MAX: usize = 64;

/// How much of a request head is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of request line and header fields.
    pub head_bytes_max: usize,
    /// Header fields, at most [`HEADERS_MAX`].
    pub headers_max: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { head_bytes_max: 8192, headers_max: HEADERS_MAX }
    }
}

/// What is asked to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// POST.
    Post,
    /// Any other.
    Other,
}

/// A request head, borrowed from the connection's bytes.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The request target as it was sent.
    pub target: &'a str,
    /// The path of the target, still percent-encoded; `*` for a request about the server.
    pub path: &'a str,
    /// What follows the first `?` of the target, still percent-encoded.
    pub query: Option<&'a str>,
    /// The host asked for: that of an absolute target, else the `Host` field.
    pub host: Option<&'a str>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub version_minor: u8,
    headers: [httparse::Header<'a>; HEADERS_MAX],
    headers_len: usize,
}

/// A single range of bytes that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From `first` to `last`, inclusive, or to the end.
    From {
        /// The offset of the first byte.
        first: u64,
        /// The offset of the last byte.
        last: Option<u64>,
    },
    /// The last so many bytes.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes of a representation of `len` bytes, `None` if it has none of them (416).
    #[must_use]
    pub fn resolve(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From { first, last } => {
                first..last.map_or(len, |last| last.saturating_add(1).min(len))
            }
            Self::Suffix(count) => len.saturating_sub(count)..len,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// Parses a request head; also gives its length, empty line included.
///
/// `None` asks for more bytes.
///
/// # Errors
/// [`Error::TooLarge`] over the limits; [`Error::Unsupported`] for a version other than 1.x;
/// [`Error::Invalid`] for a malformed line, more than one `Host`, or none in HTTP/1.1.
pub fn parse_request<'a>(
    bytes: &'a [u8],
    limits: &RequestLimits,
) -> Result<Option<(Request<'a>, usize)>, Error> {
    let head = bytes.get(..limits.head_bytes_max).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let headers_max = limits.headers_max.min(HEADERS_MAX);
    let taken = headers.get_mut(..headers_max).expect("at most HEADERS_MAX");
    let mut parsed = httparse::Request::new(taken);
    let len = match parsed.parse(head).map_err(|error| refusal(error, headers_max))? {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial if bytes.len() >= limits.head_bytes_max => {
            let (value, max) = (bytes.len() as u64, limits.head_bytes_max as u64);
            return Err(Error::TooLarge { what: "http.request.head", value, max });
        }
        httparse::Status::Partial => return Ok(None),
    };
    let method = method(parsed.method.unwrap_or_default());
    let target = parsed.path.unwrap_or_default();
    let version_minor = parsed.version.unwrap_or_default();
    let headers_len = parsed.headers.len();
    let (authority, path, query) = split_target(target)?;
    let mut request =
        Request { method, target, path, query, host: None, version_minor, headers, headers_len };
    let hosts = request.values("host").count();
    if hosts > 1 || (hosts == 0 && version_minor == 1) {
        return Err(Error::Invalid { what: "http.request.host", value: hosts as u64 });
    }
    request.host = authority.or_else(|| request.header("host"));
    Ok(Some((request, len)))
}

const fn refusal(error: httparse::Error, headers_max: usize) -> Error {
    let what = match error {
        httparse::Error::TooManyHeaders => {
            let max = headers_max as u64;
            return Error::TooLarge { what: "http.request.headers", value: max + 1, max };
        }
        httparse::Error::Version => {
            return Error::Unsupported { what: "http.request.version", value: 0 };
        }
        httparse::Error::HeaderName => "http.request.header_name",
        httparse::Error::HeaderValue => "http.request.header_value",
        httparse::Error::NewLine => "http.request.new_line",
        httparse::Error::Token | httparse::Error::Status => "http.request.line",
    };
    Error::Invalid { what, value: 0 }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        "POST" => Method::Post,
        _ => Method::Other,
    }
}

/// Splits a target into the authority of the absolute form, path and query (RFC 9112 3.2).
fn split_target(target: &str) -> Result<(Option<&str>, &str, Option<&str>), Error> {
    let (before, query) = match target.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (target, None),
    };
    if before.starts_with('/') || before == "*" {
        return Ok((None, before, query));
    }
    let absolute = before.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    let Some((_, rest)) = absolute else {
        let value = u64::from(before.bytes().next().unwrap_or_default());
        return Err(Error::Invalid { what: "http.request.target", value });
    };
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    Ok((Some(authority), if path.is_empty() { "/" } else { path }, query))
}

impl<'a> Request<'a> {
    /// The first value of a header field, if it is there and is UTF-8; names have no case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.values(name).next().and_then(|value| str::from_utf8(value).ok())
    }

    /// All header fields, in order: name and raw value.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().take(self.headers_len).map(|header| (header.name, header.value))
    }

    /// True if the client wants to send another request on the connection.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        if self.has_token("connection", "close") {
            return false;
        }
        self.version_minor >= 1 || self.has_token("connection", "keep-alive")
    }

    /// True if a comma-separated field holds a token; neither has case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The single byte range that is asked for.
    ///
    /// Several ranges, other units and malformed ranges are `None`: a server may ignore them (RFC
    /// 9110 14.2), and then sends the whole.
    #[must_use]
    pub fn range(&self) -> Option<ByteRange> {
        let (unit, spec) = self.header("range")?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") || self.values("range").count() > 1 {
            return None;
        }
        let (first, last) = spec.trim().split_once('-')?;
        match (first, last) {
            ("", count) => decimal(count.as_bytes()).map(ByteRange::Suffix),
            (first, "") => {
                decimal(first.as_bytes()).map(|first| ByteRange::From { first, last: None })
            }
            (first, last) => {
                let (first, last) = (decimal(first.as_bytes())?, decimal(last.as_bytes())?);
                (first <= last).then_some(ByteRange::From { first, last: Some(last) })
            }
        }
    }

    /// The length of the body, `None` if no field gives one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a second `Content-Length`, equal or not, for one that is no number,
    /// for one beside `Transfer-Encoding`, and for `Transfer-Encoding` in HTTP/1.0. The connection
    /// must be closed then, because the next request cannot be found.
    pub fn content_length(&self) -> Result<Option<u64>, Error> {
        const WHAT: &str = "http.request.content_length";
        let chunked = self.values("transfer-encoding").next().is_some();
        if chunked && self.version_minor == 0 {
            return Err(Error::Invalid { what: "http.request.transfer_encoding", value: 0 });
        }
        let mut lengths = self.values("content-length");
        let Some(first) = lengths.next() else {
            return Ok(None);
        };
        if chunked || lengths.next().is_some() {
            let value = self.values("content-length").count() as u64;
            return Err(Error::Invalid { what: WHAT, value });
        }
        decimal(first).map(Some).ok_or(Error::Invalid { what: WHAT, value: 0 })
    }

    /// True if a body follows, or might: also when [`Self::content_length`] is an error.
    #[must_use]
    pub fn expects_body(&self) -> bool {
        self.values("transfer-encoding").next().is_some()
            || !matches!(self.content_length(), Ok(None | Some(0)))
    }

    /// The values of every field of that name, in order.
    pub fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.headers().filter(move |(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Digits only: no sign, no space, no list.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn parse(text: &str) -> Request<'_> {
        let (request, len) =
            parse_request(text.as_bytes(), &RequestLimits::default()).unwrap().unwrap();
        assert_eq!(len, text.len());
        request
    }

    fn refused(text: &str) -> Error {
        parse_request(text.as_bytes(), &RequestLimits::default()).unwrap_err()
    }

    fn with_fields(version: &str, fields: &str) -> String {
        format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n")
    }

    #[test]
    fn targets_of_every_form() {
        let table = [
            ("/live/a.flv", "/live/a.flv", None, Some("h")),
            ("/live/a?key=1?2&b", "/live/a", Some("key=1?2&b"), Some("h")),
            ("/%2e%2e/", "/%2e%2e/", None, Some("h")),
            ("http://other:81/x?y", "/x", Some("y"), Some("other:81")),
            ("HTTPS://other", "/", None, Some("other")),
            ("http://other?y", "/", Some("y"), Some("other")),
            ("*", "*", None, Some("h")),
        ];
        for (target, path, query, host) in table {
            let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let request = parse(&text);
            let read = (request.target, request.path, request.query, request.host);
            assert_eq!(read, (target, path, query, host));
        }
        let target = Error::Invalid { what: "http.request.target", value: u64::from(b'h') };
        assert_eq!(refused("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), target);
    }

    #[test]
    fn methods_and_versions() {
        let table = [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("OPTIONS", Method::Options),
            ("POST", Method::Post),
            ("get", Method::Other),
            ("DELETE", Method::Other),
        ];
        for (name, method) in table {
            assert_eq!(parse(&format!("{name} / HTTP/1.0\r\n\r\n")).method, method);
        }
        let version = Error::Unsupported { what: "http.request.version", value: 0 };
        assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), version);
    }

    #[test]
    fn exactly_one_host_is_wanted() {
        let host = |value| Error::Invalid { what: "http.request.host", value };
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), host(0));
        assert_eq!(refused(&with_fields("1.1", "host: h\r\n")), host(2));
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").host, None);
    }

    #[test]
    fn names_have_no_case_and_bytes_that_are_no_text_no_value() {
        let mut bytes = with_fields("1.1", "").into_bytes();
        bytes.truncate(bytes.len() - 2);
        bytes.extend_from_slice(b"eTag: \"a\"\r\nX-Raw: \xff\r\n\r\n");
        let (request, _) = parse_request(&bytes, &RequestLimits::default()).unwrap().unwrap();
        assert_eq!(request.header("ETAG"), Some("\"a\""));
        assert_eq!((request.header("x-raw"), request.header("missing")), (None, None));
        assert_eq!(request.headers().last(), Some(("X-Raw", &b"\xff"[..])));
    }

    #[test]
    fn connections_stay_by_version_and_token() {
        let table = [
            ("1.1", "", true),
            ("1.0", "", false),
            ("1.1", "Connection: Close\r\n", false),
            ("1.1", "Connection: upgrade, close\r\n", false),
            ("1.1", "Connection: te\r\nConnection: close\r\n", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
            ("1.1", "Connection: closed\r\n", true),
        ];
        for (version, fields, keep_alive) in table {
            let text = with_fields(version, fields);
            assert_eq!(parse(&text).keep_alive(), keep_alive, "{version} {fields}");
        }
    }

    #[test]
    fn single_ranges_only() {
        let from = |first, last| Some(ByteRange::From { first, last });
        let table = [
            ("bytes=0-99", from(0, Some(99)), Some(0..10)),
            ("bytes=5-", from(5, None), Some(5..10)),
            ("bytes=3-3", from(3, Some(3)), Some(3..4)),
            ("Bytes=-4", Some(ByteRange::Suffix(4)), Some(6..10)),
            ("bytes=-40", Some(ByteRange::Suffix(40)), Some(0..10)),
            ("bytes=-0", Some(ByteRange::Suffix(0)), None),
            ("bytes=10-", from(10, None), None),
            ("bytes=0-18446744073709551615", from(0, Some(u64::MAX)), Some(0..10)),
            ("bytes=4-3", None, None),
            ("bytes=0-1,4-5", None, None),
            ("bytes=+1-2", None, None),
            ("bytes=-", None, None),
            ("bytes", None, None),
            ("lines=0-1", None, None),
            ("bytes=0-18446744073709551616", None, None),
        ];
        for (value, range, resolved) in table {
            let text = with_fields("1.1", &format!("Range: {value}\r\n"));
            assert_eq!(parse(&text).range(), range, "{value}");
            assert_eq!(range.and_then(|range| range.resolve(10)), resolved, "{value}");
        }
        let twice = with_fields("1.1", "Range: bytes=0-1\r\nRange: bytes=2-3\r\n");
        assert_eq!(parse(&twice).range(), None);
    }

    #[test]
    fn ambiguous_bodies_are_refused() {
        let table = [
            ("1.1", "", Ok(None), false),
            ("1.1", "Content-Length: 0\r\n", Ok(Some(0)), false),
            ("1.1", "content-length: 12\r\n", Ok(Some(12)), true),
            ("1.1", "Transfer-Encoding: chunked\r\n", Ok(None), true),
            ("1.0", "Transfer-Encoding: chunked\r\n", Err(()), true),
            ("1.1", "Content-Length: 1\r\nContent-Length: 1\r\n", Err(()), true),
            ("1.1", "Content-Length: 1, 1\r\n", Err(()), true),
            ("1.1", "Content-Length: +1\r\n", Err(()), true),
            ("1.1", "Content-Length: -1\r\n", Err(()), true),
            ("1.1", "Content-Length: 0x1\r\n", Err(()), true),
            ("1.1", "Content-Length:\r\n", Err(()), true),
            ("1.1", "Content-Length: 18446744073709551616\r\n", Err(()), true),
            ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Err(()), true),
        ];
        for (version, fields, length, body) in table {
            let text = with_fields(version, fields);
            let request = parse(&text);
            assert_eq!(request.content_length().map_err(|_| ()), length, "{fields}");
            assert_eq!(request.expects_body(), body, "{fields}");
        }
    }

    #[test]
    fn smuggling_lines_are_refused() {
        for fields in [
            "Content-Length : 1\r\n",
            " Content-Length: 1\r\n",
            "X: a\r\n b\r\n",
            "X: a\rY: b\r\n",
            "X\0: a\r\n",
            "X: a\0\r\n",
            "no colon\r\n",
        ] {
            assert!(matches!(refused(&with_fields("1.1", fields)), Error::Invalid { .. }));
        }
    }

    #[test]
    fn heads_have_limits() {
        let limits = RequestLimits { head_bytes_max: 64, headers_max: 2 };
        let parse = |text: &str| {
            parse_request(text.as_bytes(), &limits).map(|head| head.map(|(_, len)| len))
        };
        assert_eq!(parse(&with_fields("1.1", "A: b\r\n")), Ok(Some(33)));
        let headers = Error::TooLarge { what: "http.request.headers", value: 3, max: 2 };
        assert_eq!(parse(&with_fields("1.1", "A: b\r\nC: d\r\n")), Err(headers));
        let head = |value| Err(Error::TooLarge { what: "http.request.head", value, max: 64 });
        let long = format!("GET /{}", "a".repeat(58));
        assert_eq!(parse(&long), Ok(None));
        assert_eq!(parse(&(long.clone() + "a")), head(64));
        assert_eq!(parse(&(long + " HTTP/1.1\r\nHost: h\r\n\r\n")), head(85));
        let many = RequestLimits { headers_max: 1000, ..RequestLimits::default() };
        let text = with_fields("1.1", &"A: b\r\n".repeat(64));
        assert!(parse_request(text.as_bytes(), &many).is_err(), "never over HEADERS_MAX");
    }

    #[test]
    fn any_prefix_asks_for_more_and_pipelined_bytes_stay() {
        let text = with_fields("1.1", "Range: bytes=0-1\r\n");
        let limits = RequestLimits::default();
        for len in 0..text.len() {
            assert!(parse_request(&text.as_bytes()[..len], &limits).unwrap().is_none(), "{len}");
        }
        let two = text.repeat(2);
        let (request, len) = parse_request(two.as_bytes(), &limits).unwrap().unwrap();
        assert_eq!(len, text.len());
        let names: Vec<_> = request.headers().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["Host", "Range"]);
    }
}
