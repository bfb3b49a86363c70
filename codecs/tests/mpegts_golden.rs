//! Transport streams of ffmpeg, unit by unit as an independent reader finds them.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod transport;

use std::collections::BTreeMap;

use codecs::media::{Codec, DecoderConfig};
use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::{Carriage, Event, Settings};
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use transport::{Events, events};

macro_rules! cases {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../testdata/mpegts/ffmpeg_", $name, ".ts")).as_slice(),
            include_str!(concat!("../testdata/mpegts/ffmpeg_", $name, ".txt")),
        )),*]
    };
}

/// Name, stream, and its units.
const CASES: [(&str, &[u8], &str); 9] = cases![
    "h264_aac",
    "hevc_ac3",
    "wrap_mp2",
    "mp3_eac3",
    "opus",
    "latm",
    "two_programs",
    "timecoded",
    "open_gop",
];

const WRAP: i64 = 1 << 33;

/// A unit as the golden files have it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    codec: String,
    pts: i64,
    dts: i64,
    key: bool,
    len: usize,
    hash: String,
}

fn case(name: &str) -> (&'static [u8], BTreeMap<u16, Vec<Line>>) {
    let (_, stream, text) = CASES.into_iter().find(|(found, ..)| *found == name).unwrap();
    let mut lines = BTreeMap::<u16, Vec<Line>>::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[pid, codec, pts, dts, key, len, hash] = fields.as_slice() else { panic!("{line}") };
        let pid = u16::from_str_radix(pid.trim_start_matches("0x"), 16).unwrap();
        lines.entry(pid).or_default().push(Line {
            codec: codec.trim_end_matches("_latm").to_owned(),
            pts: pts.parse().unwrap(),
            dts: dts.parse().unwrap(),
            key: key == "1",
            len: len.parse().unwrap(),
            hash: hash.to_owned(),
        });
    }
    (stream, lines)
}

/// The units of each PID.
fn found(events: &Events) -> BTreeMap<u16, Vec<Line>> {
    let (mut pids, mut lines) = (BTreeMap::new(), BTreeMap::<u16, Vec<Line>>::new());
    for event in events {
        match event {
            Event::Track(track) => _ = pids.insert(track.slot, track.pid.get()),
            Event::Unit(unit) => {
                let digest = Sha1::digest(&unit.bytes);
                let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                lines.entry(pids[&unit.track]).or_default().push(Line {
                    codec: unit.codec.name().to_owned(),
                    pts: unit.pts.as_ticks(90_000),
                    dts: unit.dts.as_ticks(90_000),
                    key: unit.keyframe,
                    len: unit.bytes.len(),
                    hash: hash[..16].to_owned(),
                });
            }
            _ => {}
        }
    }
    lines
}

/// Both without the wrap; a frame in the middle of its PES packet may be a tick apart.
fn is_near(found: i64, expected: i64) -> bool {
    let ahead = (found - expected).rem_euclid(WRAP);
    ahead.min(WRAP - ahead) <= 1
}

fn compare(name: &str, found: &BTreeMap<u16, Vec<Line>>, expected: &BTreeMap<u16, Vec<Line>>) {
    let pids = |lines: &BTreeMap<u16, Vec<Line>>| lines.keys().copied().collect::<Vec<_>>();
    assert_eq!(pids(found), pids(expected), "{name}");
    for (pid, expected) in expected {
        let found = &found[pid];
        assert_eq!(found.len(), expected.len(), "{name} {pid:#x}");
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(is_near(found.pts, expected.pts), "{name} {at} {found:?} {expected:?}");
            assert!(is_near(found.dts, expected.dts), "{name} {at} {found:?} {expected:?}");
            let times = Line { pts: found.pts, dts: found.dts, ..expected.clone() };
            assert_eq!(*found, times, "{name} {pid:#x} unit {at}");
        }
        for pair in found.windows(2) {
            let step = pair[1].dts - pair[0].dts;
            assert!((1..90_000).contains(&step), "{name} {pid:#x} goes on, {step}");
        }
    }
}

#[test]
fn every_unit_is_what_an_independent_reader_finds() {
    for (name, ..) in CASES {
        let (stream, expected) = case(name);
        if name != "two_programs" {
            let (events, counters) = events(stream, &Settings::default(), stream.len());
            compare(name, &found(&events), &expected);
            let faults = counters.continuity_errors + counters.pes_errors + counters.crc_errors;
            assert_eq!((faults, counters.units_estimated, counters.clock_jumps), (0, 0, 0));
        }
    }
}

