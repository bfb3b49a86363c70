//! An RTMP client, sans-IO: bytes in, bytes out, events.
//!
//! Spec: RTMP 1.0 (2012) 5.2 to 5.4 and 7.2.
//!
//! Shape: handshake -> connect -> createStream -> publish or play -> running.
//!
//! In/Out: media is lent from the input; commands and control messages are kept until they are
//! whole, at most [`CONTROL_BYTES_MAX`] each.

use anyhow::{Result, bail};
use codecs::amf0::{Limits, Value};
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::handshake::{C0C1_LEN, ClientHandshake, Kind, RANDOM_LEN, S0S1S2_LEN};
use codecs::rtmp::{
    ChunkLimits, ChunkReader, Command, Control, Csid, Fragment, MessageHeader, MessageKind,
    UserControl,
};
use codecs::writer::Writer;

use crate::piece::{Event, Piece, PieceKind};
use crate::stream_url::StreamUrl;

/// Bytes of a command or control message that are kept.
pub const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// The chunk size of what we send, told before anything else.
pub const CHUNK_SIZE: u32 = 65_536;

/// The window in which we acknowledge until the server names one.
const WINDOW_DEFAULT: u32 = 2_500_000;

/// The buffer that we claim to have, in milliseconds.
const BUFFER_MS: u32 = 1000;

const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

/// What the client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends media.
    Publish,
    /// It receives media.
    Play,
}

#[derive(Debug)]
enum Phase {
    Handshake { ours: Box<ClientHandshake>, answer: Vec<u8> },
    Connect,
    CreateStream,
    Start,
    Running,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    role: Role,
    url: StreamUrl,
    phase: Phase,
    reader: ChunkReader,
    /// Commands and control messages that are not whole yet.
    partial: Vec<(Csid, Vec<u8>)>,
    msid: u32,
    window: u32,
    received: u64,
    acknowledged: u64,
}

impl Client {
    /// Starts; the first bytes are in `out`. `seed` makes the handshake differ.
    #[must_use]
    pub fn new(role: Role, url: StreamUrl, seed: u64, out: &mut Vec<u8>) -> Self {
        let ours = Box::new(ClientHandshake::new(Kind::Plain, &filler(seed), 0));
        out.extend_from_slice(&ours.c0c1()[..C0C1_LEN]);
        Self {
            role,
            url,
            phase: Phase::Handshake { ours, answer: Vec::new() },
            reader: ChunkReader::new(ChunkLimits::default()),
            partial: Vec::new(),
            msid: 0,
            window: WINDOW_DEFAULT,
            received: 0,
            acknowledged: 0,
        }
    }

    /// The window in which the server wants acknowledgements.
    #[must_use]
    pub const fn window(&self) -> u32 {
        self.window
    }

