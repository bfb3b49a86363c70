//! HLS as a player follows it: multivariant playlist, media playlist, each new segment once.
//!
//! Spec: RFC 8216 4 and 6.3.

mod client;
mod playback;
mod playlist;

pub use client::{Asked, Client, End, PLAYLIST_BYTES_MAX, Told};
pub use playback::Playback;
pub use playlist::{MediaPlaylist, Playlist, Segment};
