//! A stream packed for its way to another shard.
//!
//! What lies in pages stays behind, because pages belong to the pool of their shard: the sealed
//! logs, for their readers, and the units of the ring. Of those the newest GOP is copied, so that a
//! format that nobody used yet can be filled at the new home as well. All the rest is plain data
//! and goes as it is: tracks, configurations, timeline, cuts and lists of segments, packet
//! counters, readers.
//!
//! Limits: [`GOP_BYTES_MAX`].

use super::ring::PackedUnit;
use super::{Hub, Publisher, Sink};
use crate::log::LogWriter;

/// Bytes of the GOP that goes along at most: beyond, a format that nobody used waits for the next
/// keyframe.
pub const GOP_BYTES_MAX: u64 = 2 << 20;

/// A stream between two shards. Lives on: a mailbox.
#[derive(Debug)]
pub struct Parcel {
    hub: Hub,
    units: Vec<PackedUnit>,
}

impl Hub {
    /// Seals the logs, each with the one that goes on there, and packs the rest. The writers of
    /// the sealed logs are for their readers to drain.
    #[must_use]
    pub fn pack(mut self, sink: &mut Sink<'_>) -> (Parcel, Vec<LogWriter>) {
        let units = self.ring.pack(GOP_BYTES_MAX, sink.pool);
        let mut sealed = Vec::with_capacity(self.logs.len());
        for at in 0..self.logs.len() {
            let log = &self.logs[at];
            let preamble = self.preamble(log.packager(), log.shown());
            sealed.push(self.logs[at].hand_on(preamble, sink));
        }
        (Parcel { hub: self, units }, sealed)
    }
}

impl Parcel {
    /// The stream, unpacked at its new home; `publisher` delivers from now on.
    #[must_use]
    pub fn unpack(self, publisher: Publisher, sink: &mut Sink<'_>) -> Hub {
        let Self { mut hub, units } = self;
        hub.arrive(publisher);
        hub.ring.unpack(units, sink.pool);
        for log in &hub.logs {
            log.settle(sink.pool);
        }
        hub.show_windows_anew(sink);
        hub
    }

    /// The stream.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }
}
