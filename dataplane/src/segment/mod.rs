//! Segments: where a stream is cut, which pieces are listed and kept, and the playlists.
//!
//! A segment is a range of the stream's transport packets, nothing else: its bytes are in the log
//! once, whoever reads them. `segmenter` decides where segments begin, for every stream and all the
//! time, so that a log that is packaged on demand is cut as one that always was. `list` knows which
//! of them a log holds, lists and keeps; `playlist` writes them down as a `window`, which the log
//! shows to its readers. `numbering` lets numbers go on over restarts, `uri` names the pieces.
//!
//! Spec: RFC 8216. Not here: bytes (`log/`), requests (`session/http`).

mod list;
mod numbering;
mod playlist;
mod segmenter;
pub mod uri;
mod window;

pub use list::{ListTerms, SEGMENTS_MAX, SegmentList};
pub use numbering::Numbering;
pub use playlist::{Program, Tags, render};
pub use segmenter::{Mark, Segment, Segmenter};
pub use window::{KeptSegment, Playlist, Window};
