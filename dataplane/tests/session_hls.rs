//! HTTP sessions that ask for HLS, against scripted peers: what is asked of the shard, what is
//! answered from a window, and which bytes follow.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::time::{MediaTime, WallTime};
use dataplane::Error;
use dataplane::config::{LimitId, Limits, Terms};
use dataplane::control::{Protocol, Role};
use dataplane::ids::StreamId;
use dataplane::segment::{ListTerms, Program, Segment, SegmentList, Tags, Window, render};
use dataplane::session::http::Server;
use dataplane::session::{Command, Event, Refusal, Served, ServedAs};
use dataplane::slab::{Pool, Region, RegionConfig};

#[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
fn epoch() -> Instant {
    Instant::now()
}

/// The number of the first segment of [`window`].
const FIRST: u64 = 40;
/// Bytes of each.
const LEN: u64 = 1_000;

/// Three segments of two seconds, from the offset 500 on.
fn window() -> Window {
    let mut list = SegmentList::new(ListTerms { listed: 6, kept: 16 });
    let segment = |n: u64| Segment {
        number: FIRST + n,
        period: 3,
        discontinuity: false,
        start: MediaTime::from_millis(2_000 * n as i64),
        duration: MediaTime::from_millis(2_000),
        wall: WallTime::from_unix_millis(1_700_000_000_000),
        independent: true,
        pictures: 50,
        first_unit: 100 * n,
    };
    list.begin(FIRST, 500, None);
    for n in 1..=3 {
        list.begin(FIRST + n, 500 + LEN * n, Some(&segment(n - 1)));
    }
    list.settle(4, epoch());
    render(&list, Tags { target_s: 4, independent: true }, &Program::default()).unwrap()
}

