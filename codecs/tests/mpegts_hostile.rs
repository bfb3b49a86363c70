//! What networks, broken senders and attackers do to transport streams, and what it costs.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod transport;

use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::{
    DamagedUnits, Demuxer, Event, MemoryStore, NoRoom, Settings, TrackSlot, UnitStore,
};
use transport::*;

const H264: u8 = 0x1b;
const ADTS: u8 = 0x0f;
const SECOND: i64 = 90_000;

fn lens(bytes: &[u8]) -> Vec<usize> {
    units(bytes).0.iter().map(|unit| unit.bytes.len()).collect()
}

#[test]
fn damaged_pictures_are_dropped_or_marked() {
    let build = || {
        let mut stream = Stream::of(&[H264]);
        stream.pes(VIDEO, 0, &keyframe(100));
        let bytes = pes(SECOND, None, &picture(1_000));
        let field = Field::default();
        stream.packet(VIDEO, true, field, &bytes[..184]);
        stream.packet(VIDEO, false, field, &bytes[184..368]);
        stream.lose_last();
        stream.packet(VIDEO, false, field, &bytes[368..552]);
        stream.pes(VIDEO, 2 * SECOND, &picture(80));
        stream.bytes
    };
    let (dropped, counters) = units(&build());
    let facts: Vec<_> =
        dropped.iter().map(|unit| (unit.bytes.len(), unit.damaged, unit.after_gap)).collect();
    assert_eq!(facts, [(104, false, false), (84, false, true)]);
    assert_eq!((counters.packets_lost, counters.units_damaged), (1, 1));
    let settings = Settings { damaged_units: DamagedUnits::Keep, ..Settings::default() };
    let (kept, counters) = units_with(&build(), &settings);
    let facts: Vec<_> = kept.iter().map(|unit| (unit.damaged, unit.after_gap)).collect();
    assert_eq!(facts, [(false, false), (true, true), (false, false)]);
    assert_eq!((kept.len(), counters.units_damaged), (3, 1));
}

#[test]
fn duplicates_and_packets_that_cannot_be_believed_change_nothing() {
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &keyframe(900));
    let plain = stream.bytes.clone();
    let (expected, _) = units(&plain);
    let twice: Vec<u8> =
        plain.chunks(PACKET_LEN).flat_map(|packet| [packet, packet].concat()).collect();
    let (units, counters) = transport::units(&twice);
    assert!(units == expected);
    assert_eq!(counters.duplicates as usize, plain.len() / PACKET_LEN);
    let mut broken = stream.last().to_vec();
    broken[1] |= 0x80;
    broken[3] ^= 5;
    let mut noisy = plain.clone();
    noisy.splice(3 * PACKET_LEN..3 * PACKET_LEN, broken);
    let mut null = [0xff; PACKET_LEN];
    null[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    noisy.extend(null);
    let (units, counters) = transport::units(&noisy);
    assert!(units == expected);
    assert_eq!(
        (counters.transport_errors, counters.null_packets, counters.packets_lost),
        (1, 1, 0)
    );
}

#[test]
fn scrambled_packets_are_counted_and_not_read() {
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &keyframe(100));
    stream.pes(VIDEO, 1, &picture(90));
    stream.pes(VIDEO, 2, &picture(100));
    stream.last()[3] |= 0x80;
    stream.pes(VIDEO, 3, &picture(80));
    stream.pes_bytes(VIDEO, Field::default(), &hidden(4, &picture(50)));
    stream.pes(VIDEO, 5, &picture(70));
    stream.pes(VIDEO, 6, &picture(60));
    let (units, counters) = units(&stream.bytes);
    let facts: Vec<_> = units.iter().map(|unit| (unit.bytes.len(), unit.after_gap)).collect();
    assert_eq!(facts, [(104, false), (94, false), (84, true), (74, true), (64, false)]);
    assert_eq!(counters.scrambled, 2);
}

