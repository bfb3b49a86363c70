//! Hostile requests.

use std::io::{Read, Write};

use crate::node::Server;
use crate::{connect, say_and_leave};

/// Named inputs of a whole connection.
pub(crate) fn attacks() -> Vec<(&'static str, Vec<u8>)> {
    let request = |rest: &str| format!("GET /good HTTP/1.1\r\nHost: a\r\n{rest}\r\n").into_bytes();
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    vec![
        ("nothing", Vec::new()),
        ("a huge head", vec![b'x'; 1 << 20]),
        ("a huge line", [b"GET /".to_vec(), vec![b'x'; 1 << 20]].concat()),
        ("a flood of fields", request(&"X: y\r\n".repeat(10_000))),
        ("a long field", request(&format!("X: {}\r\n", "y".repeat(100_000)))),
        ("a long name", request(&format!("{}: y\r\n", "X".repeat(100_000)))),
        ("empty lines", b"\r\n".repeat(100_000)),
        ("line feeds", b"GET / HTTP/1.1\nHost: a\n\n".repeat(10)),
        ("two lengths", request("Content-Length: 5\r\nContent-Length: 6\r\n")),
        (
            "length and chunks",
            [
                request("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
                b"0\r\n\r\nGET /smuggled.flv HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            ]
            .concat(),
        ),
        ("obscured chunks", request("Transfer-Encoding : chunked\r\n")),
        ("chunks in 1.0", b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        ("a negative length", request("Content-Length: -1\r\n")),
        ("an endless length", request("Content-Length: 99999999999999999999\r\n")),
        ("a body", [request("Content-Length: 100000\r\n"), vec![b'x'; 100_000]].concat()),
        ("a folded field", request("X: a\r\n b\r\n")),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("two hosts", request("Host: b\r\n")),
        ("a zero byte in a name", target("/go\0od.flv")),
        ("a zero byte in a field", request("X: a\0b\r\n")),
        ("encoded zero bytes", target("/%00%00.flv")),
        ("half an encoding", target("/good%2.flv")),
        ("no encoding", target("/good%zz.flv")),
        ("encoded twice", target("/%252e%252e%252fgood.flv")),
        ("the way up", target("/../../../../etc/passwd")),
        ("bytes beyond ASCII", b"GET /\xff\xfe.flv HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("an absolute target", target("http://a/good.flv?key=%ff")),
        ("a strange scheme", target("gopher://a/good.flv")),
        ("an authority", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("a long query", target(&format!("/good.flv?{}", "a=b&".repeat(1_500)))),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".repeat(50)),
        ("HTTP/9", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_vec()),
        ("TLS", [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(), vec![7; 500]].concat()),
        ("RTMP", [vec![3], vec![0; 3_072]].concat()),
        ("every byte", (0..=255_u8).cycle().take(50_000).collect()),
        ("a flood of requests", target("/nothing.mkv").repeat(2_000)),
        ("a flood of pages", target("/").repeat(200)),
        (
            "an upload",
            b"POST /good.flv HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123".to_vec(),
        ),
    ]
}

/// Says it all on one connection; whatever the answer is, it is HTTP.
pub(crate) fn run(server: &Server, name: &str, bytes: &[u8]) {
    is_answer(name, &say_and_leave(&mut connect(server.http), bytes));
}

/// Whatever was said, the answer is HTTP, or none.
pub(crate) fn is_answer(name: &str, answer: &[u8]) {
    let is_http = answer.is_empty() || answer.starts_with(b"HTTP/1.1 ");
    assert!(is_http, "{name}: {}", String::from_utf8_lossy(answer));
}

/// Asks for streams that do not exist, each of another name, and hears 404 each time.
pub(crate) fn poll_unknown_names(server: &Server, count: usize) {
    const PER_CONNECTION: usize = 2_500;
    const PIPELINED: usize = 50;
    for connection in 0..count / PER_CONNECTION {
        let mut socket = connect(server.http);
        let mut answers = Vec::new();
        for batch in 0..PER_CONNECTION / PIPELINED {
            let request = |n: usize| {
                let (high, low) = (connection, batch * PIPELINED + n);
                format!("GET /nobody/{high}/{low}.flv HTTP/1.1\r\nHost: a\r\n\r\n")
            };
            let requests: String = (0..PIPELINED).map(request).collect();
            socket.write_all(requests.as_bytes()).unwrap();
            answers.clear();
            let is_end = |window: &&[u8]| *window == b"\r\n\r\nnot found\n";
            while answers.windows(14).filter(is_end).count() < PIPELINED {
                let mut buffer = [0; 16 << 10];
                let len = socket.read(&mut buffer).unwrap();
                assert!(len > 0, "the connection goes on");
                answers.extend_from_slice(&buffer[..len]);
            }
            let text = String::from_utf8_lossy(&answers);
            assert_eq!(text.matches("HTTP/1.1 404 ").count(), PIPELINED);
        }
    }
}
