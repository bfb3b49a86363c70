//! Where a session of the RTMP server stands.
//!
//! ```text
//!   hello --C0 C1--> ack --C2--> open --connect--> entering --> closing (refused)
//!                                  |                  | allowed
//!                                  |                  v
//!                                  +--connect--> connected <----------------------------+
//!                                                   |      |                            |
//!                                             publish      play                         |
//!                                                   v      v                            |
//!                                      asking_publish      asking_play                  |
//!                                        |  |                |  |                       |
//!                              started --+  +--> closing <---+  +-- started             |
//!                                        v     (refused)        v                       |
//!                                   publishing     idle <--> playing <--> paused        |
//!                                        |           |          |                       |
//!                                        +-- deleteStream ------+-----------------------+
//!   any --StreamEnded, Shutdown, error--> closing
//! ```
//!
//! A player of a stream that nobody publishes is idle if it may wait, from the beginning or after
//! the stream's end: it is heard and pinged as others are. A duration that it asked for runs.
//!
//! Whether a peer may come in is asked only if the configuration wants it. A request to reconnect
//! is heard while publishing or playing, and changes no state.

use std::time::{Duration, Instant};

use codecs::rtmp::command::ConnectInfo;
use codecs::rtmp::handshake::C0C1_LEN;

use super::pace::Supply;
use super::url::Target;
use crate::control::Role;
use crate::ids::StreamName;

/// The state, with what only that state knows.
#[derive(Debug)]
pub(super) enum State {
    /// `C0` and `C1` are being read.
    Hello(Hello),
    /// `C2` is being read: how many of its bytes are to come.
    Ack(usize),
    /// `connect` is awaited.
    Open,
    /// The shard was asked whether the peer may come in; no byte is read.
    Entering(Box<Entering>),
    /// `publish` or `play` is awaited.
    Connected,
    /// The shard was asked; no byte is read.
    Asking(Box<Asking>),
    /// Media comes in.
    Publishing(Box<Publishing>),
    /// The shard's cursor reads for the peer.
    Playing(Playing),
    /// The last words are in the replies.
    Closing,
}

/// A handshake that has begun.
#[derive(Debug)]
pub(super) struct Hello {
    /// What came of `C0` and `C1`, if a read ended within them.
    pub(super) part: Option<Box<HelloPart>>,
    /// What the filler of our answer comes from.
    pub(super) seed: [u8; 32],
}

/// The bytes of `C0` and `C1` so far.
#[derive(Debug)]
pub(super) struct HelloPart {
    pub(super) bytes: [u8; C0C1_LEN],
    pub(super) len: usize,
}

/// A `connect` that waits for its verdict.
#[derive(Debug)]
pub(super) struct Entering {
    pub(super) peer: ConnectInfo,
    pub(super) transaction: f64,
    /// What is left of the connect deadline: the wait for the answer does not count.
    pub(super) left: Duration,
}

/// A question to the shard.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) role: Role,
    pub(super) target: Target,
    pub(super) msid: u32,
    /// What is left of the connect deadline: the wait for the answer does not count.
    pub(super) left: Duration,
    pub(super) play: PlayArgs,
}

/// What a play command says beside the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlayArgs {
    /// The play ends after this long.
    pub(super) duration: Option<Duration>,
    /// The peer hears that earlier streams of its list are gone.
    pub(super) reset: bool,
}

/// A publication.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) stream: StreamName,
    pub(super) msid: u32,
    pub(super) supply: Supply,
}

/// A playback.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) stream: StreamName,
    pub(super) ends_at: Option<Instant>,
    /// The stream is not there: it is waited for.
    pub(super) idle: bool,
    /// The peer hears, when it begins, that earlier streams of its list are gone.
    pub(super) reset: bool,
    pub(super) paused: bool,
    pub(super) audio: bool,
    pub(super) video: bool,
}

impl Playing {
    /// What was asked for, from now on.
    pub(super) fn new(now: Instant, asking: Asking) -> Self {
        let Asking { target, play, .. } = asking;
        Self {
            stream: target.stream,
            ends_at: play.duration.map(|duration| now + duration),
            idle: false,
            reset: play.reset,
            paused: false,
            audio: true,
            video: true,
        }
    }
}

impl HelloPart {
    pub(super) fn boxed() -> Box<Self> {
        Box::new(Self { bytes: [0; C0C1_LEN], len: 0 })
    }

    /// Keeps what is still missing of the bytes; tells how many that were.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let room = &mut self.bytes[self.len..];
        let taken = bytes.len().min(room.len());
        // CONTROL: a handshake that came in pieces.
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }
}

impl State {
    /// The word for logs and the API.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Ack(_) => "ack",
            Self::Open => "open",
            Self::Entering(_) => "entering",
            Self::Connected => "connected",
            Self::Asking(asking) => match asking.role {
                Role::Publish => "asking_publish",
                Role::Play => "asking_play",
            },
            Self::Publishing(_) => "publishing",
            Self::Playing(Playing { idle: true, .. }) => "idle",
            Self::Playing(Playing { paused: false, .. }) => "playing",
            Self::Playing(Playing { paused: true, .. }) => "paused",
            Self::Closing => "closing",
        }
    }

    /// What the peer does, once that is known.
    pub(super) const fn role(&self) -> Option<Role> {
        match self {
            Self::Asking(asking) => Some(asking.role),
            Self::Publishing(_) => Some(Role::Publish),
            Self::Playing(_) => Some(Role::Play),
            _ => None,
        }
    }

    /// The stream, once that is known.
    pub(super) const fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Asking(asking) => Some(&asking.target.stream),
            Self::Publishing(publishing) => Some(&publishing.stream),
            Self::Playing(playing) => Some(&playing.stream),
            _ => None,
        }
    }

    /// As [`Self::stream`].
    pub(super) const fn stream_mut(&mut self) -> Option<&mut StreamName> {
        match self {
            Self::Asking(asking) => Some(&mut asking.target.stream),
            Self::Publishing(publishing) => Some(&mut publishing.stream),
            Self::Playing(playing) => Some(&mut playing.stream),
            _ => None,
        }
    }
}
