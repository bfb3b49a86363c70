//! Inputs that a node fetches by itself: datagrams become a stream, whose end is its silence.

#![expect(clippy::disallowed_types, reason = "senders are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dataplane::config::Config;
use dataplane::control::{CloseReason, Command, Event, Protocol, Role, UdpInput};
use dataplane::ids::StreamName;
use node::{Server, Totals};

on_both_backends! {
    a_bare_stream_is_lost_in_silence_and_comes_back
    a_stream_in_rtp_is_taken_out_of_it
    a_group_is_taken_from_anybody
    a_group_with_a_sender_is_taken_from_him_alone
    an_input_that_is_wanted_no_more_ends
    an_address_that_is_taken_is_told_once_and_tried_again
}

/// A transport stream of H.264 and AAC.
const CLIP: &[u8] = include_bytes!("../../codecs/testdata/mpegts/ffmpeg_h264_aac.ts");
/// Bytes of a datagram: seven packets.
const DATAGRAM: usize = 7 * 188;

fn name() -> StreamName {
    StreamName::parse("cam").unwrap()
}

fn start(mut config: Config) -> Server {
    config.reactor.datagram_buffers = 4;
    Server::start(config)
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// What comes to `addr`.
fn input(addr: SocketAddr) -> UdpInput {
    UdpInput {
        addr,
        source: None,
        interface: None,
        timeout: Some(Duration::from_millis(500)),
        receive_buffer_bytes: 1 << 20,
        program: None,
        pids: Vec::new(),
    }
}

/// Has the node listen.
fn pull(server: &Server, input: UdpInput) {
    let inputs: Arc<[_]> = Arc::from([Arc::new(input)]);
    server.control.send_all(|| Command::Pull { stream: name(), inputs: Arc::clone(&inputs) });
}

fn listens(totals: &Totals) -> bool {
    totals.sum(|counters| counters.connections) == 1
}

fn is_on_air(totals: &Totals) -> bool {
    let stream = totals.stream("cam");
    stream.is_some_and(|stream| stream.protocol == Protocol::Udp && stream.units_in > 0)
}

/// The clip, each datagram behind `head` of its number.
fn send(from: &UdpSocket, to: SocketAddr, head: impl Fn(u16) -> Vec<u8>) {
    for (number, packets) in (0..).zip(CLIP.chunks(DATAGRAM)) {
        let datagram = [head(number).as_slice(), packets].concat();
        assert_eq!(from.send_to(&datagram, to).unwrap(), datagram.len());
    }
}

fn bare(_: u16) -> Vec<u8> {
    Vec::new()
}

fn rtp(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    vec![0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, 9]
}

fn a_bare_stream_is_lost_in_silence_and_comes_back(config: Config) {
    let server = start(config);
    // The address is free again once it is known.
    let (_, addr) = socket();
    pull(&server, input(addr));
    server.control.until("the node listens", listens);
    assert!(server.control.snapshot().stream("cam").is_none(), "nobody sends yet");

    let (sender, peer) = socket();
    send(&sender, addr, bare);
    let totals = server.control.until("the stream is on the air", is_on_air);
    let session = totals.sessions().find(|session| session.protocol == Protocol::Udp).unwrap();
    assert_eq!((session.role, session.peer), (Some(Role::Publish), peer));

    let is_lost = |event: &Event| matches!(event, Event::StreamLost { .. });
    let (_, lost) = server.control.event("the sender is silent", is_lost);
    assert!(matches!(lost, Event::StreamLost { reason: CloseReason::Idle, .. }), "{lost:?}");
    server.control.until("the node listens again", listens);
    send(&sender, addr, bare);
    let returned = |event: &Event| matches!(event, Event::StreamReturned { .. });
    server.control.event("the stream is back", returned);
}

fn a_stream_in_rtp_is_taken_out_of_it(config: Config) {
    let server = start(config);
    let (_, addr) = socket();
    pull(&server, input(addr));
    server.control.until("the node listens", listens);
    let (sender, _) = socket();
    send(&sender, addr, rtp);
    server.control.until("the stream is on the air", is_on_air);
}

/// A group on the loopback interface: who sends from an address of it sends there.
fn group() -> UdpInput {
    let (_, addr) = socket();
    let group = SocketAddr::from(([239, 255, 77, 1], addr.port()));
    UdpInput { interface: Some("lo".into()), ..input(group) }
}

fn a_group_is_taken_from_anybody(config: Config) {
    let server = start(config);
    let group = group();
    let addr = group.addr;
    pull(&server, group);
    server.control.until("the node listens", listens);
    let (sender, _) = socket();
    send(&sender, addr, bare);
    server.control.until("the stream is on the air", is_on_air);
}

fn a_group_with_a_sender_is_taken_from_him_alone(config: Config) {
    let server = start(config);
    let wanted = UdpSocket::bind("127.0.0.2:0").unwrap();
    let peer = wanted.local_addr().unwrap();
    let group = UdpInput { source: Some(peer.ip()), ..group() };
    let addr = group.addr;
    pull(&server, group);
    server.control.until("the node listens", listens);
    let (other, _) = socket();
    send(&other, addr, bare);
    send(&wanted, addr, bare);
    let totals = server.control.until("the stream is on the air", is_on_air);
    let session = totals.sessions().find(|session| session.protocol == Protocol::Udp).unwrap();
    assert_eq!(session.peer, peer);
}

fn an_input_that_is_wanted_no_more_ends(config: Config) {
    let server = start(config);
    let (_, addr) = socket();
    pull(&server, input(addr));
    server.control.until("the node listens", listens);
    let inputs: Arc<[Arc<UdpInput>]> = Arc::from([]);
    server.control.send_all(|| Command::Pull { stream: name(), inputs: Arc::clone(&inputs) });
    let over = |totals: &Totals| totals.sum(|counters| counters.connections) == 0;
    server.control.until("the node listens no more", over);
}

fn an_address_that_is_taken_is_told_once_and_tried_again(config: Config) {
    let server = start(config);
    let (holder, addr) = socket();
    pull(&server, input(addr));
    let refused = |event: &Event| matches!(event, Event::PublishRefused(_));
    let (_, event) = server.control.event("the address is taken", refused);
    let Event::PublishRefused(refusal) = event else { panic!("{event:?}") };
    let told = (refusal.stream.as_str(), refusal.protocol, refusal.reason);
    assert_eq!(told, ("cam", Protocol::Udp, "address_in_use"));
    assert_eq!(refusal.publisher.peer, addr);
    drop(holder);
    server.control.until("the node listens", listens);
}