    /// True once media may flow.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Takes bytes of the server; tells how many, and the first thing that they said. Without an
    /// event all were taken. What is to be answered is appended to `out`.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>)> {
        let mut at = self.handshake(input, out)?;
        self.received += at as u64;
        loop {
            let rest = &input[at..];
            if rest.is_empty() {
                return Ok((at, None));
            }
            let (taken, fragment) = self.reader.feed(rest)?;
            at += taken;
            self.received += taken as u64;
            self.acknowledge(out);
            let Some(fragment) = fragment else {
                return Ok((at, None));
            };
            let kind = match fragment.header.kind {
                MessageKind::Audio => PieceKind::Audio,
                MessageKind::Video => PieceKind::Video,
                _ => {
                    if let Some(event) = self.assemble(&fragment, out)? {
                        return Ok((at, Some(event)));
                    }
                    continue;
                }
            };
            let piece = Piece {
                kind,
                timestamp_ms: fragment.header.timestamp,
                offset: fragment.offset,
                data: fragment.data,
                last: fragment.last,
            };
            return Ok((at, Some(Event::Media(piece))));
        }
    }

    /// Appends a media message; the client must be running.
    pub fn send_media(&self, kind: PieceKind, timestamp_ms: u32, body: &[u8], out: &mut Vec<u8>) {
        let (kind, csid) = match kind {
            PieceKind::Audio => (MessageKind::Audio, Csid::AUDIO),
            PieceKind::Video => (MessageKind::Video, Csid::VIDEO),
        };
        put_message(kind, csid, timestamp_ms, self.msid, body, out);
    }

    /// Appends the body of an FLV script tag as what a publisher says of its stream.
    pub fn send_metadata(&self, body: &[u8], out: &mut Vec<u8>) {
        let mut data = b"\x02\0\x0d@setDataFrame".to_vec();
        data.extend_from_slice(body);
        put_message(MessageKind::DataAmf0, Csid::AUDIO, 0, self.msid, &data, out);
    }

    /// Appends what ends the role politely.
    pub fn send_end(&self, out: &mut Vec<u8>) {
        if self.role == Role::Publish {
            let name = Value::from(self.url.stream_key());
            put_command("FCUnpublish", 0.0, Value::Null, vec![name], 0, out);
        }
        let msid = Value::from(self.msid);
        put_command("deleteStream", 0.0, Value::Null, vec![msid], 0, out);
    }

    fn handshake(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let Phase::Handshake { ours, answer } = &mut self.phase else {
            return Ok(0);
        };
        let taken = input.len().min(S0S1S2_LEN - answer.len());
        answer.extend_from_slice(&input[..taken]);
        if let Some(answer) = answer.first_chunk::<S0S1S2_LEN>() {
            out.extend_from_slice(&ours.finish(answer)?);
            self.phase = Phase::Connect;
            put_control(&Control::SetChunkSize(CHUNK_SIZE), out);
            self.send_connect(out);
        }
        Ok(taken)
    }

    fn send_connect(&self, out: &mut Vec<u8>) {
        let StreamUrl { authority, app, .. } = &self.url;
        let mut members = vec![
            ("app", Value::from(app.as_str())),
            ("flashVer", Value::from("FMLE/3.0 (compatible; grandstand-load)")),
            ("tcUrl", Value::from(format!("rtmp://{authority}/{app}"))),
        ];
        match self.role {
            Role::Publish => members.push(("type", Value::from("nonprivate"))),
            Role::Play => members.extend([
                ("fpad", Value::from(false)),
                ("capabilities", Value::from(15.0)),
                ("audioCodecs", Value::from(4071.0)),
                ("videoCodecs", Value::from(252.0)),
            ]),
        }
        put_command("connect", CONNECT, Value::object(members), vec![], 0, out);
    }

    fn acknowledge(&mut self, out: &mut Vec<u8>) {
        if self.received - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = self.received;
            put_acknowledgement(self.received, out);
        }
    }

    /// Gathers a message that is no media, and acts on it when it is whole.
    fn assemble(
        &mut self,
        fragment: &Fragment<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'static>>> {
        let Fragment { header, offset, data, last } = *fragment;
        if header.kind == MessageKind::DataAmf0 {
            return Ok(None);
        }
        if offset == 0 && last {
            return self.message(&header, data, out);
        }
        let known = self.partial.iter().position(|(csid, _)| *csid == header.csid);
        let index = known.unwrap_or_else(|| {
            self.partial.push((header.csid, Vec::new()));
            self.partial.len() - 1
        });
        let body = &mut self.partial[index].1;
        if offset == 0 {
            body.clear();
        }
        if body.len() + data.len() > CONTROL_BYTES_MAX {
            bail!("a control message of {} bytes", header.len);
        }
        body.extend_from_slice(data);
        if !last {
            return Ok(None);
        }
        let (_, body) = self.partial.swap_remove(index);
        self.message(&header, &body, out)
    }

    fn message(
        &mut self,
        header: &MessageHeader,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'static>>> {
        match header.kind {
            MessageKind::SetChunkSize | MessageKind::Abort | MessageKind::WindowAckSize => {
                match Control::parse(header.kind, body)? {
                    Control::SetChunkSize(size) => self.reader.set_chunk_size(size)?,
                    Control::Abort(csid) => self.reader.abort(csid),
                    Control::WindowAckSize(window) => self.window = window.max(1),
                    _ => {}
                }
                Ok(None)
            }
            MessageKind::UserControl => {
                match UserControl::parse(body)? {
                    UserControl::PingRequest(time) => {
                        put_user_control(&UserControl::PingResponse(time), out);
                    }
                    UserControl::StreamEof(_) if self.is_running() => {
                        return Ok(Some(Event::Refused("StreamEOF".into())));
                    }
                    _ => {}
                }
                Ok(None)
            }
            MessageKind::CommandAmf0 | MessageKind::CommandAmf3 => {
                let amf3 = header.kind == MessageKind::CommandAmf3;
                let command = Command::parse(body, &Limits::default(), amf3)?;
                Ok(self.command(&command, out))
            }
            _ => Ok(None),
        }
    }

    fn command(&mut self, command: &Command, out: &mut Vec<u8>) -> Option<Event<'static>> {
        let info = command.args.first();
        let text = |key| info.and_then(|info| info.get(key)).and_then(Value::as_str);
        let code = text("code").unwrap_or_default();
        match command.name.as_str() {
            "_result" if command.transaction_id == CONNECT => {
                self.phase = Phase::CreateStream;
                self.send_create_stream(out);
                None
            }
            "_result" if command.transaction_id == CREATE_STREAM => {
                self.msid = info.and_then(Value::as_u32).unwrap_or(1);
                self.phase = Phase::Start;
                self.send_start(out);
                None
            }
            // Answers to releaseStream and FCPublish may be errors that mean nothing.
            "_error" if [CONNECT, CREATE_STREAM].contains(&command.transaction_id) => {
                let description = text("description").unwrap_or_default();
                Some(Event::Refused(format!("{code} {description}").trim().to_owned()))
            }
            "onStatus" => self.status(code, text("level") == Some("error")),
            _ => None,
        }
    }

    fn status(&mut self, code: &str, is_error: bool) -> Option<Event<'static>> {
        match code {
            "NetStream.Publish.Start" | "NetStream.Play.Start" => {
                self.phase = Phase::Running;
                Some(Event::Accepted)
            }
            "NetStream.Play.UnpublishNotify" | "NetConnection.Connect.Closed" => {
                Some(Event::Refused(code.to_owned()))
            }
            _ if is_error => Some(Event::Refused(code.to_owned())),
            _ => None,
        }
    }

    fn send_create_stream(&self, out: &mut Vec<u8>) {
        if self.role == Role::Publish {
            for (name, transaction) in [("releaseStream", 2.0), ("FCPublish", 3.0)] {
                let key = Value::from(self.url.stream_key());
                put_command(name, transaction, Value::Null, vec![key], 0, out);
            }
        }
        put_command("createStream", CREATE_STREAM, Value::Null, vec![], 0, out);
    }

    fn send_start(&self, out: &mut Vec<u8>) {
        let key = Value::from(self.url.stream_key());
        match self.role {
            Role::Publish => {
                let args = vec![key, Value::from("live")];
                put_command("publish", 5.0, Value::Null, args, self.msid, out);
            }
            Role::Play => {
                let args = vec![key, Value::from(-2000.0)];
                put_command("play", 5.0, Value::Null, args, self.msid, out);
                let buffer = UserControl::SetBufferLength { msid: self.msid, ms: BUFFER_MS };
                put_user_control(&buffer, out);
            }
        }
    }
}