#[test]
fn a_program_is_chosen_by_its_number_and_tracks_by_their_pids() {
    let (stream, expected) = case("two_programs");
    let of = |pids: &[u16]| {
        let mut lines = expected.clone();
        lines.retain(|pid, _| pids.contains(pid));
        lines
    };
    let check = |program, pids: &[u16], expected: &[u16]| {
        let settings = Settings { program, pids: pids.to_vec(), ..Settings::default() };
        let (events, _) = events(stream, &settings, 188);
        compare("two_programs", &found(&events), &of(expected));
    };
    check(None, &[], &[0x100]);
    check(Some(7), &[], &[0x100]);
    check(Some(9), &[], &[0x101, 0x102]);
    check(Some(9), &[0x102, 0x100], &[0x102]);
    check(Some(8), &[], &[]);
}

#[test]
fn configurations_tell_what_the_encoders_were_told() {
    let configs = |name: &str| {
        let (stream, _) = case(name);
        let (events, _) = events(stream, &Settings::default(), 500);
        events.into_iter().filter_map(|event| match event {
            Event::Config { config, .. } => Some(*config),
            _ => None,
        })
    };
    let sound = |config: &DecoderConfig| {
        config.audio.map(|audio| (config.codec, audio.sample_rate, audio.channels))
    };
    let size = |config: &DecoderConfig| {
        config.video.map(|video| (config.codec, video.width, video.height, video.fps_milli))
    };
    let all = |name: &str| configs(name).map(|config| (size(&config), sound(&config)));
    let picture = |codec| (Some((codec, 96, 64, Some(10_000))), None);
    let heard = |codec, rate, channels| (None, Some((codec, rate, channels)));
    for (name, expected) in [
        ("h264_aac", vec![picture(Codec::H264), heard(Codec::Aac, 48_000, 2)]),
        ("hevc_ac3", vec![picture(Codec::Hevc), heard(Codec::Ac3, 48_000, 2)]),
        ("wrap_mp2", vec![picture(Codec::H264), heard(Codec::Mp2, 48_000, 1)]),
        ("opus", vec![heard(Codec::Opus, 48_000, 2)]),
        ("latm", vec![heard(Codec::Aac, 44_100, 2)]),
        ("open_gop", vec![picture(Codec::H264)]),
    ] {
        let mut found: Vec<_> = all(name).collect();
        found.sort_by_key(|(size, _)| size.is_none());
        assert_eq!(found, expected, "{name}");
    }
    let rates: Vec<_> = configs("mp3_eac3").map(|config| config.codec).collect();
    assert!(rates.contains(&Codec::Mp3) && rates.contains(&Codec::Eac3));
}

#[test]
fn any_pieces_say_the_same() {
    for (name, stream, _) in CASES {
        let settings = Settings::default();
        let (whole, counters) = events(stream, &settings, stream.len());
        for step in [1, 7, 187, 188, 189, 1_316, 1_472] {
            let (pieces, counted) = events(stream, &settings, step);
            assert!(pieces == whole && counted == counters, "{name} in pieces of {step}");
        }
    }
}

fn pid_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// The units of a damaged stream are units of the whole one, at their times, in their order.
fn assert_subset(name: &str, found: &BTreeMap<u16, Vec<Line>>, whole: &BTreeMap<u16, Vec<Line>>) {
    for (pid, lines) in found {
        let mut rest = whole[pid].iter();
        for line in lines {
            let known = rest.any(|known| {
                (known.len, &known.hash) == (line.len, &line.hash) && is_near(line.dts, known.dts)
            });
            assert!(known, "{name} {pid:#x}: {line:?}");
        }
    }
}

/// The packets in which the PES packets of a PID begin, with their times.
fn starts(stream: &[u8], pid: u16) -> Vec<(usize, i64)> {
    let packets = stream.chunks(PACKET_LEN).enumerate();
    let begins = |packet: &[u8]| pid_of(packet) == pid && packet[1] & 0x40 != 0;
    let starts = packets.filter(|(_, packet)| begins(packet)).map(|(at, packet)| {
        let header = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
        let field: [u8; 5] = packet[header + 9..][..5].try_into().unwrap();
        let [high, a, b, c, d] = field.map(i64::from);
        (at, (high >> 1 & 7) << 30 | a << 22 | (b >> 1) << 15 | c << 7 | d >> 1)
    });
    starts.collect()
}

