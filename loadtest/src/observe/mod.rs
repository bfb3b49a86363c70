//! What is seen of the server and its machine while players play.
//!
//! Reading order: [`ProcTree`] (where the kernel tells it), [`ServerProcess`] (one reading of a
//! process), [`SocketMemory`], [`ServerCost`] (the difference of two readings), [`Machine`].

mod cost;
mod machine;
mod proc_tree;
mod process;
mod socket_memory;

pub use cost::{RssBefore, Served, ServerCost, ThreadCost};
pub use machine::Machine;
pub use proc_tree::ProcTree;
pub use process::{ContextSwitches, ProcessReading, ServerProcess, THREADS_MAX, ThreadReading};
pub use socket_memory::SocketMemory;
