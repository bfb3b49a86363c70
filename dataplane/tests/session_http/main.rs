//! HTTP sessions against scripted peers: every state with every input, every answer, every limit.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bench;
mod states;

use std::time::Duration;

use dataplane::Error;
use dataplane::config::{LimitId, Limits, SessionConfig};
use dataplane::control::Protocol;
use dataplane::session::{Command, Counts, Refusal};
use proptest::prelude::*;

use crate::bench::{Bench, get, request};

#[test]
fn answers_are_counted_once() {
    let mut bench = Bench::new();
    bench.feed(&[get("/"), get("/nothing.mkv"), get("/favicon.ico")].concat()).unwrap();
    let counts = bench.server.take_counts();
    assert_eq!((counts.http_requests, counts.http_not_found), (3, 1));
    assert_eq!(bench.server.take_counts(), Counts::default());
    bench.feed(&get("/cam.flv")).unwrap();
    assert_eq!(bench.server.take_counts(), Counts::default(), "no answer yet");
    bench.command(Command::Refused(Refusal::NotFound)).unwrap();
    let counts = bench.server.take_counts();
    assert_eq!((counts.http_requests, counts.http_not_found), (1, 1));
}

#[test]
fn a_stream_is_authorised_and_then_handed_to_the_shard() {
    let mut bench = Bench::new();
    bench.feed(&get("/live/news/cam.flv?token=t&latency=low&dialect=legacy&cache=no")).unwrap();
    let asked = "play news/cam t t/1 Some((NextKeyframe, true, \"flv-legacy-ids\"))";
    assert_eq!(bench.events, [asked]);
    assert!(!bench.server.wants_bytes());
    assert_eq!(bench.server.poll_timeout(), None);
    assert_eq!(bench.server.protocol(), Protocol::HttpFlv);
    assert_eq!(bench.server.stream().unwrap().as_str(), "news/cam");
    bench.command(Command::PlayStarted).unwrap();
    assert_eq!(
        bench.said(),
        "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\
         Access-Control-Allow-Origin: *\r\n\
         Access-Control-Expose-Headers: Content-Length, Content-Range\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    );
    bench.feed(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(bench.said(), "", "what comes during a stream is ignored");
    bench.command(Command::StreamEnded).unwrap();
    assert_eq!(bench.events[1..], ["Close { reason: \"stream_ended\" }"]);
}

#[test]
fn packets_have_their_type_and_no_dialect() {
    let mut bench = Bench::new();
    bench.feed(&get("/live/cam.ts?dialect=legacy")).unwrap();
    assert_eq!(bench.events, ["play cam  t/1 Some((NewestKeyframe, false, \"mpegts\"))"]);
    assert_eq!(bench.server.protocol(), Protocol::HttpTs);
    bench.command(Command::PlayStarted).unwrap();
    assert!(bench.said().contains("\r\nContent-Type: video/mp2t\r\nConnection: close\r\n"));
}

#[test]
fn every_refusal_has_its_status_and_the_connection_goes_on() {
    for (refusal, status) in [
        (Refusal::NotFound, "404"),
        (Refusal::Denied, "403"),
        (Refusal::Anonymous, "401"),
        (Refusal::Busy, "409"),
        (Refusal::Unavailable, "503"),
        (Refusal::Overloaded, "503"),
        (Refusal::Full, "503"),
        (Refusal::Timeout, "503"),
        (Refusal::Draining, "503"),
    ] {
        let mut bench = Bench::answered(Command::Refused(refusal));
        bench.feed(&[get("/cam.flv"), get("/favicon.ico")].concat()).unwrap();
        let said = bench.said();
        assert_eq!(said.contains("Retry-After: 2\r\n"), status == "503");
        assert_eq!(said.contains("WWW-Authenticate: Basic realm=\"grandstand\""), status == "401");
        assert!(said.contains("Cache-Control: no-store\r\n") && said.contains("HTTP/1.1 204 "));
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert_eq!((bench.server.state_name(), bench.server.protocol()), ("head", Protocol::Http));
    }
}

#[test]
fn pages_lists_and_preflights() {
    for (bytes, status, field) in [
        (get("/"), "200", "Content-Type: text/html; charset=utf-8"),
        (get("/cam"), "200", "Content-Type: text/html; charset=utf-8"),
        (get("/player.js"), "200", "Content-Type: text/javascript; charset=utf-8"),
        (get("/streams.json"), "200", "Content-Type: application/json"),
        (get("/favicon.ico"), "204", "Cache-Control: max-age=86400"),
        (get("/no.such"), "404", "Content-Length: 10"),
        (
            request("OPTIONS", "/cam.flv", ""),
            "204",
            "Access-Control-Allow-Headers: Authorization, Range",
        ),
        (request("OPTIONS", "*", ""), "204", "Allow: GET, HEAD, OPTIONS"),
        (request("HEAD", "/", ""), "200", "Connection: keep-alive"),
        (request("HEAD", "/no.such", ""), "404", "Content-Length: 10"),
    ] {
        let mut bench = Bench::answered(Command::PlayStarted);
        bench.feed(&bytes).unwrap();
        let said = bench.said();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.contains(&format!("\r\n{field}\r\n")), "{field}: {said}");
        assert!(said.contains("\r\nAccess-Control-Allow-Origin: *\r\n"));
        assert_eq!(said.ends_with("\r\n\r\n"), bytes.starts_with(b"HEAD") || status == "204");
        assert_eq!(bench.server.state_name(), "head");
    }
}

#[test]
fn a_head_of_a_stream_is_its_head_alone() {
    let mut bench = Bench::answered(Command::PlayStarted);
    bench.feed(&request("HEAD", "/cam.flv", "")).unwrap();
    assert!(bench.said().contains("video/x-flv"));
    assert_eq!(bench.events[1..], ["PlayEnded", "Close { reason: \"head_only\" }"]);
}

#[test]
fn what_cannot_be_answered_closes() {
    let close = |reason: &str| format!("Close {{ reason: {reason:?} }}");
    for (bytes, status, reason) in [
        (request("POST", "/", "Content-Length: 3\r\n"), "405", "method_not_allowed"),
        (request("DELETE", "/", ""), "405", "method_not_allowed"),
        (request("GET", "/", "Content-Length: 3\r\n"), "413", "request_body"),
        (request("GET", "/", "Transfer-Encoding: chunked\r\n"), "413", "request_body"),
        (request("GET", "/", "Content-Length: x\r\n"), "400", "request_body"),
        (request("GET", "/no", "Connection: close\r\n"), "200", "connection_close"),
        (request("GET", "/n.o", "Connection: close\r\n"), "404", "connection_close"),
    ] {
        let mut bench = Bench::new();
        bench.feed(&bytes).unwrap();
        let said = bench.said();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.contains("\r\nConnection: close\r\n"), "{said}");
        assert_eq!(said.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), status == "405");
        assert_eq!(bench.events, [close(reason)]);
        assert!(!bench.server.wants_bytes());
    }
    for (bytes, status) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "400"),
        (b"\x16\x03\x01\x02\x00".to_vec(), "400"),
        (b"GET / HTTP/2.0\r\n\r\n".to_vec(), "505"),
        (request("GET", "/", &format!("X: {}\r\n", "x".repeat(9000))), "431"),
        (request("GET", "/", &"X: y\r\n".repeat(70)), "431"),
        (vec![b'a'; 9000], "431"),
    ] {
        let mut bench = Bench::new();
        let error = bench.feed(&bytes).unwrap_err();
        let limits = [LimitId::HttpHeadBytesMax, LimitId::HttpHeadersMax];
        match error {
            Error::Limit(limit) => assert!(status == "431" && limits.contains(&limit), "{error}"),
            _ => assert!(matches!(error, Error::Malformed(_)), "{error}"),
        }
        assert_eq!(
            bench.statuses(),
            [status],
            "{}",
            String::from_utf8_lossy(&bytes[..20.min(bytes.len())])
        );
        assert!(!bench.server.wants_bytes());
    }
}

