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
    let expected = [
        (3, false, Some(1_000)),
        (7, true, Some(2_000)),
        (7, false, Some(3_000)),
        (6, false, Some(3_000)),
        (1, true, Some(4_000)),
    ];
    let found = facts(&[]);
    assert_eq!(found.iter().map(|fact| fact.1).collect::<Vec<_>>(), expected.map(|fact| fact.1));
    assert_eq!((found[0], found[1]), (expected[0], expected[1]));
    assert_eq!(found.last(), expected.last());
    let flushed = facts(&[4]);
    assert_eq!((flushed[1].0, flushed[1].1, flushed[2].0, flushed[2].1), (2, true, 7, false));
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
