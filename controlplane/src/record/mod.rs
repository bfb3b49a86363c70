//! Record: streams of this node, written into files.
//!
//! ```text
//!   declared, policy --> Recorder --starts, stops--> one thread for each recording
//!                           ^                          |  HTTP-FLV of this node, as a player
//!                           +------- Report -----------+  that nobody is told of
//!                                                      v
//!                        API <--listed, deleted-- Shelf: files below `recording.dir`
//! ```
//!
//! A recording is a player like any other: what it does not take in time it skips, from keyframe to
//! keyframe, and a disk that is slow or full holds up its own thread alone.
//!
//! Map: `mode` is what is wanted of a stream; `recorder` keeps what is under way, and who waits in
//! a `line`; `job` is one recording on its thread, `source` where its bytes come from, `tags` what
//! they are, `flv_file` where they go; `report` is what it tells; `shelf` has all files, `books`
//! knows them, `file_id` names them, `room` is how much of them is kept, `janitor` looks after
//! them.
//!
//! Limits: `recording.active_max` threads, of `ACTIVE_BYTES` each; `recording.files_max` files are
//! known, of `FILE_BYTES` each; streams on the air wait, of `WAITING_BYTES` each.
//! Not here: who is told of recordings (`events`, `dialect`).

mod books;
mod file_id;
mod flv_file;
mod janitor;
mod job;
mod line;
mod mode;
mod recorder;
mod report;
mod room;
mod shelf;
mod source;
mod tags;

pub use file_id::FileId;
pub use mode::RecordMode;
pub(crate) use recorder::{ACTIVE_BYTES, WAITING_BYTES};
pub use recorder::{Entrance, Recorder, RecordingState};
pub use report::{Report, Word};
pub use room::Refused;
pub(crate) use shelf::FILE_BYTES;
pub use shelf::{Kept, Shelf, ShelfFile};
