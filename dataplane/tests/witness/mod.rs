//! The well-behaved publisher and players that stand beside every misdeed.

#[expect(clippy::module_inception, reason = "the folder is the room, the file its main thing")]
mod witness;

pub(crate) use witness::*;
