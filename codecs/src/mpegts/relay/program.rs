//! Which packets of a stream are sent on.

use alloc::vec::Vec;

use crate::Error;
use crate::media::TrackKind;
use crate::mpegts::demux::RawPacket;
use crate::mpegts::demux::packet::TransportPacket;
use crate::mpegts::demux::programs::{Program, ProgramStream};
use crate::mpegts::packet::{Adaptation, BODY_LEN, HEADER_LEN, Pid, bare_packet};
use crate::reader::Reader;

/// Bytes of a section in front of what its table has of its own.
const SECTION_HEAD_LEN: usize = 8;
/// Bytes of its checksum.
const CRC_LEN: usize = 4;
/// Bytes that the length of a section does not count.
const UNCOUNTED_LEN: usize = 3;

/// A program that is sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayProgram {
    /// `transport_stream_id`.
    pub transport_stream: u16,
    /// `program_number`.
    pub number: u16,
    /// Where its map is.
    pub map_pid: Pid,
    /// Where its clock is; [`Pid::NULL`] for none.
    pub clock_pid: Pid,
    /// Its streams, in the order of its map.
    pub pids: Vec<Pid>,
    /// Those of them by which its source is heard: the ones of pictures and sound, or all of them
    /// if there are none. Of a source that has lost its own, tables, cues and filling go on.
    pub media_pids: Vec<Pid>,
    /// Readers begin at pictures.
    pub has_video: bool,
    /// It is all that the stream has: what no table names is sent on as well.
    pub is_alone: bool,
    /// The section of its map without the checksum, its version 0.
    pub(super) map: Vec<u8>,
    /// The version that it had.
    pub(super) version: u8,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It is sent on.
    Whole,
    /// Its clock is, without what else is in it.
    Clock,
    /// Nothing of it.
    Not,
}

impl RelayProgram {
    /// Those streams of a program that are `chosen`, or all of them if none is; `None` before its
    /// map came, and if that cannot be read. A map that lists nothing of what was chosen has no
    /// streams.
    #[must_use]
    pub fn of(
        program: &Program,
        chosen: &[u16],
        transport_stream: u16,
        is_alone: bool,
    ) -> Option<Self> {
        let is_chosen = |pid: Pid| chosen.is_empty() || chosen.contains(&pid.get());
        let (map, version) = map_of(&program.map_section, is_chosen).ok()?;
        let streams = || program.streams.iter().filter(|stream| is_chosen(stream.pid));
        let kind = |stream: &ProgramStream| Some(stream.carriage?.kind());
        let is_media = |stream: &&ProgramStream| kind(stream).is_some_and(|k| k != TrackKind::Data);
        let all_are_media = !streams().any(|stream| is_media(&stream));
        let media = streams().filter(|stream| all_are_media || is_media(stream));
        Some(Self {
            transport_stream,
            number: program.number,
            map_pid: program.map_pid,
            clock_pid: program.clock_pid,
            pids: streams().map(|stream| stream.pid).collect(),
            media_pids: media.map(|stream| stream.pid).collect(),
            has_video: streams().any(|stream| kind(stream) == Some(TrackKind::Video)),
            is_alone: is_alone && chosen.is_empty(),
            map,
            version,
        })
    }

    /// Bytes beside its record.
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        let pids = self.pids.capacity() + self.media_pids.capacity();
        pids * size_of::<Pid>() + self.map.capacity()
    }

    /// What becomes of a packet that is not damaged. Of a clock that is on a PID of which nothing
    /// else is sent, the clock is.
    #[must_use]
    pub fn carries(&self, packet: &TransportPacket<'_>) -> Carried {
        let pid = packet.pid;
        if pid == Pid::PAT || pid == self.map_pid || self.pids.contains(&pid) {
            Carried::Whole
        } else if pid == Pid::NULL {
            Carried::Not
        } else if self.is_alone {
            Carried::Whole
        } else if pid == self.clock_pid && packet.adaptation.pcr.is_some() {
            Carried::Clock
        } else {
            Carried::Not
        }
    }

    /// True for a packet by which the program's source is heard.
    #[must_use]
    pub fn is_media(&self, packet: &TransportPacket<'_>) -> bool {
        packet.has_payload && self.media_pids.contains(&packet.pid)
    }

    /// The clock of a packet, alone.
    #[must_use]
    pub fn clock_of(packet: &TransportPacket<'_>) -> RawPacket {
        let adaptation = Adaptation { random_access: false, ..packet.adaptation };
        // Packets without payload repeat their counter, and there are no others.
        bare_packet(packet.pid, 0, &adaptation)
    }
}

/// The section of a map with the streams that are chosen, without version and checksum; and its
/// version.
fn map_of(section: &[u8], is_chosen: impl Fn(Pid) -> bool) -> Result<(Vec<u8>, u8), Error> {
    let what = "mpegts.pmt";
    let mut reader = Reader::new(section);
    let head = reader.array::<SECTION_HEAD_LEN>(what)?;
    let [table, len_high, _, number_high, number_low, version, _, _] = head;
    let body_len = reader.remaining().checked_sub(CRC_LEN).ok_or(Error::Truncated { what })?;
    let mut body = Reader::new(reader.bytes(body_len, what)?);
    let mut map = Vec::with_capacity(section.len());
    map.extend_from_slice(&[table, len_high, 0, number_high, number_low, version & !0x3e, 0, 0]);
    map.extend_from_slice(&body.array::<2>(what)?);
    let info_len = body.array::<2>(what)?;
    map.extend_from_slice(&info_len);
    map.extend_from_slice(body.bytes(usize::from(u16::from_be_bytes(info_len) & 0x0fff), what)?);
    while !body.is_empty() {
        let listed = body.array::<5>(what)?;
        let [_, pid_high, pid_low, len_high, len_low] = listed;
        let len = u16::from_be_bytes([len_high, len_low]) & 0x0fff;
        let descriptors = body.bytes(usize::from(len), what)?;
        if is_chosen(Pid::new(u16::from_be_bytes([pid_high, pid_low]))) {
            map.extend_from_slice(&listed);
            map.extend_from_slice(descriptors);
        }
    }
    let counted = map.len() + CRC_LEN - UNCOUNTED_LEN;
    let len = u16::try_from(counted).unwrap_or(u16::MAX) & 0x0fff;
    let [high, low] = (u16::from_be_bytes([len_high & 0xf0, 0]) | len).to_be_bytes();
    if let Some(place) = map.get_mut(1..3) {
        place.copy_from_slice(&[high, low]);
    }
    Ok((map, version >> 1 & 0x1f))
}

const _: () = assert!(HEADER_LEN + BODY_LEN == size_of::<RawPacket>());
