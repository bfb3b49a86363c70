//! Where an HTTP session stands.
//!
//! ```text
//!             +--------- page, 4xx, 204 ---------+
//!             v                                  |
//!   --> head ----- GET /streams.json ---> asking_directory --Directory--> head
//!        |  ^
//!        |  +--------------- Refused: 403, 404, 503 ---+
//!        +- GET /NAME.flv, .ts --> asking_play --------+
//!        |                             | PlayStarted: 200
//!        | close, bad request          v
//!        v                         streaming --StreamEnded, Shutdown--> closing
//!     closing
//! ```

use crate::ids::StreamName;
use crate::session::Format;

/// The state, with what only that state knows.
#[derive(Debug)]
pub(super) enum State {
    /// A request head is awaited or being read.
    Head,
    /// The shard was asked for the list of streams; no byte is read.
    AskingDirectory(Pending),
    /// The shard was asked for a play; no byte is read.
    AskingPlay(Pending, StreamName, Format),
    /// The shard writes the body.
    Streaming(StreamName, Format),
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
    /// The word for logs and the API.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::AskingDirectory(_) => "asking_directory",
            Self::AskingPlay(..) => "asking_play",
            Self::Streaming(..) => "streaming",
            Self::Closing => "closing",
        }
    }
}