/// Units of a PID that may be missing when this packet of it is.
fn missing_max(name: &str, starts: &[(usize, i64)], lost: usize, whole: &[Line]) -> usize {
    let pes = starts.iter().rposition(|&(at, _)| at <= lost).unwrap();
    if ["h264", "hevc"].contains(&whole[0].codec.as_str()) {
        // Without the first parameter sets nothing can be decoded before the next keyframe. A
        // picture without a length is open until the next one begins, so the loss of that costs
        // both.
        let next_key = 1 + whole[1..].iter().position(|line| line.key).unwrap();
        return if pes == 0 { next_key } else { 2 };
    }
    let first = |pes: usize| {
        let at = starts.get(pes).map(|&(_, pts)| pts);
        let found = at.and_then(|at| whole.iter().position(|line| is_near(line.pts, at)));
        found.unwrap_or(whole.len())
    };
    // The configuration of LATM comes each twenty frames, and what is lost may have had one.
    let until_configured = if name == "latm" && pes == 0 { 20 } else { 0 };
    first(pes + 1) - first(pes) + until_configured
}

#[test]
fn a_lost_packet_costs_the_units_that_it_is_a_part_of() {
    for (name, stream, _) in CASES.into_iter().filter(|(name, ..)| *name != "timecoded") {
        let (whole, _) = events(stream, &Settings::default(), stream.len());
        let whole = found(&whole);
        for lost in (3..stream.len() / PACKET_LEN).step_by(if name == "latm" { 1 } else { 3 }) {
            let at = lost * PACKET_LEN;
            let pid = pid_of(&stream[at..]);
            let bytes = [&stream[..at], &stream[at + PACKET_LEN..]].concat();
            let (events, counters) = events(&bytes, &Settings::default(), 1_316);
            let found = found(&events);
            if stream[at + PACKET_LEN..].chunks(PACKET_LEN).any(|packet| pid_of(packet) == pid) {
                // Without a length nothing tells that the last picture of a stream is cut off.
                assert_subset(name, &found, &whole);
            }
            let missing = |pid: u16| whole[&pid].len() - found.get(&pid).map_or(0, Vec::len);
            let last = |lines: &BTreeMap<u16, Vec<Line>>| {
                lines.get(&pid).and_then(|lines| Some(lines.last()?.hash.clone()))
            };
            for &other in whole.keys().filter(|other| **other != pid) {
                assert_eq!(missing(other), 0, "{name}: packet {lost} of {pid:#x}");
            }
            if let Some(lines) = whole.get(&pid) {
                let starts = starts(stream, pid);
                let max = missing_max(name, &starts, lost, lines);
                assert!(missing(pid) <= max, "{name} {lost}: {} of {max}", missing(pid));
                if lost < starts.last().unwrap().0 {
                    assert_eq!(last(&found), last(&whole), "{name} {lost}: it goes on");
                }
            }
            let has = |bytes: &[u8]| bytes.chunks(PACKET_LEN).any(|packet| pid_of(packet) == pid);
            let is_between = has(&stream[..at]) && has(&stream[at + PACKET_LEN..]);
            let has_counter = stream[at + 3] & 0x10 != 0;
            let noticed = u64::from(has_counter && is_between);
            assert_eq!(counters.packets_lost, noticed, "{name} {lost}");
        }
    }
}

/// Each picture is whole: its lengths lead to its end.
fn assert_sound(events: &Events, carriages: &mut BTreeMap<usize, Carriage>) {
    for event in events {
        match event {
            Event::Track(track) => _ = carriages.insert(track.slot.index(), track.carriage),
            Event::Unit(unit) => {
                assert!(!unit.bytes.is_empty());
                if let Carriage::AnnexB(_) = carriages[&unit.track.index()] {
                    let mut units = codecs::nal::length_prefixed(&unit.bytes, 4).unwrap();
                    assert!(units.all(|unit| unit.is_ok_and(|unit| !unit.is_empty())));
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_damage_is_more_than_damage(
        case in 0..CASES.len(),
        holes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..60),
        cut in any::<prop::sample::Index>(),
        step in 1_usize..2_000,
        damaged in any::<bool>(),
    ) {
        let (_, stream, _) = CASES[case];
        let mut bytes = stream[..cut.index(stream.len())].to_vec();
        for (at, value) in holes {
            if let Some(place) = bytes.get_mut(at.index(stream.len())) {
                *place = value;
            }
        }
        use codecs::mpegts::demux::DamagedUnits::{Drop, Keep};
        let settings = Settings {
            damaged_units: if damaged { Keep } else { Drop },
            unit_bytes_max: 1_200,
            ..Settings::default()
        };
        let (found, counters) = events(&bytes, &settings, step);
        assert_sound(&found, &mut BTreeMap::new());
        let (whole, counted) = events(&bytes, &settings, bytes.len());
        prop_assert!(found == whole && counters == counted, "any pieces say the same");
    }
}
