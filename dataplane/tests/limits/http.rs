//! Limits of HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use dataplane::config::LimitId;

use crate::node::{FRAME_MS, FlvPlayer, Player, Publisher, Server, TIME_BOUND, Totals, Viewer};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(TIME_BOUND)).unwrap();
    stream
}

/// So many connections, each with a part of a head.
pub(crate) fn heads_that_do_not_end(server: &Server, count: usize) -> Vec<TcpStream> {
    let head = format!("GET /good.flv HTTP/1.1\r\nX-Filler: {}", "x".repeat(6_000));
    let begin = |_| {
        let mut stream = connect(server);
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    (0..count).map(begin).collect()
}

/// Everything up to the end of the connection.
fn to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

fn refused_with_431(server: &Server, head: &str) {
    let mut stream = connect(server);
    stream.write_all(head.as_bytes()).unwrap();
    let answer = to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

pub(crate) fn a_long_head(server: &Server) -> u64 {
    let long = "x".repeat(600);
    refused_with_431(server, &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"));
    refused_with_431(server, &format!("GET /{long}"));
    2
}

pub(crate) fn many_header_fields(server: &Server) -> u64 {
    let fields = "X: y\r\n".repeat(8);
    refused_with_431(server, &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    1
}

pub(crate) fn many_requests(server: &Server) -> u64 {
    for target in ["/nothing.mkv", "/streams.json"] {
        let mut stream = connect(server);
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.repeat(5).as_bytes()).unwrap();
        let answer = to_end(&mut stream);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 3, "{answer}");
        assert_eq!(answer.matches("Connection: close").count(), 1, "{answer}");
    }
    2
}

pub(crate) fn bytes_that_nobody_asked_for(server: &Server) -> u64 {
    // While a stream runs nothing is read but the end.
    let mut player = FlvPlayer::start(server.http, "good");
    player.socket.write_all(&[b'x'; 300]).unwrap();
    player.items_to_end();
    // While an answer is awaited the next requests wait.
    let mut stream = connect(server);
    let mut requests = b"GET /parked.flv HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    requests.extend_from_slice(&[b'x'; 300]);
    stream.write_all(&requests).unwrap();
    assert_eq!(to_end(&mut stream), "");
    2
}

/// Three viewers on two shards of which one may wait on each.
pub(crate) fn more_viewers_than_may_wait(server: &Server) -> u64 {
    const LIMIT: LimitId = LimitId::HlsWaitersMax;
    let publisher = Publisher::start(server.rtmp, "quiet");
    let mut viewers: Vec<_> = (0..3).map(|_| Viewer::connect(server.http)).collect();
    viewers.iter_mut().for_each(|viewer| viewer.ask("GET", "/quiet/index.m3u8", ""));
    let all = |totals: &Totals| totals.sum(|c| c.hls_waits) + totals.limit(LIMIT) == 3;
    let refused = server.control.until("all wait or are refused", all).limit(LIMIT);
    drop((viewers, publisher));
    refused
}

/// Two viewers who are told apart, of whom one may have a session.
pub(crate) fn one_viewer_too_many(server: &Server) -> u64 {
    let mut publisher = Publisher::start(server.rtmp, "seen");
    publisher.send_frames(2_000 / FRAME_MS + 1);
    let mut viewer = Viewer::connect(server.http);
    let mut media = || {
        let index = viewer.found("/seen/index.m3u8");
        format!("/seen/{}", index.uris()[0])
    };
    let (first, second) = (media(), media());
    viewer.found(&first);
    let refused = viewer.get(&second);
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("2")));
    viewer.found(&first);
    1
}
