//! What the benches and the instruction counts have in common: pieces of the hot path to run.
//!
//! A [`Scenario`] is one of these pieces, without a socket, a clock or a second thread, so that
//! the time (`hot/`) and the instructions (`instructions/`) of the same work can be told.

pub mod scenario;

pub use scenario::{SCENARIOS, Scenario, SetUp, named};
