//! A session, driven as a shard does, and frames of its peer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::websocket::{FrameHeader, HEADER_BYTES_MAX, Opcode, unmask};
use codecs::writer::Writer;
use dataplane::Error;
use dataplane::config::{Limits, Terms};
use dataplane::control::Intent;
use dataplane::session::http::Server;
use dataplane::session::{Command, Event};
use dataplane::slab::{Pool, Region, RegionConfig};

/// An opening without its last line.
pub(crate) const OPENING: &str = "GET /cam.flv HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
fn epoch() -> Instant {
    Instant::now()
}

/// A session and what it said.
pub(crate) struct Bench {
    pool: Pool,
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) sent: Vec<u8>,
    pub(crate) events: Vec<String>,
}

impl Bench {
    pub(crate) fn with(limits: Limits) -> Self {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: 1,
            small_pages_per_shard: 1,
            poison: false,
        };
        let pool = Region::map(&config).unwrap().1.remove(0);
        let now = epoch();
        let terms = Arc::new(Terms { limits, ..Terms::default() });
        let server = Server::new(now, &terms);
        Self { pool, now, server, sent: Vec::new(), events: Vec::new() }
    }

    /// A connection that asked for a stream.
    pub(crate) fn asked(fields: &str) -> Self {
        let mut bench = Self::with(Limits::default());
        bench.feed(format!("{OPENING}{fields}\r\n").as_bytes()).unwrap();
        bench
    }

    /// A connection that has switched; its head is read already.
    pub(crate) fn open_with(limits: Limits) -> Self {
        let mut bench = Self::with(limits);
        bench.feed(format!("{OPENING}\r\n").as_bytes()).unwrap();
        bench.command(Command::PlayStarted).unwrap();
        bench.sent.clear();
        bench.events.clear();
        bench
    }

    pub(crate) fn open() -> Self {
        Self::open_with(Limits::default())
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let result = self.server.handle_bytes(self.now, &bytes[at..], &self.pool);
            self.drain();
            at += result?;
            if at == bytes.len() || !self.server.wants_bytes() {
                return Ok(());
            }
        }
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), Error> {
        let result = self.server.handle_command(self.now, command);
        self.drain();
        result
    }

    pub(crate) fn wait(&mut self, time: Duration) -> Result<(), Error> {
        self.now += time;
        let result = self.server.handle_timeout(self.now);
        self.drain();
        result
    }

    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.server.poll_event() {
            self.events.push(match event {
                Event::Authorize { intent: Intent::Play, stream, play, .. } => {
                    format!("play {stream} {:?}", play.map(|play| play.framing))
                }
                other => format!("{other:?}"),
            });
        }
        self.server.poll_transmit(&mut self.sent);
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.sent)).unwrap()
    }

    /// The one frame that was said: its opcode and payload.
    pub(crate) fn frame(&mut self) -> (Opcode, Vec<u8>) {
        let sent = std::mem::take(&mut self.sent);
        let (header, len) = FrameHeader::parse(&sent).unwrap().unwrap();
        assert_eq!((header.fin, header.mask), (true, None), "a server masks nothing");
        assert_eq!(header.len, (sent.len() - len) as u64, "one frame alone");
        (header.opcode, sent[len..].to_vec())
    }

    /// The code and reason of the close frame that was said.
    pub(crate) fn close(&mut self) -> (u16, String) {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, Opcode::Close);
        let (code, reason) = payload.split_at(2);
        let code = u16::from_be_bytes(code.try_into().unwrap());
        (code, String::from_utf8(reason.to_vec()).unwrap())
    }
}

pub(crate) fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { fin, opcode, mask: Some(MASK), len: payload.len() as u64 };
    let mut head = [0; HEADER_BYTES_MAX];
    let mut writer = Writer::new(&mut head);
    header.encode(&mut writer);
    let written = writer.written();
    let mut bytes = payload.to_vec();
    unmask(&mut bytes, MASK);
    [&head[..written], &bytes].concat()
}

pub(crate) fn close_frame(payload: &[u8]) -> Vec<u8> {
    frame(true, Opcode::Close, payload)
}
