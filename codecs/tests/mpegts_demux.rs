//! What senders put into transport streams, and what is made of it.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod transport;

use codecs::mpegts::demux::{
    ClockJump, DataFormat, DataUnit, Demuxer, Event, MemoryStore, Settings,
};
use codecs::time::MediaTime;
use transport::*;

const H264: u8 = 0x1b;
const ADTS: u8 = 0x0f;
const SECOND: i64 = 90_000;

/// Times in ticks, and what else matters of a unit.
fn facts(bytes: &[u8]) -> Vec<(i64, i64, bool, usize)> {
    let (units, _) = units(bytes);
    let ticks = |time: MediaTime| time.as_ticks(90_000);
    units
        .iter()
        .map(|unit| (ticks(unit.pts), ticks(unit.dts), unit.keyframe, unit.bytes.len()))
        .collect()
}

#[test]
fn pictures_are_length_prefixed_without_sets_and_delimiters() {
    let mut stream = Stream::of(&[H264]);
    let key = slice(true, true, 400);
    let rest = slice(true, false, 30);
    let sei: &[u8] = &[6, 5, 1, 7, 0x80];
    stream.pes(VIDEO, SECOND, &annex_b(&[&[9, 0xf0], SPS, PPS, sei, &key, &rest]));
    stream.pes_bytes(VIDEO, Field::default(), &pes(3 * SECOND, Some(2 * SECOND), &picture(50)));
    let (units, counters) = units(&stream.bytes);
    assert_eq!(units[0].bytes, prefixed(&[sei, &key, &rest]));
    assert_eq!(units[1].bytes, prefixed(&[&slice(false, true, 50)]));
    let facts = facts(&stream.bytes);
    assert_eq!(facts[0], (SECOND, SECOND, true, units[0].bytes.len()));
    assert_eq!(facts[1], (3 * SECOND, 2 * SECOND, false, 54));
    assert_eq!((counters.units, counters.packets), (2, stream.bytes.len() as u64 / 188));
}

#[test]
fn pictures_without_a_length_end_where_the_next_begins() {
    let mut stream = Stream::of(&[H264]);
    for number in 0..5 {
        let bytes = if number == 0 { keyframe(900) } else { picture(300) };
        stream.pes_bytes(VIDEO, Field::default(), &endless(number * SECOND, &bytes));
    }
    let facts = facts(&stream.bytes);
    let lens: Vec<_> = facts.iter().map(|fact| (fact.0, fact.3)).collect();
    let at = |number| (number * SECOND, 304);
    assert_eq!(lens, [(0, 904), at(1), at(2), at(3), at(4)]);
}

#[test]
fn several_pictures_in_a_packet_and_pictures_across_packets() {
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &[keyframe(90), picture(80)].concat());
    stream.pes(VIDEO, SECOND, &picture(70));
    let (both, counters) = units(&stream.bytes);
    let lens: Vec<_> = both.iter().map(|unit| (unit.bytes.len(), unit.estimated)).collect();
    assert_eq!((lens, counters.units_estimated), (vec![(94, false), (84, true), (74, false)], 1));

    // Nothing is aligned: packets cut the byte stream anywhere.
    let mut stream = Stream::of(&[H264]);
    let mut bytes = keyframe(500);
    (0..19).for_each(|_| bytes.extend(picture(500)));
    for (number, piece) in bytes.chunks(700).enumerate() {
        stream.pes(VIDEO, number as i64 * SECOND, piece);
    }
    let (units, _) = units(&stream.bytes);
    let lens: Vec<_> = units.iter().map(|unit| (unit.bytes.len(), unit.after_gap)).collect();
    assert_eq!(lens, [(504, false); 20]);
}

#[test]
fn decode_times_rise_where_pictures_share_a_packet() {
    for (rate, per_packet) in [(50, 2), (50, 3), (60, 2), (60, 3)] {
        let mut stream = Stream::of(&[H264]);
        let step = SECOND / rate;
        for number in 0..12 {
            let first = if number == 0 { keyframe(60) } else { picture(60) };
            let bytes = [first, picture(60).repeat(per_packet - 1)].concat();
            stream.pes(VIDEO, number * per_packet as i64 * step, &bytes);
        }
        let times: Vec<_> = facts(&stream.bytes).iter().map(|fact| fact.1).collect();
        assert_eq!(times.len(), 12 * per_packet);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{rate} {per_packet}: {times:?}");
        let exact = (0..).map(|number| number * step).skip(per_packet);
        assert!(exact.zip(&times[per_packet..]).all(|(exact, &time)| exact == time), "{times:?}");
    }
}

