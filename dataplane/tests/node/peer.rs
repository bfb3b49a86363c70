//! One RTMP client connection over a blocking socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use codecs::amf0::{Limits, Value};
use codecs::rtmp::chunk_reader::{ChunkLimits, ChunkReader};
use codecs::rtmp::command::Command;
use codecs::rtmp::handshake;
use codecs::rtmp::message::{Control, Csid, MessageHeader, MessageKind, UserControl};

use super::script::Script;

/// A read, write or wait that takes this long has failed.
pub(crate) const TIME_BOUND: Duration = Duration::from_secs(20);

/// A whole message of the server.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) header: MessageHeader,
    pub(crate) body: Vec<u8>,
    /// Its bytes on the wire, chunk headers included.
    pub(crate) wire: Vec<u8>,
}

impl Message {
    pub(crate) fn command(&self) -> Option<Command> {
        let is = self.header.kind == MessageKind::CommandAmf0;
        is.then(|| Command::parse(&self.body, &Limits::default(), false).unwrap())
    }

    /// The code of an `onStatus`, or of an `_error`.
    pub(crate) fn status(&self) -> Option<String> {
        let info = self.command()?.args.into_iter().next()?;
        info.get("code").and_then(Value::as_str).map(str::to_owned)
    }

    pub(crate) fn user_control(&self) -> Option<UserControl> {
        let is = self.header.kind == MessageKind::UserControl;
        is.then(|| UserControl::parse(&self.body).unwrap())
    }
}

/// A client; what it says is written through [`Script`] and leaves at [`Self::flush`].
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    script: Script,
    reader: ChunkReader,
    input: Vec<u8>,
    at: usize,
    partial: Vec<(Csid, Vec<u8>)>,
    wire: Vec<u8>,
}

impl Deref for Peer {
    type Target = Script;

    fn deref(&self) -> &Script {
        &self.script
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Script {
        &mut self.script
    }
}

impl Peer {
    /// Connects and shakes hands.
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let mut peer = Self::raw(TcpStream::connect(addr).unwrap());
        peer.hello();
        peer.flush();
        peer.skip_hello();
        peer
    }

    /// A connected socket that has said nothing yet.
    pub(crate) fn raw(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
        socket.set_write_timeout(Some(TIME_BOUND)).unwrap();
        socket.set_nodelay(true).unwrap();
        let limits = ChunkLimits { csids_max: 64, ..ChunkLimits::default() };
        Self {
            socket,
            script: Script::default(),
            reader: ChunkReader::new(limits),
            input: Vec::new(),
            at: 0,
            partial: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// Connects, shakes hands, says `connect` and `createStream`, and waits for both answers.
    pub(crate) fn open(addr: SocketAddr) -> Self {
        Self::open_with(addr, 0.0)
    }

    /// As [`Self::open`], with these capabilities of Enhanced RTMP if there are any.
    pub(crate) fn open_with(addr: SocketAddr, caps_ex: f64) -> Self {
        Self::open_app(addr, "live", caps_ex)
    }

    /// As [`Self::open_with`], at another application.
    pub(crate) fn open_app(addr: SocketAddr, app: &str, caps_ex: f64) -> Self {
        let mut peer = Self::connect(addr);
        peer.script.connect_to(app, caps_ex);
        peer.create_stream();
        peer.flush();
        for name in ["_result", "_result"] {
            peer.command_named(name);
        }
        peer
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Takes `S0`, `S1` and `S2`.
    pub(crate) fn skip_hello(&mut self) {
        let mut hello = [0; handshake::S0S1S2_LEN];
        self.socket.read_exact(&mut hello).unwrap();
        assert_eq!(hello[0], handshake::VERSION);
    }

    /// Sends what was said since the last flush.
    pub(crate) fn flush(&mut self) {
        let out = std::mem::take(&mut self.script.out);
        self.socket.write_all(&out).unwrap();
    }

    /// As [`Self::flush`], for a server that may close in the middle: false if it did.
    pub(crate) fn try_flush(&mut self) -> bool {
        let out = std::mem::take(&mut self.script.out);
        self.socket.write_all(&out).is_ok()
    }

    /// The next message; `None` when the server has closed. Sizes of chunks are obeyed.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            while self.at < self.input.len() {
                let (used, fragment) = self.reader.feed(&self.input[self.at..]).unwrap();
                self.wire.extend_from_slice(&self.input[self.at..self.at + used]);
                self.at += used;
                let Some(fragment) = fragment else { continue };
                let header = fragment.header;
                let known = self.partial.iter().position(|(csid, _)| *csid == header.csid);
                let mut body = known.map_or_else(Vec::new, |at| self.partial.swap_remove(at).1);
                body.extend_from_slice(fragment.data);
                if !fragment.last {
                    self.partial.push((header.csid, body));
                    continue;
                }
                if header.kind == MessageKind::SetChunkSize
                    && let Control::SetChunkSize(bytes) =
                        Control::parse(header.kind, &body).unwrap()
                {
                    self.reader.set_chunk_size(bytes).unwrap();
                }
                return Some(Message { header, body, wire: std::mem::take(&mut self.wire) });
            }
            if !self.fill() {
                let between = self.wire.is_empty() && self.partial.is_empty();
                assert!(between, "the server closed inside a message");
                return None;
            }
        }
    }

    fn fill(&mut self) -> bool {
        self.input.resize(64 << 10, 0);
        self.at = 0;
        let len = match self.socket.read(&mut self.input) {
            Ok(len) => len,
            // A server that closes before it has read everything resets the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("waiting for the server: {error}"),
        };
        self.input.truncate(len);
        len > 0
    }

    /// Skips to the next command of that name.
    pub(crate) fn command_named(&mut self, name: &str) -> Command {
        loop {
            let message = self.next().unwrap_or_else(|| panic!("closed before {name}"));
            if let Some(command) = message.command().filter(|command| command.name == name) {
                return command;
            }
        }
    }

    /// Skips to the next status; `None` when the server has closed.
    pub(crate) fn status(&mut self) -> Option<String> {
        loop {
            if let Some(code) = self.next()?.status() {
                return Some(code);
            }
        }
    }

    /// Skips to the status of that code.
    pub(crate) fn expect_status(&mut self, code: &str) {
        let mut before = Vec::new();
        loop {
            let Some(got) = self.status() else { panic!("closed after {before:?}, before {code}") };
            if got == code {
                return;
            }
            before.push(got);
        }
    }

    /// Reads until the server has closed, and returns the codes of its statuses.
    pub(crate) fn statuses_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.status()).collect()
    }
}
