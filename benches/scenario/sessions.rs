//! Sessions with scripted peers: from the first byte to the first frame, and a second of media.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::amf0::Value;
use codecs::media::Codec;
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::command::Command as Call;
use codecs::rtmp::handshake::{BODY_LEN, C0C1_LEN};
use codecs::rtmp::message::{Control, Csid, MessageHeader, MessageKind};
use codecs::writer::Writer;
use dataplane::config::Terms;
use dataplane::session::{Command, Event, http, rtmp};

use super::Scenario;
use super::memory::Memory;
use super::stream::{SECOND_BYTES, chunked, config, second};

/// Chunks of the encoder after its opening.
const CHUNK_BYTES: u32 = 4_096;
/// What a player over HTTP asks for.
const GET: &[u8] = b"GET /live/cam.flv?key=0123456789abcdef HTTP/1.1\r\nHost: edge.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\r\n";

/// `C0`, `C1` and `C2` without a digest.
fn hello() -> Vec<u8> {
    let mut bytes = vec![7; C0C1_LEN + BODY_LEN];
    bytes[0] = 3;
    bytes[1..9].fill(0);
    bytes
}

/// One message in chunks of the default size.
fn message(csid: Csid, kind: MessageKind, msid: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a message is short");
    let header = MessageHeader { csid, timestamp: 0, len, kind, msid };
    let mut out = Vec::new();
    frame_message(&header, body, 128, &mut out);
    out
}

fn call(name: &str, transaction_id: f64, msid: u32, object: Value, args: &[Value]) -> Vec<u8> {
    let call = Call { name: name.into(), transaction_id, object, args: args.to_vec() };
    let mut body = Vec::new();
    call.encode(&mut body);
    message(Csid::COMMAND, MessageKind::CommandAmf0, msid, &body)
}

/// Everything up to the name of the stream.
fn opening(verb: &str, args: &[Value]) -> Vec<u8> {
    let app = Value::object(vec![
        ("app", Value::from("live")),
        ("flashVer", Value::from("FMLE/3.0 (compatible; FMSc/1.0)")),
        ("tcUrl", Value::from("rtmp://edge.example.org/live")),
    ]);
    let steps = [
        hello(),
        call("connect", 1.0, 0, app, &[]),
        call("createStream", 2.0, 0, Value::Null, &[]),
        call(verb, 3.0, 1, Value::Null, args),
    ];
    steps.concat()
}

/// A session of RTMP and its shard.
struct Peer {
    memory: Memory,
    terms: Arc<Terms>,
    now: Instant,
    out: Vec<u8>,
}

impl Peer {
    fn new() -> Self {
        let terms = Arc::new(Terms::default());
        Self { memory: Memory::new(), terms, now: Instant::now(), out: Vec::with_capacity(8192) }
    }

    fn server(&self) -> rtmp::Server {
        rtmp::Server::new(self.now, &self.terms, [9; 32])
    }

    /// Hands the bytes to the session and does what its shard does; the units that came out.
    fn feed(&mut self, server: &mut rtmp::Server, bytes: &[u8], verdict: Command) -> usize {
        let (mut at, mut units, mut verdict) = (0, 0, Some(verdict));
        while at < bytes.len() {
            let pool = &self.memory.pool;
            at += server.handle_bytes(self.now, &bytes[at..], pool).expect("a legal peer");
            while let Some(event) = server.poll_event() {
                match event {
                    Event::Media(unit) => {
                        units += 1;
                        pool.release(unit.payload);
                    }
                    Event::Authorize { .. } => {
                        let verdict = verdict.take().expect("one question");
                        server.handle_command(self.now, verdict).expect("it waits for it");
                    }
                    other => drop(black_box(other)),
                }
            }
            server.poll_transmit(&mut self.out);
        }
        units
    }
}

struct RtmpPlay {
    peer: Peer,
    script: Vec<u8>,
}

/// From the first byte of a player until its cursor starts.
pub(super) fn rtmp_play() -> Box<dyn Scenario> {
    let script = opening("play", &[Value::from("cam?key=0123456789abcdef")]);
    Box::new(RtmpPlay { peer: Peer::new(), script })
}

impl Scenario for RtmpPlay {
    fn run(&mut self) {
        self.peer.out.clear();
        let mut server = self.peer.server();
        self.peer.feed(&mut server, &self.script, Command::PlayStarted);
        assert_eq!(server.state_name(), "playing");
        server.close(&self.peer.memory.pool);
    }
}

struct RtmpIngest {
    peer: Peer,
    server: rtmp::Server,
    media: Vec<u8>,
    units: usize,
}

/// A second of a publication.
pub(super) fn rtmp_ingest() -> Box<dyn Scenario> {
    let mut peer = Peer::new();
    let mut server = peer.server();
    let mut script = opening("publish", &[Value::from("cam"), Value::from("live")]);
    let size = Control::SetChunkSize(CHUNK_BYTES);
    let mut body = vec![0; size.encoded_len()];
    size.encode(&mut Writer::new(&mut body));
    for (csid, kind, head, codec) in [
        (Csid::VIDEO, MessageKind::Video, &[0x17, 0, 0, 0, 0][..], Codec::H264),
        (Csid::AUDIO, MessageKind::Audio, &[0xaf, 0], Codec::Aac),
    ] {
        script.extend(message(csid, kind, 1, &[head, &config(codec).record].concat()));
    }
    script.extend(message(Csid::CONTROL, size.kind(), 0, &body));
    peer.feed(&mut server, &script, Command::PublishStarted);
    Box::new(RtmpIngest { peer, server, media: chunked(CHUNK_BYTES), units: second().len() })
}

impl Scenario for RtmpIngest {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn prepare(&mut self) {
        // A second of media each second: messages have a rate that a peer may not exceed.
        self.peer.now += Duration::from_secs(1);
    }

    fn run(&mut self) {
        self.peer.out.clear();
        let Self { peer, server, media, units } = self;
        assert_eq!(peer.feed(server, media, Command::PublishStarted), *units);
    }
}

impl Drop for RtmpIngest {
    fn drop(&mut self) {
        self.server.close(&self.peer.memory.pool);
    }
}

struct HttpPlay {
    peer: Peer,
}

/// From the request of an HTTP-FLV player until its cursor starts.
pub(super) fn http_play() -> Box<dyn Scenario> {
    Box::new(HttpPlay { peer: Peer::new() })
}

impl Scenario for HttpPlay {
    fn run(&mut self) {
        let Peer { memory, terms, now, out } = &mut self.peer;
        out.clear();
        let mut server = http::Server::new(*now, terms);
        let taken = server.handle_bytes(*now, GET, &memory.pool);
        assert_eq!(taken, Ok(GET.len()));
        while let Some(event) = server.poll_event() {
            if matches!(event, Event::Authorize { .. }) {
                server.handle_command(*now, Command::PlayStarted).expect("it waits for it");
            }
        }
        server.poll_transmit(out);
        assert!(out.starts_with(b"HTTP/1.1 200"));
        server.close(&memory.pool);
    }
}
