//! Transport streams made by hand, and what a demultiplexer says of them.

#![allow(dead_code, reason = "each test program takes what it needs")]

use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::{Counters, Demuxer, Event, MediaUnit, MemoryStore, Settings};
use codecs::mpegts::pes::PesHeader;
use codecs::mpegts::psi::crc32;
use codecs::writer::Writer;

pub(crate) const MAP_PID: u16 = 0x20;
pub(crate) const VIDEO: u16 = 0x100;
pub(crate) const AUDIO: u16 = 0x101;

/// Baseline, 320x180.
pub(crate) const SPS: &[u8] = &[0x67, 66, 0xc0, 30, 0xf4, 5, 1, 0xec, 0x80];
pub(crate) const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

pub(crate) type Events = Vec<Event<Vec<u8>>>;

/// A stream that grows, with a counter for each PID.
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    counters: Vec<u8>,
}

/// What the adaptation field of a packet says.
#[derive(Clone, Copy, Default)]
pub(crate) struct Field {
    pub(crate) flags: u8,
    pub(crate) pcr: Option<i64>,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), counters: vec![0; 1 << 13] }
    }

    /// A stream whose tables list these types, from [`VIDEO`] on.
    pub(crate) fn of(types: &[u8]) -> Self {
        let mut stream = Self::new();
        stream.tables(0, &listed(types));
        stream
    }

    /// Both tables; each stream has a type, a PID and descriptors.
    pub(crate) fn tables(&mut self, version: u8, streams: &[(u8, u16, &[u8])]) {
        self.section(0, &pat(version, &[(1, MAP_PID)]));
        self.section(MAP_PID, &pmt(1, version, VIDEO, streams));
    }

    pub(crate) fn section(&mut self, pid: u16, section: &[u8]) {
        let mut start = true;
        for piece in [&[0][..], section].concat().chunks(184) {
            let mut payload = piece.to_vec();
            payload.resize(184, 0xff);
            self.packet(pid, start, Field::default(), &payload);
            start = false;
        }
    }

    /// Packets of a PES packet whose header is written before.
    pub(crate) fn pes_bytes(&mut self, pid: u16, mut field: Field, bytes: &[u8]) {
        let mut start = true;
        let mut left = bytes;
        while !left.is_empty() {
            let room = 184 - field_len(field);
            let (now, later) = left.split_at(room.min(left.len()));
            self.packet(pid, start, field, now);
            (left, start, field) = (later, false, Field::default());
        }
    }

    /// A PES packet that tells its length.
    pub(crate) fn pes(&mut self, pid: u16, pts: i64, payload: &[u8]) {
        self.pes_bytes(pid, Field::default(), &pes(pts, None, payload));
    }

    /// One packet; what the payload leaves is stuffed.
    pub(crate) fn packet(&mut self, pid: u16, start: bool, field: Field, payload: &[u8]) {
        let counter = &mut self.counters[usize::from(pid)];
        let flags = u8::from(!payload.is_empty()) << 4;
        let own = if flags == 0 { counter.wrapping_sub(1) & 15 } else { *counter };
        *counter = (*counter + u8::from(flags != 0)) % 16;
        let [high, low] = (pid | u16::from(start) << 14).to_be_bytes();
        let stuffing = 184 - payload.len();
        let mut packet = vec![0x47, high, low, flags | own];
        if stuffing > 0 {
            packet[3] |= 0x20;
            let mut adaptation = vec![u8::try_from(stuffing - 1).unwrap()];
            if stuffing > 1 {
                adaptation.push(field.flags | u8::from(field.pcr.is_some()) << 4);
                if let Some(pcr) = field.pcr {
                    let bits = (pcr / 300) << 15 | 0x7e00 | (pcr % 300);
                    adaptation.extend(&bits.to_be_bytes()[2..]);
                }
            }
            adaptation.resize(stuffing, 0xff);
            packet.extend(adaptation);
        }
        packet.extend(payload);
        assert_eq!(packet.len(), PACKET_LEN);
        self.bytes.extend(packet);
    }

    /// A packet with a clock and nothing else.
    pub(crate) fn clock(&mut self, pid: u16, pcr: i64, flags: u8) {
        self.packet(pid, false, Field { flags, pcr: Some(pcr) }, &[]);
    }

    /// The last packet.
    pub(crate) fn last(&mut self) -> &mut [u8] {
        let at = self.bytes.len() - PACKET_LEN;
        &mut self.bytes[at..]
    }

    /// Takes the last packet away.
    pub(crate) fn lose_last(&mut self) {
        self.bytes.truncate(self.bytes.len() - PACKET_LEN);
    }
}

fn field_len(field: Field) -> usize {
    match field {
        Field { pcr: Some(_), .. } => 8,
        Field { flags: 0, .. } => 0,
        Field { .. } => 2,
    }
}

pub(crate) fn listed(types: &[u8]) -> Vec<(u8, u16, &'static [u8])> {
    types.iter().zip(VIDEO..).map(|(&kind, pid)| (kind, pid, &[][..])).collect()
}