#[test]
fn counts_and_bytes_have_limits() {
    let limits = Limits { http_requests_max: 3, ..Limits::default() };
    let mut bench = Bench::with(&limits);
    let error = bench.feed(&get("/n.o").repeat(5)).unwrap_err();
    assert_eq!(error, Error::Limit(LimitId::HttpRequestsMax));
    let said = bench.said();
    assert_eq!(said.matches("HTTP/1.1 404 ").count(), 3);
    assert_eq!(said.matches("Connection: close").count(), 1);
    let mut bench = Bench::answered(Command::PlayStarted);
    bench.feed(&get("/cam.flv")).unwrap();
    bench.feed(&[b'x'; 16 << 10]).unwrap();
    let error = bench.feed(b"x").unwrap_err();
    assert_eq!(error, Error::Limit(LimitId::HttpPipelineBytesMax));
}

#[test]
fn pipelined_answers_wait_to_be_drained() {
    let bytes = get("/n.o").repeat(2000);
    let mut bench = Bench::new();
    let taken = bench.server.handle_bytes(bench.now, &bytes, &bench.pool).unwrap();
    assert!(taken < bytes.len() && bench.server.wants_bytes());
    bench.drain();
    assert!(bench.sent.len() < 66 << 10, "{}", bench.sent.len());
    bench.feed(&bytes[taken..]).unwrap();
    assert_eq!(bench.statuses().len(), 2000);
}

