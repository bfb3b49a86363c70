//! Pushes in datagrams: a node sends streams to hosts and groups that do not answer.

#![expect(clippy::disallowed_types, reason = "receivers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

#[path = "ports/network.rs"]
#[allow(dead_code, reason = "no line is narrow here")]
mod network;
mod node;
#[path = "stream/packets.rs"]
#[allow(dead_code, reason = "times are looked at elsewhere")]
mod packets;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use codecs::mpegts::PACKET_LEN;
use codecs::rtp::{PAYLOAD_TYPE_MPEG_TS, RtpHeader, RtpPacket};
use dataplane::config::Config;
use dataplane::control::{
    Command, Dial, DialFailure, DialNumber, DialPeer, DialState, Event, Protocol, Role, UdpInput,
    UdpPeer,
};
use dataplane::ids::{SessionId, StreamName};
use dataplane::reactor::{bind_to_interface, interface_index};
use dataplane::session::mpegts::TransportTerms;
use node::{Publisher, Server, TIME_BOUND};

on_both_backends! {
    a_push_begins_with_tables_and_a_keyframe
    packets_of_rtp_are_numbered_and_timed
    a_keyframe_leaves_in_many_pieces
    a_push_ends_with_its_stream_and_begins_with_the_next
    a_push_goes_on_with_the_publisher_who_returns
    what_came_as_packets_is_pushed_as_it_came
    a_push_that_is_wanted_no_more_ends
    a_way_that_is_gone_is_told_and_taken_again
    a_socket_that_cannot_be_opened_is_told_and_tried_again
    a_group_is_sent_to_by_the_interface_that_is_named
}

/// Bytes of a datagram: seven packets.
const DATAGRAM: usize = 7 * PACKET_LEN;
/// A transport stream of H.264 and AAC.
const CLIP: &[u8] = include_bytes!("../../codecs/testdata/mpegts/ffmpeg_h264_aac.ts");
/// More than one GOP of the publisher.
const FRAMES: u32 = 30;

fn receiver() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

const fn plain() -> UdpPeer {
    UdpPeer { is_rtp: false, ttl: 1, interface: None, local: None }
}

fn name() -> StreamName {
    StreamName::parse("cam").unwrap()
}

/// The stream is pushed to these from now on.
fn push_to(server: &Server, dials: &[Dial]) {
    let dials: Arc<[Dial]> = dials.into();
    let command = || Command::Dial { stream: name(), role: Role::Play, dials: Arc::clone(&dials) };
    server.control.send_all(command);
}

fn dial(number: u64, addr: SocketAddr, peer: UdpPeer) -> Dial {
    Dial {
        number: DialNumber(number),
        addrs: [addr].into(),
        peer: Arc::new(DialPeer::Udp(Arc::new(peer))),
        pause: Duration::from_millis(50),
        attempts_max: 0,
    }
}

fn push(server: &Server, addr: SocketAddr, peer: UdpPeer) {
    push_to(server, &[dial(1, addr, peer)]);
}

fn until(server: &Server, what: &str, is: impl Fn(&DialState) -> bool) -> DialState {
    let told = |event: &Event| matches!(event, Event::Dialled(news) if is(&news.state));
    let (_, event) = server.control.event(what, told);
    let Event::Dialled(news) = event else { unreachable!("it was matched") };
    news.state
}

fn connected(server: &Server) -> SessionId {
    let is = |state: &DialState| matches!(state, DialState::Connected { .. });
    match until(server, "it is connected", is) {
        DialState::Connected { session, .. } => session,
        state => unreachable!("{state:?} was not matched"),
    }
}

/// Every datagram that came and was not read.
fn forget(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    while socket.recv_from(&mut [0; 2_048]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
}

/// No packet is missing that nobody said was.
fn assert_whole(received: &[u8]) {
    let mut counters = HashMap::new();
    for packet in packets::packets(received).filter(|packet| packet.pid != 0x1fff) {
        let before = counters.insert(packet.pid, packet.continuity);
        if let Some(before) = before.filter(|_| !packet.discontinuity) {
            let next = (before + u8::from(packet.has_payload)) & 15;
            assert_eq!(packet.continuity, next, "pid {:#x}", packet.pid);
        }
    }
}

/// The next datagram.
fn next(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 2_048];
    let (len, _) = socket.recv_from(&mut bytes).expect("a datagram comes");
    bytes.truncate(len);
    bytes
}

