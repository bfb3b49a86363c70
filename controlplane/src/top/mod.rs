//! `top`: shards and streams on a terminal, as they are now.
//!
//! Map: `client` asks the API, `figures` is what it answers, `screen` the lines of a frame,
//! `terminal` where they are drawn, `watch` the loop over time and keys.

mod client;
mod figures;
mod screen;
mod terminal;
mod watch;

pub use figures::Sort;
pub use watch::top;
