//! Playing: a crowd of players on one thread.

mod crowd;
mod peer;
mod tally;

pub use crowd::{Crowd, CrowdPlan, STALL_NS, SWEEP_NS};
pub use peer::Peer;
pub use tally::Tally;
