//! Media as a player gets it, whatever protocol brought it.

use crate::content::Content;
use crate::stamp::Stamp;

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// An FLV audio tag body.
    Audio,
    /// An FLV video tag body.
    Video,
}

/// A piece of an audio or video message, borrowed from the socket's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What the message carries.
    pub kind: PieceKind,
    /// Its time in milliseconds.
    pub timestamp_ms: u32,
    /// Where in the message the piece stands.
    pub offset: u32,
    /// The piece.
    pub data: &'a [u8],
    /// True if the message ends with it.
    pub last: bool,
}

/// A picture that came whole, where media is told by units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// When it is decoded; ticks of any length that wrap.
    pub time: u32,
    /// The stamp in it.
    pub stamp: Option<Stamp>,
    /// What stands behind the stamp, if that was looked at.
    pub content: Option<Content>,
    /// It is a keyframe.
    pub is_key: bool,
    /// It brings its configuration with it.
    pub has_config: bool,
    /// When its last byte came.
    pub arrived_ns: u64,
}

/// What a connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The server agreed to what was asked for.
    Accepted,
    /// The server said no, or ended the stream; its own words.
    Refused(String),
    /// The server said that what was asked for is there.
    Moved(String),
    /// Media came.
    Media(Piece<'a>),
    /// A whole picture came.
    Unit(Unit),
}
