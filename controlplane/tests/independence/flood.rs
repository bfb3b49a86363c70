//! One bad client of the API: thousands of connections that say half of a request, bodies that
//! never end, heads that are too long. All of it is bounded and answered, others are served
//! meanwhile, and no shard notices.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::MORE_BYTES;
use crate::http_flv::get;
use crate::server::{Backend, Options, Server};
use crate::weight::status_bytes;
use crate::witness::Witness;

/// Connections that say half of a request.
const HALF_OPEN: usize = 3_000;
/// Requests whose body never ends, fewer than there are places.
const SLOW_BODIES: usize = 40;
/// `listeners.control.connections_max` by default, and what tests and watchers have open besides.
const OPEN_MAX: usize = 64 + 16;
/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_bad_client_of_the_api_takes_nothing_from_anybody() {
    dataplane::reactor::raise_nofile().expect("the limit can be raised to the hard one");
    let server = Server::start(&Options::on(Backend::Auto));
    let token = fs::read_to_string(server.folder().join("data/api-token")).expect("a token");
    let token = format!("Authorization: Bearer {}\r\n", token.trim());
    let witness = Witness::start(&server);
    witness.wait(25);
    let (files, resident) = (open_files(&server), status_bytes(server.pid(), "VmRSS"));

    let half = |_| said(server.control, b"GET /api/v1/streams HTTP/1.1\r\nHost: local");
    let half_open: Vec<TcpStream> = (0..HALF_OPEN).map(half).collect();
    for _ in 0..20 {
        assert!(server.api("/api/v1/shards")["shards"].is_array());
    }
    assert!(open_files(&server) <= files + OPEN_MAX, "{} files", open_files(&server));

    let post = "POST /api/v1/shards/move HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\n";
    let begun = |token: &str, bytes: usize| {
        format!("{post}{token}Content-Length: {bytes}\r\n\r\n{{\"stream\":\"")
    };
    // Who shows no token is refused before its body is read.
    assert_eq!(status(said(server.control, begun("", 60_000).as_bytes())), 401);
    assert_eq!(status(said(server.control, begun(&token, 10 << 20).as_bytes())), 413);
    let slow: Vec<_> =
        (0..SLOW_BODIES).map(|_| said(server.control, begun(&token, 60_000).as_bytes())).collect();
    assert!(server.api("/api/v1/sessions")["sessions"].is_array());
    for bytes in [20 << 10, 200 << 10] {
        let long = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(bytes));
        let socket = said(server.control, long.as_bytes());
        assert_eq!(status(socket), 431, "{bytes} bytes of a head");
    }
    let many = "a: b\r\n".repeat(400);
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(status(said(server.control, many.as_bytes())), 431, "too many fields");
    assert_eq!(status(said(server.control, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n")), 400);
    for socket in slow {
        let answered = status(socket);
        assert!(matches!(answered, 400 | 408 | 422 | 503), "{answered}");
    }
    assert_eq!(get(server.control, "/healthz", "").0, 200);

    let more = status_bytes(server.pid(), "VmRSS").saturating_sub(resident);
    assert!(more < MORE_BYTES, "{more} bytes more");
    drop(half_open);
    witness.wait(25);
    witness.end(&server);
    server.stop();
}

/// A connection that said `bytes`, of which the server may not have read all.
fn said(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(addr).expect("connections are accepted");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero is legal");
    // Whoever is refused early may be so before it has said everything.
    let _ = socket.write_all(bytes);
    socket
}

/// The status of the answer.
fn status(mut socket: TcpStream) -> u16 {
    let mut line = [0; 12];
    socket.read_exact(&mut line).expect("an answer in time");
    let text = std::str::from_utf8(&line[9..]).expect("a status is text");
    text.parse().expect("a status is a number")
}

fn open_files(server: &Server) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the server runs");
    files.count()
}
