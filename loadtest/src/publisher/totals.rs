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
    /// Packets that were sent again, of SRT.
    pub resent_packets: u64,
    /// Packets that nobody had acknowledged when their time was over, of SRT.
    pub late_packets: u64,
    /// Streams that ended before their time, after the server had accepted them.
    pub lost: usize,
    /// Why the first of them did.
    pub first_loss: Option<String>,
    /// How long after its time a frame was given to the socket.
    pub lateness: Histogram,
}

/// What is told of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublishSummary {
    /// Streams that the server accepted.
    pub streams: usize,
    /// Video frames sent.
    pub frames: u64,
    /// Bytes of tag bodies sent.
    pub bytes: u64,
    /// Frames left out because the server did not take what was before them.
    pub dropped: u64,
    /// Packets that were sent again, of SRT.
    pub resent_packets: u64,
    /// Packets that nobody had acknowledged when their time was over, of SRT.
    pub late_packets: u64,
    /// Streams that ended before their time, after the server had accepted them.
    pub lost: usize,
    /// Why the first of them did.
    pub first_loss: Option<String>,
    /// How long after its time a frame was given to the socket.
    pub lateness: Option<Percentiles>,
}

impl PublishSummary {
    /// What broke, in words, if a stream was lost.
    #[must_use]
    pub fn breach(&self) -> Option<String> {
        let reason = self.first_loss.as_deref()?;
        Some(format!("{} of {} publishers were lost; the first: {reason}", self.lost, self.streams))
    }
}

impl PublishTotals {
    /// Adds what another thread has published.
    pub(super) fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        self.resent_packets += other.resent_packets;
        self.late_packets += other.late_packets;
        self.lost += other.lost;
        self.first_loss = self.first_loss.take().or_else(|| other.first_loss.clone());
        self.lateness.add(&other.lateness);
    }

    /// What is told of them.
    #[must_use]
    pub fn summary(&self) -> PublishSummary {
        let Self { streams, frames, bytes, dropped, lost, ref lateness, .. } = *self;
        let Self { resent_packets, late_packets, .. } = *self;
        let (first_loss, lateness) = (self.first_loss.clone(), lateness.percentiles());
        PublishSummary {
            streams,
            frames,
            bytes,
            dropped,
            resent_packets,
            late_packets,
            lost,
            first_loss,
            lateness,
        }
    }
}
