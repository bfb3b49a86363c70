//! Groups of packets for datagrams: they cover the stream, and begin where a reader may.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod transport;

use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::{Demuxer, MemoryStore, PacketGroup, PacketIndex, Settings};
use transport::*;

fn groups(bytes: &[u8], flushes: &[usize]) -> Vec<PacketGroup> {
    let (mut demuxer, mut store) = (Demuxer::new(Settings::default()), MemoryStore::default());
    let (mut index, mut groups) = (PacketIndex::default(), Vec::new());
    for (at, packet) in bytes.chunks(PACKET_LEN).enumerate() {
        let packet = packet.first_chunk().unwrap();
        demuxer.push(packet, &mut store);
        while demuxer.poll().is_some() {}
        if let Some(program) = demuxer.program() {
            index.follow(program);
        }
        groups.extend(index.take(packet));
        if flushes.contains(&at) {
            groups.extend(index.flush());
        }
    }
    groups.extend(index.flush());
    let mut next = 0;
    for (number, group) in groups.iter().enumerate() {
        assert_eq!((group.number, group.first), (number as u64, next), "no gap");
        assert!((1..=7).contains(&group.packets));
        next += u64::from(group.packets);
    }
    assert_eq!(next as usize, bytes.len() / PACKET_LEN);
    groups
}

#[test]
fn groups_are_closed_before_join_points_and_by_flushes() {
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    let second = 90_000;
    stream.clock(VIDEO, second * 300, 0);
    stream.pes(VIDEO, 2 * second, &keyframe(2_000));
    stream.pes(VIDEO, 3 * second, &annex_b(&[&[9, 0xf0], &slice(false, true, 1_500)]));
    let field = Field { flags: 0x40, pcr: None };
    let bytes = pes(4 * second, None, &annex_b(&[&[9, 0xf0], &slice(false, true, 90)]));
    stream.pes_bytes(VIDEO, field, &bytes);
    let facts = |flushes: &[usize]| -> Vec<_> {
        let groups = groups(&stream.bytes, flushes);
        let ms = |group: &PacketGroup| group.time.map(|time| time.as_millis());
        groups.iter().map(|group| (group.packets, group.join, ms(group))).collect()
    };
    // Tables and clock, then 12 packets of the keyframe, 9 of the next picture, and the last one.
    // The clock stands at one second, and goes on with the pictures.
    let expected = [
        (3, false, Some(1_000)),
        (7, true, Some(1_000)),
        (7, false, Some(2_000)),
        (7, false, Some(2_000)),
        (1, true, Some(3_000)),
    ];
    let found = facts(&[]);
    assert_eq!(found.iter().map(|fact| fact.1).collect::<Vec<_>>(), expected.map(|fact| fact.1));
    assert_eq!((found[0], found[1]), (expected[0], expected[1]));
    assert_eq!(found.last(), expected.last());
    let flushed = facts(&[4]);
    assert_eq!((flushed[1].0, flushed[1].1, flushed[2].0, flushed[2].1), (2, true, 7, false));
}

/// The times of groups, in ticks, each with the number of its last packet.
fn times(stream: &Stream) -> Vec<(u64, i64)> {
    let groups = groups(&stream.bytes, &[]);
    let ends = groups.iter().filter_map(|group| {
        Some((group.first + u64::from(group.packets) - 1, group.time?.as_ticks(90_000)))
    });
    ends.collect()
}

/// A picture each 40 ms, decoded 700 ms after it is sent, in four packets.
fn frame(stream: &mut Stream, number: i64) {
    let bytes = if number % 10 == 0 { keyframe(600) } else { picture(600) };
    stream.pes(VIDEO, number * 3_600 + 63_000, &bytes);
}