/// Units of a picture that PES packets of `room` bytes part, between small ones.
fn parted(before: usize, room: usize) -> (Vec<(usize, bool)>, usize) {
    let mut stream = Stream::of(&[H264]);
    let mut at = 0;
    let mut picture_of = |bytes: &[u8]| {
        for (number, piece) in bytes.chunks(room).enumerate() {
            match number {
                0 => stream.pes(VIDEO, at, piece),
                _ => stream.pes_bytes(VIDEO, Field::default(), &timeless(piece)),
            }
        }
        at += SECOND;
    };
    (0..before).for_each(|_| picture_of(&keyframe(50)));
    picture_of(&keyframe(150_000));
    (0..3).for_each(|_| picture_of(&picture(50)));
    let (units, _) = units(&stream.bytes);
    let facts = units.iter().map(|unit| (unit.bytes.len(), unit.after_gap)).collect();
    // The last one does not wait for another one, or does.
    let mut demuxer = Demuxer::new(Settings::default());
    let (mut input, mut store) = (&stream.bytes[..], MemoryStore::default());
    let events = std::iter::from_fn(|| demuxer.feed(&mut input, &mut store));
    let at_once = events.filter(|event| matches!(event, Event::Unit(_))).count();
    (facts, at_once)
}

#[test]
fn pictures_that_lengths_of_packets_part_are_whole() {
    let small = (54, false);
    let key = (150_004, false);
    for before in 0..5 {
        let expected = [vec![small; before], vec![key], vec![small; 3]].concat();
        let (units, at_once) = parted(before, 65_500);
        assert_eq!(units, expected, "{before} before, as long as the length allows");
        assert_eq!(at_once, expected.len(), "{before}: lengths end pictures");
    }
    let (units, at_once) = parted(0, 30_000);
    assert_eq!((units, at_once), (vec![key, small, small, small], 3), "shorter ones");
    // Nothing told that such a packet would come, so it costs what it holds.
    let (units, _) = parted(3, 30_000);
    let lens: Vec<_> = units.iter().map(|unit| unit.1).collect();
    assert_eq!(lens, [false, false, false, false, true, false, false]);
    assert_eq!((units[2], units[4]), (small, (54, true)));
}

#[test]
fn what_belongs_to_no_picture_leaves_packets_aligned() {
    let filler = annex_b(&[&[12, 0xff, 0xff, 0xff, 0x80]]);
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &keyframe(50));
    for number in 1..4 {
        stream.pes(VIDEO, number * SECOND, &[filler.clone(), picture(50)].concat());
    }
    let (mut demuxer, mut store) = (Demuxer::new(Settings::default()), MemoryStore::default());
    let mut input = &stream.bytes[..];
    let events = std::iter::from_fn(|| demuxer.feed(&mut input, &mut store));
    assert_eq!(events.filter(|event| matches!(event, Event::Unit(_))).count(), 4);
}

#[test]
fn a_recovery_point_is_a_keyframe() {
    let table: [(&[u8], bool); 4] = [
        (&[6, 6, 1, 0xc4, 0x80], true),
        (&[6, 6, 1, 0x44, 0x80], false),
        (&[6, 1, 2, 9, 9, 6, 1, 0xc4, 0x80], true),
        (&[6, 5, 0xff, 0xff], false),
    ];
    for (sei, key) in table {
        let mut stream = Stream::of(&[H264]);
        stream.pes(VIDEO, 0, &keyframe(50));
        stream.pes(VIDEO, 9, &annex_b(&[&[9, 0xf0], sei, &slice(false, true, 30)]));
        assert_eq!(facts(&stream.bytes)[1].2, key, "{sei:x?}");
    }
    // Others say so in the transport packet.
    let mut stream = Stream::of(&[H264]);
    let field = Field { flags: 0x40, pcr: None };
    let bytes = annex_b(&[&[9, 0xf0], SPS, PPS, &slice(false, true, 30)]);
    stream.pes_bytes(VIDEO, field, &pes(0, None, &bytes));
    stream.pes_bytes(VIDEO, field, &pes(9, None, &picture(30)));
    let keys: Vec<_> = facts(&stream.bytes).iter().map(|fact| fact.2).collect();
    assert_eq!(keys, [true, false]);
}

