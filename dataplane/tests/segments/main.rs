//! Segments and playlists of one stream, whatever its publisher does.
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

#[path = "../stream/mod.rs"]
mod stream;

mod demand;
mod properties;
mod renditions;
mod retention;
mod returns;
mod rules;
