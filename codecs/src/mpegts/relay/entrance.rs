//! What a reader gets before a place in a stream that is sent on.

use super::counters::{RelayCounters, SPLICED_MAX};
use super::tables::RelayTables;
use crate::mpegts::demux::RawPacket;
use crate::mpegts::demux::programs::MAP_BYTES_MAX;
use crate::mpegts::packet::{Adaptation, BODY_LEN, PACKET_LEN, Pid, bare_packet};
use crate::writer::Writer;

/// The tables with the counters that come before those of the stream, and the clock. After a gap,
/// first and last a packet without payload for each PID, which says so.
#[derive(Clone, Copy, Debug)]
pub struct Entrance<'a> {
    /// The tables in force there.
    pub tables: &'a RelayTables,
    /// The counters there.
    pub counters: RelayCounters,
    /// The newest clock reference there, if the place has none itself.
    pub clock: Option<i64>,
    /// The reader read something else before.
    pub after_gap: bool,
}

impl Entrance<'_> {
    /// Packets at most.
    pub const PACKETS_MAX: usize = 3 + (MAP_BYTES_MAX + 1).div_ceil(BODY_LEN) + SPLICED_MAX;

    /// How many packets there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.packets().count()
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.count() * PACKET_LEN
    }

    /// Writes `count` packets from the one with number `first` on.
    pub fn encode(&self, first: usize, count: usize, writer: &mut Writer<'_>) {
        self.packets().skip(first).take(count).for_each(|packet| writer.put(&packet));
    }

    fn packets(&self) -> impl Iterator<Item = RawPacket> {
        let Self { tables, counters, after_gap, .. } = *self;
        let (association, map) = counters.tables();
        let own = u8::try_from(tables.map_packets()).unwrap_or_default();
        let (association, map) = (association.wrapping_sub(1), map.wrapping_sub(own) & 0x0f);
        let gap = Adaptation { discontinuity: true, ..Adaptation::default() };
        let of_tables = [(Pid::PAT, association), (tables.map_pid(), map)];
        let gaps = of_tables
            .into_iter()
            .filter(move |_| after_gap)
            .map(move |(pid, next)| bare_packet(pid, next.wrapping_sub(1), &gap));
        let told = core::iter::once(tables.association(association)).chain(tables.map(map));
        let streams = (0..).zip(tables.spliced());
        gaps.chain(told).chain(streams.filter_map(|(nth, &pid)| self.of_stream(nth, pid)))
    }

    fn of_stream(&self, nth: usize, pid: Pid) -> Option<RawPacket> {
        let next = self.counters.stream(nth)?;
        let pcr = self.clock.filter(|_| pid == self.tables.clock_pid());
        let adaptation = Adaptation { discontinuity: self.after_gap, pcr, ..Adaptation::default() };
        (!adaptation.is_empty()).then(|| bare_packet(pid, next.wrapping_sub(1), &adaptation))
    }
}
