//! A scripted peer: its messages, and a server that is drained after every step.

use std::sync::Arc;
use std::time::Instant;

use codecs::amf0::Value;
use codecs::rtmp::chunk_reader::{ChunkLimits, ChunkReader};
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::command::Command as Call;
use codecs::rtmp::handshake;
use codecs::rtmp::message::{Control, Csid, MessageHeader, MessageKind};
use dataplane::Error;
use dataplane::config::{Latency, Limits, SessionConfig, Terms};
use dataplane::session::rtmp::Server;
use dataplane::session::{Command, Event};
use dataplane::slab::{PageClass, Pool, Region, RegionConfig};

/// Some moment to count from.
#[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// Pages for a test; freed ones are poisoned.
pub(crate) fn pool(large: u32, small: u32) -> Pool {
    let (shards, poison) = (1, true);
    let config =
        RegionConfig { shards, large_pages_per_shard: large, small_pages_per_shard: small, poison };
    Region::map(&config).unwrap().1.remove(0)
}

/// `C0`, `C1` and `C2` of a plain handshake.
pub(crate) fn hello() -> Vec<u8> {
    let mut bytes = vec![7; handshake::C0C1_LEN + handshake::BODY_LEN];
    bytes[0] = 3;
    bytes[1..9].fill(0);
    bytes
}

/// One message in chunks of the default size.
pub(crate) fn message(
    csid: u32,
    kind: MessageKind,
    timestamp: u32,
    msid: u32,
    body: &[u8],
) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    let csid = Csid::new(csid).unwrap();
    let header = MessageHeader { csid, timestamp, len, kind, msid };
    let mut out = Vec::new();
    frame_message(&header, body, 128, &mut out);
    out
}

pub(crate) fn call_with(
    name: &str,
    transaction: f64,
    msid: u32,
    object: Value,
    args: &[Value],
) -> Vec<u8> {
    let call = Call { name: name.into(), transaction_id: transaction, object, args: args.to_vec() };
    let mut body = Vec::new();
    call.encode(&mut body);
    message(3, MessageKind::CommandAmf0, 0, msid, &body)
}

pub(crate) fn call(name: &str, transaction: f64, msid: u32, args: &[Value]) -> Vec<u8> {
    call_with(name, transaction, msid, Value::Null, args)
}

pub(crate) fn connect(app: &str) -> Vec<u8> {
    connect_with(app, 0.0)
}

/// `connect` of a peer with these capabilities of Enhanced RTMP.
pub(crate) fn connect_with(app: &str, caps_ex: f64) -> Vec<u8> {
    let mut object = vec![
        ("app", Value::from(app)),
        ("flashVer", Value::from("test/1.0")),
        ("tcUrl", Value::from(format!("rtmp://h/{app}").as_str())),
    ];
    if caps_ex > 0.0 {
        object.push(("capsEx", Value::Number(caps_ex)));
    }
    let object = Value::object(object);
    call_with("connect", 1.0, 0, object, &[])
}

pub(crate) fn create_stream() -> Vec<u8> {
    call("createStream", 2.0, 0, &[])
}

pub(crate) fn publish(name: &str) -> Vec<u8> {
    call("publish", 3.0, 1, &[Value::from(name), Value::from("live")])
}

pub(crate) fn play(name: &str) -> Vec<u8> {
    call("play", 3.0, 1, &[Value::from(name)])
}

pub(crate) fn control(control: Control) -> Vec<u8> {
    let mut body = vec![0; control.encoded_len()];
    control.encode(&mut codecs::writer::Writer::new(&mut body));
    message(2, control.kind(), 0, 0, &body)
}

/// A server, what it said and what it told its shard.
pub(crate) struct Bench {
    pub(crate) pool: Pool,
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) sent: Vec<u8>,
    pub(crate) events: Vec<String>,
    /// What the shard answers to the next questions.
    pub(crate) verdict: Option<Command>,
    reader: ChunkReader,
    handshake_left: usize,
}

impl Bench {
    pub(crate) fn with(limits: &Limits, config: &SessionConfig, pool: Pool) -> Self {
        let now = epoch();
        let server = Server::new(
            now,
            &Arc::new(Terms {
                limits: limits.clone(),
                session: config.clone(),
                ..Terms::default()
            }),
            [9; 32],
        );
        let reader = ChunkReader::new(ChunkLimits::default());
        let (sent, events, verdict) = (Vec::new(), Vec::new(), None);
        let handshake_left = handshake::S0S1S2_LEN;
        Self { pool, now, server, sent, events, verdict, reader, handshake_left }
    }

    pub(crate) fn new() -> Self {
        Self::with(&Limits::default(), &SessionConfig::default(), pool(16, 16))
    }

    /// A bench whose shard gives that verdict.
    pub(crate) fn answered(verdict: impl Into<Option<Command>>) -> Self {
        Self { verdict: verdict.into(), ..Self::new() }
    }

    /// A bench whose peer said all of `steps`, with `verdict` as the shard's answer.
    pub(crate) fn after(verdict: Option<Command>, steps: &[Vec<u8>]) -> Self {
        let mut bench = Self::answered(verdict);
        for step in steps {
            bench.feed(step).unwrap();
        }
        bench
    }

