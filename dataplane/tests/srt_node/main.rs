//! SRT peers at a whole node: what they publish and play, whose shard they are on, who may speak
//! for them, and what becomes of their calls. What two connections say to each other is in `srt`.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod answers;
mod dials;
mod floods;
mod host;
mod keys;
#[path = "../node/mod.rs"]
mod node;
mod peer;
mod relayed;
#[path = "../../../codecs/tests/transport/mod.rs"]
mod transport;
mod waiting;

use std::net::{SocketAddr, UdpSocket};

use codecs::srt::{
    ControlHeader, ControlType, DataHeader, HEADER_BYTES, MessageNumber, Position, SeqNumber,
    SocketId,
};
use codecs::writer::Writer;
use dataplane::config::{Config, ListenerConfig, ListenerKind};
use dataplane::control::{Event, SessionEvent};
use node::{FlvPlayer, Player, Publisher, Server, assert_contiguous};
use peer::SrtPeer;

on_both_backends! {
    what_is_played_can_be_published
    few_buffers_are_enough
    who_speaks_from_another_address_is_nobody
    bytes_of_a_session_are_those_on_the_line
}

/// A node that listens for SRT, whose streams live on that shard: where it does.
fn listening(mut config: Config, home: u16) -> (Server, SocketAddr) {
    config.listeners.push(ListenerConfig::new(ListenerKind::Srt, "127.0.0.1:0".parse().unwrap()));
    if config.reactor.datagram_buffers == 0 {
        config.reactor.datagram_buffers = 16;
    }
    let server = Server::with_home(config, home);
    let listener = server.listeners().iter().find(|l| l.kind == ListenerKind::Srt).unwrap();
    let addr = listener.addr;
    (server, addr)
}

/// The transport packets of some GOPs, as a player of SRT got them.
fn recorded(server: &Server, srt: SocketAddr) -> Vec<u8> {
    let mut publisher = Publisher::start(server.rtmp, "source");
    publisher.send_frames(10);
    let player = SrtPeer::start(srt, "read:source");
    played_gops(player, &mut publisher)
}

/// The transport packets of three GOPs that come once a player has joined.
fn played_gops(mut player: SrtPeer, publisher: &mut Publisher) -> Vec<u8> {
    player.until("it joins", |player| !player.received.is_empty());
    publisher.send_frames(30);
    player.until("three GOPs came", |player| player.received.len() >= 30_000);
    player.received
}

/// Plays a stream to a frame that was published by SRT, and what came before it.
fn assert_played(server: &Server, name: &str) {
    let mut player = FlvPlayer::start(server.http, name);
    let items: Vec<_> = std::iter::from_fn(|| player.next_item())
        .filter(|item| item.frame().is_some())
        .take(2)
        .collect();
    assert!(items[0].video().is_some_and(|frame| frame.keyframe), "{:?}", items[0]);
    assert_contiguous(&items);
}

fn what_is_played_can_be_published(config: Config) {
    let (server, srt) = listening(config, 1);
    let packets = recorded(&server, srt);
    assert!(packets.chunks(188).all(|packet| packet[0] == 0x47));
    let mut publisher = SrtPeer::start(srt, "publish:copy");
    server.control.stream_started("copy");
    publisher.publish(&packets);
    publisher.published();
    assert_played(&server, "copy");
    let totals = server.control.snapshot();
    let of_publisher = totals.session_of(publisher.addr()).expect("it is listed");
    assert_eq!(of_publisher.0.0, 1, "it is where its stream is");
}

fn few_buffers_are_enough(mut config: Config) {
    config.reactor.datagram_buffers = 4;
    let (server, srt) = listening(config, 1);
    let packets = recorded(&server, srt);
    assert!(packets.chunks(188).all(|packet| packet[0] == 0x47));
}

/// What anybody can send who knows what a peer calls its server.
fn forged(to: SocketId) -> [Vec<u8>; 2] {
    let mut shutdown = vec![0; HEADER_BYTES + 4];
    let kind = ControlType::Shutdown;
    ControlHeader { kind, info: 0, timestamp: 1, destination: to }
        .encode(&mut Writer::new(&mut shutdown));
    let mut data = vec![0x47; HEADER_BYTES + 188];
    let header = DataHeader {
        sequence: SeqNumber::new(peer::FIRST),
        position: Position::Only,
        in_order: false,
        key: None,
        retransmitted: false,
        message: MessageNumber::nth(0),
        timestamp: 1,
        destination: to,
    };
    header.encode(&mut Writer::new(&mut data));
    [data, shutdown]
}

fn who_speaks_from_another_address_is_nobody(config: Config) {
    let (server, srt) = listening(config, 1);
    let packets = recorded(&server, srt);
    let mut publisher = SrtPeer::start(srt, "publish:copy");
    let mut player = SrtPeer::start(srt, "read:copy");
    for victim in [&mut publisher, &mut player] {
        // What it is called by its peer is seen on the line.
        victim.until("it says something", |victim| victim.called.is_some());
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        for datagram in forged(victim.called.unwrap()) {
            stranger.send_to(&datagram, srt).unwrap();
        }
    }
    // What is sent now comes to the same sockets later.
    publisher.publish(&packets);
    publisher.published();
    player.until("it is played", |player| !player.received.is_empty());
    assert_played(&server, "copy");
    for peer in [&publisher, &player] {
        assert_eq!(peer.connection.as_ref().unwrap().closed(), None);
        assert!(server.control.snapshot().session_of(peer.addr()).is_some());
    }
}

fn bytes_of_a_session_are_those_on_the_line(config: Config) {
    let (server, srt) = listening(config, 1);
    let packets = recorded(&server, srt);
    let mut publisher = SrtPeer::start(srt, "publish:copy");
    publisher.publish(&packets);
    publisher.published();
    publisher.hang_up();
    let (_, ended) = server.control.event("the session ended", |event| match event {
        Event::Session(event) => match &**event {
            SessionEvent::Ended { peer, .. } => *peer == publisher.addr(),
            SessionEvent::Started { .. } => false,
        },
        _ => false,
    });
    let Event::Session(ended) = ended else { unreachable!("it was matched") };
    let SessionEvent::Ended { bytes_in, bytes_out, .. } = *ended else { unreachable!("as above") };
    assert_eq!(bytes_in, publisher.said);
    assert!(bytes_out >= publisher.heard_bytes, "{bytes_out} of {}", publisher.heard_bytes);
}
