//! Limits of TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::node::{Server, TIME_BOUND};

/// The first bytes of a ClientHello of 60,000 bytes, in a record of 16,000.
const HELLO: [u8; 9] = [22, 3, 1, 0x3e, 0x80, 1, 0, 0xea, 0x60];

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.https()).unwrap();
    stream.set_read_timeout(Some(TIME_BOUND)).unwrap();
    stream
}

/// Reads until the server has closed.
fn heard(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => answer,
    }
}

pub(crate) fn many_handshakes(server: &Server) -> u64 {
    // One a shard may hold, however the kernel and the shards spread them.
    let mut held: Vec<_> = (0..8).map(|_| connect(server)).collect();
    let limit = dataplane::config::LimitId::TlsHandshakesMax;
    let totals = server.control.until("handshakes are refused", |totals| {
        totals.limit(limit) >= 6 && totals.sum(|c| c.tls_connections) + totals.limit(limit) == 8
    });
    held.clear();
    totals.limit(limit)
}

pub(crate) fn endless_handshake_messages(server: &Server) -> u64 {
    for piece in [1, 500, 3_000] {
        let mut stream = connect(server);
        let mut bytes = HELLO.to_vec();
        bytes.resize(3_000, 7);
        for piece in bytes.chunks(piece) {
            // A server that has heard enough closes in the middle.
            let _ = stream.write_all(piece);
        }
        heard(&mut stream);
    }
    3
}