#[test]
fn what_nobody_can_decode_is_not_given_out() {
    let mut stream = Stream::of(&[H264]);
    stream.pes(VIDEO, 0, &picture(60));
    stream.pes(VIDEO, 1, &annex_b(&[&[9, 0xf0], SPS, PPS]));
    stream.pes(VIDEO, 2, &slice(false, true, 60));
    stream.pes(VIDEO, 3, &keyframe(60));
    stream.pes_bytes(VIDEO, Field::default(), &timeless(&picture(60)));
    let (units, counters) = units(&stream.bytes);
    let times: Vec<_> = units.iter().map(|unit| (unit.estimated, unit.after_gap)).collect();
    assert_eq!(times, [(false, true), (true, false)]);
    assert_eq!((counters.units_without_config, counters.units_unreadable), (1, 0));
    let mut stream = Stream::of(&[H264]);
    stream.pes_bytes(VIDEO, Field::default(), &timeless(&keyframe(60)));
    assert_eq!(transport::units(&stream.bytes).1.units_without_time, 1);
}

#[test]
fn frames_of_sound_are_told_apart_and_have_their_own_times() {
    let mut stream = Stream::of(&[ADTS]);
    let frames = [adts(90, 1), adts(91, 2), adts(92, 3)].concat();
    stream.pes(VIDEO, SECOND, &frames);
    // The last one goes on in the next packet, whose time is that of the frame behind it.
    let (now, later) = frames.split_at(200);
    stream.pes(VIDEO, 2 * SECOND, now);
    stream.pes(VIDEO, 3 * SECOND, &[later, &adts(93, 4)].concat());
    stream.pes_bytes(VIDEO, Field::default(), &timeless(&adts(94, 5)));
    let times: Vec<_> = facts(&stream.bytes).iter().map(|fact| (fact.0, fact.3)).collect();
    let expected = [
        (SECOND, 90),
        (SECOND + 1_920, 91),
        (SECOND + 3_840, 92),
        (2 * SECOND, 90),
        (2 * SECOND + 1_920, 91),
        (2 * SECOND + 3_840, 92),
        (3 * SECOND, 93),
        (3 * SECOND + 1_920, 94),
    ];
    assert_eq!(times, expected);
}

#[test]
fn noise_between_frames_costs_no_frame_that_is_proved() {
    // The second looks like a frame of 48 bytes, where one may begin: it takes 38 bytes of the next
    // one, which is lost.
    let table: [(&[u8], &[usize]); 2] = [
        (&[9; 10], &[50, 51, 52, 53]),
        (&[0xff, 0xf1, 0x4c, 0x80, 0x06, 0x1f, 0xfc, 9, 9, 0xff], &[50, 41, 52, 53]),
    ];
    for (noise, expected) in table {
        let mut stream = Stream::of(&[ADTS]);
        let bytes = [&adts(50, 1)[..], noise, &adts(51, 2), &adts(52, 3), &adts(53, 4)].concat();
        stream.pes(VIDEO, 0, &bytes);
        let (units, counters) = units(&stream.bytes);
        let lens: Vec<_> = units.iter().map(|unit| unit.bytes.len()).collect();
        assert_eq!(lens, expected);
        for (unit, fill) in units.iter().zip(1..).filter(|(unit, _)| unit.bytes.len() >= 50) {
            assert!(unit.bytes.iter().all(|&byte| byte == fill), "{fill}");
        }
        assert_eq!(counters.frame_sync_losses, 1);
    }
}

