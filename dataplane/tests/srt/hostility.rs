//! What a peer, or somebody in its name, may say to a connection that stands.

use std::time::Duration;

use codecs::srt::{
    Ack, AckReport, ControlHeader, ControlType, DataHeader, DropRequest, HEADER_BYTES, Header,
    KeyLength, KeySlot, LossRange, MessageNumber, PACKET_BYTES_MAX, Passphrase, Position,
    SeqNumber, SocketId, StreamKey,
};
use codecs::writer::Writer;
use dataplane::session::srt::Settings;
use proptest::prelude::*;

use crate::endpoint::{Source, payload};
use crate::line::Weather;
use crate::world::{Meeting, World};

const MS: Duration = Duration::from_millis(1);

const STREAM: Source = Source { first_us: 0, interval_us: 1_000, count: 1_000 };

/// A world in which the caller sends, with 100 packets under way or behind it.
fn world(encrypted: bool) -> World {
    let mut meeting = Meeting::new(Weather { delay: MS * 5, ..Weather::default() }, 1);
    if encrypted {
        let passphrase = Some(Passphrase::new(b"a secret of both").unwrap());
        meeting.caller.passphrase = passphrase.clone();
        meeting.listener.passphrase = passphrase;
    }
    let mut world = meeting.hold([STREAM, Source::NONE]).unwrap();
    world.run_for(MS * 100);
    world
}

fn control(kind: ControlType, info: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES + body.len()];
    let mut writer = Writer::new(&mut bytes);
    ControlHeader { kind, info, timestamp: 1, destination: SocketId(0x77) }.encode(&mut writer);
    writer.put(body);
    bytes
}

fn nak(ranges: &[(u32, u32)]) -> Vec<u8> {
    let ranges = ranges.iter().map(|(first, last)| LossRange {
        first: SeqNumber::new(*first),
        last: SeqNumber::new(*last),
    });
    let mut body = vec![0; ranges.clone().map(|range| range.encoded_len()).sum()];
    let mut writer = Writer::new(&mut body);
    ranges.for_each(|range| range.encode(&mut writer));
    control(ControlType::Nak, 0, &body)
}

fn data(sequence: u32, key: Option<KeySlot>, body: &[u8]) -> Vec<u8> {
    let header = DataHeader {
        sequence: SeqNumber::new(sequence),
        position: Position::Only,
        in_order: false,
        key,
        retransmitted: false,
        message: MessageNumber::new(1),
        timestamp: 0xdead_beef,
        destination: SocketId(0x77),
    };
    let mut bytes = vec![0; HEADER_BYTES + body.len()];
    let mut writer = Writer::new(&mut bytes);
    header.encode(&mut writer);
    writer.put(body);
    bytes
}

/// The stream goes on as if nothing had been said.
fn assert_unharmed(mut world: World) {
    world.run_to_the_end();
    let receiver = &world.ends[1];
    assert_eq!((receiver.received, receiver.skipped), (STREAM.count, 0));
    assert!(world.ends.iter().all(|end| end.connection.closed().is_none()));
}

#[test]
fn ranges_that_were_never_sent_are_not_sent_again() {
    let mut world = world(false);
    let now = world.now;
    let first = 1_000;
    let invalid = world.ends[0].connection.statistics().pkt_recv_invalid;
    for ranges in [
        vec![(0, SeqNumber::MAX >> 1)],
        vec![(first, first + 1_000_000)],
        vec![(first + 5_000, first + 5_001)],
        vec![(first - 10, first - 5)],
        vec![(SeqNumber::MAX, 3)],
    ] {
        let before = world.ends[0].connection.statistics().pkt_retrans;
        world.ends[0].deliver(now, &mut nak(&ranges));
        world.run_for(MS / 10);
        let after = world.ends[0].connection.statistics().pkt_retrans;
        assert_eq!(after, before, "{ranges:?}");
    }
    // The last two lie before what is under way: they are late, not wrong.
    assert_eq!(world.ends[0].connection.statistics().pkt_recv_invalid, invalid + 3);
    assert_unharmed(world);
}

#[test]
fn forged_naks_spend_a_budget_and_no_more() {
    let mut world = world(false);
    // Somebody asks for everything under way, every millisecond for as long as the stream takes.
    for _ in 0..800 {
        let flight = u32::try_from(world.ends[0].connection.gauges().pkt_flight_size).unwrap();
        let unique = world.ends[0].connection.statistics().pkt_sent_unique;
        let next = 1_000 + u32::try_from(unique).unwrap();
        let now = world.now;
        if flight > 0 {
            world.ends[0].deliver(now, &mut nak(&[(next - flight, next - 1)]));
        }
        world.run_for(MS);
    }
    let counts = *world.ends[0].connection.statistics();
    // A quarter of what is sent once, the floor of a second, what the bucket held at first, and a
    // packet on credit.
    let budget = (counts.byte_sent - counts.byte_retrans) / 4 + 2 * 125_000 + 1_316;
    assert!((100_000..=budget).contains(&counts.byte_retrans), "{budget}: {counts:?}");
    assert_unharmed(world);
}

