//! Those who cost memory and give nothing: they stall, stay half open, or say a byte now and then.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use codecs::rtmp::handshake;
use codecs::rtmp::message::{Csid, MessageKind};

use crate::node::{FlvPlayer, Peer, RtmpPlayer, Script};
use crate::server::Server;

/// Bytes of a command of which most never come.
const LONG_COMMAND: usize = 15_000;
/// Bytes of it that come at once.
const LONG_COMMAND_BEGUN: usize = 8_000;

/// Players that read nothing, once they play.
pub(crate) struct Stalled {
    _rtmp: Vec<RtmpPlayer>,
    _flv: Vec<FlvPlayer>,
}

impl Stalled {
    pub(crate) fn play(server: &Server, name: &str, count: usize) -> Self {
        let rtmp = (0..count / 2).map(|_| RtmpPlayer::start(server.rtmp, name)).collect();
        let flv = (0..count / 2).map(|_| FlvPlayer::start(server.http, name)).collect();
        Self { _rtmp: rtmp, _flv: flv }
    }
}

/// Peers that connect, and stop where a server waits for them.
pub(crate) fn half_open(server: &Server, count: usize) -> Vec<TcpStream> {
    let silent = |addr| TcpStream::connect(addr).expect("the server listens");
    let said = |bytes: &[u8]| said(server.rtmp, bytes);
    let mut hello = Script::default();
    hello.hello();
    let whole = 1 + handshake::BODY_LEN;
    (0..count)
        .map(|n| match n % 4 {
            0 => silent(server.rtmp),
            1 => silent(server.http),
            2 => said(&hello.out[..whole / 2]),
            // The answer to a whole greeting is never read, and never answered.
            _ => said(&hello.out[..whole]),
        })
        .collect()
}

fn said(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(addr).expect("the server listens");
    socket.write_all(bytes).expect("the server reads");
    socket
}

/// Peers that say a byte now and then.
pub(crate) struct Slow(Vec<TcpStream>);

impl Slow {
    pub(crate) fn begin(server: &Server, count: usize) -> Self {
        let greeting = [handshake::VERSION; 1];
        let head = format!("GET /cam.flv HTTP/1.1\r\nX-Filler: {}", "x".repeat(4_000));
        let begin = |n: usize| match n % 3 {
            0 => said(server.http, head.as_bytes()),
            1 => said(server.rtmp, &greeting),
            _ => begun_command(server.rtmp),
        };
        Self((0..count).map(begin).collect())
    }

    /// Each says one byte more.
    pub(crate) fn dribble(&mut self) {
        for socket in &mut self.0 {
            socket.write_all(b"x").expect("nobody is closed before its time");
        }
    }
}

/// A peer inside a long command.
fn begun_command(addr: SocketAddr) -> TcpStream {
    let mut peer = Peer::connect(addr);
    peer.set_chunk_size(60_000);
    peer.flush();
    peer.message(Csid::COMMAND, MessageKind::CommandAmf0, 0, 0, &[0; LONG_COMMAND]);
    peer.out.truncate(LONG_COMMAND_BEGUN);
    peer.flush();
    peer.socket
}
