//! Callers that ask much and read nothing: from one address they hold every place of the API, and
//! whoever else asks is answered all the same.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::server::{Backend, Options, Server};
use crate::witness::Witness;

/// `listeners.control.connections_max` by default.
const PLACES: usize = 64;
/// Requests of one connection: their answers are more than sockets take.
const PIPELINED: usize = 60;
/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn who_reads_no_answer_keeps_nobody_of_another_address_out() {
    let server = Server::start(&Options::on(Backend::Auto));
    let token = fs::read_to_string(server.folder().join("data/api-token")).expect("a token");
    let witness = Witness::start(&server);
    witness.wait(10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut hoarders = Vec::new();
        for _ in 0..PLACES {
            hoarders.push(hoarder(server.control, token.trim()).await);
        }
        for hoarder in &hoarders {
            let begun = timeout(PATIENCE, hoarder.readable()).await;
            begun.expect("its answers begin in time").expect("it is connected");
        }
        for _ in 0..20 {
            let answered = timeout(PATIENCE, healthz(server.control)).await;
            let answer = answered.expect("an answer in time");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        drop(hoarders);
    });
    let metrics = crate::http_flv::get(server.control, "/metrics", "").1;
    let metrics = String::from_utf8_lossy(&metrics);
    let gone = "grandstand_control_connections_ended_total{reason=\"crowd\"} ";
    let gone = metrics.lines().find_map(|line| line.strip_prefix(gone)).expect("it is counted");
    assert!(gone.parse::<u64>().is_ok_and(|gone| gone > 0), "{gone} made room");
    witness.wait(10);
    witness.end(&server);
    server.stop();
}

/// Asks for far more than it reads, which is nothing.
async fn hoarder(addr: SocketAddr, token: &str) -> TcpStream {
    let mut stream = from("127.0.0.1", addr).await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let request = format!("GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\n");
    stream.write_all(request.repeat(PIPELINED).as_bytes()).await.expect("requests are taken");
    stream
}

/// What somebody of another address hears.
async fn healthz(addr: SocketAddr) -> String {
    let mut stream = from("127.0.0.2", addr).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a request is taken");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

async fn from(local: &str, addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer is legal");
    let local = SocketAddr::new(local.parse().expect("an address"), 0);
    socket.bind(local).expect("all of 127/8 is here");
    socket.connect(addr).await.expect("connections are accepted")
}