#[test]
fn an_ack_of_what_was_never_sent_is_ignored() {
    let mut world = world(false);
    let now = world.now;
    let invalid = world.ends[0].connection.statistics().pkt_recv_invalid;
    for next in [1_000 + 5_000, 1_000 + (1 << 29), 900_000_000] {
        let report = AckReport { buffer_free: u32::MAX, rtt_us: u32::MAX, ..Default::default() };
        let ack = Ack { number: 1, next: SeqNumber::new(next), report: Some(report) };
        let mut body = [0; 28];
        ack.encode(&mut Writer::new(&mut body));
        world.ends[0].deliver(now, &mut control(ControlType::Ack, 1, &body[..16]));
    }
    let counts = world.ends[0].connection.statistics();
    assert_eq!(counts.pkt_recv_invalid, invalid + 3);
    assert_unharmed(world);
}

#[test]
fn a_window_and_a_round_trip_of_absurd_size_are_bounded() {
    let mut world = world(false);
    let now = world.now;
    let report = AckReport {
        buffer_free: u32::MAX,
        rtt_us: u32::MAX,
        rtt_variance_us: u32::MAX,
        rates: None,
    };
    let ack = Ack { number: 9, next: SeqNumber::new(1_000), report: Some(report) };
    let mut body = [0; 28];
    ack.encode(&mut Writer::new(&mut body));
    world.ends[0].deliver(now, &mut control(ControlType::Ack, 9, &body[..16]));
    let gauges = world.ends[0].connection.gauges();
    assert!(gauges.pkt_flow_window <= 65_536 && gauges.rtt_us <= 10_000_000, "{gauges:?}");
    assert_unharmed(world);
}

#[test]
fn a_window_of_nothing_does_not_stop_the_sender() {
    let mut world = world(false);
    let now = world.now;
    let sender = &mut world.ends[0].connection;
    let unique = u32::try_from(sender.statistics().pkt_sent_unique).unwrap();
    let report = AckReport { buffer_free: 0, rtt_us: 10_000, rtt_variance_us: 0, rates: None };
    let ack = Ack { number: 1, next: SeqNumber::new(1_000 + unique), report: Some(report) };
    let mut body = [0; 28];
    ack.encode(&mut Writer::new(&mut body));
    sender.handle_datagram(now, &mut control(ControlType::Ack, 1, &body[..16]));
    assert_eq!((sender.gauges().pkt_flight_size, sender.gauges().pkt_flow_window), (0, 2));
    sender.offer(u64::from(unique) + 5);
    let sent = std::iter::from_fn(|| sender.poll_data(now, &STREAM)).count();
    assert_eq!(sent, 2);
}

#[test]
fn what_waits_for_a_gap_is_given_out_when_the_peer_shuts_down() {
    let mut world = world(false);
    let now = world.now;
    let next = world.ends[1].next;
    let sequence = 1_000 + u32::try_from(next).unwrap();
    let before = world.ends[1].received;
    for ahead in [1, 2, 5] {
        let bytes = payload(next + ahead);
        let ahead = u32::try_from(ahead).unwrap();
        world.ends[1].deliver(now, &mut data(sequence + ahead, None, &bytes));
    }
    assert_eq!(world.ends[1].received, before);
    world.ends[1].deliver(now, &mut control(ControlType::Shutdown, 0, &[]));
    assert_eq!((world.ends[1].received, world.ends[1].skipped), (before + 3, 3));
}

#[test]
fn data_far_ahead_is_not_kept() {
    let mut world = world(false);
    let now = world.now;
    let window = Settings::default().receive_window;
    for ahead in [window + 200, 100_000, 1 << 29, (1 << 30) - 1] {
        world.ends[1].deliver(now, &mut data(1_000 + ahead, None, b"far"));
    }
    for back in [1, 1_000, 1 << 29] {
        let sequence = SeqNumber::new(1_000_u32.wrapping_sub(back)).get();
        world.ends[1].deliver(now, &mut data(sequence, None, b"old"));
    }
    let gauges = world.ends[1].connection.gauges();
    assert!(gauges.pkt_rcv_buf < 50 && gauges.byte_rcv_buf < 50_000, "{gauges:?}");
    assert_unharmed(world);
}

