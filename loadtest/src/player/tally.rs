//! What a crowd counts.

use crate::stats::Histogram;
use crate::verify::Findings;

/// Counts over all players.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Bytes received.
    pub received: u64,
    /// Players whom the server refused, or whose stream it ended in words.
    pub refused: u64,
    /// Players whose connection failed or broke the protocol.
    pub failed: u64,
    /// Players whose connection the server closed.
    pub closed: u64,
    /// Times that a playing player got nothing for two seconds.
    pub stalls: u64,
    /// From connecting to the first whole video frame.
    pub join: Histogram,
    /// From the server's agreement to the first byte of video.
    pub first_video: Histogram,
    /// What all players found of their first frame.
    pub starts: Findings,
    /// What sampled players found of everything.
    pub sampled: Findings,
    /// Why the first player was lost.
    pub first_loss: Option<String>,
}
