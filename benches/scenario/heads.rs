//! Heads that are read and written for each message: of HTTP requests, of WebSocket frames.

use std::hint::black_box;

use codecs::http1::{RequestLimits, parse_request};
use codecs::websocket::{Event, FrameHeader, FrameReader, HEADER_BYTES_MAX, Opcode};
use codecs::writer::Writer;

use super::Scenario;
use super::stream::second;

/// What a browser sends for a segment.
const REQUEST: &[u8] = b"GET /live/cam/seg.1234.ts?key=0123456789abcdef HTTP/1.1\r\n\
    Host: edge.example.org:8080\r\nConnection: keep-alive\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/130.0.0.0 Safari/537.36\r\nAccept: */*\r\nOrigin: https://player.example.org\r\n\
    Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
    Referer: https://player.example.org/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\nRange: bytes=0-65535\r\n\r\n";
/// Requests of one run.
const REQUESTS: usize = 100;
/// The key of a client's frames.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Frames of a client in one run.
const FRAMES: usize = 100;

struct Request;

/// Heads of requests.
pub(super) fn request() -> Box<dyn Scenario> {
    Box::new(Request)
}

impl Scenario for Request {
    fn bytes(&self) -> u64 {
        (REQUESTS * REQUEST.len()) as u64
    }

    fn run(&mut self) {
        for _ in 0..REQUESTS {
            let parsed = parse_request(black_box(REQUEST), &RequestLimits::default());
            let (request, len) = parsed.expect("a legal head").expect("a whole head");
            assert_eq!((len, request.version_minor), (REQUEST.len(), 1));
            black_box(request);
        }
    }
}

struct Frames {
    /// Frames of a client: pings and short messages, with masks.
    incoming: Vec<u8>,
    /// What the frames of a server carry.
    lengths: Vec<u64>,
}

/// The heads of a second of the stream, and what a talkative client says.
pub(super) fn frames() -> Box<dyn Scenario> {
    let mut incoming = Vec::new();
    for n in 0..FRAMES {
        let opcode = if n % 4 == 0 { Opcode::Ping } else { Opcode::Text };
        let payload = [0x11; 60];
        let header = FrameHeader { fin: true, opcode, mask: Some(MASK), len: payload.len() as u64 };
        let mut head = [0; HEADER_BYTES_MAX];
        let mut writer = Writer::new(&mut head);
        header.encode(&mut writer);
        let len = writer.written();
        incoming.extend_from_slice(&head[..len]);
        incoming.extend_from_slice(&payload);
    }
    let lengths = second().iter().map(|frame| frame.payload.len() as u64).collect();
    Box::new(Frames { incoming, lengths })
}

impl Scenario for Frames {
    fn run(&mut self) {
        for &len in &self.lengths {
            let mut head = [0; HEADER_BYTES_MAX];
            let header = FrameHeader { fin: true, opcode: Opcode::Binary, mask: None, len };
            header.encode(&mut Writer::new(&mut head));
            black_box(head);
        }
        let mut reader = FrameReader::of_client(1 << 16);
        let (mut rest, mut events) = (self.incoming.as_slice(), 0);
        while let (taken, Some(event)) = reader.feed(rest).expect("legal frames") {
            rest = &rest[taken..];
            events += usize::from(matches!(event, Event::Ping(_) | Event::Data(_)));
        }
        assert_eq!(events, FRAMES);
    }
}
