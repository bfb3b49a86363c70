//! Tests of the bridge as a whole, before shards that a test plays.

mod dials;
mod looks;
mod news;
mod orders;
mod pulls;
mod recordings;
pub(super) mod rig;
mod sessions;
mod verdicts;
