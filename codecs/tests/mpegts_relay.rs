//! Packets that are sent on as they came: what comes out is what went in, and what is beside it
//! fits wherever a reader begins.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod transport;

use std::collections::HashMap;

use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::packet::TransportPacket;
use codecs::mpegts::demux::{Demuxer, MemoryStore, RawPacket, Settings};
use codecs::mpegts::psi::crc32;
use codecs::mpegts::relay::{Carried, Entrance, Relay, RelayProgram};
use codecs::writer::Writer;
use transport::*;

const CUES: u16 = 0x120;
const UNKNOWN: u16 = 0x121;

fn packets(bytes: &[u8]) -> Vec<RawPacket> {
    bytes.chunks(PACKET_LEN).map(|packet| packet.try_into().unwrap()).collect()
}

/// A sender as a session has one.
struct Sender {
    demuxer: Demuxer<Vec<u8>>,
    store: MemoryStore,
    pids: Vec<u16>,
}

impl Sender {
    fn new(program: Option<u16>, pids: &[u16]) -> Self {
        let settings = Settings { program, pids: pids.to_vec(), ..Settings::default() };
        let (demuxer, store) = (Demuxer::new(settings), MemoryStore::default());
        Self { demuxer, store, pids: pids.to_vec() }
    }

    /// Every packet through `relay`; what came out.
    fn send(&mut self, bytes: &[u8], relay: &mut Relay) -> Vec<RawPacket> {
        let mut out = Vec::new();
        for raw in packets(bytes) {
            self.demuxer.push(&raw, &mut self.store);
            while self.demuxer.poll().is_some() {}
            let Some(program) = self.demuxer.program() else { continue };
            let is_alone = self.demuxer.programs().len() == 1;
            let stream = self.demuxer.transport_stream();
            let program = RelayProgram::of(program, &self.pids, stream, is_alone);
            let Some(program) = program else { continue };
            if relay.follow(&program) {
                relay.tell_tables(&mut out);
            }
            let packet = TransportPacket::parse(&raw);
            let carried = match program.carries(&packet) {
                Carried::Whole => raw,
                Carried::Clock => RelayProgram::clock_of(&packet),
                Carried::Not => continue,
            };
            if relay.take(&carried, &mut out) {
                out.push(carried);
            }
        }
        out
    }
}

/// What a receiver holds against packets that follow each other.
#[derive(Default)]
struct Receiver {
    counters: HashMap<u16, u8>,
    /// The versions of the tables that came, the map's by its PID.
    versions: Vec<(u16, u8)>,
    listed: Vec<u16>,
    had_tables: bool,
}

impl Receiver {
    fn take(&mut self, packets: &[RawPacket]) {
        for raw in packets {
            let packet = TransportPacket::parse(raw);
            let (pid, counter) = (packet.pid.get(), packet.counter);
            assert!(!packet.damaged && !packet.malformed && raw[0] == 0x47);
            if packet.adaptation.discontinuity && !packet.has_payload {
                self.counters.insert(pid, counter);
            }
            let last = self.counters.insert(pid, counter);
            if let Some(last) = last {
                let next = last.wrapping_add(u8::from(packet.has_payload)) & 15;
                assert_eq!(counter, next, "pid {pid:#x}");
            }
            let is_map = raw[5] == 2 && packet.payload.first() == Some(&0);
            if packet.start && (pid == 0 || is_map) {
                self.section(pid, packet.payload);
            }
        }
    }

    fn section(&mut self, pid: u16, payload: &[u8]) {
        let len = usize::from(u16::from_be_bytes([payload[2] & 0x0f, payload[3]])) + 3;
        let Some(section) = payload.get(1..=len) else { return };
        assert_eq!(crc32(section), 0, "a checksum");
        let version = section[5] >> 1 & 0x1f;
        if self.versions.last() != Some(&(pid, version)) {
            self.versions.push((pid, version));
        }
        if pid == 0 {
            assert_eq!(section.len(), 16, "one program");
            self.had_tables = true;
        } else if section[0] == 2 {
            let info = usize::from(u16::from_be_bytes([section[10] & 0x0f, section[11]]));
            let mut rest = &section[12 + info..section.len() - 4];
            self.listed.clear();
            while let [_, high, low, _, len, ..] = *rest {
                self.listed.push(u16::from_be_bytes([high & 0x1f, low]));
                rest = &rest[5 + usize::from(len)..];
            }
        }
    }
}

