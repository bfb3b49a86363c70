//! Handshakes of many, or of one in the name of many.

use std::io::ErrorKind;
use std::net::UdpSocket;

use codecs::srt::{
    ControlHeader, ControlType, HANDSHAKE_BYTES, HEADER_BYTES, Handshake, HandshakeKind, SeqNumber,
    SocketId,
};
use codecs::writer::Writer;
use dataplane::config::Config;

use super::node::{self, Publisher};
use super::{SrtPeer, assert_played, listening, recorded};
use crate::on_both_backends;

on_both_backends! {
    a_flood_of_first_handshakes_is_answered_at_a_rate_and_hurts_nobody
}

/// First handshakes of a flood.
const FLOOD: usize = 3_000;
/// Connections that an address may open at one time.
const BURST: u64 = 4;

/// A first handshake.
fn induction() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES + HANDSHAKE_BYTES];
    let mut writer = Writer::new(&mut bytes);
    let (kind, destination) = (ControlType::Handshake, SocketId::LISTENER);
    ControlHeader { kind, info: 0, timestamp: 5, destination }.encode(&mut writer);
    let handshake = Handshake {
        version: 4,
        encryption: 0,
        extension: 2,
        initial_sequence: SeqNumber::new(7),
        mtu: 1_500,
        flow_window: 8_192,
        kind: HandshakeKind::Induction,
        socket: SocketId(11),
        cookie: 0,
        peer_addr: [0; 16],
    };
    handshake.encode(&mut writer);
    bytes
}

fn a_flood_of_first_handshakes_is_answered_at_a_rate_and_hurts_nobody(mut config: Config) {
    // The flood comes from one address, all others are exempt.
    config.limits.exempt = vec!["127.0.0.1/32"].into_iter().map(range).collect();
    config.limits.connects_per_ip_per_second_max = 1;
    let (server, srt) = listening(config, 1);
    let packets = recorded(&server, srt);
    let mut publisher = SrtPeer::start(srt, "publish:copy");
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let began = std::time::Instant::now();
    let (call, mut answers, mut buffer) = (induction(), 0_u64, [0; 2_048]);
    for number in 0..FLOOD {
        stranger.send_to(&call, srt).unwrap();
        if number == FLOOD / 2 {
            publisher.publish(&packets);
        }
    }
    publisher.published();
    let dropped = |totals: &node::Totals| totals.sum(|c| c.srt_handshakes_dropped);
    server.control.until("most was dropped", |totals| dropped(totals) > FLOOD as u64 / 2);
    loop {
        match stranger.recv_from(&mut buffer) {
            Ok(_) => answers += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    // One more comes back every second.
    let earned = began.elapsed().as_secs() + 1;
    assert!((1..=BURST + earned).contains(&answers), "{answers} answers");
    assert_played(&server, "copy");
    // Others are heard as before.
    let mut late = Publisher::start(server.rtmp, "late");
    late.send_frames(20);
    let mut player = SrtPeer::start(srt, "read:late");
    player.until("it plays", |player| !player.received.is_empty());
}

fn range(text: &str) -> dataplane::config::AddrRange {
    let (addr, bits) = text.split_once('/').unwrap();
    dataplane::config::AddrRange { addr: addr.parse().unwrap(), bits: bits.parse().unwrap() }
}
