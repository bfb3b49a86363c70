//! The client's state machine.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use codecs::rtmp::chunk_reader::{ChunkReader, Fragment};
use codecs::rtmp::chunk_writer::ChunkWriter;
use codecs::rtmp::command::Command;
use codecs::rtmp::handshake::{self, ClientHandshake};
use codecs::rtmp::message::{Control, Csid, MessageHeader, MessageKind, UserControl};
use codecs::writer::Writer;

use super::address::Address;
use super::event::ClientEvent;
use super::request::Intent;
use crate::Error;
use crate::config::{LimitId, Limits};
use crate::session::rtmp::filler::filler;
use crate::session::rtmp::limit::{chunk_limits, limit_of};
use crate::session::rtmp::server::EVENTS_MAX;
use crate::session::rtmp::window::Window;

/// Questions without an answer that are remembered; the oldest is forgotten.
const AWAITED_MAX: usize = 32;

/// How a client speaks.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What we call ourselves.
    pub flash_ver: String,
    /// The handshake to offer.
    pub handshake: handshake::Kind,
    /// Bytes of a chunk that we send.
    pub chunk_bytes: u32,
    /// From the first byte to the start of publishing or playing, or to `connect`'s result.
    pub deadline: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            flash_ver: "FMLE/3.0 (compatible; Grandstand)".into(),
            handshake: handshake::Kind::Digest { scheme: handshake::Scheme::KeyFirst },
            chunk_bytes: 60_000,
            deadline: Duration::from_secs(10),
        }
    }
}

/// Where a client stands.
#[derive(Debug)]
pub(super) enum State {
    Hello(Box<Hello>),
    Connecting,
    Connected,
    Creating,
    Starting,
    Publishing,
    Playing,
    Closed,
}

/// The server's half of the handshake so far.
#[derive(Debug)]
pub(super) struct Hello {
    handshake: ClientHandshake,
    bytes: [u8; handshake::S0S1S2_LEN],
    len: usize,
}

impl State {
    const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Publishing => "publishing",
            Self::Playing => "playing",
            Self::Closed => "closed",
        }
    }
}

/// What an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Connect,
    Stream,
    Call,
    Nothing,
}

/// The client's side of one RTMP connection.
///
/// Lives on: its owner's thread. Crosses by: never.
/// Limits: [`Limits`]: what a server may make us keep is what a client may make a server keep.
#[derive(Debug)]
pub struct Client {
    pub(super) state: State,
    pub(in crate::session::rtmp) address: Address,
    pub(super) intent: Intent,
    pub(super) flash_ver: String,
    pub(super) transaction: u32,
    pub(super) msid: u32,
    pub(super) awaited: VecDeque<(u32, Awaited)>,
    pub(super) limits: Limits,
    pub(super) chunk_bytes: u32,
    deadline: Instant,
    pub(super) reader: ChunkReader,
    pub(super) writer: ChunkWriter,
    pub(super) partial: Vec<(Csid, Vec<u8>)>,
    pub(super) window: Window,
    out: Vec<u8>,
    pub(super) events: VecDeque<ClientEvent>,
}

impl Client {
    /// Opens: `C0` and `C1` are ready to be sent.
    #[must_use]
    pub fn new(
        now: Instant,
        address: Address,
        intent: Intent,
        config: &ClientConfig,
        limits: &Limits,
        seed: [u8; 32],
    ) -> Self {
        let handshake = ClientHandshake::new(config.handshake, &filler(seed), 0);
        // CONTROL: a handshake.
        let out = handshake.c0c1().to_vec();
        let bytes = [0; handshake::S0S1S2_LEN];
        Self {
            state: State::Hello(Box::new(Hello { handshake, bytes, len: 0 })),
            address,
            intent,
            flash_ver: config.flash_ver.clone(),
            transaction: 0,
            msid: 0,
            awaited: VecDeque::new(),
            reader: ChunkReader::new(chunk_limits(limits, LimitId::RtmpPartialBytesMax)),
            limits: limits.clone(),
            chunk_bytes: config.chunk_bytes,
            deadline: now + config.deadline,
            writer: ChunkWriter::new(),
            partial: Vec::new(),
            window: Window::new(),
            out,
            events: VecDeque::new(),
        }
    }

