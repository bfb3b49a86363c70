//! Hostile requests for HLS.

use std::io::Write;

use crate::connect;
use crate::node::{Server, Viewer};

/// Named inputs of a whole connection; the stream `good` is there.
pub(crate) fn attacks() -> Vec<(&'static str, Vec<u8>)> {
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let with = |fields: &str| {
        format!("GET /good/index.m3u8 HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
    };
    let segment = |fields: &str| {
        format!("GET /good/seg.1.ts HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
    };
    vec![
        ("no stream", target("/index.m3u8")),
        ("the way up", target("/../good/../index.m3u8")),
        ("an encoded way up", target("/good/%2e%2e/index.m3u8")),
        ("a stream of dots", target("/..../media.m3u8")),
        ("a zero byte", target("/good%00/index.m3u8")),
        ("a long name", target(&format!("/{}/index.m3u8", "x".repeat(4_000)))),
        ("deep names", target(&format!("/{}index.m3u8", "x/".repeat(2_000)))),
        ("no number", target("/good/seg..ts")),
        ("a negative number", target("/good/seg.-1.ts")),
        ("a signed number", target("/good/seg.+1.ts")),
        ("the highest number", target("/good/seg.18446744073709551615.ts")),
        ("a number beyond", target("/good/seg.18446744073709551616.ts")),
        ("an endless number", target(&format!("/good/seg.{}.ts", "9".repeat(5_000)))),
        ("another base", target("/good/seg.0x10.ts")),
        ("digits of another script", target("/good/seg.%d9%a1.ts")),
        ("a long key", target(&format!("/good/index.m3u8?key={}", "k".repeat(6_000)))),
        ("a key of two lines", target("/good/media.m3u8?key=%0d%0aX:%20y")),
        ("a key that is no text", target("/good/media.m3u8?key=%ff%fe")),
        ("many keys", target(&format!("/good/media.m3u8?{}", "key=k&".repeat(1_000)))),
        ("a name that leads elsewhere", target("//evil.example/x.m3u8")),
        ("a short name of two lines", target("/good.m3u8?%0d%0aSet-Cookie:%20a")),
        ("an endless range", segment("Range: bytes=0-99999999999999999999\r\n")),
        ("a range behind the end", segment("Range: bytes=18446744073709551615-\r\n")),
        ("an empty range", segment("Range: bytes=-0\r\n")),
        ("a range of nothing", segment("Range: bytes=\r\n")),
        ("a flood of ranges", segment(&format!("Range: bytes={}0-\r\n", "0-0,".repeat(1_500)))),
        ("a flood of tags", with(&format!("If-None-Match: {}\"y\"\r\n", "\"x\",".repeat(1_500)))),
        ("half a tag", with("If-None-Match: W/\"x\r\n")),
        ("tags of commas", with(&format!("If-None-Match: {}\r\n", ",".repeat(7_000)))),
        ("a range of another", segment(&format!("If-Range: \"{}\"\r\n", "x".repeat(5_000)))),
        ("a flood of lists", with("").repeat(30)),
        ("a flood of segments", segment("").repeat(30)),
        ("heads of lists", b"HEAD /good/index.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(30)),
        ("an upload", b"POST /good/index.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("half a request", b"GET /good/index.m3u8 HTTP/1.1\r\nHost: a\r\n".to_vec()),
    ]
}

/// Asks for the first playlist of streams that nobody publishes, each of another name, and hears
/// 404 each time.
pub(crate) fn poll_unknown_names(server: &Server, count: usize) {
    const PER_CONNECTION: usize = 1_000;
    for connection in 0..count / PER_CONNECTION {
        let mut viewer = Viewer::connect(server.http);
        for n in 0..PER_CONNECTION {
            let asset = ["index.m3u8", "media.m3u8", "seg.7.ts"][n % 3];
            let answer = viewer.get(&format!("/nobody/{connection}/{n}/{asset}?key={n}"));
            assert_eq!(answer.status, 404);
        }
    }
}

/// Asks for the first playlist of a stream and leaves without the answer, again and again.
pub(crate) fn leave_while_waiting(server: &Server, count: usize) {
    for n in 0..count {
        let mut socket = connect(server.http);
        let key = n % 7;
        let request = format!("GET /good/index.m3u8?key={key} HTTP/1.1\r\nHost: a\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
    }
}
