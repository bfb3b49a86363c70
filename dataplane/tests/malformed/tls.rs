//! Hostile bytes on the ports of TLS, and hostile requests inside it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use rustls::{ClientConfig, StreamOwned};

use crate::node::{Server, client};
use crate::{connect, say_and_leave};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// A record of any kind.
fn record(kind: u8, len: u16, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &len.to_be_bytes()[..], body].concat()
}

/// Named inputs of a whole connection.
pub(crate) fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    let hello = |len: u8| [&[1, 0, 0, len, 3, 3][..], &[7; 200]].concat();
    vec![
        ("nothing", Vec::new()),
        ("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("RTMP", [vec![3], vec![0; 3_072]].concat()),
        ("SSL 2", [&[0x80, 46, 1, 0, 2][..], &[0; 43]].concat()),
        ("the longest record", record(HANDSHAKE, u16::MAX, &[1; 70_000])),
        ("a record that never ends", record(HANDSHAKE, 16_384, &[1; 100])),
        ("empty records", record(HANDSHAKE, 0, &[]).repeat(5_000)),
        ("a hello without a body", record(HANDSHAKE, 206, &hello(200))),
        ("a hello in single bytes", hello(200).iter().flat_map(|b| record(22, 1, &[*b])).collect()),
        (
            "a message of megabytes",
            record(HANDSHAKE, 206, &[&[1, 255, 255, 255][..], &[0; 202]].concat()),
        ),
        ("secrets before keys", record(23, 100, &[9; 100]).repeat(100)),
        ("alerts", record(ALERT, 2, &[1, 0]).repeat(1_000)),
        ("a change of ciphers", record(20, 1, &[1]).repeat(1_000)),
        ("an unknown kind", record(99, 5, b"hello")),
        ("every byte", (0..=255_u8).cycle().take(50_000).collect()),
    ]
}

/// Says it to both ports: all that comes back is an alert, or the word for a browser that this port
/// speaks TLS.
pub(crate) fn run(server: &Server, name: &str, bytes: &[u8]) {
    for addr in [server.https(), server.rtmps()] {
        let answer = say_and_leave(&mut connect(addr), bytes);
        let first = answer.first().copied().unwrap_or(ALERT);
        let told = answer.starts_with(b"HTTP/1.1 400 ");
        assert!(told || [ALERT, HANDSHAKE].contains(&first), "{name}: {answer:?}");
    }
}

/// Says it inside TLS, ends, and reads until the server has closed; returns what it said.
pub(crate) fn say_inside(addr: SocketAddr, config: &Arc<ClientConfig>, bytes: &[u8]) -> Vec<u8> {
    let mut stream = StreamOwned::new(client(config), connect(addr));
    // A server that has heard enough closes in the middle.
    let said = stream.write_all(bytes).and_then(|()| {
        stream.conn.send_close_notify();
        stream.flush()
    });
    if said.is_ok() {
        let _ = stream.sock.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(len) => answer.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("not closed"),
            // Reset, or cut without a word.
            Err(_) => return answer,
        }
    }
}