#[test]
fn slow_heads_and_idle_connections_end() {
    let config = SessionConfig::default();
    let mut bench = Bench::new();
    let start = bench.now;
    bench.feed(b"GET / HT").unwrap();
    bench.now = start + config.connect_deadline - Duration::from_millis(1);
    bench.server.handle_timeout(bench.now).unwrap();
    bench.feed(b"TP/1.1\r\nX: ").unwrap();
    let end = start + config.connect_deadline;
    assert_eq!(bench.server.poll_timeout(), Some(end), "bytes win no time");
    assert_eq!(bench.server.handle_timeout(end), Err(Error::Timeout { what: "request_head" }));
    bench.drain();
    assert_eq!(bench.statuses(), ["408"]);

    let mut bench = Bench::new();
    bench.feed(&get("/n.o")).unwrap();
    let end = bench.now + config.keep_alive;
    assert_eq!(bench.server.poll_timeout(), Some(end));
    bench.server.handle_timeout(end).unwrap();
    bench.drain();
    assert_eq!(bench.events, ["Close { reason: \"keep_alive\" }"]);
}

#[test]
fn a_challenge_is_answered_with_what_the_shard_knows_of_its_token() {
    let mut bench = Bench::new();
    let path = "/.well-known/acme-challenge/tok-en_1";
    for (method, answer, status, body) in [
        ("GET", Some(&b"tok-en_1.print"[..]), "200", "tok-en_1.print"),
        ("HEAD", Some(&b"tok-en_1.print"[..]), "200", ""),
        ("GET", None, "404", "not found\n"),
    ] {
        bench.feed(&request(method, path, "")).unwrap();
        assert_eq!(bench.events.pop().unwrap(), "Challenge { token: \"tok-en_1\" }");
        bench.command(Command::Challenge(answer.map(Into::into))).unwrap();
        let said = bench.said();
        let (head, told) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let is_bytes = head.contains("\r\nContent-Type: application/octet-stream\r\n");
        assert_eq!((is_bytes, told), (status == "200", body));
    }
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_answers(
        cuts in prop::collection::vec(1..200_usize, 1..40),
    ) {
        let script = [
            get("/n.o"),
            b"\r\n".to_vec(),
            request("OPTIONS", "/cam.flv", ""),
            get("/streams.json"),
            request("HEAD", "/player.js", "X: y\r\n"),
            get("/favicon.ico"),
            get("/cam.flv?key=k"),
            b"ignored".to_vec(),
        ]
        .concat();
        let mut whole = Bench::answered(Command::PlayStarted);
        whole.feed(&script).unwrap();
        let mut cut = Bench::answered(Command::PlayStarted);
        let (mut rest, mut sizes) = (script.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            cut.feed(now).unwrap();
            rest = later;
        }
        prop_assert_eq!(&whole.events, &cut.events);
        prop_assert_eq!(whole.said(), cut.said());
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..500), tail in ".{0,200}") {
        let mut bench = Bench::answered(Command::PlayStarted);
        let _ = bench.feed(&noise);
        let mut bench = Bench::answered(Command::PlayStarted);
        let _ = bench.feed(format!("GET /{tail} HTTP/1.1\r\nHost: {tail}\r\n\r\n").as_bytes());
    }
}
