//! What both directions of a connection are encrypted with.

use std::time::Duration;

use codecs::srt::{
    ControlType, DataHeader, HEADER_BYTES, Header, KeySlot, PACKET_BYTES_MAX, Passphrase,
};
use dataplane::session::srt::{CloseReason, Connection, Settings};

use crate::endpoint::Source;
use crate::line::Weather;
use crate::world::{Meeting, World};

const STREAM: Source = Source { first_us: 0, interval_us: 1_000, count: 10 };

fn world(listener: impl Fn(Settings) -> Settings) -> World {
    let mut meeting = Meeting::new(Weather::default(), 1);
    let passphrase = Some(Passphrase::new(b"a secret of both").unwrap());
    meeting.caller.passphrase = passphrase.clone();
    meeting.listener = listener(Settings { passphrase, ..meeting.listener });
    meeting.hold([Source::NONE; 2]).unwrap()
}

/// The first data packet, if it may be sent.
fn first(world: &mut World, at: usize) -> Option<DataHeader> {
    let now = world.now;
    let connection = &mut world.ends[at].connection;
    connection.offer(1);
    let transmit = connection.poll_data(now, &STREAM)?;
    let Ok(Header::Data(header)) = Header::parse(&transmit.header) else { panic!() };
    Some(header)
}

/// The control packets that a connection has to send now.
fn said(world: &mut World, at: usize) -> Vec<Vec<u8>> {
    let now = world.now;
    let connection: &mut Connection = &mut world.ends[at].connection;
    let mut out = [0; PACKET_BYTES_MAX];
    let next = || connection.poll_transmit(now, &mut out).map(|len| out[..len].to_vec());
    std::iter::from_fn(next).collect()
}

fn count(packets: &[Vec<u8>], kind: ControlType) -> usize {
    let is_kind = |packet: &&Vec<u8>| {
        let header = Header::parse(&packet[..HEADER_BYTES]);
        matches!(header, Ok(Header::Control(header)) if header.kind == kind)
    };
    packets.iter().filter(is_kind).count()
}

#[test]
fn no_key_hides_the_packets_of_both_directions() {
    let mut world = world(|settings| settings);
    let now = world.now;
    let caller = first(&mut world, 0).unwrap();
    assert_eq!(caller.key, Some(KeySlot::Even));
    assert_eq!(first(&mut world, 1), None, "its own key is not known yet");
    for (at, kind) in [(1, ControlType::KeyRequest), (0, ControlType::KeyResponse)] {
        let packets = said(&mut world, at);
        assert_eq!(count(&packets, kind), 1, "{kind:?}");
        assert!(world.ends[at].connection.poll_timeout().unwrap() > now, "nothing else is due");
        for mut packet in packets {
            world.ends[1 - at].connection.handle_datagram(now, &mut packet);
        }
    }
    let listener = first(&mut world, 1).unwrap();
    assert_eq!(listener.sequence, caller.sequence, "the numbers are the same");
    assert_eq!(listener.key, Some(KeySlot::Odd), "and the key is another");
}

#[test]
fn a_listener_that_only_sends_does_so_at_once() {
    let mut world = world(|settings| Settings { receives: false, ..settings });
    let header = first(&mut world, 1).unwrap();
    assert_eq!(header.key, Some(KeySlot::Even));
    assert_eq!(count(&said(&mut world, 1), ControlType::KeyRequest), 0);
}

#[test]
fn a_peer_that_takes_no_key_is_told_seldom_and_let_go() {
    let mut world =
        world(|settings| Settings { idle_timeout: Duration::from_secs(1_000), ..settings });
    assert_eq!(first(&mut world, 1), None);
    let mut told = 0;
    for _ in 0..10_000 {
        told += count(&said(&mut world, 1), ControlType::KeyRequest);
        if world.ends[1].connection.closed().is_some() {
            break;
        }
        world.now += Duration::from_millis(50);
        assert_eq!(first(&mut world, 1), None);
    }
    assert_eq!(world.ends[1].connection.closed(), Some(CloseReason::Keys));
    assert_eq!(told, 21);
}
