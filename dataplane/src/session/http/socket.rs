//! A player that switched to WebSocket: what it says, what it is told.
//!
//! Spec: RFC 6455. Frames are in `codecs::websocket`.
//! In/Out: the shard frames the stream, one binary frame for each send of whole entries; what is
//! said here is sent between two of those. What a player sends is checked, bounded and ignored.
//! Limits: `websocket_message_bytes_max`, `websocket_frames_per_second_max`; a player that answers
//! no ping for [`PINGS_UNANSWERED_MAX`] intervals is gone.

use std::time::{Duration, Instant};

use codecs::http1::Request;
use codecs::websocket::{AcceptKey, CloseCode, Event as Heard, FrameReader, Opening, opening};

use super::server::Server;
use super::state::{Pending, State};
use crate::Error;
use crate::config::{LimitId, Limits};
use crate::control::Protocol;
use crate::ids::StreamName;
use crate::session::{Command, Event, Format};

/// Pings without any word from the peer before it counts as gone.
const PINGS_UNANSWERED_MAX: u8 = 2;
const SECOND: Duration = Duration::from_secs(1);

/// A request to switch that waits for its verdict.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// How to answer if it is refused.
    pub(super) pending: Pending,
    format: Format,
    pub(super) accept: AcceptKey,
    /// The subprotocol that is agreed to.
    pub(super) subprotocol: Option<Box<str>>,
}

impl Upgrade {
    /// What a request for a stream asks for: `None` is a plain body, an error its status and text.
    pub(super) fn asked_by(
        request: &Request<'_>,
        pending: Pending,
        format: Format,
    ) -> Result<Option<Box<Self>>, (u16, &'static str)> {
        match opening(request) {
            Opening::Plain => Ok(None),
            Opening::Accepted { accept, protocol } => {
                let subprotocol = protocol.map(Box::from);
                Ok(Some(Box::new(Self { pending, format, accept, subprotocol })))
            }
            Opening::Version => Err((426, "this version of WebSocket is not spoken here\n")),
            Opening::Malformed => Err((400, "a WebSocket wants one key of 16 bytes\n")),
        }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        protocol(self.format)
    }
}

/// The peer's side of an open connection.
#[derive(Debug)]
pub(super) struct Socket {
    reader: FrameReader,
    format: Format,
    /// Frames that the reader had seen when this second began.
    frames: u32,
    second_began: Instant,
    pings_unanswered: u8,
}

impl Socket {
    fn new(now: Instant, format: Format, limits: &Limits) -> Self {
        Self {
            reader: FrameReader::of_client(limits.websocket_message_bytes_max),
            format,
            frames: 0,
            second_began: now,
            pings_unanswered: 0,
        }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        protocol(self.format)
    }

    /// Takes new limits.
    pub(super) const fn reload(&mut self, limits: &Limits) {
        self.reader.limit(limits.websocket_message_bytes_max);
    }

    /// Reads up to the next word of the peer that needs an answer.
    fn hear(
        &mut self,
        now: Instant,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Option<Heard<'static>>), Error> {
        self.pings_unanswered = 0;
        let mut at = 0;
        loop {
            let (taken, event) = self.reader.feed(&bytes[at..]).map_err(limit_of)?;
            at += taken;
            self.count(now, limits)?;
            match event {
                Some(Heard::Data(data)) if data.text => {
                    let text = codecs::Error::Unsupported { what: "websocket.text", value: 1 };
                    return Err(Error::Malformed(text));
                }
                // Nothing that a player may say as data means anything.
                Some(Heard::Data(_) | Heard::Pong) => {}
                Some(Heard::Ping(payload)) => return Ok((at, Some(Heard::Ping(payload)))),
                Some(Heard::Close(code)) => return Ok((at, Some(Heard::Close(code)))),
                None => return Ok((at, None)),
            }
        }
    }

    fn count(&mut self, now: Instant, limits: &Limits) -> Result<(), Error> {
        let frames = self.reader.frames();
        if now.saturating_duration_since(self.second_began) >= SECOND {
            // A frame that was begun before counts for this second.
            (self.second_began, self.frames) = (now, frames);
        }
        let limit = LimitId::WebsocketFramesPerSecondMax;
        if u64::from(frames.wrapping_sub(self.frames)) > limits.get(limit) {
            return Err(Error::Limit(limit));
        }
        Ok(())
    }
}

