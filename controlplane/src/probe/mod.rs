//! `probe`: plays a stream as any player would and says what came, and how soon.
//!
//! Map: `wire` is the socket with or without TLS, `look` the conversation, `survey` what was seen,
//! `report` how it is told.

mod look;
mod report;
mod survey;
mod wire;

pub use look::probe;