    /// Gives the bytes in one piece, draining and answering as a shard does.
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

    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.server.poll_event() {
            let asked = matches!(event, Event::Authorize { .. });
            self.events.push(text(event, &self.pool));
            if let (true, Some(verdict)) = (asked, self.verdict.clone()) {
                self.server.poll_transmit(&mut self.sent);
                self.server.handle_command(self.now, verdict).unwrap();
            }
        }
        self.server.poll_transmit(&mut self.sent);
    }

    /// Messages that the server sent since the last call, in words; the handshake is left out.
    pub(crate) fn replies(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent);
        let skipped = self.handshake_left.min(sent.len());
        self.handshake_left -= skipped;
        words(&mut self.reader, &sent[skipped..])
    }

    /// The information object of the answer to connect, which ends what the server sent so far.
    pub(crate) fn result_of_connect(&mut self) -> Value {
        let call = self.last_call();
        assert_eq!(call.name, "_result");
        call.args.first().cloned().unwrap()
    }

    /// The last message that the server sent, which is a command.
    pub(crate) fn last_call(&mut self) -> Call {
        let sent = std::mem::take(&mut self.sent);
        let (mut at, mut body) = (self.handshake_left.min(sent.len()), Vec::new());
        self.handshake_left -= at;
        while at < sent.len() {
            let (taken, fragment) = self.reader.feed(&sent[at..]).unwrap();
            at += taken;
            let Some(fragment) = fragment else { continue };
            if fragment.offset == 0 {
                body.clear();
            }
            body.extend_from_slice(fragment.data);
            if fragment.last && fragment.header.kind == MessageKind::SetChunkSize {
                let size = u32::from_be_bytes(body.as_slice().try_into().unwrap());
                self.reader.set_chunk_size(size).unwrap();
            }
        }
        Call::parse(&body, &codecs::amf0::Limits::default(), false).unwrap()
    }

    /// Every page is given back at the end, whatever happened.
    pub(crate) fn close(mut self) {
        self.server.close(&self.pool);
        for class in [PageClass::Large, PageClass::Small] {
            assert_eq!(self.pool.usage(class).in_use, 0, "{class:?} pages leak");
        }
    }
}

/// An event in words; pages of media are given back.
pub(crate) fn text(event: Event, pool: &Pool) -> String {
    match event {
        Event::Media(unit) => {
            let bytes = pool.chunks(&unit.payload).collect::<Vec<_>>().concat();
            let sum = bytes
                .iter()
                .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
            pool.release(unit.payload);
            let (dts, cts) = (unit.dts.as_nanos(), unit.cts.as_millis());
            let key = if unit.keyframe { " key" } else { "" };
            let (track, codec, len) = (unit.track, unit.codec.name(), bytes.len());
            format!("{codec}/{track} dts {dts} cts {cts}{key} {len} bytes {sum:08x}")
        }
        Event::Config { track, codec, record, dts } => {
            format!("config {}/{track} {} bytes at {dts:?}", codec.name(), record.len())
        }
        Event::Detail { track, codec, body, dts } => {
            format!("detail {}/{track} {} bytes at {dts:?}", codec.name(), body.len())
        }
        Event::Metadata { body, dts } => format!("metadata {} bytes at {dts:?}", body.len()),
        Event::Data { body, dts } => format!("data {} bytes at {dts:?}", body.len()),
        Event::Authorize { intent, stream, credentials, play } => {
            let options = play.map(|p| (p.join, p.latency == Some(Latency::Low), p.log.name()));
            format!("{} {stream} {} {options:?}", intent.name(), credentials.key.0)
        }
        other => format!("{other:?}"),
    }
}

/// Chunked bytes in words, one a message.
fn words(reader: &mut ChunkReader, bytes: &[u8]) -> Vec<String> {
    let (mut at, mut words, mut body) = (0, Vec::new(), Vec::new());
    while at < bytes.len() {
        let (taken, fragment) = reader.feed(&bytes[at..]).unwrap();
        at += taken;
        let Some(fragment) = fragment else { continue };
        if fragment.offset == 0 {
            body.clear();
        }
        body.extend_from_slice(fragment.data);
        if fragment.last {
            words.push(word(&fragment.header, &body, reader));
        }
    }
    words
}

fn word(header: &MessageHeader, body: &[u8], reader: &mut ChunkReader) -> String {
    let limits = codecs::amf0::Limits::default();
    match header.kind {
        MessageKind::CommandAmf0 => {
            let call = Call::parse(body, &limits, false).unwrap();
            let code = call.args.first().and_then(|v| v.get("code")).and_then(Value::as_str);
            let plain = || call.args.first().and_then(Value::as_f64).map(|n| n.to_string());
            let detail = code.map(str::to_owned).or_else(plain).unwrap_or_default();
            format!("{} {detail}", call.name).trim_end().to_owned()
        }
        MessageKind::DataAmf0 => {
            let values = codecs::amf0::decode_all(body, &limits).unwrap();
            values[0].as_str().unwrap().to_owned()
        }
        MessageKind::UserControl => {
            format!("{:?}", codecs::rtmp::message::UserControl::parse(body).unwrap())
        }
        kind => {
            let control = Control::parse(kind, body).unwrap();
            if let Control::SetChunkSize(bytes) = control {
                reader.set_chunk_size(bytes).unwrap();
            }
            format!("{control:?}")
        }
    }
}
