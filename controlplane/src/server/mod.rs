//! The server: start-up in order, then one loop until a signal.

mod control;
mod cores;
mod heap;
mod reload;
mod run;
mod start;

pub use reload::{ConfigAsk, InForce, Reloaded};
pub use start::{configure, serve};
