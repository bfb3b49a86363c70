//! What is seen of the server and its machine while players play.
//!
//! Reading order: [`ProcTree`] (where the kernel tells it), [`ServerProcess`] (one reading of a
//! process), [`SocketMemory`], [`ServerCost`] (the difference of two readings), [`ServerApi`] (what
//! a Grandstand tells of itself), [`Watcher`] (looks once a second), [`ServerSample`] and
//! [`Series`] (what it saw), [`Machine`].

mod api;
mod cost;
mod exposition;
mod machine;
mod proc_tree;
mod process;
mod sample;
mod series;
mod socket_memory;
mod watcher;

pub use api::{ANSWER_MAX, ApiPlan, BODY_BYTES_MAX, ServerApi, ShardReading};
pub use cost::{RssBefore, Served, ServerCost, ThreadCost};
pub use exposition::{BUCKETS_MAX, Buckets, SHARDS_MAX, histograms};
pub use machine::Machine;
pub use proc_tree::ProcTree;
pub use process::{ContextSwitches, ProcessReading, ServerProcess, THREADS_MAX, ThreadReading};
pub use sample::{PlayerSample, ProcessSample, Sample, ServerSample, ShardSample, ThreadSample};
pub use series::{SAMPLES_MAX, Series};
pub use socket_memory::SocketMemory;
pub use watcher::{Eye, INTERVAL_NS, WatchPlan, Watched, Watcher};
