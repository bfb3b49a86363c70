//! What was published.

use serde::Serialize;

use crate::stats::{Histogram, Percentiles};

/// Counts over all streams.
#[derive(Clone, Debug, Default)]
pub struct PublishTotals {
    /// Streams that the server accepted.
    pub streams: usize,
    /// Video frames sent.
    pub frames: u64,
    /// Bytes of tag bodies sent.
    pub bytes: u64,
    /// Frames left out because the server did not take what was before them.
    pub dropped: u64,
    /// How long after its time a frame was given to the socket.
    pub lateness: Histogram,
}

/// What is told of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PublishSummary {
    /// Streams that the server accepted.
    pub streams: usize,
    /// Video frames sent.
    pub frames: u64,
    /// Bytes of tag bodies sent.
    pub bytes: u64,
    /// Frames left out because the server did not take what was before them.
    pub dropped: u64,
    /// How long after its time a frame was given to the socket.
    pub lateness: Option<Percentiles>,
}

impl PublishTotals {
    /// Adds what another thread has published.
    pub(super) fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        self.lateness.add(&other.lateness);
    }

    /// What is told of them.
    #[must_use]
    pub fn summary(&self) -> PublishSummary {
        let Self { streams, frames, bytes, dropped, ref lateness } = *self;
        PublishSummary { streams, frames, bytes, dropped, lateness: lateness.percentiles() }
    }
}