struct Bench {
    pool: Pool,
    now: Instant,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        Self::with(&Limits::default())
    }

    fn with(limits: &Limits) -> Self {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: 1,
            small_pages_per_shard: 1,
            poison: false,
        };
        let now = epoch();
        let terms = Arc::new(Terms { limits: limits.clone(), ..Terms::default() });
        let pool = Region::map(&config).unwrap().1.remove(0);
        Self { pool, now, server: Server::new(now, &terms) }
    }

    /// Asks, and returns what the shard was asked for.
    fn ask(&mut self, method: &str, target: &str, fields: &str) -> String {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let taken = self.server.handle_bytes(self.now, head.as_bytes(), &self.pool).unwrap();
        assert_eq!(taken, head.len());
        self.event()
    }

    fn event(&mut self) -> String {
        match self.server.poll_event() {
            Some(Event::Fetch { stream, credentials, .. }) => {
                format!("{stream} {}", credentials.key.0)
            }
            Some(other) => format!("{other:?}"),
            None => String::new(),
        }
    }

    /// The answer from [`window`], of which what lies before `tail` is gone.
    fn answer(&mut self, tail: u64) -> (Served, String) {
        let served = self.server.handle_window(self.now, &window(), tail).unwrap();
        (served, self.said())
    }

    fn said(&mut self) -> String {
        let mut out = Vec::new();
        self.server.poll_transmit(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Asks for the second segment, and has the answer.
    fn segment(&mut self, method: &str, fields: &str) -> (ServedAs, Range<u64>, String) {
        self.ask(method, "/cam/seg.41.ts", fields);
        let (served, head) = self.answer(500);
        if !served.body.is_empty() {
            self.server.handle_command(self.now, Command::Served).unwrap();
        }
        assert!(self.server.wants_bytes(), "the connection goes on");
        (served.what, served.body, head)
    }
}

const CORS: &str = "Access-Control-Allow-Origin: *\r\n\
    Access-Control-Expose-Headers: Content-Length, Content-Range\r\n";
const TAG: &str = "\"29-5dc-9c4\"";

#[test]
fn the_address_of_a_publication_finds_that_one_alone() {
    const ID: &str = "0000019af0c3d2e100000007a1b2c3d4";
    let id = StreamId::parse(ID).unwrap();
    for (publication, found) in [(Some(id), true), (Some(StreamId([7; 16])), false), (None, false)]
    {
        for (asset, what) in [("live.m3u8", ServedAs::Playlist), ("seg.41.ts", ServedAs::Segment)] {
            let mut bench = Bench::new();
            let target = format!("/hls/cam/{ID}/640x360-30/{asset}?key=k");
            assert_eq!(bench.ask("GET", &target, ""), "cam k");
            let window = Window { publication, ..window() };
            let served = bench.server.handle_window(bench.now, &window, 500).unwrap();
            let text = bench.said();
            let expected = if found { what } else { ServedAs::NotFound };
            assert_eq!(served.what, expected, "{text}");
            assert!(
                text.starts_with(if found { "HTTP/1.1 200" } else { "HTTP/1.1 404" }),
                "{text}"
            );
            let children = text.contains("\nseg.41.ts?key=k\n");
            assert_eq!(children, found && what == ServedAs::Playlist, "{text}");
        }
    }
}

#[test]
fn a_playlist_is_written_and_the_connection_goes_on() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask("GET", "/live/cam/media.m3u8?token=t%2B", ""), "cam t+");
    assert!(!bench.server.wants_bytes());
    assert_eq!(bench.server.poll_timeout(), None, "the shard's deadline is in force");
    assert_eq!(bench.server.protocol(), Protocol::Hls);
    assert_eq!(bench.server.role(), Some(Role::Play));
    assert_eq!(bench.server.stream().unwrap().as_str(), "cam");
    let (served, text) = bench.answer(500);
    assert_eq!(served, Served { what: ServedAs::Playlist, body: 0..0 });
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let etag = window().media.etag().to_owned();
    let len = body.len();
    assert_eq!(
        format!("{head}\r\n"),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\
             Content-Length: {len}\r\nConnection: keep-alive\r\n{CORS}\
             Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nETag: {etag}\r\n"
        )
    );
    assert!(body.contains("\nseg.41.ts?token=t%2B\n"), "{body}");
    assert_eq!(bench.server.protocol(), Protocol::Http);
    let known = format!("If-None-Match: \"x\", W/{etag}\r\n");
    bench.ask("GET", "/cam/media.m3u8", &known);
    let (served, text) = bench.answer(500);
    assert_eq!(served.what, ServedAs::NotModified);
    assert_eq!(
        text,
        format!(
            "HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n{CORS}\
             Cache-Control: no-cache\r\nETag: {etag}\r\n\r\n"
        )
    );
    bench.ask("HEAD", "/cam/index.m3u8", "");
    let (served, text) = bench.answer(500);
    assert_eq!(served.what, ServedAs::Playlist);
    let len = window().multivariant.body().len();
    assert!(text.contains(&format!("Content-Length: {len}\r\n")), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "no body: {text}");
    assert_eq!(bench.server.take_counts().http_requests, 3);
}

#[test]
fn a_segment_is_a_head_and_a_range_of_the_log() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask("GET", "/cam/seg.41.ts?key=k", ""), "cam k");
    let (served, head) = bench.answer(500);
    assert_eq!(served, Served { what: ServedAs::Segment, body: 1_500..2_500 });
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: 1000\r\n\
             Connection: keep-alive\r\n{CORS}Cache-Control: max-age=3600, immutable\r\n\
             Accept-Ranges: bytes\r\nETag: {TAG}\r\nX-Content-Type-Options: nosniff\r\n\r\n"
        )
    );
    assert!(!bench.server.wants_bytes(), "the shard is sending");
    assert_eq!(bench.server.poll_timeout(), None);
    assert_eq!(bench.server.state_name(), "serving");
    assert_eq!(bench.server.stream().unwrap().as_str(), "cam");
    bench.now += Duration::from_secs(600);
    bench.server.handle_command(bench.now, Command::Served).unwrap();
    assert_eq!(bench.server.state_name(), "head");
    assert_eq!(bench.server.stream(), None);
    assert!(bench.server.poll_timeout().unwrap() > bench.now, "its patience begins anew");
}