/// A PES packet that says that its payload is encrypted.
fn hidden(pts: i64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = pes(pts, None, payload);
    bytes[6] |= 0x10;
    bytes
}

/// The same without `data_alignment_indicator`, and not encrypted.
fn unaligned(pts: i64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = pes(pts, None, payload);
    bytes[6] &= !0x04;
    bytes
}

#[test]
fn frames_that_go_on_in_a_packet_that_is_not_read_are_lost() {
    let frames = [adts(50, 1), adts(60, 2)].concat();
    let (now, later) = frames.split_at(90);
    let rest = [later, &adts(40, 3)].concat();
    let mut broken = unaligned(1, &rest);
    broken[6] = 0;
    let mut padding = vec![0, 0, 1, 0xbe, 0, 100];
    padding.resize(106, 0xff);
    let (whole, hidden) = (unaligned(1, &rest), hidden(1, &rest));
    // What comes between, the frames that are found, and what is counted.
    type Row<'a> = (&'a [&'a [u8]], &'a [(usize, bool)], (u64, u64));
    let table: [Row<'_>; 4] = [
        (&[&hidden], &[(50, false), (70, true)], (1, 0)),
        (&[&broken], &[(50, false), (70, true)], (0, 1)),
        (&[&padding, &whole], &[(50, false), (60, false), (40, false), (70, false)], (0, 0)),
        // A frame begins with the next one, and says so.
        (&[], &[(50, false), (70, true)], (0, 0)),
    ];
    for (between, expected, faults) in table {
        let mut stream = Stream::of(&[ADTS]);
        stream.pes(VIDEO, 0, now);
        for bytes in between {
            stream.pes_bytes(VIDEO, Field::default(), bytes);
        }
        stream.pes(VIDEO, 2, &adts(70, 4));
        let (units, counters) = units(&stream.bytes);
        let facts: Vec<_> = units.iter().map(|unit| (unit.bytes.len(), unit.after_gap)).collect();
        assert_eq!(facts, expected);
        assert_eq!((counters.scrambled, counters.pes_errors), faults);
    }
}

#[test]
fn pictures_that_go_on_in_a_packet_that_is_not_read_are_lost() {
    let key = keyframe(900);
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &key[..500]);
    stream.pes_bytes(VIDEO, Field::default(), &hidden(1, &key[500..]));
    stream.pes(VIDEO, 2, &keyframe(70));
    stream.pes(VIDEO, 3, &picture(60));
    let (units, counters) = units(&stream.bytes);
    let facts: Vec<_> = units.iter().map(|unit| (unit.bytes.len(), unit.after_gap)).collect();
    assert_eq!(facts, [(74, true), (64, false)]);
    assert_eq!((counters.scrambled, counters.units_damaged), (1, 1));
}

#[test]
fn tables_count_when_they_are_sound_and_in_force() {
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &keyframe(100));
    let mut broken = pmt(1, 1, VIDEO, &[]);
    *broken.last_mut().unwrap() ^= 1;
    stream.section(MAP_PID, &broken);
    let mut next = pmt(1, 1, VIDEO, &[]);
    next.truncate(next.len() - 4);
    next[5] &= 0xfe;
    stream.section(MAP_PID, &sealed(next));
    stream.section(MAP_PID, &pmt(2, 1, VIDEO, &[]));
    stream.pes(VIDEO, 1, &picture(100));
    let (found, counters) = events(&stream.bytes, &Settings::default(), 188);
    assert!(!found.iter().any(|event| matches!(event, Event::TrackEnded(_))));
    assert_eq!((counters.crc_errors, counters.units), (1, 2));
    // This one is in force.
    stream.section(MAP_PID, &pmt(1, 1, VIDEO, &[(ADTS, VIDEO, &[]), (H264, AUDIO, &[])]));
    stream.pes(AUDIO, 2, &keyframe(100));
    stream.pes(VIDEO, 2, &adts(40, 1));
    let (found, counters) = events(&stream.bytes, &Settings::default(), 188);
    let kinds: Vec<_> = found
        .iter()
        .filter_map(|event| match event {
            Event::Track(track) => Some(format!("+{:#x}", track.pid.get())),
            Event::TrackEnded(slot) => Some(format!("-{}", slot.index())),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["+0x100", "-0", "+0x100", "+0x101"]);
    assert_eq!(counters.units, 4);
}