#[test]
fn clock_jumps_are_told_and_times_stay_on_one_line_over_the_wrap() {
    let mut stream = Stream::of(&[H264]);
    let wrap = 1_i64 << 33;
    for number in 0..20 {
        let at = (wrap - 10 * SECOND + number * SECOND) % wrap;
        stream.clock(VIDEO, at * 300, 0);
        let bytes = if number == 0 { keyframe(50) } else { picture(50) };
        stream.pes(VIDEO, (at + 9_000) % wrap, &bytes);
    }
    let times: Vec<_> = facts(&stream.bytes).iter().map(|fact| fact.1).collect();
    let expected: Vec<_> = (0..20).map(|n| wrap - 10 * SECOND + n * SECOND + 9_000).collect();
    assert_eq!(times, expected);
    let jumps = |bytes: &[u8]| {
        let (found, _) = events(bytes, &Settings::default(), 188);
        found.into_iter().filter_map(|event| match event {
            Event::ClockJump(ClockJump { step, announced, .. }) => {
                Some((step.as_millis(), announced))
            }
            _ => None,
        })
    };
    assert_eq!(jumps(&stream.bytes).count(), 0);
    stream.clock(VIDEO, 100 * SECOND * 300, 0);
    stream.clock(VIDEO, 10 * SECOND * 300, 0x80);
    let jumps: Vec<_> = jumps(&stream.bytes).collect();
    assert_eq!(jumps, [(91_000, false), (-90_000, true)]);
}

#[test]
fn units_tell_the_time_base_that_they_began_in() {
    let mut stream = Stream::of(&[H264, ADTS]);
    let field = Field::default();
    stream.clock(VIDEO, SECOND * 300, 0);
    stream.pes_bytes(VIDEO, field, &endless(2 * SECOND, &keyframe(50)));
    stream.pes_bytes(VIDEO, field, &endless(3 * SECOND, &picture(60)));
    let sound = pes(3 * SECOND, None, &adts(300, 1));
    stream.packet(AUDIO, true, field, &sound[..184]);
    // Both are open as the clock jumps.
    stream.clock(VIDEO, 5_000 * SECOND * 300, 0x80);
    stream.packet(AUDIO, false, field, &sound[184..]);
    stream.pes_bytes(VIDEO, field, &endless(5_001 * SECOND, &picture(70)));
    stream.pes(AUDIO, 5_001 * SECOND, &adts(310, 2));
    let (found, _) = events(&stream.bytes, &Settings::default(), 188);
    let order: Vec<_> = found
        .iter()
        .filter_map(|event| match event {
            Event::Unit(unit) => Some((unit.bytes.len(), unit.time_base, unit.dts.as_millis())),
            Event::ClockJump(jump) => Some((0, jump.time_base, jump.step.as_millis())),
            _ => None,
        })
        .collect();
    let expected = [
        (54, 0, 2_000),
        (0, 1, 4_999_000),
        (300, 0, 3_000),
        (64, 0, 3_000),
        (310, 1, 5_001_000),
        (74, 1, 5_001_000),
    ];
    assert_eq!(order, expected);
}

#[test]
fn cues_and_keys_are_kept_with_their_times() {
    let mut stream = Stream::new();
    let klv: &[u8] = b"\x05\x04KLVA";
    let metadata: &[u8] = b"\x26\x09\x01\0\xffKLVA\0\x0f";
    let streams =
        [(H264, VIDEO, &[][..]), (0x86, 0x200, &[]), (6, 0x201, klv), (0x15, 0x202, metadata)];
    stream.tables(0, &streams);
    let mut cue = vec![0xfc, 0, 0];
    cue.extend([0; 300]);
    let cue = sealed(cue);
    stream.section(0x200, &cue);
    stream.clock(VIDEO, SECOND * 300, 0);
    stream.section(0x200, &cue);
    stream.pes_bytes(0x201, Field::default(), &timeless(&[7; 400]));
    stream.pes(0x202, 5 * SECOND, &[8; 10]);
    let mut broken = cue.clone();
    broken[9] ^= 1;
    stream.section(0x200, &broken);
    let (found, counters) = events(&stream.bytes, &Settings::default(), 99);
    let data: Vec<DataUnit<Vec<u8>>> = found
        .into_iter()
        .filter_map(|event| match event {
            Event::Data(unit) => Some(unit),
            _ => None,
        })
        .collect();
    let facts: Vec<_> = data.iter().map(|unit| (unit.format, unit.pts.as_millis())).collect();
    let expected =
        [(DataFormat::Scte35, 1_000), (DataFormat::Klv, 1_000), (DataFormat::Klv, 5_000)];
    assert_eq!(facts, expected);
    assert!(data[0].bytes == cue && data[1].bytes == [7; 400] && data[2].bytes == [8; 10]);
    assert_eq!((counters.crc_errors, counters.units_without_time, counters.data_units), (1, 1, 3));
}