#[test]
fn ranges_and_conditions_of_segments() {
    let known = format!("If-None-Match: {TAG}\r\n");
    let same = format!("If-Range: {TAG}\r\nRange: bytes=0-9\r\n");
    let date = "If-Range: Sat, 29 Oct 1994 19:43:31 GMT\r\nRange: bytes=0-9\r\n";
    let both = format!("Range: bytes=0-9\r\n{known}");
    let late = format!("If-None-Match: {}{TAG}\r\n", "\"x\", ".repeat(200));
    let whole = (ServedAs::Segment, 1_500..2_500, "200", None);
    let part = |range, place| (ServedAs::Part, range, "206", Some(place));
    let not_modified = (ServedAs::NotModified, 0..0, "304", None);
    for (fields, expected) in [
        ("", whole.clone()),
        ("Range: bytes=0-99\r\n", part(1_500..1_600, "bytes 0-99/1000")),
        ("Range: bytes=990-\r\n", part(2_490..2_500, "bytes 990-999/1000")),
        ("Range: bytes=-1\r\n", part(2_499..2_500, "bytes 999-999/1000")),
        ("Range: bytes=0-0\r\n", part(1_500..1_501, "bytes 0-0/1000")),
        ("Range: bytes=-5000\r\n", part(1_500..2_500, "bytes 0-999/1000")),
        ("Range: bytes=5-18446744073709551615\r\n", part(1_505..2_500, "bytes 5-999/1000")),
        ("Range: bytes=1000-\r\n", (ServedAs::Unsatisfiable, 0..0, "416", Some("bytes */1000"))),
        ("Range: bytes=-0\r\n", (ServedAs::Unsatisfiable, 0..0, "416", Some("bytes */1000"))),
        ("Range: bytes=0-1,5-6\r\n", whole.clone()),
        ("Range: bytes=9-5\r\n", whole.clone()),
        ("Range: lines=0-1\r\n", whole.clone()),
        (&same, part(1_500..1_510, "bytes 0-9/1000")),
        (date, whole.clone()),
        ("If-Range: \"other\"\r\nRange: bytes=0-9\r\n", whole.clone()),
        (&known, not_modified.clone()),
        (&both, not_modified.clone()),
        ("If-None-Match: *\r\n", not_modified),
        ("If-None-Match: \"other\"\r\n", whole.clone()),
        (&late, whole.clone()),
        ("If-Modified-Since: Sat, 29 Oct 2044 19:43:31 GMT\r\n", whole),
    ] {
        let mut bench = Bench::new();
        let (what, body, head) = bench.segment("GET", fields);
        let place = head.lines().find_map(|line| line.strip_prefix("Content-Range: "));
        assert_eq!((what, body.clone(), &head[9..12], place), expected, "{fields}");
        if !body.is_empty() {
            let len = format!("Content-Length: {}\r\n", body.end - body.start);
            assert!(head.contains(&len), "{fields}: {head}");
        }
        assert_eq!(head.contains("ETag"), what != ServedAs::Unsatisfiable, "{fields}: {head}");
    }
    let (what, body, head) = Bench::new().segment("HEAD", "Range: bytes=0-9\r\n");
    assert_eq!((what, body), (ServedAs::Segment, 0..0), "a range is of GET alone");
    assert!(head.contains("Content-Length: 1000\r\n"), "{head}");
}

#[test]
fn what_is_not_kept_is_not_found() {
    for (target, tail) in
        [("/cam/seg.39.ts", 500), ("/cam/seg.43.ts", 500), ("/cam/seg.40.ts", 501)]
    {
        let mut bench = Bench::new();
        bench.ask("GET", target, "Range: bytes=0-1\r\n");
        let (served, text) = bench.answer(tail);
        assert_eq!(served, Served { what: ServedAs::NotFound, body: 0..0 });
        assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
        assert!(text.contains("Cache-Control: no-store\r\n"), "{text}");
        assert!(bench.server.wants_bytes());
        assert_eq!(bench.server.take_counts().http_not_found, 1);
    }
}

#[test]
fn the_short_name_leads_to_the_playlist() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask("GET", "/live/news/cam.m3u8?key=k", ""), "");
    let text = bench.said();
    assert!(text.starts_with("HTTP/1.1 302 Found\r\n"), "{text}");
    assert!(text.contains("Location: cam/index.m3u8?key=k\r\n"), "{text}");
    assert!(bench.server.wants_bytes());
}

