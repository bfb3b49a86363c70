//! Callers that ask and never say the rest: from one address they hold every place of the API, and
//! whoever else asks is answered all the same.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::server::{Backend, Options, Server};
use crate::witness::Witness;

/// `listeners.control.connections_max` by default.
const PLACES: usize = 64;
/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often one of the callers had to go for somebody of another address.
const MADE_ROOM: &str = "grandstand_control_connections_ended_total{reason=\"crowd\"} ";

#[test]
fn who_holds_every_place_keeps_nobody_of_another_address_out() {
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
        // Those that were not read yet are quiet and go first.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answered = timeout(PATIENCE, metrics(server.control)).await;
            let answer = answered.expect("an answer in time");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let gone = answer.lines().find_map(|line| line.strip_prefix(MADE_ROOM));
            if gone.expect("it is counted").parse::<u64>().is_ok_and(|gone| gone > 0) {
                break;
            }
            assert!(Instant::now() < deadline, "none of them made room");
            hoarders.push(hoarder(server.control, token.trim()).await);
        }
    });
    witness.wait(10);
    witness.end(&server);
    server.stop();
}

/// Begins a request and never ends it.
async fn hoarder(addr: SocketAddr, token: &str) -> TcpStream {
    let mut stream = from("127.0.0.1", addr).await;
    let request = format!(
        "POST /api/v1/shards/move HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{{\"stream\":\""
    );
    stream.write_all(request.as_bytes()).await.expect("a request is taken");
    stream
}

/// What somebody of another address hears.
async fn metrics(addr: SocketAddr) -> String {
    let mut stream = from("127.0.0.2", addr).await;
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a request is taken");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

async fn from(local: &str, addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let local = SocketAddr::new(local.parse().expect("an address"), 0);
    socket.bind(local).expect("all of 127/8 is here");
    socket.connect(addr).await.expect("connections are accepted")
}
