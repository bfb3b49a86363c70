//! Hostile bytes: afterwards connections, pages and memory are where they were, nothing panicked,
//! and a publisher and its players beside it noticed nothing.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

#[path = "../counting/mod.rs"]
mod counting;
mod hls;
mod http;
#[path = "../node/mod.rs"]
mod node;
mod rtmp;
mod tls;
mod websocket;
#[path = "../witness/mod.rs"]
mod witness;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use counting::{ARMED, Counting, EVERYWHERE, HELD};
use dataplane::config::Config;
use dataplane::reactor::BackendChoice;
use node::{Server, TIME_BOUND, Totals, certificate, client_config, with_tls};
use witness::{WITNESS_CONNECTIONS, Witness};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One after the other, because memory is the process's.
#[test]
fn hostile_peers_leave_no_trace() {
    for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
        hostile_bytes_leave_memory_flat(node::config(choice));
        half_heads_and_handshakes_end_at_their_deadline(node::config(choice));
    }
}

/// Runs of the whole list before memory is looked at, and those that may not add to it.
const WARM_UP: usize = 5;
const REPETITIONS: usize = 10;
/// Bytes of the heap that tables and buffers may have grown by: ten lost per connection would be
/// more.
const HELD_GROWTH_MAX: i64 = 256 << 10;
/// Bytes of the process beside the heap's: its fragments, and memory that is mapped.
const RSS_GROWTH_MAX: u64 = 8 << 20;
/// Pages that the witness itself may add meanwhile.
const PAGES_GROWTH_MAX: u64 = 8;

/// Sends `bytes`, ends, and reads until the server has closed; returns what it said.
fn say_and_leave(socket: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    // A server that has heard enough closes in the middle.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    heard(socket)
}

/// Everything up to the end of the connection.
fn heard(socket: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => answer,
    }
}

fn connect(addr: std::net::SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
    socket.set_write_timeout(Some(TIME_BOUND)).unwrap();
    socket
}

/// Only the witness is left.
fn quiet(server: &Server) -> Totals {
    let quiet = |totals: &Totals| {
        let alone = totals.sum(|c| c.connections) == WITNESS_CONNECTIONS;
        alone && totals.sum(|c| c.streams) == 1 && totals.sum(|c| c.pages_retired) == 0
    };
    server.control.until("only the witness is left", quiet)
}

/// Bytes of memory that this process has resident.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * PAGE_BYTES
}

fn hostile_bytes_leave_memory_flat(mut config: Config) {
    // A hostile publisher's stream ends with it.
    config.stream.grace = Duration::ZERO;
    // Who asks before there is a segment is refused soon, and segments go with the viewers.
    config.stream.hls.first_playlist_wait = Duration::from_millis(5);
    config.stream.hls.idle = Duration::from_millis(500);
    let server = Server::start(with_tls(config));
    let mut witness = Witness::start(&server);
    let rtmp = rtmp::attacks();
    let strangers = tls::strangers();
    let trust = client_config(certificate(), rustls::ALL_VERSIONS);
    let mut http = http::attacks();
    http.extend(websocket::attacks());
    http.extend(hls::attacks());
    let mut level = (0, 0);
    for round in 0..WARM_UP + REPETITIONS {
        rtmp.iter().for_each(|attack| attack.run(&server));
        for (name, bytes) in &http {
            http::run(&server, name, bytes);
            http::is_answer(name, &tls::say_inside(server.https(), &trust, bytes));
        }
        strangers.iter().for_each(|(name, bytes)| tls::run(&server, name, bytes));
        hls::leave_while_waiting(&server, 50);
        witness.works();
        let totals = quiet(&server);
        server.control.forget_events();
        if round + 1 == WARM_UP {
            level = (totals.pages_used(), resident_bytes());
            HELD.store(0, Ordering::SeqCst);
            EVERYWHERE.store(true, Ordering::SeqCst);
            ARMED.store(true, Ordering::SeqCst);
        }
    }
    // Names that nobody publishes are no state either.
    http::poll_unknown_names(&server, 10_000);
    hls::poll_unknown_names(&server, 3_000);
    rtmp::poll_unknown_names(&server, 200);
    let totals = quiet(&server);
    server.control.forget_events();
    ARMED.store(false, Ordering::SeqCst);
    let held = HELD.load(Ordering::SeqCst);
    let (pages, bytes) = (totals.pages_used(), resident_bytes());
    assert!(pages <= level.0 + PAGES_GROWTH_MAX, "{} pages became {pages}", level.0);
    assert!(held <= HELD_GROWTH_MAX, "{held} bytes of the heap were left behind");
    assert!(bytes <= level.1 + RSS_GROWTH_MAX, "{} bytes became {bytes}", level.1);
    assert_eq!(totals.sum(|c| c.panics), 0);
    assert!(totals.sum(|c| c.tls_handshakes) > 0);
    assert!(totals.sum(|c| c.sessions_malformed) > 0 && totals.sum(|c| c.sessions_misbehaved) > 0);
    witness.works();
}

fn half_heads_and_handshakes_end_at_their_deadline(mut config: Config) {
    const EACH: usize = 25;
    config.session.connect_deadline = Duration::from_secs(1);
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    let mut half = Vec::new();
    for n in 0..EACH {
        let mut head = connect(server.http);
        head.write_all(&b"GET /good.flv HTTP/1.1\r\nHost: a\r\nX: "[..n + 1]).unwrap();
        let mut handshake = connect(server.rtmp);
        handshake.write_all(&vec![3; 1 + n * 100]).unwrap();
        half.extend([(true, head), (false, handshake)]);
    }
    for (is_http, socket) in &mut half {
        let answer = heard(socket);
        let expected: &[u8] = if *is_http { b"HTTP/1.1 408 " } else { b"" };
        assert!(answer.starts_with(expected), "{:?}", String::from_utf8_lossy(&answer));
    }
    witness.works();
    drop(half);
    let totals = quiet(&server);
    assert_eq!(totals.sum(|c| c.sessions_timed_out), 2 * EACH as u64);
}