const STREAMS: [(u8, u16, &[u8]); 4] =
    [(0x1b, VIDEO, &[]), (0x0f, AUDIO, &[]), (0x86, CUES, &[]), (0xc7, UNKNOWN, &[])];

/// A second of everything, the tables twice.
fn everything() -> Stream {
    let mut stream = Stream::new();
    for round in 0..2 {
        stream.tables(5, &STREAMS);
        stream.clock(VIDEO, 27_000_000 * (round + 1), 0);
        stream.pes(VIDEO, 90_000 * (round + 2), &keyframe(2_000));
        stream.pes(AUDIO, 90_000, &[1; 300]);
        stream.section(CUES, &sealed(vec![0xfc, 0, 0, 1, 2, 3]));
        stream.packet(UNKNOWN, true, Field::default(), &[9; 184]);
        // Somebody's table of services, and filling.
        stream.packet(0x11, true, Field::default(), &[8; 184]);
        stream.packet(0x1fff, false, Field::default(), &[0xff; 184]);
    }
    stream
}

fn pids_of(packets: &[RawPacket]) -> Vec<u16> {
    packets.iter().map(|packet| TransportPacket::parse(packet).pid.get()).collect()
}

fn but_tables(packets: &[RawPacket]) -> Vec<RawPacket> {
    let is_table = |packet: &&RawPacket| [0, MAP_PID].contains(&pids_of(&[**packet])[0]);
    packets.iter().filter(|packet| !is_table(packet)).copied().collect()
}

#[test]
fn a_program_alone_is_sent_on_bit_by_bit() {
    let stream = everything();
    let mut relay = Relay::default();
    let out = Sender::new(None, &[]).send(&stream.bytes, &mut relay);
    let came = packets(&stream.bytes);
    let filled = |packet: &&RawPacket| pids_of(&[**packet])[0] != 0x1fff;
    let expected: Vec<_> = but_tables(&came).iter().filter(filled).copied().collect();
    assert_eq!(but_tables(&out), expected);
    let mut receiver = Receiver::default();
    receiver.take(&out);
    assert_eq!(receiver.listed, [VIDEO, AUDIO, CUES, UNKNOWN], "as its map has it");
    let map = |packets: &[RawPacket]| {
        let maps = packets.iter().filter(|packet| pids_of(&[**packet]) == [MAP_PID]);
        maps.map(|packet| packet[4..].to_vec()).next().unwrap()
    };
    assert_eq!(map(&out), map(&came), "the map too, while nothing else was told");
}

#[test]
fn of_several_programs_one_goes_out_alone() {
    let mut stream = Stream::new();
    let pat = pat(1, &[(1, MAP_PID), (7, 0x30)]);
    let seven = pmt(7, 2, 0x200, &[(0x1b, 0x200, &[]), (0x06, 0x201, b"\x05\x04KLVA")]);
    for round in 0..3 {
        stream.section(0, &pat);
        stream.section(MAP_PID, &pmt(1, 0, VIDEO, &[(0x1b, VIDEO, &[])]));
        stream.section(0x30, &seven);
        stream.pes(VIDEO, 90_000 * (round + 1), &keyframe(600));
        stream.pes(0x200, 90_000 * (round + 1), &keyframe(500));
        stream.packet(0x201, true, Field::default(), &[3; 184]);
        stream.packet(0x14, true, Field::default(), &[8; 184]);
    }
    let mut relay = Relay::default();
    let out = Sender::new(Some(7), &[]).send(&stream.bytes, &mut relay);
    let mut receiver = Receiver::default();
    receiver.take(&out);
    assert_eq!(receiver.listed, [0x200, 0x201]);
    assert!(pids_of(&out).iter().all(|pid| [0, 0x30, 0x200, 0x201].contains(pid)));
    let came = packets(&stream.bytes);
    let of = |packets: &[RawPacket], pid: u16| -> Vec<RawPacket> {
        packets.iter().filter(|packet| pids_of(&[**packet]) == [pid]).copied().collect()
    };
    // The first map was there before the last of its pictures alone.
    for pid in [0x200, 0x201] {
        assert_eq!(of(&out, pid), of(&came, pid), "{pid:#x}");
    }
}

