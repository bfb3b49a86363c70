//! The tables of a program that is sent on, in packets.

use alloc::vec::Vec;

use super::counters::SPLICED_MAX;
use super::program::RelayProgram;
use crate::mpegts::demux::RawPacket;
use crate::mpegts::packet::{BODY_LEN, PACKET_LEN, Pid};
use crate::mpegts::psi::crc32;
use crate::writer::Writer;

/// Bytes of the association of one program.
const ASSOCIATION_LEN: usize = 12;

/// Packets of both tables, and what else readers must be told of who begin between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayTables {
    /// The association, in one packet.
    association: RawPacket,
    /// The map, in as many as it takes.
    map: Vec<RawPacket>,
    map_pid: Pid,
    clock_pid: Pid,
    /// The streams whose counters are remembered, that of the clock first.
    spliced: Vec<Pid>,
}

impl RelayTables {
    /// The tables of `program` in these versions.
    #[must_use]
    pub fn new(program: &RelayProgram, association: u8, map: u8) -> Self {
        let mut spliced: Vec<Pid> = program.pids.clone();
        let clock = program.clock_pid;
        spliced.retain(|&pid| pid != clock);
        if clock != Pid::NULL {
            spliced.insert(0, clock);
        }
        spliced.truncate(SPLICED_MAX);
        let section = association_of(program, association);
        let mut association = packets(Pid::PAT, &section);
        let mut section = program.map.clone();
        if let Some(flags) = section.get_mut(5) {
            *flags = *flags & !0x3e | (map & 0x1f) << 1;
        }
        Self {
            association: association.swap_remove(0),
            map: packets(program.map_pid, &section),
            map_pid: program.map_pid,
            clock_pid: clock,
            spliced,
        }
    }

    /// Where the map is.
    #[must_use]
    pub const fn map_pid(&self) -> Pid {
        self.map_pid
    }

    /// Where the clock is; [`Pid::NULL`] for none.
    #[must_use]
    pub const fn clock_pid(&self) -> Pid {
        self.clock_pid
    }

    /// The streams whose counters are remembered.
    pub(super) fn spliced(&self) -> &[Pid] {
        &self.spliced
    }

    /// How many packets the map takes.
    pub(super) const fn map_packets(&self) -> usize {
        self.map.len()
    }

    /// The packet of the association.
    pub(super) fn association(&self, counter: u8) -> RawPacket {
        counted(&self.association, counter)
    }

    /// The packets of the map, the first of them with this counter.
    pub(super) fn map(&self, counter: u8) -> impl Iterator<Item = RawPacket> {
        (counter..=u8::MAX).zip(&self.map).map(|(counter, packet)| counted(packet, counter))
    }

    /// Bytes beside its record.
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        self.map.capacity() * PACKET_LEN + self.spliced.capacity() * size_of::<Pid>()
    }
}

/// The section of the association, without its checksum.
fn association_of(program: &RelayProgram, version: u8) -> [u8; ASSOCIATION_LEN] {
    let mut section = [0; ASSOCIATION_LEN];
    let mut out = Writer::new(&mut section);
    out.u8(0);
    out.u16(0xb00d);
    out.u16(program.transport_stream);
    // Two reserved bits, the version, and "this is in force now".
    out.u8(0xc1 | (version & 0x1f) << 1);
    out.u16(0);
    out.u16(program.number);
    out.u16(0xe000 | program.map_pid.get());
    section
}

/// Packets of a section, whose checksum is added.
fn packets(pid: Pid, section: &[u8]) -> Vec<RawPacket> {
    let checksum = crc32(section).to_be_bytes();
    // The pointer says that the section begins at once.
    let payload: Vec<u8> = [&[0], section, &checksum].concat();
    let pieces = payload.chunks(BODY_LEN).enumerate();
    let packet = |(nth, piece): (usize, &[u8])| {
        let mut packet = [0xff; PACKET_LEN];
        let mut out = Writer::new(&mut packet);
        out.u8(0x47);
        out.u16(u16::from(nth == 0) << 14 | pid.get());
        out.u8(0x10);
        out.put(piece);
        packet
    };
    pieces.map(packet).collect()
}

/// A packet with payload, and this counter.
const fn counted(packet: &RawPacket, counter: u8) -> RawPacket {
    let mut packet = *packet;
    packet[3] = packet[3] & 0xf0 | counter & 0x0f;
    packet
}
