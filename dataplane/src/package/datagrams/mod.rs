//! Datagrams: what a player gets of a log of packets whose connection numbers what it sends.
//!
//! The log has a table of groups, packets that are sent together (`log/groups.rs`), one for all of
//! its players. A player is a cursor into it, and a few spans that tell which group each number of
//! its connection is: what is sent again is found, and read, a second time.
//!
//! ```text
//!   groups    ... 70 71 72 73 74 75 76 ...... 90 91 92 ...
//!                  |  join           | jump    | join
//!   numbers        0  1  2  3  4  5  6=splice  7  8  9
//!   spans         [number 0, group 70] [number 6, group 90 behind a splice]
//! ```
//!
//! `cursor.rs` says what comes next, `paced.rs` does for a peer that says nothing, `spans.rs` which
//! group a number is, `clock.rs` what its time is for the connection, `index.rs` answers the
//! connection and gives the bytes.
//!
//! Units: offsets are bytes since the log began, times are microseconds of the connection.
//! Limits: as many spans as an array has; nothing here is allocated.
//! Not here: pace, acknowledgements and losses (`session/srt`), sockets (`shard`).

mod clock;
mod cursor;
mod index;
mod paced;
mod spans;

pub use cursor::{DatagramCursor, Due, PlayTerms};
pub use index::{Payload, PlayerIndex};
pub use paced::Paced;