#[test]
fn every_other_packet_fills_a_bounded_table() {
    let mut meeting = Meeting::new(Weather::default(), 1);
    meeting.listener.receive_window = 60_000;
    meeting.listener.held_bytes_max = 1_000_000;
    let mut world = meeting.hold([Source::NONE; 2]).unwrap();
    let now = world.now;
    for number in 0..30_000 {
        let bytes = payload(number * 2 + 1);
        let sequence = 1_001 + u32::try_from(number * 2).unwrap();
        world.ends[1].connection.handle_datagram(now, &mut data(sequence, None, &bytes));
    }
    let end = &mut world.ends[1].connection;
    assert!(end.gauges().byte_rcv_buf <= 1_000_000);
    assert!(end.statistics().pkt_rcv_no_room > 28_000, "{:?}", end.statistics());
    // The NAKs about it are of bounded size, and each gap is in one of them.
    let mut out = [0; PACKET_BYTES_MAX];
    let mut naks = 0;
    while let Some(len) = end.poll_transmit(now, &mut out) {
        assert!(len <= 256);
        naks += 1;
    }
    assert!((1..100).contains(&naks), "{naks}");
}

#[test]
fn a_player_that_sends_is_heard_and_nothing_is_kept() {
    let mut meeting = Meeting::new(Weather { delay: MS * 5, ..Weather::default() }, 1);
    meeting.caller.receives = false;
    let mut world = meeting.hold([Source::NONE; 2]).unwrap();
    let now = world.now;
    let player = &mut world.ends[0].connection;
    for number in [0, 1, 5, 4_000] {
        let sequence = 1_000 + number;
        assert!(player.handle_datagram(now, &mut data(sequence, None, b"data")).is_none());
    }
    let (first, last) = (SeqNumber::new(1_000), SeqNumber::new(5_000));
    let mut body = [0; DropRequest::BYTES];
    DropRequest { message: 0, first, last }.encode(&mut Writer::new(&mut body));
    player.handle_datagram(now, &mut control(ControlType::DropRequest, 0, &body));
    let (counts, gauges) = (player.statistics(), player.gauges());
    assert_eq!((counts.pkt_rcv_unwanted, counts.pkt_recv), (4, 4));
    assert_eq!((counts.pkt_recv_unique, counts.pkt_rcv_drop, counts.pkt_sent_nak), (0, 0, 0));
    assert_eq!((gauges.pkt_rcv_buf, gauges.byte_rcv_buf), (0, 0));
}

#[test]
fn drop_requests_are_cheap() {
    let mut meeting = Meeting::new(Weather::default(), 1);
    meeting.listener.receive_window = 65_536;
    let mut world = meeting.hold([Source::NONE; 2]).unwrap();
    let now = world.now;
    let receiver = &mut world.ends[1].connection;
    let request = |first: u32, last: u32| {
        let (first, last) = (SeqNumber::new(first), SeqNumber::new(last));
        let mut body = [0; DropRequest::BYTES];
        DropRequest { message: 0, first, last }.encode(&mut Writer::new(&mut body));
        control(ControlType::DropRequest, 0, &body)
    };
    // Nothing is waited for: what is dropped takes no room, and what follows is next.
    receiver.handle_datagram(now, &mut request(1_000, 1_000 + 60_000));
    assert_eq!(receiver.gauges().pkt_rcv_buf, 0);
    assert_eq!(receiver.statistics().pkt_rcv_drop, 60_001);
    let mut next = data(1_000 + 60_001, None, b"next");
    let given = receiver.handle_datagram(now, &mut next);
    assert_eq!(given.map(|payload| payload.number), Some(60_001));
    // Where something is waited for, what nobody heard of is not dropped yet.
    receiver.handle_datagram(now, &mut data(1_000 + 60_005, None, b"kept"));
    receiver.handle_datagram(now, &mut request(1_000 + 60_003, 1_000 + 70_000));
    assert_eq!(receiver.gauges().pkt_rcv_buf, 4);
    assert_eq!(receiver.statistics().pkt_rcv_drop, 60_001 + 2);
    let mut next = data(1_000 + 60_002, None, b"came");
    let given = receiver.handle_datagram(now, &mut next);
    assert_eq!(given.map(|payload| payload.number), Some(60_002));
    assert_eq!(receiver.poll_payload().map(|payload| payload.number), Some(60_005));
}

#[test]
fn a_full_table_of_gaps_takes_what_fills_them() {
    let mut world = Meeting::new(Weather::default(), 1).hold([Source::NONE; 2]).unwrap();
    let now = world.now;
    let receiver = &mut world.ends[1].connection;
    for number in 0..2_000 {
        receiver.handle_datagram(now, &mut data(1_001 + number * 2, None, b"odd"));
    }
    assert_eq!(receiver.statistics().pkt_rcv_no_room, 2_000 - 1_024);
    let mut given = 0;
    for number in 0..1_024 {
        let mut even = data(1_000 + number * 2, None, b"even");
        given += u32::from(receiver.handle_datagram(now, &mut even).is_some());
        while receiver.poll_payload().is_some() {
            given += 1;
        }
    }
    assert_eq!(given, 2 * 1_024);
    assert_eq!(receiver.statistics().pkt_rcv_no_room, 2_000 - 1_024);
}

