//! The packets of a stream that is sent on as it is, in groups of a datagram each.
//!
//! A group has [`GROUP_PACKETS_MAX`] packets; it is closed early before each join point, so that
//! who joins begins with a whole group, and where [`PacketIndex::flush`] says that nothing waits.
//! A join point is the packet in which a keyframe begins: `random_access_indicator` tells, and for
//! encoders that never set it the first NAL units of the picture. Without pictures every PES packet
//! of the first track of sound is one.

use super::carriage::Carriage;
use super::framer::RawPacket;
use super::packet::TransportPacket;
use super::packet_clock::PacketClock;
use super::pes_head::{PesHead, Stamps, wanted_len};
use super::programs::Program;
use crate::media::{Codec, TrackKind};
use crate::mpegts::packet::Pid;
use crate::time::MediaTime;
use crate::{h264, hevc, nal};

/// Packets of a group at most: what fits the payload of a datagram on any path.
pub const GROUP_PACKETS_MAX: u8 = 7;

/// Packets that are sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketGroup {
    /// Its number, from 0.
    pub number: u64,
    /// The number of its first packet, from 0.
    pub first: u64,
    /// How many there are.
    pub packets: u8,
    /// The time of the program's clock at its last packet, which rises from group to group unless
    /// the clock jumps; of a program without one, the newest decode time. `None` before any came.
    pub time: Option<MediaTime>,
    /// The same at its first packet.
    pub began: Option<MediaTime>,
    /// The newest clock reference before its first packet, unless that has one itself.
    pub clock: Option<i64>,
    /// The newest clock reference before its end, as it stands in the stream: 27 MHz, of 33 bits
    /// of 90 kHz.
    pub pcr: Option<i64>,
    /// A reader may begin with it.
    pub join: bool,
}

/// Groups packets.
#[derive(Clone, Debug, Default)]
pub struct PacketIndex {
    lead: Option<(Pid, Carriage)>,
    /// The number of the program that is followed, and where its clock is.
    program: Option<(u16, Pid)>,
    clock: PacketClock,
    pcr: Option<i64>,
    open: Option<PacketGroup>,
    groups: u64,
    packets: u64,
}

impl PacketIndex {
    /// The packets are those of this program from here on.
    pub fn follow(&mut self, program: &Program) {
        let of = |kind| {
            let mut streams = program.streams.iter();
            streams.find_map(|stream| {
                let carriage = stream.carriage.filter(|carriage| carriage.kind() == kind)?;
                Some((stream.pid, carriage))
            })
        };
        self.lead = of(TrackKind::Video).or_else(|| of(TrackKind::Audio));
        let program = Some((program.number, program.clock_pid));
        if self.program != program {
            self.program = program;
            (self.clock, self.pcr) = (PacketClock::default(), None);
        }
    }

    /// Takes the next packet; gives the group that is closed by it, which it may be a part of.
    pub fn take(&mut self, raw: &RawPacket) -> Option<PacketGroup> {
        let packet = TransportPacket::parse(raw);
        let before = self.pcr;
        let join = self.look(&packet);
        let has_clock = packet.adaptation.pcr.is_some() && self.is_clock(packet.pid);
        let clock = before.filter(|_| !has_clock);
        let closed = if join { self.flush() } else { None };
        let (number, first) = (self.groups, self.packets);
        let (time, pcr) = (self.clock.now(), self.pcr);
        let new = PacketGroup { number, first, packets: 0, time, began: time, clock, pcr, join };
        let group = self.open.get_or_insert(new);
        group.packets += 1;
        (group.time, group.pcr) = (time, pcr);
        self.packets += 1;
        let is_full = group.packets == GROUP_PACKETS_MAX;
        closed.or_else(|| if is_full { self.flush() } else { None })
    }

    /// Closes the group that is open.
    pub fn flush(&mut self) -> Option<PacketGroup> {
        let group = self.open.take()?;
        self.groups += 1;
        Some(group)
    }

    fn is_clock(&self, pid: Pid) -> bool {
        self.program.is_some_and(|(_, clock_pid)| clock_pid == pid)
    }

    /// Takes the times of a packet; true if a reader may begin with it.
    fn look(&mut self, packet: &TransportPacket<'_>) -> bool {
        self.clock.packet(self.packets);
        if packet.damaged {
            return false;
        }
        let clock_pid = self.program.map(|(_, pid)| pid);
        // Encryption leaves the adaptation field as it is.
        if let Some(pcr) = packet.adaptation.pcr.filter(|_| self.is_clock(packet.pid)) {
            self.clock.reference(pcr, self.packets);
            self.pcr = Some(pcr);
        }
        if packet.scrambled {
            return false;
        }
        let Some((_, carriage)) = self.lead.filter(|(pid, _)| *pid == packet.pid) else {
            return false;
        };
        if !packet.start {
            return false;
        }
        let Some((Stamps { pts, dts }, payload)) = pes_start(packet.payload) else { return false };
        if let Some(stamp) = dts.or(pts) {
            self.clock.stamp(stamp, clock_pid.is_some_and(|pid| pid != Pid::NULL));
        }
        match carriage {
            Carriage::AnnexB(codec) => {
                packet.adaptation.random_access || begins_keyframe(codec, payload)
            }
            _ => pts.is_some(),
        }
    }
}

/// Times and payload of a PES packet whose header lies in its first packet, as nearly all do.
fn pes_start(payload: &[u8]) -> Option<(Stamps, &[u8])> {
    let start = payload.get(..payload.len().min(9))?;
    let (head, behind) = payload.split_at_checked(wanted_len(start))?;
    Some((PesHead::parse(head).ok()?.stamps, behind))
}

/// A sequence parameter set, or a slice of a keyframe.
fn begins_keyframe(codec: Codec, payload: &[u8]) -> bool {
    nal::annex_b(payload).any(|unit| match codec {
        Codec::Hevc => hevc::NalType::of(unit)
            .is_some_and(|kind| kind.is_keyframe() || kind == hevc::NalType::SPS),
        _ => h264::NalType::of(unit)
            .is_some_and(|kind| kind.is_keyframe() || kind == h264::NalType::SPS),
    })
}