#[test]
fn times_are_those_of_the_clock_with_the_pace_of_packets() {
    let mut stream = Stream::of(&[0x1b]);
    for number in 0..50 {
        stream.clock(VIDEO, number * 3_600 * 300, 0);
        frame(&mut stream, number);
    }
    for group in groups(&stream.bytes, &[]).iter().filter(|group| group.first > 2) {
        let last = group.first + u64::from(group.packets) - 1;
        assert_eq!(group.pcr, Some((last as i64 - 2) / 5 * 3_600 * 300), "packet {last}");
    }
    let times = times(&stream);
    assert!(times.len() > 30);
    for (last, time) in times {
        // Behind two packets of tables each picture has five, its clock counted.
        let (number, packet) = ((last as i64 - 2) / 5, (last as i64 - 2) % 5);
        let pace = if number == 0 { 0 } else { 720 };
        assert_eq!(time, number * 3_600 + packet * pace, "packet {last}");
    }
}

#[test]
fn a_clock_that_stops_goes_on_with_decode_times() {
    let mut stream = Stream::of(&[0x1b]);
    for number in 0..150 {
        // It stands still for a while, and is gone then.
        if number < 50 {
            stream.clock(VIDEO, number.min(25) * 3_600 * 300, 0);
        }
        frame(&mut stream, number);
    }
    let times: Vec<_> = times(&stream).iter().map(|time| time.1).collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
    let last = *times.last().unwrap();
    assert!((148 * 3_600..=149 * 3_600 + 9_000).contains(&last), "no 700 ms ahead: {last}");
}

#[test]
fn times_go_back_where_the_clock_does_and_with_another_program() {
    let mut stream = Stream::of(&[0x1b]);
    for number in [1_000, 1_001, 1_002, 10, 11, 12] {
        stream.clock(VIDEO, number * 3_600 * 300, 0);
        frame(&mut stream, number);
    }
    let times_of = |stream: &Stream| times(stream).iter().map(|time| time.1).collect::<Vec<_>>();
    let falls = |times: &[i64]| times.windows(2).filter(|pair| pair[0] > pair[1]).count();
    let jumped = times_of(&stream);
    assert_eq!(falls(&jumped), 1, "{jumped:?}");
    assert!(jumped.last().is_some_and(|last| (12 * 3_600..14 * 3_600).contains(last)));
    // The same PIDs are those of another program, whose clock is another one.
    stream.section(0, &pat(1, &[(2, MAP_PID)]));
    stream.section(MAP_PID, &pmt(2, 0, VIDEO, &[(0x1b, VIDEO, &[])]));
    for number in 3..9 {
        stream.clock(VIDEO, number * 3_600 * 300, 0);
        frame(&mut stream, number);
    }
    let switched = times_of(&stream);
    assert_eq!(falls(&switched), 2, "{switched:?}");
    assert!(switched.last().is_some_and(|last| *last < 10 * 3_600), "{switched:?}");
}

#[test]
fn without_a_clock_decode_times_are_the_line() {
    let mut stream = Stream::new();
    stream.section(0, &pat(0, &[(1, MAP_PID)]));
    stream.section(MAP_PID, &pmt(1, 0, 0x1fff, &[(0x1b, VIDEO, &[])]));
    (0..20).for_each(|number| frame(&mut stream, number));
    for (last, time) in times(&stream) {
        assert_eq!(time, (last as i64 - 2) / 4 * 3_600 + 63_000, "packet {last}");
    }
}

#[test]
fn sound_alone_begins_anywhere_and_damage_nowhere() {
    let mut stream = Stream::of(&[0x0f]);
    for number in 0..4 {
        stream.pes(VIDEO, number * 90_000, &[0xff; 300]);
    }
    let joins = groups(&stream.bytes, &[]).iter().filter(|group| group.join).count();
    assert_eq!(joins, 4);
    let mut damaged = stream.bytes.clone();
    damaged.chunks_mut(PACKET_LEN).skip(2).for_each(|packet| packet[1] |= 0x80);
    assert_eq!(groups(&damaged, &[]).iter().filter(|group| group.join).count(), 0);
}
