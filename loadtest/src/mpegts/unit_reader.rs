//! Pictures out of a transport stream, as a player needs them: whole, stamped, with their times.
//!
//! What stands behind the stamp of a picture is put back into the form in which it was published,
//! length-prefixed NAL units, so that its content can be compared.
//!
//! Limits: [`PREFIX_LEN`] bytes of a unit are held, the rest of it is only awaited; a reader of
//! contents holds [`UNIT_BYTES_MAX`], and knows no content of a longer one.

use super::framer::{Framed, Framer};
use super::packet::{PID_PAT, Packet, Raw};
use super::section::{SectionReader, crc32};
use super::tables::{Section, TABLE_PAT, TABLE_PMT};
use super::unit::UnitHead;
use crate::content::Content;
use crate::piece::Unit;
use crate::stamp::Stamp;

/// Bytes of a unit that are looked at: its PES header, and the NAL units before its slices.
const PREFIX_LEN: usize = 512;
/// Bytes of a unit whose content is looked at, at most.
const UNIT_BYTES_MAX: usize = 4 << 20;

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
    reads_contents: bool,
    /// The unit that is coming, with the time of its last byte so far.
    current: Option<(Vec<u8>, u64)>,
}

impl UnitReader {
    /// One that knows the contents of pictures as well.
    #[must_use]
    pub fn of_contents() -> Self {
        Self { reads_contents: true, ..Self::default() }
    }

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
        let most = if self.reads_contents { UNIT_BYTES_MAX } else { PREFIX_LEN };
        let room = most - prefix.len();
        prefix.extend_from_slice(&packet.payload[..room.min(packet.payload.len())]);
        *last_ns = now_ns;
        let (prefix, arrived_ns) = ended?;
        let mut unit = unit(&prefix, arrived_ns)?;
        if self.reads_contents && prefix.len() < UNIT_BYTES_MAX {
            unit.content = content(&prefix);
        }
        Some(unit)
    }
}

/// What stands behind the stamp, as it was published; `None` without a stamp.
fn content(unit: &[u8]) -> Option<Content> {
    let mut units = nal_units(unit);
    units.find(|unit| Stamp::parse(unit).is_some())?;
    let mut content = Content::default();
    for unit in units {
        content.add(&u32::try_from(unit.len()).ok()?.to_be_bytes());
        content.add(unit);
    }
    Some(content)
}

/// The NAL units of a byte stream, without start codes and the zeros around them.
///
/// Spec: ITU-T H.264 B.1.
fn nal_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let start = |bytes: &[u8]| bytes.windows(3).position(|three| three == [0, 0, 1]);
    let mut rest = start(bytes).map(|at| &bytes[at + 3..]);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = start(bytes);
        rest = end.map(|at| &bytes[at + 3..]);
        let unit = &bytes[..end.unwrap_or(bytes.len())];
        let zeros = unit.iter().rev().take_while(|&&byte| byte == 0).count();
        Some(&unit[..unit.len() - zeros])
    })
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
        content: None,
        is_key: false,
        has_config: false,
        arrived_ns,
    };
    let prefix = prefix.get(head_len..prefix.len().min(PREFIX_LEN))?;
    for nal in nal_units(prefix) {
        match nal.first().map(|header| header & 0x1f) {
            Some(NAL_IDR) => unit.is_key = true,
            Some(NAL_SPS) => unit.has_config = true,
            Some(NAL_SEI) => unit.stamp = unit.stamp.or_else(|| Stamp::parse(nal)),
            _ => {}
        }
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nal_units_are_told_apart_by_start_codes() {
        let bytes = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 3, 1, 0, 0, 1, 0x65, 7, 0, 0, 0, 0, 1, 0x41];
        let units: Vec<_> = nal_units(&bytes).collect();
        assert_eq!(units, [&[0x67, 1, 0, 0, 3, 1][..], &[0x65, 7], &[0x41]]);
        assert_eq!(nal_units(&[0, 0, 2, 0, 0]).count(), 0);
    }

    #[test]
    fn content_is_what_was_published_behind_the_stamp() {
        let published = [&[0, 0, 0, 3, 0x65, 8, 1][..], &[0, 0, 0, 2, 0x65, 0x80]].concat();
        let wanted = Content::of(&published);
        let stamp = Stamp { sent_ns: 1, sequence: 2, content: wanted };
        let start = [0, 0, 0, 1];
        let sets: &[u8] = &[0x67, 1];
        let pieces = [&[9, 0xf0], sets, &stamp.encode(), &[0x65, 8, 1], &[0x65, 0x80]];
        let written = |pieces: &[&[u8]]| {
            pieces.iter().flat_map(|piece| [&start[..], piece].concat()).collect::<Vec<_>>()
        };
        assert_eq!(content(&written(&pieces)), Some(wanted));
        assert_ne!(content(&written(&pieces[..4])), Some(wanted), "cut off");
        assert_eq!(content(&written(&pieces[..2])), None, "no stamp");
    }
}