pub(crate) fn sealed(mut section: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(section.len() - 3 + 4).unwrap();
    section[1..3].copy_from_slice(&(0xb000 | len).to_be_bytes());
    section.extend(crc32(&section).to_be_bytes());
    section
}

pub(crate) fn pat(version: u8, programs: &[(u16, u16)]) -> Vec<u8> {
    let mut section = vec![0, 0, 0, 0, 1, 0xc1 | version << 1, 0, 0];
    for (number, pid) in programs {
        section.extend(number.to_be_bytes());
        section.extend((0xe000 | pid).to_be_bytes());
    }
    sealed(section)
}

pub(crate) fn pmt(number: u8, version: u8, clock: u16, streams: &[(u8, u16, &[u8])]) -> Vec<u8> {
    let mut section = vec![2, 0, 0, 0, number, 0xc1 | version << 1, 0, 0];
    section.extend((0xe000 | clock).to_be_bytes());
    section.extend([0xf0, 0]);
    for (kind, pid, descriptors) in streams {
        section.push(*kind);
        section.extend((0xe000 | pid).to_be_bytes());
        section.extend([0xf0, u8::try_from(descriptors.len()).unwrap()]);
        section.extend(*descriptors);
    }
    sealed(section)
}

/// A PES packet that tells its length.
pub(crate) fn pes(pts: i64, dts: Option<i64>, payload: &[u8]) -> Vec<u8> {
    let header = PesHeader { stream_id: 0xe0, pts, dts, payload_len: payload.len() };
    let mut bytes = vec![0; header.encoded_len()];
    header.encode(&mut Writer::new(&mut bytes));
    bytes.extend(payload);
    bytes
}

/// The same without its length.
pub(crate) fn endless(pts: i64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = pes(pts, None, payload);
    bytes[4..6].fill(0);
    bytes
}

/// The same without a time.
pub(crate) fn timeless(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + 3).unwrap().to_be_bytes();
    [&[0, 0, 1, 0xe0, len[0], len[1], 0x80, 0, 0][..], payload].concat()
}

/// NAL units as a byte stream.
pub(crate) fn annex_b(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
}

/// NAL units with their lengths.
pub(crate) fn prefixed(units: &[&[u8]]) -> Vec<u8> {
    let prefix = |unit: &&[u8]| [&u32::try_from(unit.len()).unwrap().to_be_bytes(), *unit].concat();
    units.iter().flat_map(prefix).collect()
}

/// A slice of `len` bytes; `first` of its picture, which is a keyframe or not.
pub(crate) fn slice(key: bool, first: bool, len: usize) -> Vec<u8> {
    let mut unit = vec![if key { 0x65 } else { 0x41 }, if first { 0x88 } else { 0x42 }];
    unit.extend((2..len).map(|at| (at % 200) as u8 + 4));
    unit
}

/// A keyframe with all that belongs to it.
pub(crate) fn keyframe(len: usize) -> Vec<u8> {
    annex_b(&[&[9, 0xf0], SPS, PPS, &slice(true, true, len)])
}

/// Everything that a stream says, in pieces of `step` bytes.
pub(crate) fn events(bytes: &[u8], settings: &Settings, step: usize) -> (Events, Counters) {
    let (mut demuxer, mut store) = (Demuxer::new(settings.clone()), MemoryStore::default());
    let mut events = Vec::new();
    for mut piece in bytes.chunks(step.max(1)) {
        while let Some(event) = demuxer.feed(&mut piece, &mut store) {
            events.push(event);
        }
        assert!(piece.is_empty(), "all is taken");
    }
    demuxer.finish(&mut store);
    while let Some(event) = demuxer.poll() {
        events.push(event);
    }
    (events, demuxer.counters())
}

/// The frames and pictures of a stream.
pub(crate) fn units(bytes: &[u8]) -> (Vec<MediaUnit<Vec<u8>>>, Counters) {
    units_with(bytes, &Settings::default())
}

pub(crate) fn units_with(bytes: &[u8], settings: &Settings) -> (Vec<MediaUnit<Vec<u8>>>, Counters) {
    let (events, counters) = events(bytes, settings, 1_316);
    let units = events.into_iter().filter_map(|event| match event {
        Event::Unit(unit) => Some(unit),
        _ => None,
    });
    (units.collect(), counters)
}

/// Any other picture.
pub(crate) fn picture(len: usize) -> Vec<u8> {
    annex_b(&[&[9, 0xf0], &slice(false, true, len)])
}

/// A frame of ADTS of `len` bytes of payload, stereo at 48 kHz.
pub(crate) fn adts(len: usize, fill: u8) -> Vec<u8> {
    let whole = u16::try_from(len + 7).unwrap();
    let head = [
        0xff,
        0xf1,
        0x4c,
        0x80 | (whole >> 11) as u8,
        (whole >> 3) as u8,
        (whole << 5) as u8 | 0x1f,
        0xfc,
    ];
    [&head[..], &vec![fill; len]].concat()
}
