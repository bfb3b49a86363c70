//! Playing: a crowd of players on one thread.

mod crowd;
mod loss;
mod peer;
mod scene;
mod segment_player;
mod stream_player;
mod tally;

pub use crowd::{Crowd, CrowdPlan, SWEEP_NS};
pub use peer::Peer;
pub use stream_player::STALL_NS;
pub use tally::Tally;