#[test]
fn chosen_packet_ids_keep_the_clock_and_a_map_of_themselves() {
    let mut stream = Stream::new();
    for round in 0..3 {
        stream.tables(4, &STREAMS);
        let field = Field { flags: 0, pcr: Some(27_000_000 * (round + 1)) };
        stream.pes_bytes(VIDEO, field, &pes(90_000 * round, None, &keyframe(800)));
        stream.pes(AUDIO, 90_000 * round, &[1; 300]);
    }
    let mut relay = Relay::default();
    let out = Sender::new(None, &[AUDIO]).send(&stream.bytes, &mut relay);
    let mut receiver = Receiver::default();
    receiver.take(&out);
    assert_eq!(receiver.listed, [AUDIO]);
    let clocks: Vec<_> = out.iter().map(TransportPacket::parse).collect();
    let clocks: Vec<_> = clocks.iter().filter(|packet| packet.pid.get() == VIDEO).collect();
    assert_eq!(clocks.len(), 3, "each reference");
    assert!(clocks.iter().all(|packet| !packet.has_payload && packet.adaptation.pcr.is_some()));
    assert_eq!(clocks[2].adaptation.pcr, Some(81_000_000));
}

/// Checks the entrance before each packet that comes, for who begins there, and for who read the
/// packets before `gap` and goes on there.
fn enter(before: &[RawPacket], relay: &mut Relay, after: &[u8], sender: &mut Sender) {
    let mut entrances = Vec::new();
    let mut out = Vec::new();
    for raw in packets(after) {
        let tables = relay.tables().unwrap().clone();
        entrances.push((out.len(), tables, relay.counters()));
        out.extend(sender.send(&raw, relay));
    }
    for (at, tables, counters) in entrances {
        for after_gap in [false, true] {
            let clock = Some(27_000_000);
            let entrance = Entrance { tables: &tables, counters, clock, after_gap };
            let mut bytes = vec![0; entrance.encoded_len()];
            entrance.encode(0, entrance.count(), &mut Writer::new(&mut bytes));
            let head = packets(&bytes);
            assert!(head.len() <= Entrance::PACKETS_MAX);
            let mut receiver = Receiver::default();
            if after_gap {
                receiver.take(&before[..before.len() / 2]);
            }
            receiver.had_tables = false;
            receiver.take(&head);
            assert!(receiver.had_tables && receiver.listed.len() == STREAMS.len());
            receiver.take(&out[at..]);
            let mut pieces = vec![0; bytes.len()];
            let (first, rest) = pieces.split_at_mut(2 * PACKET_LEN);
            entrance.encode(0, 2, &mut Writer::new(first));
            entrance.encode(2, entrance.count() - 2, &mut Writer::new(rest));
            assert_eq!(pieces, bytes, "in parts");
        }
    }
}

#[test]
fn who_begins_anywhere_has_tables_and_counters_that_fit() {
    let mut relay = Relay::default();
    let mut sender = Sender::new(None, &[]);
    let stream = everything();
    let before = sender.send(&stream.bytes, &mut relay);
    let behind = stream.bytes.len();
    // The same stream goes on: its counters do.
    let mut longer = stream;
    for round in 3..6 {
        longer.tables(5, &STREAMS);
        longer.clock(VIDEO, 27_000_000 * round, 0);
        longer.pes(VIDEO, 90_000 * (round + 1), &keyframe(900));
        longer.pes(AUDIO, 90_000 * round, &[1; 300]);
        longer.packet(UNKNOWN, true, Field::default(), &[9; 184]);
    }
    enter(&before, &mut relay, &longer.bytes[behind..], &mut sender);
}

#[test]
fn another_source_is_told_and_its_tables_have_other_versions() {
    let mut relay = Relay::default();
    let mut receiver = Receiver::default();
    let first = everything();
    receiver.take(&Sender::new(None, &[]).send(&first.bytes, &mut relay));
    // The same tables in the same version: nothing to tell but that it does not go on.
    relay.renew();
    receiver.take(&Sender::new(None, &[]).send(&everything().bytes, &mut relay));
    assert_eq!(relay.versions(), (0, 5));
    // Others in the same version.
    relay.renew();
    let mut other = Stream::new();
    other.tables(5, &STREAMS[..2]);
    other.pes(VIDEO, 90_000, &keyframe(900));
    let out = Sender::new(None, &[]).send(&other.bytes, &mut relay);
    receiver.take(&out);
    assert_eq!(receiver.versions.last(), Some(&(MAP_PID, 6)), "or no reader would look at them");
    assert_eq!(receiver.listed, [VIDEO, AUDIO]);
    // Packets that are made here come in between.
    let mut left = Vec::new();
    relay.leave(codecs::mpegts::Continuity::default(), &mut left);
    assert!(pids_of(&left).contains(&0) && pids_of(&left).contains(&VIDEO));
    relay.interrupt((3, 9));
    let out = Sender::new(None, &[]).send(&other.bytes, &mut relay);
    let mut fresh = Receiver::default();
    fresh.take(&out);
    assert_eq!(relay.versions(), (0, 5), "versions that were not told last");
    let spliced = out.iter().map(TransportPacket::parse).filter(|it| it.adaptation.discontinuity);
    assert!(spliced.count() >= 3, "tables and pictures");
}

