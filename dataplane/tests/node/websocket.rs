//! A player of FLV over WebSocket, or of MPEG-TS as bytes.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use codecs::flv::tag::FlvReader;
use codecs::websocket::{FrameHeader, HEADER_BYTES_MAX, Opcode, unmask};
use codecs::writer::Writer;

use super::media::Item;
use super::peer::TIME_BOUND;
use super::player::Player;

const MASK: [u8; 4] = [0xa5, 0x00, 0xff, 0x5a];
/// `FLV`, version, flags, offset and the size of no tag.
const FILE_HEADER_LEN: usize = 13;

/// A frame of a client with that payload.
pub(crate) fn client_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { fin, opcode, mask: Some(MASK), len: payload.len() as u64 };
    let mut head = [0; HEADER_BYTES_MAX];
    let mut writer = Writer::new(&mut head);
    header.encode(&mut writer);
    let written = writer.written();
    let mut bytes = payload.to_vec();
    unmask(&mut bytes, MASK);
    [&head[..written], &bytes].concat()
}

/// The request that opens a connection to `target`.
pub(crate) fn opening(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A player, which answers pings and the server's close frame unless it is told not to.
pub(crate) struct WsPlayer {
    pub(crate) socket: TcpStream,
    flv: FlvReader,
    input: Vec<u8>,
    body: Vec<u8>,
    wire: Vec<u8>,
    items: VecDeque<Item>,
    /// All packets, of a player of MPEG-TS.
    pub(crate) packets: Option<Vec<u8>>,
    /// Messages so far.
    pub(crate) messages: u32,
    /// Pings heard.
    pub(crate) pings: u32,
    /// Payloads of pongs heard.
    pub(crate) pongs: Vec<Vec<u8>>,
    /// The code and reason that the server closed with.
    pub(crate) closed: Option<(u16, String)>,
    /// Answers are left out.
    pub(crate) mute: bool,
    /// The response's head.
    pub(crate) head: String,
}

impl WsPlayer {
    /// Plays; the response must be 101.
    pub(crate) fn start(addr: SocketAddr, name: &str) -> Self {
        Self::ask(addr, &format!("/{name}.flv"))
    }

    /// Plays `target`; the response must be 101.
    pub(crate) fn ask(addr: SocketAddr, target: &str) -> Self {
        let player = Self::on(TcpStream::connect(addr).unwrap(), target);
        assert!(player.head.starts_with("HTTP/1.1 101 "), "{}", player.head);
        assert!(player.head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        player
    }

    /// Asks for `target` on a connected socket and reads the response's head.
    pub(crate) fn on(mut socket: TcpStream, target: &str) -> Self {
        socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
        socket.set_write_timeout(Some(TIME_BOUND)).unwrap();
        socket.write_all(opening(target).as_bytes()).unwrap();
        let mut player = Self {
            socket,
            flv: FlvReader::new(8 << 20),
            input: Vec::new(),
            body: Vec::new(),
            wire: Vec::new(),
            items: VecDeque::new(),
            packets: target.ends_with(".ts").then(Vec::new),
            messages: 0,
            pings: 0,
            pongs: Vec::new(),
            closed: None,
            mute: false,
            head: String::new(),
        };
        let is_end = |input: &[u8]| input.windows(4).position(|window| window == b"\r\n\r\n");
        while is_end(&player.input).is_none() {
            assert!(player.fill(), "closed inside the head");
        }
        let len = is_end(&player.input).unwrap() + 4;
        player.head = String::from_utf8(player.input.drain(..len).collect()).unwrap();
        player
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Says one frame.
    pub(crate) fn say(&mut self, opcode: Opcode, payload: &[u8]) {
        self.socket.write_all(&client_frame(true, opcode, payload)).unwrap();
    }

    /// Reads until so many pings were heard.
    pub(crate) fn hear_pings(&mut self, count: u32) {
        while self.pings < count {
            assert!(self.step(), "closed before ping {count}");
        }
    }

    /// Reads until a pong was heard, and returns its payload.
    pub(crate) fn hear_pong(&mut self) -> Vec<u8> {
        while self.pongs.is_empty() {
            assert!(self.step(), "closed before the pong");
        }
        self.pongs.remove(0)
    }

    /// Reads to the end of the connection, and returns the code of the close frame before it.
    pub(crate) fn hear_close(&mut self) -> Option<u16> {
        while self.step() {}
        self.closed.as_ref().map(|(code, _)| *code)
    }

    /// Reads and heeds one frame; false at the end of the connection.
    fn step(&mut self) -> bool {
        let Some((header, payload)) = self.frame() else { return false };
        assert_eq!(self.closed, None, "nothing follows a close frame");
        assert_eq!((header.mask, header.fin), (None, true));
        match header.opcode {
            Opcode::Binary => self.message(&payload),
            Opcode::Ping => {
                self.pings += 1;
                self.answer(Opcode::Pong, &payload);
            }
            Opcode::Pong => self.pongs.push(payload),
            Opcode::Close => {
                let (code, reason) = payload.split_at(2);
                let code = u16::from_be_bytes(code.try_into().unwrap());
                self.closed = Some((code, String::from_utf8(reason.to_vec()).unwrap()));
                self.answer(Opcode::Close, &payload[..2]);
            }
            other => panic!("a player got {other:?}"),
        }
        true
    }

    fn answer(&mut self, opcode: Opcode, payload: &[u8]) {
        if !self.mute {
            // A server that has gone already does not hear it.
            drop(self.socket.write_all(&client_frame(true, opcode, payload)));
        }
    }

    fn message(&mut self, payload: &[u8]) {
        if let Some(packets) = &mut self.packets {
            let whole = payload.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47);
            assert!(whole, "a message holds whole packets");
            packets.extend_from_slice(payload);
            return;
        }
        let tags = if self.messages == 0 { &payload[FILE_HEADER_LEN..] } else { payload };
        self.messages += 1;
        assert_whole_tags(tags);
        let mut at = 0;
        while at < payload.len() {
            let (used, fragment) = self.flv.feed(&payload[at..]).unwrap();
            self.wire.extend_from_slice(&payload[at..at + used]);
            at += used;
            let Some(fragment) = fragment else { continue };
            self.body.extend_from_slice(fragment.data);
            if fragment.last {
                let kind = fragment.header.kind.to_wire();
                let (body, wire) = (std::mem::take(&mut self.body), std::mem::take(&mut self.wire));
                self.items.push_back(Item::parse(kind, fragment.header.timestamp_ms, &body, wire));
            }
        }
    }

    fn frame(&mut self) -> Option<(FrameHeader, Vec<u8>)> {
        loop {
            if let Some((header, len)) = FrameHeader::parse(&self.input).unwrap() {
                let end = len + usize::try_from(header.len).unwrap();
                if self.input.len() >= end {
                    let payload = self.input[len..end].to_vec();
                    self.input.drain(..end);
                    return Some((header, payload));
                }
            }
            if !self.fill() {
                assert!(self.input.is_empty(), "the server closed inside a frame");
                return None;
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 << 10];
        let len = match self.socket.read(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("waiting for the server: {error}"),
        };
        self.input.extend_from_slice(&buffer[..len]);
        len > 0
    }
}

/// Tags, each with the length behind it, and nothing else.
fn assert_whole_tags(mut tags: &[u8]) {
    assert!(!tags.is_empty(), "a message carries something");
    while !tags.is_empty() {
        let len = 11 + u32::from_be_bytes([0, tags[1], tags[2], tags[3]]) as usize;
        let behind = u32::from_be_bytes(tags[len..len + 4].try_into().unwrap());
        assert_eq!(behind as usize, len, "a message holds whole tags");
        tags = &tags[len + 4..];
    }
}

impl Player for WsPlayer {
    fn next_item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(item);
            }
            if !self.step() {
                return None;
            }
        }
    }
}
