//! Media as a player gets it, whatever protocol brought it.

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

/// What a connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The server agreed to what was asked for.
    Accepted,
    /// The server said no, or ended the stream; its own words.
    Refused(String),
    /// Media came.
    Media(Piece<'a>),
}
