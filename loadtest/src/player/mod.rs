//! Playing: a crowd of players on the threads of a crew.

mod cast;
mod census;
mod crowd;
mod datagram_player;
mod loss;
mod peer;
mod routes;
mod scene;
mod segment_player;
mod stream_player;
mod sweep;
mod tally;
mod worker;

pub use cast::{Pace, Part, SLOW_BUFFER, Sampling};
pub use census::Census;
pub use crowd::{Attendance, Crowd, CrowdPlan};
pub use peer::Peer;
pub use stream_player::STALL_NS;
pub use sweep::{DATAGRAM_SWEEP_NS, SWEEP_NS};
pub use tally::{REASONS_MAX, Tally};
