//! Those who come while nobody can let them in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::node::Peer;
use crate::server::Server;

/// Players of one wave, all at once: many waves overfill a mailbox that nobody empties.
const WAVE: usize = 250;
/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Players of streams that nobody publishes, again and again.
pub(crate) struct Newcomers {
    http: SocketAddr,
    rtmp: SocketAddr,
    /// How many heard no.
    pub(crate) refused: usize,
}

impl Newcomers {
    pub(crate) fn new(server: &Server) -> Self {
        Self { http: server.http, rtmp: server.rtmp, refused: 0 }
    }

    /// A wave of players; each hears its protocol's refusal.
    pub(crate) fn come_and_are_refused(&mut self) {
        let ask = |n: usize| {
            let mut socket = TcpStream::connect(self.http).expect("connections are accepted");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero is legal");
            let path = if n.is_multiple_of(2) { "flv" } else { "ts" };
            let request = format!("GET /nobody{n}.{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            socket.write_all(request.as_bytes()).expect("requests are read");
            socket
        };
        let waiting: Vec<TcpStream> = (0..WAVE).map(ask).collect();
        let mut peer = Peer::open(self.rtmp);
        peer.play("nobody");
        peer.flush();
        for mut socket in waiting {
            let mut status = [0; 12];
            socket.read_exact(&mut status).expect("an answer in time");
            assert_eq!(&status, b"HTTP/1.1 503");
            self.refused += 1;
        }
        let heard = peer.statuses_to_end();
        assert!(heard.iter().any(|code| code.starts_with("NetStream.Play.")), "{heard:?}");
        self.refused += 1;
    }
}

/// The last status that a new publisher hears.
pub(crate) fn refused_publisher(rtmp: SocketAddr, name: &str) -> String {
    let mut peer = Peer::open(rtmp);
    peer.publish(name);
    peer.flush();
    peer.statuses_to_end().pop().expect("a refusal")
}
