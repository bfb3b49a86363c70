//! Packaging: access units become entries of a packaged log, once per format and dialect.
//!
//! [`body`] writes the tag header that RTMP and FLV share, [`rtmp`] puts messages into chunks,
//! [`flv`] into tags; [`packager`] chooses. Nothing here depends on a connection, which is why one
//! packaging serves every player of the log.

mod body;
mod flv;
mod packager;
mod rtmp;

pub use packager::{Packager, Piece};
