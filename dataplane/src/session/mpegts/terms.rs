//! What the owner of a stream chooses of the transport stream that it is published with.

use codecs::mpegts::demux::Settings;

use super::Ingest;
use crate::config::Limits;

/// The choice. Lives on: control, then the home shard. Crosses by: with the leave to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportTerms {
    /// Players of transport streams get the packets as they came; otherwise ones that are made of
    /// the pictures and the sound, as all others do.
    pub passthrough: bool,
    /// The packets that fill the rate come with them.
    pub null_packets: bool,
    /// The number of the program; the first one that can be read without.
    pub program: Option<u16>,
    /// The PIDs of its streams; all of them if empty.
    pub pids: Vec<u16>,
}

impl Default for TransportTerms {
    fn default() -> Self {
        Self { passthrough: true, null_packets: false, program: None, pids: Vec::new() }
    }
}

impl TransportTerms {
    /// What reads such a stream.
    #[must_use]
    pub fn ingest(&self, limits: &Limits) -> Ingest {
        let (program, pids) = (self.program, self.pids.clone());
        let ingest = Ingest::new(Settings { program, pids, ..Settings::default() }, limits);
        if self.passthrough { ingest.relaying(self.null_packets) } else { ingest }
    }
}