#[test]
fn drop_requests_reach_no_further_than_the_window() {
    for (first, last) in [(0, SeqNumber::MAX >> 1), (1_000, 900_000), (SeqNumber::MAX, 5)] {
        let mut world = world(false);
        let now = world.now;
        let request =
            DropRequest { message: 0, first: SeqNumber::new(first), last: SeqNumber::new(last) };
        let mut body = [0; DropRequest::BYTES];
        request.encode(&mut Writer::new(&mut body));
        world.ends[1].deliver(now, &mut control(ControlType::DropRequest, 0, &body));
        let counts = world.ends[1].connection.statistics();
        let window = u64::from(Settings::default().receive_window);
        assert!(counts.pkt_rcv_drop <= window, "{counts:?}");
        assert!(world.ends[1].connection.gauges().pkt_rcv_buf <= window);
        world.run_for(MS * 2_000);
        assert!(world.ends.iter().all(|end| end.connection.closed().is_none()));
    }
}

#[test]
fn nothing_in_the_clear_gets_into_an_encrypted_connection() {
    let mut world = world(true);
    let now = world.now;
    let next = 1_000 + u32::try_from(world.ends[1].next).unwrap();
    let before = world.ends[1].received;
    world.ends[1].deliver(now, &mut data(next, None, b"in the clear"));
    world.ends[1].deliver(now, &mut data(next, Some(KeySlot::Odd), b"a key that is none"));
    assert_eq!(world.ends[1].received, before);
    let counts = world.ends[1].connection.statistics();
    assert_eq!((counts.pkt_rcv_undecrypt, counts.byte_rcv_undecrypt), (2, 12 + 18));
    assert_unharmed(world);
}

#[test]
fn key_material_of_any_length_changes_nothing_without_the_secret() {
    let kek = Passphrase::new(b"a secret of others").unwrap().derive(&[1; 16], KeyLength::Aes256);
    let key = StreamKey::new(&[4; 32]).unwrap();
    let foreign = kek.seal([Some(&key), Some(&key)]);
    for encrypted in [true, false] {
        let mut world = world(encrypted);
        for len in [0, 1, 4, 16, 31, foreign.len() - 1, foreign.len(), 200, 1_352] {
            let mut body = foreign.clone();
            body.resize(len, 0xaa);
            for kind in [ControlType::KeyRequest, ControlType::KeyResponse] {
                let now = world.now;
                world.ends[1].deliver(now, &mut control(kind, 0, &body));
                world.ends[0].deliver(now, &mut control(kind, 0, &body));
                let mut out = [0; PACKET_BYTES_MAX];
                while let Some(len) = world.ends[1].connection.poll_transmit(now, &mut out) {
                    let Ok(Header::Control(header)) = Header::parse(&out[..len]) else { panic!() };
                    let is_answer = header.kind == ControlType::KeyResponse;
                    assert!(!is_answer || len == HEADER_BYTES + 4, "it is refused in one word");
                }
            }
        }
        assert!(world.ends[1].connection.is_encrypted() == encrypted);
        assert_unharmed(world);
    }
}

/// Words of which many are numbers that are under way, or begin a range of them.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        900_u32..1_300,
        (900_u32..1_300).prop_map(|number| number | 0x8000_0000),
        0_u32..8,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_datagram_panics_or_grows_memory(
        datagrams in prop::collection::vec(
            (any::<bool>(), 0_u16..10, word(), prop::collection::vec(word(), 0..20)),
            1..60,
        ),
    ) {
        let mut world = world(true);
        for (is_data, kind, info, words) in datagrams {
            let body: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
            let mut bytes = if is_data {
                data(info, Some(KeySlot::Even), &body)
            } else {
                control(ControlType::Unknown(u32::from(kind) << 16), info, &body)
            };
            let now = world.now;
            for end in &mut world.ends {
                let mut out = [0; PACKET_BYTES_MAX];
                end.connection.handle_datagram(now, &mut bytes.clone());
                while end.connection.poll_payload().is_some() {}
                let mut answers = 0;
                while end.connection.poll_transmit(now, &mut out).is_some() {
                    answers += 1;
                }
                prop_assert!(answers < 20);
            }
            bytes.clear();
        }
        for end in &mut world.ends {
            end.connection.handle_timeout(world.now + MS * 1_000);
            prop_assert!(end.connection.gauges().pkt_rcv_buf <= 8_192);
        }
    }
}
