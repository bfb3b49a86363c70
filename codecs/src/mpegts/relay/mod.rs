//! Packets of a program that are sent on as they came: what readers get beside them.
//!
//! Spec: ITU-T H.222.0 2.4.3.4 and 2.4.3.5 (`discontinuity_indicator`, counters), 2.4.4 (tables).
//!
//! The program's streams, be they read or not, are not touched. Its tables are written anew where
//! the stream has its own: a program of several goes out alone, and what is sent after another
//! source has another version, or readers would not look at it. `program.rs` says what is sent,
//! `tables.rs` has the packets of the tables, `counters.rs` what a place in the stream goes on
//! from, `entrance.rs` what a reader gets who begins there, and `relay.rs` is the way itself.
//!
//! Not here: which packets are taken (the owner asks [`RelayProgram::carries`]).

mod counters;
mod entrance;
mod program;
#[expect(clippy::module_inception, reason = "the way itself, named as what it is")]
mod relay;
mod tables;

pub use counters::{RelayCounters, SPLICED_MAX};
pub use entrance::Entrance;
pub use program::{Carried, RelayProgram};
pub use relay::Relay;
pub use tables::RelayTables;