#[test]
fn a_program_that_goes_makes_room_for_the_next() {
    let mut stream = Stream::new();
    stream.section(0, &pat(0, &[(1, MAP_PID), (2, MAP_PID + 1)]));
    stream.section(MAP_PID + 1, &pmt(2, 0, AUDIO, &[(ADTS, AUDIO, &[])]));
    stream.section(MAP_PID, &pmt(1, 0, VIDEO, &[(H264, VIDEO, &[])]));
    stream.pes(AUDIO, 0, &adts(50, 1));
    stream.pes(VIDEO, 0, &keyframe(100));
    stream.section(0, &pat(1, &[(1, MAP_PID)]));
    stream.pes(AUDIO, 1, &adts(50, 1));
    stream.pes(VIDEO, 1, &picture(100));
    assert_eq!(lens(&stream.bytes), [50], "pictures wait for their parameter sets");
    stream.pes(VIDEO, 2, &keyframe(90));
    assert_eq!(lens(&stream.bytes), [50, 94]);
}

#[test]
fn units_have_a_most_and_a_full_store_costs_units_alone() {
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &keyframe(1_000));
    stream.pes(VIDEO, 1, &picture(2_000));
    stream.pes(VIDEO, 2, &picture(900));
    let settings = Settings { unit_bytes_max: 1_100, ..Settings::default() };
    let (units, counters) = units_with(&stream.bytes, &settings);
    let lens: Vec<_> = units.iter().map(|unit| (unit.bytes.len(), unit.after_gap)).collect();
    assert_eq!((lens, counters.units_too_large), (vec![(1_004, false), (904, true)], 1));

    let mut demuxer = Demuxer::new(Settings::default());
    let mut store = SmallStore { inner: MemoryStore::default(), room: 1_500 };
    let (mut input, mut lens) = (&stream.bytes[..], Vec::new());
    while let Some(event) = demuxer.feed(&mut input, &mut store) {
        if let Event::Unit(unit) = event {
            store.room += 1_000;
            lens.push(unit.bytes.len());
        }
    }
    assert_eq!((lens, demuxer.counters().units_without_room), (vec![1_004, 904], 1));
}

#[test]
fn open_units_of_all_tracks_have_a_most_together() {
    let mut stream = Stream::of(&[H264, H264]);
    let field = Field::default();
    stream.pes_bytes(VIDEO, field, &endless(0, &keyframe(1_000)));
    // There is no room for it beside the other one.
    stream.pes_bytes(AUDIO, field, &endless(0, &keyframe(2_500)));
    stream.pes_bytes(VIDEO, field, &endless(9, &picture(300)));
    stream.pes_bytes(AUDIO, field, &endless(9, &keyframe(2_500)));
    let settings = Settings { open_bytes_max: 3_000, ..Settings::default() };
    let (units, counters) = units_with(&stream.bytes, &settings);
    let lens: Vec<_> = units.iter().map(|unit| (unit.bytes.len(), unit.after_gap)).collect();
    assert_eq!(lens, [(1_004, false), (304, false), (2_504, true)]);
    assert_eq!(counters.units_without_room, 1);
}

/// A store that is soon full; bytes of units that are aborted come back.
struct SmallStore {
    inner: MemoryStore,
    room: usize,
}

impl UnitStore for SmallStore {
    type Unit = Vec<u8>;

