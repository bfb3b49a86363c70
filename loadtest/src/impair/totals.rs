//! What a relay did.

use serde::Serialize;

use crate::stats::Percentiles;

/// Counts of one direction, over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectionTotals {
    /// Datagrams, or pieces of a byte stream, that came.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets given on, copies included.
    pub forwarded: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets that came twice.
    pub duplicated: u64,
    /// Packets that were due before one that came earlier.
    pub reordered: u64,
    /// Packets that the queue, or the relay, had no room for.
    pub overflowed: u64,
    /// Packets that the kernel did not take.
    pub unsent: u64,
}

impl DirectionTotals {
    /// Adds the counts of another path.
    pub(super) const fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.forwarded += other.forwarded;
        self.forwarded_bytes += other.forwarded_bytes;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.overflowed += other.overflowed;
        self.unsent += other.unsent;
    }
}

/// What is told of a relay at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ImpairSummary {
    /// Clients that came.
    pub clients: u64,
    /// Clients that came when there were too many.
    pub refused: u64,
    /// Clients that came and could not be joined to the server, and times that the kernel would not
    /// let one in.
    pub failed: u64,
    /// Connections that were cut.
    pub cut: u64,
    /// From the client to the server.
    pub up: DirectionTotals,
    /// From the server to the client.
    pub down: DirectionTotals,
    /// How long after its time a packet was given on.
    pub lateness: Option<Percentiles>,
}
