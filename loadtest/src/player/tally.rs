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
    /// Times that a playing player got nothing for two seconds, or ran out of segments.
    pub stalls: u64,
    /// From connecting to the first whole video frame.
    pub join: Histogram,
    /// From the server's agreement to the first byte of video.
    pub first_video: Histogram,
    /// From asking for a playlist to its last byte.
    pub playlist: Histogram,
    /// From asking for a segment to its last byte.
    pub segment: Histogram,
    /// Segments that were gone before they could be asked for or sent.
    pub missed_segments: u64,
    /// Faults of the transport streams of sampled players.
    pub transport_faults: u64,
    /// The first of them.
    pub first_transport_fault: Option<String>,
    /// What all players found of their first frame.
    pub starts: Findings,
    /// What sampled players found of everything.
    pub sampled: Findings,
    /// Why the first player was lost.
    pub first_loss: Option<String>,
}