/// What a join begins with: tables, and then a picture that can be decoded by itself.
fn assert_begins(payload: &[u8]) {
    assert!(payload.len() <= DATAGRAM && payload.len().is_multiple_of(PACKET_LEN));
    let packets: Vec<_> = payload.chunks(PACKET_LEN).collect();
    assert!(packets.iter().all(|packet| packet[0] == 0x47));
    let pid = |packet: &[u8]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
    assert_eq!(pid(packets[0]), 0, "the table of programs comes first");
    let key = packets.iter().find(|packet| packet[3] & 0x20 != 0 && packet[5] & 0x40 != 0);
    let key = key.expect("a keyframe begins in the first datagram");
    assert_eq!(key[1] & 0x40, 0x40, "with the first packet of its unit");
}

fn a_push_begins_with_tables_and_a_keyframe(config: Config) {
    let server = Server::start(config);
    let (socket, addr) = receiver();
    push(&server, addr, plain());
    until(&server, "it waits for its stream", |state| *state == DialState::Waiting);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(FRAMES);
    connected(&server);
    let mut received = next(&socket);
    assert_begins(&received);
    for _ in 0..50 {
        let payload = next(&socket);
        assert!(payload.len() <= DATAGRAM && payload.len().is_multiple_of(PACKET_LEN));
        received.extend(payload);
        publisher.send_frames(1);
    }
    assert_whole(&received);
    let session = |s: &dataplane::control::SessionStatus| s.peer == addr && s.bytes_out > 0;
    server.control.until("it is listed", |totals| totals.sessions().any(session));
}

fn packets_of_rtp_are_numbered_and_timed(config: Config) {
    let server = Server::start(config);
    let (socket, addr) = receiver();
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(FRAMES);
    push(&server, addr, UdpPeer { is_rtp: true, ..plain() });
    let first = next(&socket);
    let first = RtpPacket::parse(&first).unwrap();
    assert_begins(first.payload);
    let (mut sequence, mut timestamp) = (first.sequence, first.timestamp);
    let mut received = first.payload.to_vec();
    for _ in 0..50 {
        let datagram = next(&socket);
        let packet = RtpPacket::parse(&datagram).unwrap();
        assert_eq!(packet.payload_type, PAYLOAD_TYPE_MPEG_TS);
        assert_eq!((packet.source, packet.sequence), (first.source, sequence.wrapping_add(1)));
        let passed = packet.timestamp.wrapping_sub(timestamp);
        assert!(passed < 90_000, "{passed} ticks between two packets");
        received.extend(packet.payload);
        (sequence, timestamp) = (packet.sequence, packet.timestamp);
        publisher.send_frames(1);
    }
    assert_ne!(timestamp, first.timestamp, "time passes");
    assert_whole(&received);
}

fn a_keyframe_leaves_in_many_pieces(config: Config) {
    let server = Server::start(config);
    let (socket, addr) = receiver();
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(FRAMES);
    push(&server, addr, UdpPeer { is_rtp: true, ..plain() });
    next(&socket);
    // A keyframe of more than two hundred datagrams.
    publisher.video_bytes = 200 * DATAGRAM;
    publisher.send_frames(1);
    // When a packet left is what its header says: of each moment, how many.
    let mut moments: Vec<(u32, usize)> = Vec::new();
    let is_whole = |datagram: &[u8]| datagram.len() == RtpHeader::BYTES + DATAGRAM;
    while moments.iter().map(|(_, count)| count).sum::<usize>() < 190 {
        let datagram = next(&socket);
        let packet = RtpPacket::parse(&datagram).unwrap();
        if !is_whole(&datagram) {
            continue;
        }
        match moments.last_mut() {
            Some((moment, count)) if *moment == packet.timestamp => *count += 1,
            _ => moments.push((packet.timestamp, 1)),
        }
    }
    let most = moments.iter().map(|&(_, count)| count).max();
    // Ticks that a busy machine missed are made up for, four at a time.
    assert!(most <= Some(4 * 22), "{moments:?}");
}