    fn append(&mut self, track: TrackSlot, bytes: &[u8]) -> Result<(), NoRoom> {
        self.room = self.room.checked_sub(bytes.len()).ok_or(NoRoom)?;
        self.inner.append(track, bytes)
    }

    fn overwrite(&mut self, track: TrackSlot, at: usize, bytes: [u8; 4]) {
        self.inner.overwrite(track, at, bytes);
    }

    fn finish(&mut self, track: TrackSlot) -> Vec<u8> {
        self.inner.finish(track)
    }

    fn abort(&mut self, track: TrackSlot) {
        self.room += self.inner.finish(track).len();
    }
}

#[test]
fn floods_of_pids_programs_and_streams_are_bounded() {
    let mut stream = Stream::of(&[H264]);
    for pid in 0x400..0x1000 {
        stream.packet(pid, true, Field::default(), &[0; 184]);
    }
    for version in 0..100_u16 {
        let programs: Vec<_> = (1..=60).map(|n| (n + version * 60, 0x1000 + n + version)).collect();
        stream.section(0, &pat((version % 32) as u8, &programs));
        let map = programs[0];
        let streams: Vec<_> = (0..60).map(|n| (H264, 0x600 + n + version, &[][..])).collect();
        let mut section = pmt(0, 0, VIDEO, &streams);
        section.truncate(section.len() - 4);
        section[3..5].copy_from_slice(&map.0.to_be_bytes());
        stream.section(map.1, &sealed(section));
    }
    let (mut demuxer, mut store) = (Demuxer::new(Settings::default()), MemoryStore::default());
    let (mut input, mut open) = (&stream.bytes[..], 0_i32);
    while let Some(event) = demuxer.feed(&mut input, &mut store) {
        match event {
            Event::Track(track) => {
                assert!(track.slot.index() < codecs::mpegts::demux::TRACKS_MAX);
                open += 1;
            }
            Event::TrackEnded(_) => open -= 1,
            _ => {}
        }
    }
    assert_eq!(open, 32);
    assert_eq!(demuxer.programs().len(), 60, "those of the last association, and all of them");
    let pids: Vec<_> = demuxer.pids().map(|report| report.pid.get()).collect();
    assert!(pids.len() <= 162 && pids.contains(&VIDEO), "the clock has its place");
    // The stream is still read.
    let mut good = Stream::of(&[H264]);
    good.pes(VIDEO, 0, &keyframe(50));
    good.pes(VIDEO, 1, &picture(50));
    let mut input = &good.bytes[..];
    let mut events = std::iter::from_fn(|| demuxer.feed(&mut input, &mut store));
    assert!(events.any(|event| matches!(event, Event::Unit(_))));
}

#[test]
fn pids_are_listed_with_what_was_seen_of_them() {
    let mut stream = Stream::of(&[H264, 0x02]);
    stream.pes(VIDEO, 0, &keyframe(50));
    stream.packet(0x300, false, Field::default(), &[1; 184]);
    stream.packet(0x300, false, Field::default(), &[2; 184]);
    stream.lose_last();
    stream.packet(0x300, false, Field::default(), &[3; 184]);
    let (mut demuxer, mut store) = (Demuxer::new(Settings::default()), MemoryStore::default());
    let mut input = &stream.bytes[..];
    while demuxer.feed(&mut input, &mut store).is_some() {}
    demuxer.finish(&mut store);
    while demuxer.poll().is_some() {}
    let mut seen: Vec<_> =
        demuxer.pids().map(|report| (report.pid.get(), report.packets, report.lost)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(0, 1, 0), (0x20, 1, 0), (0x100, 1, 0), (0x300, 2, 1)]);
    let program = demuxer.program().unwrap();
    let types: Vec<_> =
        program.streams.iter().map(|s| (s.stream_type, s.carriage.is_some())).collect();
    assert_eq!(types, [(H264, true), (2, false)]);
    let counters = demuxer.counters();
    assert_eq!((counters.packets_lost, counters.continuity_errors), (1, 1));
}