    /// Takes received bytes and returns how many were consumed: fewer than all only if events must
    /// be drained first, or the client is closed.
    ///
    /// # Errors
    /// The connection is over; its last statuses are in [`Self::poll_event`].
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let result = self.read(bytes);
        if let Err(error) = &result {
            self.transition(State::Closed, error.reason());
        }
        result
    }

    fn read(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut at = 0;
        while at < bytes.len() && self.wants_bytes() && self.events.len() < EVENTS_MAX {
            let (taken, fragment) = self.step(&bytes[at..])?;
            at += taken;
            if let Some(fragment) = fragment {
                self.fragment(fragment)?;
            }
        }
        self.read_over()?;
        Ok(at)
    }

    /// Takes bytes up to the end of a fragment, which its owner gives to [`Self::fragment`] unless
    /// it is media of which it has a use of its own.
    pub(in crate::session::rtmp) fn step<'b>(
        &mut self,
        bytes: &'b [u8],
    ) -> Result<(usize, Option<Fragment<'b>>), Error> {
        let State::Hello(hello) = &mut self.state else {
            let (taken, fragment) = self.reader.feed(bytes).map_err(limit_of)?;
            self.window.received(taken);
            return Ok((taken, fragment));
        };
        let taken = bytes.len().min(hello.bytes.len() - hello.len);
        // CONTROL: a handshake, which may come in pieces.
        hello.bytes[hello.len..hello.len + taken].copy_from_slice(&bytes[..taken]);
        hello.len += taken;
        if hello.len == hello.bytes.len() {
            let c2 = hello.handshake.finish(&hello.bytes)?;
            // CONTROL: the end of a handshake.
            self.out.extend_from_slice(&c2);
            self.connect();
            self.transition(State::Connecting, "s2");
        }
        Ok((taken, None))
    }

    /// All bytes of a read are taken: what they call for is said.
    pub(in crate::session::rtmp) fn read_over(&mut self) -> Result<(), Error> {
        if let Some(acknowledgement) = self.window.due() {
            self.control(acknowledgement);
        }
        if self.out.len() as u64 > self.limits.reply_bytes_max && !self.sends_media() {
            return Err(Error::Limit(LimitId::ReplyBytesMax));
        }
        Ok(())
    }

    /// Takes one fragment of a message.
    pub(in crate::session::rtmp) fn fragment(
        &mut self,
        fragment: Fragment<'_>,
    ) -> Result<(), Error> {
        let Fragment { header, offset, data, last } = fragment;
        let media =
            matches!(header.kind, MessageKind::Audio | MessageKind::Video | MessageKind::Aggregate);
        if !media && u64::from(header.len) > self.limits.rtmp_command_bytes_max {
            return Err(Error::Limit(LimitId::RtmpCommandBytesMax));
        }
        if offset == 0 && last {
            self.partial.retain(|(csid, _)| *csid != header.csid);
            return self.message(&header, data);
        }
        let known = self.partial.iter().position(|(csid, _)| *csid == header.csid);
        let index = known.unwrap_or_else(|| {
            self.partial.push((header.csid, Vec::new()));
            self.partial.len() - 1
        });
        let bytes = &mut self.partial[index].1;
        if offset == 0 {
            bytes.clear();
        }
        // CONTROL: a message for a probe that came in pieces.
        bytes.extend_from_slice(data);
        if !last {
            return Ok(());
        }
        let (_, body) = self.partial.swap_remove(index);
        self.message(&header, &body)
    }

    /// Sends one message on the published stream; its header's `msid` is set here.
    ///
    /// The bytes wait for [`Self::poll_transmit`]: the owner sends no more while they do not go.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] unless publishing.
    ///
    /// # Panics
    /// If `header.len` is not the length of `body`.
    pub fn send_message(&mut self, header: &MessageHeader, body: &[u8]) -> Result<(), Error> {
        if !self.sends_media() {
            return Err(self.misbehaved("send_message"));
        }
        let header = MessageHeader { msid: self.msid, ..*header };
        self.writer.write(&header, body, &mut self.out);
        Ok(())
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the server did not get to the point in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.poll_timeout().is_some_and(|deadline| now >= deadline) {
            self.transition(State::Closed, "deadline");
            return Err(Error::Timeout { what: "client_deadline" });
        }
        Ok(())
    }

    /// Appends the bytes that wait to be sent; true if there were any.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.out.is_empty();
        out.append(&mut self.out);
        any
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Publishing | State::Playing | State::Closed => None,
            State::Connected if self.intent == Intent::Call => None,
            _ => Some(self.deadline),
        }
    }

    /// False once closed.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// True once the server was asked to play or publish.
    pub(in crate::session::rtmp) const fn is_asking(&self) -> bool {
        matches!(self.state, State::Starting | State::Publishing | State::Playing)
    }

    /// Takes new limits.
    pub(in crate::session::rtmp) fn reload(&mut self, limits: &Limits) {
        self.limits = limits.clone();
        self.reader.set_limits(chunk_limits(limits, LimitId::RtmpPartialBytesMax));
    }

    /// Bytes of buffers that it holds beside its record.
    pub(in crate::session::rtmp) fn buffer_bytes(&self) -> usize {
        let hello = match &self.state {
            State::Hello(hello) => size_of_val(&**hello),
            _ => 0,
        };
        let partial: usize = self.partial.iter().map(|(_, bytes)| bytes.capacity()).sum();
        hello + partial + self.out.capacity() + self.reader.table_bytes()
    }

    /// The state's word.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        self.state.name()
    }

    const fn sends_media(&self) -> bool {
        matches!(self.state, State::Publishing)
    }

    pub(super) fn await_answer(&mut self, transaction: u32, awaited: Awaited) {
        if self.awaited.len() == AWAITED_MAX {
            self.awaited.pop_front();
        }
        self.awaited.push_back((transaction, awaited));
    }

    pub(super) fn command(&mut self, msid: u32, command: &Command) {
        let mut body = Vec::new();
        command.encode(&mut body);
        self.send(Csid::COMMAND, MessageKind::CommandAmf0, msid, &body);
    }

    pub(super) fn user_control(&mut self, event: UserControl) {
        let mut bytes = [0; UserControl::LEN_MAX];
        let body = &mut bytes[..event.encoded_len()];
        event.encode(&mut Writer::new(body));
        self.send(Csid::CONTROL, MessageKind::UserControl, 0, body);
    }

    pub(super) fn control(&mut self, control: Control) {
        let mut bytes = [0; Control::LEN_MAX];
        let body = &mut bytes[..control.encoded_len()];
        control.encode(&mut Writer::new(body));
        self.send(Csid::CONTROL, control.kind(), 0, body);
    }

    fn send(&mut self, csid: Csid, kind: MessageKind, msid: u32, body: &[u8]) {
        let len = u32::try_from(body.len()).expect("our messages are short");
        let header = MessageHeader { csid, timestamp: 0, len, kind, msid };
        self.writer.write(&header, body, &mut self.out);
    }

    pub(super) fn transition(&mut self, next: State, event: &'static str) {
        tracing::debug!(prev = self.state.name(), next = next.name(), event, "rtmp client");
        self.state = next;
    }

    pub(super) const fn misbehaved(&self, got: &'static str) -> Error {
        Error::Misbehaved { state: self.state.name(), got }
    }
}