fn a_push_ends_with_its_stream_and_begins_with_the_next(config: Config) {
    let server = Server::start(config);
    let (socket, addr) = receiver();
    push(&server, addr, plain());
    for _ in 0..2 {
        until(&server, "it waits for its stream", |state| *state == DialState::Waiting);
        let mut publisher = Publisher::start(server.rtmp, "cam");
        publisher.send_frames(FRAMES);
        connected(&server);
        // The end of the one before may still be on its way.
        let mut first = next(&socket);
        while first[1..3] != [0x40, 0] {
            first = next(&socket);
        }
        assert_begins(&first);
        publisher.stream_command("deleteStream", &[codecs::amf0::Value::Number(1.0)]);
        publisher.flush();
        server.control.stream_ended("cam");
        forget(&socket);
    }
    until(&server, "it waits again", |state| *state == DialState::Waiting);
}

fn a_push_goes_on_with_the_publisher_who_returns(config: Config) {
    let server = Server::start(config);
    let (socket, addr) = receiver();
    push(&server, addr, plain());
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(FRAMES);
    let session = connected(&server);
    let mut received = next(&socket);
    assert_begins(&received);
    drop(publisher);
    let lost = |event: &Event| matches!(event, Event::StreamLost { .. });
    server.control.event("the publisher is gone", lost);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let returned = |event: &Event| matches!(event, Event::StreamReturned { .. });
    server.control.event("another one is there", returned);
    let begun = received.len();
    // What the first one sent is not all that comes: the second sends until its own must have.
    while received.len() < begun + 40 * DATAGRAM {
        publisher.send_frames(1);
        received.extend(next(&socket));
    }
    assert_whole(&received);
    let totals = server.control.snapshot();
    let pushed = totals.sessions().find(|session| session.protocol == Protocol::Udp).unwrap();
    assert_eq!(pushed.id, session, "it is the same push");
}

/// What of a transport stream is media.
fn media(bytes: &[u8]) -> Vec<&[u8]> {
    let pid = |packet: &[u8]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
    let is_media = |packet: &&[u8]| packet[3] & 0x10 != 0 && [0x100, 0x101].contains(&pid(packet));
    bytes.chunks_exact(PACKET_LEN).filter(is_media).collect()
}

fn what_came_as_packets_is_pushed_as_it_came(mut config: Config) {
    config.reactor.datagram_buffers = 4;
    let server = Server::start(config);
    let (socket, addr) = receiver();
    push(&server, addr, plain());
    // The address is free again once it is known.
    let (_, from) = receiver();
    let input = UdpInput {
        addr: from,
        source: None,
        interface: None,
        timeout: None,
        receive_buffer_bytes: 1 << 20,
        transport: TransportTerms::default(),
    };
    let inputs: Arc<[_]> = [Arc::new(input)].into();
    server.control.send_all(|| Command::Pull { stream: name(), inputs: Arc::clone(&inputs) });
    let listens = |totals: &node::Totals| totals.sum(|counters| counters.connections) == 1;
    server.control.until("the node listens", listens);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |bytes: &[u8]| {
        for datagram in bytes.chunks(DATAGRAM) {
            sender.send_to(datagram, from).unwrap();
        }
    };
    // A push begins at the newest keyframe: the others come when it has.
    let (begin, rest) = CLIP.split_at(CLIP.len() / 4 / DATAGRAM * DATAGRAM);
    send(begin);
    let mut received = next(&socket);
    send(rest);
    let sent = media(CLIP);
    while media(&received).len() < sent.len() / 2 {
        received.extend(next(&socket));
    }
    assert_whole(&received);
    let pids: Vec<_> = packets::packets(&received).map(|packet| packet.pid).collect();
    assert_eq!((pids[0], pids[1]), (0, 0x1000), "tables come first");
    let pushed = media(&received);
    let begins = sent.iter().position(|packet| *packet == pushed[0]).expect("it was sent");
    assert!(pushed[..] == sent[begins..begins + pushed.len()], "each as it came, none is missing");
}

fn a_push_that_is_wanted_no_more_ends(config: Config) {
    let server = Server::start(config);
    let (socket, addr) = receiver();
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(FRAMES);
    let (other, other_addr) = receiver();
    push_to(&server, &[dial(1, addr, plain()), dial(2, other_addr, plain())]);
    assert_begins(&next(&socket));
    assert_begins(&next(&other));
    push_to(&server, &[dial(2, other_addr, plain())]);
    let udp = |session: &&dataplane::control::SessionStatus| session.protocol == Protocol::Udp;
    server.control.until("one is over", |totals| totals.sessions().filter(udp).count() == 1);
    [&socket, &other].into_iter().for_each(forget);
    publisher.send_frames(FRAMES);
    // The one that is left gets what comes now; the other would have got it, too.
    (0..3).for_each(|_| drop(next(&other)));
    socket.set_nonblocking(true).unwrap();
    let none = socket.recv_from(&mut [0; 2_048]).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
}

