//! Where an HTTP session stands.
//!
//! ```text
//!             +--------- page, 4xx, 204 ---------+
//!             v                                  |
//!   --> head ----- GET /streams.json ---> asking_directory --Directory--> head
//!        |  ^ +--- GET /.well-known/acme-challenge/TOKEN --> asking_challenge --Challenge--> head
//!        |  |
//!        |  +--------------- Refused: 403, 404, 503 ---+
//!        +- GET /NAME.flv, .ts --> asking_play --------+
//!        |                             | PlayStarted: 200
//!        | close, bad request          v
//!        v                         streaming --StreamEnded, Shutdown--> closing
//!     closing
//!
//!   --> head -- GET of a playlist, a segment --> fetching -- window: playlist, 304, 404 --> head
//!        ^                                          | window: 200, 206
//!        |                                          v
//!        +------------------ Served ------------ serving
//!
//!   --> head -- GET /NAME.EXT, Upgrade --> asking_socket -- Refused: 403, 404, 503 --> head
//!                                               | PlayStarted: 101
//!                                               v
//!   closing <-- Close, wrong frame, no pong -- socket --StreamEnded, Shutdown--> socket_closing
//!      ^                                                                              |
//!      +------------------------ Close, wrong frame, deadline ------------------------+
//! ```

use super::fetch::Fetch;
use super::socket::{Socket, Upgrade};
use crate::control::Protocol;
use crate::ids::StreamName;
use crate::session::Format;

/// The state, with what only that state knows.
#[derive(Debug)]
pub(super) enum State {
    /// A request head is awaited or being read.
    Head,
    /// The shard was asked for the list of streams; no byte is read.
    AskingDirectory(Pending),
    /// The shard was asked for the answer to a challenge; no byte is read.
    AskingChallenge(Pending),
    /// The shard was asked for a play; no byte is read.
    AskingPlay(Pending, StreamName, Format),
    /// The shard writes the body.
    Streaming(StreamName, Format),
    /// The shard was asked for the window of a stream; no byte is read.
    Fetching(Box<Fetch>),
    /// The shard writes a segment; no byte is read.
    Serving(Pending, StreamName),
    /// As [`Self::AskingPlay`], for a player that wants to switch to WebSocket.
    AskingSocket(Box<Upgrade>, StreamName),
    /// The shard writes messages; the player may say what a frame can say.
    Socket(Box<Socket>, StreamName),
    /// The player was told that nothing follows, for this reason; its own word is awaited.
    SocketClosing(Box<Socket>, &'static str),
    /// The last words are in the replies.
    Closing,
}

/// How the request that waits must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Without a body.
    pub(super) head_only: bool,
    /// The connection may go on afterwards.
    pub(super) keep_alive: bool,
}

impl State {
    /// The request whose verdict or answer is awaited, and how it must be answered.
    pub(super) const fn pending(&self) -> Option<Pending> {
        match self {
            Self::AskingDirectory(pending)
            | Self::AskingChallenge(pending)
            | Self::AskingPlay(pending, ..) => Some(*pending),
            Self::AskingSocket(upgrade, _) => Some(upgrade.pending),
            Self::Fetching(fetch) => Some(fetch.pending),
            _ => None,
        }
    }

    /// HTTP, or a stream over it or WebSocket once one was asked for.
    pub(super) const fn protocol(&self) -> Protocol {
        match self {
            Self::AskingPlay(.., format) | Self::Streaming(_, format) => match format {
                Format::MpegTs => Protocol::HttpTs,
                Format::Flv | Format::Rtmp => Protocol::HttpFlv,
            },
            Self::AskingSocket(upgrade, _) => upgrade.protocol(),
            Self::Fetching(_) | Self::Serving(..) => Protocol::Hls,
            Self::Socket(socket, _) | Self::SocketClosing(socket, _) => socket.protocol(),
            _ => Protocol::Http,
        }
    }

    /// The stream that the peer named, while it is asked for or played.
    pub(super) const fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::AskingPlay(_, stream, _)
            | Self::Streaming(stream, _)
            | Self::AskingSocket(_, stream)
            | Self::Serving(_, stream)
            | Self::Socket(_, stream) => Some(stream),
            Self::Fetching(fetch) => Some(&fetch.stream),
            _ => None,
        }
    }

    /// The word for logs and the API.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::AskingDirectory(_) => "asking_directory",
            Self::AskingChallenge(_) => "asking_challenge",
            Self::AskingPlay(..) => "asking_play",
            Self::Streaming(..) => "streaming",
            Self::Fetching(_) => "fetching",
            Self::Serving(..) => "serving",
            Self::AskingSocket(..) => "asking_socket",
            Self::Socket(..) => "socket",
            Self::SocketClosing(..) => "socket_closing",
            Self::Closing => "closing",
        }
    }
}