#[test]
fn a_long_map_takes_several_packets_and_a_broken_one_nothing() {
    let many: Vec<(u8, u16, &[u8])> =
        (0..40).map(|at| (0x06, 0x200 + at, &b"\x0a\x04deu\x00"[..])).collect();
    let mut stream = Stream::new();
    let listed: Vec<_> = [(0x1b, VIDEO, &[][..])].into_iter().chain(many).collect();
    for round in 0..2 {
        stream.tables(0, &listed);
        stream.pes(VIDEO, 90_000 * round, &keyframe(900));
    }
    let mut relay = Relay::default();
    let out = Sender::new(None, &[]).send(&stream.bytes, &mut relay);
    let of_map = pids_of(&out).iter().filter(|&&pid| pid == MAP_PID).count();
    let in_source = pids_of(&packets(&stream.bytes)).iter().filter(|&&p| p == MAP_PID).count();
    assert!(in_source >= 4 && of_map >= in_source, "{of_map} of {in_source}");
    Receiver::default().take(&out);
    // Before any map came nothing is sent on.
    let mut bare = Stream::new();
    bare.section(0, &pat(0, &[(1, MAP_PID)]));
    bare.pes(VIDEO, 0, &keyframe(100));
    let mut relay = Relay::default();
    let demuxer_alone = Sender::new(None, &[]).send(&bare.bytes, &mut relay);
    assert!(demuxer_alone.is_empty() && relay.tables().is_none());
}

/// How many packets of its map come out for what is sent.
fn maps(out: &[RawPacket]) -> usize {
    pids_of(out).iter().filter(|&&pid| pid == MAP_PID).count()
}

/// A source of a map that takes several packets, and its relay; packets of one map.
fn with_long_map() -> (Stream, Sender, Relay, usize) {
    let many: Vec<(u8, u16, &[u8])> =
        (0..40).map(|at| (0x06, 0x200 + at, &b"\x0a\x04deu\x00"[..])).collect();
    let mut stream = Stream::new();
    stream.tables(0, &[[(0x1b, VIDEO, &[][..])].to_vec(), many].concat());
    let takes = maps(&packets(&stream.bytes));
    let (mut sender, mut relay) = (Sender::new(None, &[]), Relay::default());
    sender.send(&stream.bytes, &mut relay);
    (stream, sender, relay, takes)
}

#[test]
fn no_more_of_a_map_goes_out_than_came() {
    let (_, mut sender, mut relay, takes) = with_long_map();
    assert!(takes >= 3, "{takes}");
    let mut hostile = Stream::new();
    for _ in 0..1_000 {
        // Each says that a map begins in it, and none does.
        hostile.packet(MAP_PID, true, Field::default(), &[0xff; 184]);
    }
    let out = sender.send(&hostile.bytes, &mut relay);
    assert!((1_000 - takes..=1_000 + 2 * takes).contains(&maps(&out)), "{}", maps(&out));
    let mut changes = Stream::new();
    for version in 0..100 {
        let descriptors = [[8; 200], [9; 200]][usize::from(version % 2)];
        changes.tables(version % 32, &[(0x1b, VIDEO, &[]), (0x0f, AUDIO, &descriptors)]);
    }
    let came = maps(&packets(&changes.bytes));
    let out = sender.send(&changes.bytes, &mut relay);
    assert!(maps(&out) <= came + 2 * takes, "{} of {came}, each another one", maps(&out));
    Receiver::default().take(&out);
}

#[test]
fn each_map_that_comes_goes_out_and_the_one_after_a_loss_too() {
    let (stream, mut sender, mut relay, takes) = with_long_map();
    let one = packets(&stream.bytes)[1..].concat();
    for _ in 0..20 {
        assert_eq!(maps(&sender.send(&one, &mut relay)), takes);
    }
    // One without its last packet, and the next.
    let told = sender.send(&one[..one.len() - PACKET_LEN], &mut relay);
    assert_eq!(maps(&told) + maps(&sender.send(&one, &mut relay)), 2 * takes);
    // One without its first.
    let told = sender.send(&one[PACKET_LEN..], &mut relay);
    assert_eq!(maps(&told) + maps(&sender.send(&one, &mut relay)), takes);
}