fn a_way_that_is_gone_is_told_and_taken_again(config: Config) {
    let case = "a_way_that_is_gone_is_told_and_taken_again";
    network::in_a_network(case, config, |config| {
        network::tool("ip", "link add left type veth peer name left0");
        network::tool("ip", "link set left0 up");
        network::tool("ip", "addr add 10.77.1.1/24 dev left");
        let server = Server::start(config);
        let mut publisher = Publisher::start(server.rtmp, "cam");
        publisher.send_frames(FRAMES);
        // Nobody has the address, and nobody says so.
        let peer = UdpPeer { interface: Some("left".into()), ..plain() };
        push(&server, "10.77.1.2:5000".parse().unwrap(), peer);
        let no_route = DialState::Pausing { reason: DialFailure::Socket(libc::ENETUNREACH) };
        for way in ["down", "up", "down"] {
            network::tool("ip", &format!("link set left {way}"));
            if way == "up" {
                connected(&server);
                continue;
            }
            // A push that was sending hears of it as it sends on.
            publisher.send_frames(FRAMES);
            until(&server, "it pauses", |state| *state == no_route);
        }
    });
}

fn a_socket_that_cannot_be_opened_is_told_and_tried_again(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(FRAMES);
    let peer = UdpPeer { interface: Some("none0".into()), ..plain() };
    push(&server, "239.255.77.9:5000".parse().unwrap(), peer);
    for _ in 0..2 {
        let pauses = |state: &DialState| matches!(state, DialState::Pausing { .. });
        let state = until(&server, "it pauses", pauses);
        let reason = DialFailure::Socket(libc::ENODEV);
        assert_eq!(state, DialState::Pausing { reason });
    }
}

/// A member of the group that hears one interface alone.
fn member(group: SocketAddr, interface: &str, addr: &str) -> UdpSocket {
    let domain = socket2::Domain::for_address(group);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    bind_to_interface(socket.as_fd(), interface).unwrap();
    socket.bind(&group.into()).unwrap();
    let joined = match group {
        SocketAddr::V4(group) => socket.join_multicast_v4(group.ip(), &addr.parse().unwrap()),
        SocketAddr::V6(group) => {
            socket.join_multicast_v6(group.ip(), interface_index(interface).unwrap())
        }
    };
    joined.unwrap();
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
    socket
}

fn a_group_is_sent_to_by_the_interface_that_is_named(config: Config) {
    let case = "a_group_is_sent_to_by_the_interface_that_is_named";
    network::in_a_network(case, config, |config| {
        let places = [("left", "10.77.1.1", "fd77:1::1"), ("right", "10.77.2.1", "fd77:2::1")];
        for (interface, v4, v6) in places {
            network::tool("ip", &format!("link add {interface} type veth peer name {interface}0"));
            network::tool("ip", &format!("link set {interface}0 up"));
            network::tool("ip", &format!("addr add {v4}/24 dev {interface}"));
            network::tool("ip", &format!("addr add {v6}/64 dev {interface} nodad"));
            network::tool("ip", &format!("link set {interface} up multicast on"));
        }
        let server = Server::start(config);
        let mut publisher = Publisher::start(server.rtmp, "cam");
        publisher.send_frames(FRAMES);
        for group in [
            SocketAddr::from((Ipv4Addr::new(239, 7, 7, 7), 5_000)),
            SocketAddr::from((Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 7, 7), 5_000)),
        ] {
            let [far, near] = places.map(|(interface, v4, _)| member(group, interface, v4));
            let peer = UdpPeer { interface: Some("right".into()), ..plain() };
            push(&server, group, peer);
            publisher.send_frames(FRAMES);
            assert_begins(&next(&near));
            far.set_nonblocking(true).unwrap();
            let none = far.recv_from(&mut [0; 2_048]).map(|(len, _)| len);
            assert!(none.is_err(), "{none:?} bytes leave by the other one");
            push_to(&server, &[]);
        }
    });
}
