//! SRT from outside: two connections over a line that loses, on a clock that is only counted; and
//! what attackers and sloppy peers say. Foreign programs are in `srt_interop`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]

mod asking;
mod calls;
mod endpoint;
mod hostility;
mod joins;
mod keys;
mod line;
mod players;
mod simulation;
#[path = "../stream/mod.rs"]
mod stream;
mod world;