#[test]
fn every_refusal_has_its_status() {
    for (refusal, status) in [
        (Refusal::NotFound, "404"),
        (Refusal::Denied, "403"),
        (Refusal::Overloaded, "503"),
        (Refusal::Timeout, "503"),
        (Refusal::Draining, "503"),
    ] {
        let mut bench = Bench::new();
        bench.ask("GET", "/cam/index.m3u8", "");
        bench.server.handle_command(bench.now, Command::Refused(refusal)).unwrap();
        let text = bench.said();
        assert_eq!(&text[9..12], status);
        assert!(text.contains("Cache-Control: no-store\r\n"), "{text}");
        assert_eq!(text.contains("Retry-After: 2\r\n"), status == "503", "{text}");
        assert!(bench.server.wants_bytes(), "the connection goes on");
    }
}

#[test]
fn a_viewer_hears_where_else_the_stream_is() {
    let mut bench = Bench::new();
    bench.ask("GET", "/cam/index.m3u8", "");
    let elsewhere = Command::Elsewhere("http://b:8080/cam/index.m3u8?t=1".into());
    bench.server.handle_command(bench.now, elsewhere).unwrap();
    let text = bench.said();
    assert!(text.starts_with("HTTP/1.1 302 Found\r\n"), "{text}");
    assert!(text.contains("Location: http://b:8080/cam/index.m3u8?t=1\r\n"), "{text}");
    assert!(bench.server.wants_bytes(), "the connection goes on");
}

#[test]
fn an_end_waits_for_the_segment_in_hand() {
    let mut bench = Bench::new();
    bench.ask("GET", "/cam/seg.41.ts", "Connection: close\r\n");
    let (_, head) = bench.answer(500);
    assert!(head.contains("Connection: close\r\n"), "{head}");
    bench.server.handle_command(bench.now, Command::Served).unwrap();
    assert_eq!(bench.event(), "Close { reason: \"connection_close\" }");
    let mut bench = Bench::new();
    bench.ask("GET", "/cam/seg.41.ts", "");
    bench.answer(500);
    let shutdown = Command::Shutdown { reason: "draining" };
    bench.server.handle_command(bench.now, shutdown.clone()).unwrap();
    assert_eq!(bench.event(), "Close { reason: \"draining\" }");
    assert_eq!(bench.said(), "", "no word comes between the segment's bytes");
    bench.server.handle_command(bench.now, Command::Served).unwrap();
    let mut bench = Bench::new();
    bench.ask("GET", "/cam/seg.41.ts", "");
    bench.server.handle_command(bench.now, shutdown).unwrap();
    assert!(bench.said().starts_with("HTTP/1.1 503 "));
    assert_eq!(bench.event(), "Close { reason: \"draining\" }");
}

#[test]
fn the_last_request_of_a_connection_is_answered() {
    let mut bench = Bench::with(&Limits { http_requests_max: 1, ..Limits::default() });
    bench.ask("GET", "/cam/media.m3u8", "");
    let error = bench.server.handle_window(bench.now, &window(), 500).unwrap_err();
    assert_eq!(error, Error::Limit(LimitId::HttpRequestsMax));
    let text = bench.said();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("Connection: close\r\n"), "{text}");
}

#[test]
fn what_was_not_asked_for_is_no_answer() {
    let misbehaved = |state, got| Error::Misbehaved { state, got };
    let mut bench = Bench::new();
    let error = bench.server.handle_window(bench.now, &window(), 0).unwrap_err();
    assert_eq!(error, misbehaved("head", "window"));
    let mut bench = Bench::new();
    bench.ask("GET", "/cam/media.m3u8", "");
    let error = bench.server.handle_command(bench.now, Command::Served).unwrap_err();
    assert_eq!(error, misbehaved("fetching", "served"));
    for command in [Command::PlayStarted, Command::Refused(Refusal::Denied)] {
        let mut bench = Bench::new();
        bench.ask("GET", "/cam/seg.41.ts", "");
        bench.answer(0);
        let name = command.name();
        let error = bench.server.handle_command(bench.now, command).unwrap_err();
        assert_eq!(error, misbehaved("serving", name));
    }
}
