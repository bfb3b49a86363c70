//! A recorded stream, published again and again on one timeline.
//!
//! Shape: the file is read once ([`Clip`]) and shared by all its publishers, each of which has a
//! place in it ([`ClipPlayer`]).
//!
//! Limits: [`FILE_BYTES_MAX`] and [`TAGS_MAX`] of a file.

mod file;
mod lap;
mod stamping;

pub use file::{Clip, FILE_BYTES_MAX, TAGS_MAX};
pub use lap::ClipPlayer;
