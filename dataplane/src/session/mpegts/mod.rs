//! MPEG transport streams of publishers, whatever carries them: SRT, UDP, RTP.
//!
//! Spec: ITU-T H.222.0; the wire format is in `codecs::mpegts`.
//! Shape: a packet's way is the demultiplexer -> `unit_pages.rs` (bytes into pages) -> `ingest.rs`
//! (events), which asks `tracks.rs` (what has which number), `time_line.rs` (when), and
//! `opening.rs` (what is told first); `metadata.rs` writes what RTMP's encoders say of themselves,
//! and `losses.rs` names what was dropped.
//! Limits: those of `codecs::mpegts::demux::Settings` for units that are open, and `tracks_max`.
//! Packets go as they are beside it, for players of the same format: `relaying.rs` puts them into
//! runs, `program.rs` says whose they are and lists what the program has, and `terms.rs` is what
//! the owner of the stream chooses of all that.
//! Not here: what carries the packets; who has them found already gives them to [`Ingest::push`]
//! one by one.

mod ingest;
mod losses;
mod metadata;
mod opening;
mod program;
mod relaying;
mod terms;
mod time_line;
mod tracks;
mod unit_pages;

pub use ingest::Ingest;
pub use program::{TransportProgram, TransportStream};
pub use relaying::RelayRun;
pub use terms::TransportTerms;