impl Server {
    /// The play was granted: from here on both sides speak in frames.
    pub(super) fn open_socket(&mut self, now: Instant, upgrade: &Upgrade, stream: StreamName) {
        self.replies.switch(upgrade);
        self.deadline = now + self.terms.session.ping_interval;
        let socket = Box::new(Socket::new(now, upgrade.format, &self.terms.limits));
        self.transition(State::Socket(socket, stream), "play_started");
    }

    /// Takes bytes of a peer that switched.
    pub(super) fn hear(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, Error> {
        let (State::Socket(socket, _) | State::SocketClosing(socket, _)) = &mut self.state else {
            return Ok(0);
        };
        let (taken, heard) = socket.hear(now, bytes, &self.terms.limits)?;
        match (heard, &self.state) {
            (Some(Heard::Ping(payload)), State::Socket(..)) => self.replies.pong(&payload),
            (Some(Heard::Close(code)), State::Socket(..)) => {
                self.replies.close(code, "");
                self.end("peer_closed");
            }
            (Some(Heard::Close(_)), State::SocketClosing(_, reason)) => {
                let reason = *reason;
                self.end(reason);
            }
            _ => {}
        }
        Ok(taken)
    }

    /// Tells the peer that nothing follows, and waits for its word of the same.
    pub(super) fn close_socket(&mut self, now: Instant, reason: &'static str) {
        let state = std::mem::replace(&mut self.state, State::Closing);
        let State::Socket(socket, _) = state else {
            self.state = state;
            return;
        };
        self.replies.close(Some(code_of(reason)), reason);
        self.events.push(Event::PlayEnded);
        self.deadline = now + self.terms.session.drain;
        self.transition(State::SocketClosing(socket, reason), reason);
    }

    /// Says why a peer's bytes end the connection, unless the last word was spoken.
    pub(super) fn fail_socket(&mut self, error: &Error) {
        if matches!(self.state, State::Socket(..)) {
            let code = match error {
                Error::Malformed(error) => CloseCode::of(*error),
                Error::Limit(LimitId::WebsocketMessageBytesMax) => CloseCode::MESSAGE_TOO_BIG,
                Error::Limit(_) | Error::Timeout { .. } => CloseCode::POLICY_VIOLATION,
                _ => CloseCode::INTERNAL_ERROR,
            };
            self.replies.close(Some(code), error.reason());
        }
        self.transition(State::Closing, error.reason());
    }

    /// The shard's word to a peer that switched.
    pub(super) fn command_socket(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match (&self.state, command) {
            (State::Socket(..), Command::StreamEnded) => self.close_socket(now, "stream_ended"),
            (State::Socket(..), Command::Shutdown { reason }) => self.close_socket(now, reason),
            // The farewell is under way and has its own deadline.
            (_, Command::Shutdown { .. }) => {}
            (state, command) => {
                let error = Error::Misbehaved { state: state.name(), got: command.name() };
                self.fail_socket(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// A ping is due, or the peer's close frame did not come.
    pub(super) fn time_socket(&mut self, now: Instant) -> Result<(), Error> {
        match &mut self.state {
            State::Socket(socket, _) if socket.pings_unanswered < PINGS_UNANSWERED_MAX => {
                socket.pings_unanswered += 1;
                self.replies.ping();
                self.deadline = now + self.terms.session.ping_interval;
                Ok(())
            }
            State::SocketClosing(_, reason) => {
                let reason = *reason;
                self.end(reason);
                Ok(())
            }
            _ => {
                let error = Error::Timeout { what: "websocket_pong" };
                self.fail_socket(&error);
                Err(error)
            }
        }
    }
}

const fn protocol(format: Format) -> Protocol {
    match format {
        Format::MpegTs => Protocol::WsTs,
        Format::Flv | Format::Rtmp => Protocol::WsFlv,
    }
}

/// The code for a word of the shard.
fn code_of(reason: &str) -> CloseCode {
    match reason {
        "stream_ended" => CloseCode::NORMAL,
        "kicked" => CloseCode::POLICY_VIOLATION,
        "too_slow" | "quota_exceeded" => CloseCode::TRY_AGAIN_LATER,
        _ => CloseCode::GOING_AWAY,
    }
}

/// A limit that the codec enforced, by our name for it; other errors are malformed bytes.
const fn limit_of(error: codecs::Error) -> Error {
    match error {
        codecs::Error::TooLarge { .. } => Error::Limit(LimitId::WebsocketMessageBytesMax),
        _ => Error::Malformed(error),
    }
}
