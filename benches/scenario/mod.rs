//! The scenarios, by name.

mod chunks;
mod handshake;
mod heads;
mod hub;
mod log;
mod mailbox;
mod memory;
mod mux;
mod package;
mod playlist;
#[expect(clippy::module_inception, reason = "the file of the trait that gives the folder its name")]
mod scenario;
mod segments;
mod sessions;
mod stream;
mod timers;

pub use scenario::{SCENARIOS, Scenario, SetUp, named};
