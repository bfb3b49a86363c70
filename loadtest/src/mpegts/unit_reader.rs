//! Pictures out of a transport stream, as a player needs them: whole, stamped, with their times.
//!
//! Limits: [`PREFIX_LEN`] bytes of a unit are held; the rest of it is only awaited.

use super::framer::{Framed, Framer};
use super::packet::{PID_PAT, Packet, Raw};
use super::section::{SectionReader, crc32};
use super::tables::{Section, TABLE_PAT, TABLE_PMT};
use super::unit::UnitHead;
use crate::piece::Unit;
use crate::stamp::Stamp;

/// Bytes of a unit that are looked at: its PES header, and the NAL units before its slices.
const PREFIX_LEN: usize = 512;

const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;
const NAL_SPS: u8 = 7;

/// The H.264 pictures of the first program.
#[derive(Debug, Default)]
pub struct UnitReader {
    framer: Framer,
    pat: SectionReader,
    pmt: SectionReader,
    pmt_pid: Option<u16>,
    video_pid: Option<u16>,
    /// The unit that is coming, with the time of its last byte so far.
    current: Option<(Vec<u8>, u64)>,
}

impl UnitReader {
    /// Takes bytes that came at `now_ns` until a picture is known to be whole: when the next one
    /// begins. Without a picture all were taken.
    pub fn next(&mut self, input: &mut &[u8], now_ns: u64) -> Option<Unit> {
        loop {
            match self.framer.next() {
                Some(Framed::Packet { raw, .. }) => {
                    if let Some(unit) = self.packet(&raw, now_ns) {
                        return Some(unit);
                    }
                }
                Some(Framed::Lost { .. }) => {}
                None if input.is_empty() => return None,
                None => self.framer.take(input),
            }
        }
    }

    fn packet(&mut self, raw: &Raw, now_ns: u64) -> Option<Unit> {
        let packet = Packet::parse(raw);
        let pid = Some(packet.pid);
        if packet.transport_error || packet.payload.is_empty() {
            return None;
        }
        if packet.pid == PID_PAT {
            let sections = self.pat.feed(packet.payload, packet.unit_start).unwrap_or_default();
            self.pmt_pid =
                sections.iter().find_map(|section| first_program(section)).or(self.pmt_pid);
        } else if pid == self.pmt_pid {
            let sections = self.pmt.feed(packet.payload, packet.unit_start).unwrap_or_default();
            self.video_pid = sections.iter().find_map(|section| video(section)).or(self.video_pid);
        } else if pid == self.video_pid {
            return self.video(&packet, now_ns);
        }
        None
    }

    fn video(&mut self, packet: &Packet<'_>, now_ns: u64) -> Option<Unit> {
        let mut ended = None;
        if packet.unit_start {
            ended = self.current.replace((Vec::with_capacity(PREFIX_LEN), now_ns));
        }
        let (prefix, last_ns) = self.current.as_mut()?;
        let room = PREFIX_LEN - prefix.len();
        prefix.extend_from_slice(&packet.payload[..room.min(packet.payload.len())]);
        *last_ns = now_ns;
        let (prefix, arrived_ns) = ended?;
        unit(&prefix, arrived_ns)
    }
}

fn first_program(section: &[u8]) -> Option<u16> {
    let sound = section.first() == Some(&TABLE_PAT) && crc32(section) == 0;
    let section = Section::parse(section).ok().filter(|section| sound && section.current)?;
    section.programs().ok()?.first().map(|(_, pid)| *pid)
}

fn video(section: &[u8]) -> Option<u16> {
    let sound = section.first() == Some(&TABLE_PMT) && crc32(section) == 0;
    let section = Section::parse(section).ok().filter(|section| sound && section.current)?;
    let layout = section.layout().ok()?;
    layout.streams.iter().find(|stream| stream.kind == 0x1b).map(|stream| stream.pid)
}

fn unit(prefix: &[u8], arrived_ns: u64) -> Option<Unit> {
    let stamps = UnitHead::default().feed(prefix, true)?.ok()?;
    let head_len = 9 + usize::from(*prefix.get(8)?);
    let mut unit = Unit {
        time: stamps.dts? as u32,
        stamp: None,
        is_key: false,
        has_config: false,
        arrived_ns,
    };
    let mut rest = prefix.get(head_len..)?;
    while let Some(at) = rest.windows(3).position(|three| three == [0, 0, 1]) {
        rest = &rest[at + 3..];
        match rest.first().map(|header| header & 0x1f) {
            Some(NAL_IDR) => unit.is_key = true,
            Some(NAL_SPS) => unit.has_config = true,
            Some(NAL_SEI) => unit.stamp = unit.stamp.or_else(|| Stamp::parse(rest)),
            _ => {}
        }
    }
    Some(unit)
}
