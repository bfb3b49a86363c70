//! What we say to an RTMP peer: whole messages, each in chunks of the size in force.
//!
//! Every message starts with a type 0 chunk, so that a reply may stand between any two entries of a
//! shared log without either knowing of the other.
//! Limits: `reply_bytes_max` bounds what waits here; a peer that makes us say more is closed.

use codecs::amf0::Value;
use codecs::rtmp::chunk_writer::{CHUNK_SIZE_DEFAULT, frame_message};
use codecs::rtmp::command::{Command, Level, encode_data, status};
use codecs::rtmp::message::{Control, Csid, MessageHeader, MessageKind, UserControl};
use codecs::writer::Writer;

use crate::Error;
use crate::config::{LimitId, Limits};

/// The message stream of every publication and playback.
pub(super) const MSID: u32 = 1;

/// An acknowledgement and a ping, which come again and again, now and then together: what they
/// need is kept.
const SMALL_BYTES: usize = 40;

/// Replies that wait to be taken by `poll_transmit`.
#[derive(Debug)]
pub(super) struct Replies {
    out: Vec<u8>,
    chunk_bytes: u32,
}

impl Replies {
    pub(super) const fn new() -> Self {
        Self { out: Vec::new(), chunk_bytes: CHUNK_SIZE_DEFAULT }
    }

    /// An error if the peer made us owe it more than it may.
    pub(super) const fn check(&self, limits: &Limits) -> Result<(), Error> {
        if self.out.len() as u64 > limits.reply_bytes_max {
            return Err(Error::Limit(LimitId::ReplyBytesMax));
        }
        Ok(())
    }

    /// Moves what waits to `out`; true if there was anything.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.out.is_empty();
        if out.is_empty() && self.out.len() > SMALL_BYTES {
            // The vector goes to the connection, which frees it once it is sent.
            *out = std::mem::take(&mut self.out);
        } else if any {
            // Taken once. Whoever has nothing to say takes nothing.
            if out.is_empty() {
                out.reserve_exact(SMALL_BYTES);
            }
            out.append(&mut self.out);
        }
        any
    }

    /// Bytes of the buffer of what waits.
    pub(super) const fn buffer_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Bytes outside any message: the handshake.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        // CONTROL: the answer to a handshake.
        self.out.extend_from_slice(bytes);
    }

    /// A protocol control message; a new chunk size holds from the next message on.
    pub(super) fn control(&mut self, control: Control) {
        let mut bytes = [0; Control::LEN_MAX];
        let body = &mut bytes[..control.encoded_len()];
        control.encode(&mut Writer::new(body));
        self.message(Csid::CONTROL, control.kind(), 0, body);
        if let Control::SetChunkSize(chunk_bytes) = control {
            self.chunk_bytes = chunk_bytes;
        }
    }

    /// A user control event.
    pub(super) fn user_control(&mut self, event: UserControl) {
        let mut bytes = [0; UserControl::LEN_MAX];
        let body = &mut bytes[..event.encoded_len()];
        event.encode(&mut Writer::new(body));
        self.message(Csid::CONTROL, MessageKind::UserControl, 0, body);
    }

    /// A command on the connection's own stream or, if `msid` is one, on that stream.
    pub(super) fn command(&mut self, msid: u32, command: &Command) {
        let mut body = Vec::new();
        command.encode(&mut body);
        let csid = if msid == 0 { Csid::COMMAND } else { Csid::DATA };
        self.message(csid, MessageKind::CommandAmf0, msid, &body);
    }

    /// `onStatus` of level `status`.
    pub(super) fn status(&mut self, msid: u32, code: &str, description: &str) {
        self.command(msid, &status::<&str>(Level::Status, code, description, []));
    }

    /// `onStatus` of level `error`.
    pub(super) fn error(&mut self, msid: u32, code: &str, description: &str) {
        self.command(msid, &status::<&str>(Level::Error, code, description, []));
    }

    /// `onStatus` of level `status` that names the stream, as players expect of Play.Start.
    pub(super) fn status_of(&mut self, msid: u32, code: &str, description: &str, stream: &str) {
        let details = [("details", Value::from(stream))];
        self.command(msid, &status(Level::Status, code, description, details));
    }

    /// A data message on the media stream.
    pub(super) fn data(&mut self, values: &[Value]) {
        let mut body = Vec::new();
        encode_data(values, &mut body);
        self.message(Csid::DATA, MessageKind::DataAmf0, MSID, &body);
    }

    fn message(&mut self, csid: Csid, kind: MessageKind, msid: u32, body: &[u8]) {
        let len = u32::try_from(body.len()).expect("our replies are short");
        let header = MessageHeader { csid, timestamp: 0, len, kind, msid };
        frame_message(&header, body, self.chunk_bytes, &mut self.out);
    }
}