/// Appends an acknowledgement of all bytes received so far; the count wraps.
pub fn put_acknowledgement(received: u64, out: &mut Vec<u8>) {
    put_control(&Control::Acknowledgement(received as u32), out);
}

fn put_control(control: &Control, out: &mut Vec<u8>) {
    let mut body = [0; Control::LEN_MAX];
    let mut writer = Writer::new(&mut body);
    control.encode(&mut writer);
    let len = writer.written();
    put_message(control.kind(), Csid::CONTROL, 0, 0, &body[..len], out);
}

fn put_user_control(event: &UserControl, out: &mut Vec<u8>) {
    let mut body = [0; UserControl::LEN_MAX];
    let mut writer = Writer::new(&mut body);
    event.encode(&mut writer);
    let len = writer.written();
    put_message(MessageKind::UserControl, Csid::CONTROL, 0, 0, &body[..len], out);
}

fn put_command(
    name: &str,
    transaction_id: f64,
    object: Value,
    args: Vec<Value>,
    msid: u32,
    out: &mut Vec<u8>,
) {
    let mut body = Vec::new();
    Command { name: name.to_owned(), transaction_id, object, args }.encode(&mut body);
    put_message(MessageKind::CommandAmf0, Csid::COMMAND, 0, msid, &body, out);
}

fn put_message(
    kind: MessageKind,
    csid: Csid,
    timestamp: u32,
    msid: u32,
    body: &[u8],
    out: &mut Vec<u8>,
) {
    let header = MessageHeader { csid, timestamp, len: body.len() as u32, kind, msid };
    // Only the message that tells it is sent before our chunk size holds, and it fits any size.
    frame_message(&header, body, CHUNK_SIZE, out);
}

/// Bytes that look random enough for a handshake.
fn filler(seed: u64) -> [u8; RANDOM_LEN] {
    let mut state = seed | 1;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    })
}
