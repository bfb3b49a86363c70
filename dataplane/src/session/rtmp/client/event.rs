//! What a client tells its owner.

use codecs::amf0::Value;
use codecs::flv::{AudioTagHeader, VideoTagHeader};

/// A client's word.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// `connect` succeeded.
    Connected {
        /// The server's properties and its side of the negotiation.
        properties: Value,
        /// The information object.
        info: Value,
    },
    /// A status of the server.
    Status {
        /// `status`, `warning` or `error`.
        level: String,
        /// The code, as in `codecs::rtmp::command::code`.
        code: String,
        /// For people.
        description: String,
        /// Where the stream is to be had instead, if the server says so.
        redirect: Option<String>,
    },
    /// Media may be sent.
    PublishStarted,
    /// Media will come.
    PlayStarted,
    /// One media message.
    Media(Media),
    /// One data message: its values, `onMetaData` first for metadata.
    Data {
        /// The values.
        values: Vec<Value>,
        /// Milliseconds, wrapping.
        timestamp: u32,
    },
    /// The answer to a call.
    CallResult {
        /// What the call returned.
        transaction: u32,
        /// False for `_error`.
        ok: bool,
        /// What followed the command object.
        values: Vec<Value>,
    },
    /// The server calls a procedure of ours; there is none.
    Called {
        /// Its name.
        name: String,
        /// Its arguments.
        values: Vec<Value>,
    },
    /// The stream has no more to come.
    StreamEof,
}

/// The header of a media message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaHeader {
    /// Audio.
    Audio(AudioTagHeader),
    /// Video.
    Video(VideoTagHeader),
    /// A header that could not be read.
    Unknown,
}

/// A media message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Milliseconds, wrapping.
    pub timestamp: u32,
    /// Its header.
    pub header: MediaHeader,
    /// The whole body, header included.
    pub body: Vec<u8>,
}
