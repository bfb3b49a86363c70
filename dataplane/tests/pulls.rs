//! Inputs that a node fetches by itself: datagrams become a stream, whose end is its silence.

#![expect(clippy::disallowed_types, reason = "senders are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

#[path = "ports/network.rs"]
#[allow(dead_code, reason = "no line is narrow here")]
mod network;
mod node;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dataplane::config::Config;
use dataplane::control::{
    CloseReason, Command, Event, InputState, InputStatus, Protocol, Role, UdpInput,
};
use dataplane::ids::StreamName;
use dataplane::session::mpegts::TransportTerms;
use node::{Server, Totals};

on_both_backends! {
    a_bare_stream_is_lost_in_silence_and_comes_back
    a_stream_in_rtp_is_taken_out_of_it
    another_source_of_rtp_follows_a_silent_one
    what_is_lost_on_the_way_is_counted
    a_stray_datagram_neither_begins_nor_ends_a_stream
    an_input_takes_the_program_it_is_told
    of_two_inputs_the_one_that_delivers_holds_the_stream
    a_group_is_taken_from_anybody
    a_group_with_a_sender_is_taken_from_him_alone
    groups_are_joined_where_and_for_whom_they_say
    an_input_that_is_wanted_no_more_ends
    an_address_that_is_taken_is_told_once_and_tried_again
}

/// A transport stream of H.264 and AAC.
const CLIP: &[u8] = include_bytes!("../../codecs/testdata/mpegts/ffmpeg_h264_aac.ts");
/// Two programs: 7 of H.264, 9 of HEVC and AAC.
const TWO_PROGRAMS: &[u8] = include_bytes!("../../codecs/testdata/mpegts/ffmpeg_two_programs.ts");
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
        transport: TransportTerms::default(),
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

/// What is told of the input.
fn input_of(totals: &Totals) -> Option<&InputStatus> {
    totals.shards.iter().flat_map(|shard| &shard.inputs).find(|input| input.stream == name())
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

    let input = input_of(&totals).unwrap();
    assert_eq!((input.state, input.session), (InputState::Delivering, Some(session.id)));
    assert_eq!((input.sender, input.error), (Some(peer), None));

    let is_lost = |event: &Event| matches!(event, Event::StreamLost { .. });
    let (_, lost) = server.control.event("the sender is silent", is_lost);
    assert!(matches!(lost, Event::StreamLost { reason: CloseReason::Idle, .. }), "{lost:?}");
    let totals = server.control.until("the node listens again", listens);
    let input = input_of(&totals).unwrap();
    assert_eq!((input.state, input.error), (InputState::Listening, Some("idle")));
    let datagrams = CLIP.len().div_ceil(DATAGRAM) as u64;
    assert_eq!((input.counts.datagrams, input.counts.bytes), (datagrams, CLIP.len() as u64));
    assert_eq!((input.counts.packets, input.counts.packets_lost), (CLIP.len() as u64 / 188, 0));
    assert_eq!(totals.sum(|counters| counters.input_datagrams), datagrams);
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

fn another_source_of_rtp_follows_a_silent_one(config: Config) {
    let server = start(config);
    let (_, addr) = socket();
    // Its silence is no end of the input.
    pull(&server, UdpInput { timeout: None, ..input(addr) });
    server.control.until("the node listens", listens);
    let (sender, _) = socket();
    send(&sender, addr, rtp);
    server.control.until("the stream is on the air", is_on_air);
    let datagrams = CLIP.len().div_ceil(DATAGRAM) as u64;
    let all = |totals: &Totals| input_of(totals).is_some_and(|i| i.counts.datagrams == datagrams);
    let taken = server.control.until("all of it is taken", all);
    let session = input_of(&taken).unwrap().session;
    // It is foreign as long as the first one may go on.
    let other = |number| {
        let mut head = rtp(number);
        head[11] += 1;
        head
    };
    send(&sender, addr, other);
    let foreign = |totals: &Totals| input_of(totals).is_some_and(|i| i.counts.foreign > 0);
    let totals = server.control.until("it is passed over", foreign);
    assert_eq!(input_of(&totals).unwrap().counts.datagrams, datagrams);
    let more = |totals: &Totals| {
        send(&sender, addr, other);
        input_of(totals).is_some_and(|i| i.counts.datagrams > datagrams)
    };
    let totals = server.control.until("it is taken after a silence", more);
    let lost = |event: &Event| matches!(event, Event::StreamLost { .. });
    let (_, lost) = server.control.event("the first source is over", lost);
    assert!(matches!(lost, Event::StreamLost { reason: CloseReason::ConnectionLost, .. }));
    let returned = |event: &Event| matches!(event, Event::StreamReturned { .. });
    server.control.event("the stream is back", returned);
    assert_eq!(input_of(&totals).unwrap().session, session, "the input goes on");
}

fn what_is_lost_on_the_way_is_counted(config: Config) {
    let server = start(config);
    let (_, addr) = socket();
    pull(&server, input(addr));
    server.control.until("the node listens", listens);
    let (sender, _) = socket();
    for (number, packets) in (0..).zip(CLIP.chunks(DATAGRAM)) {
        let datagram = [rtp(number).as_slice(), packets].concat();
        // One never comes, and one comes twice.
        let times = match number {
            5 => 0,
            9 => 2,
            _ => 1,
        };
        for _ in 0..times {
            sender.send_to(&datagram, addr).unwrap();
        }
    }
    let is_counted = |totals: &Totals| input_of(totals).is_some_and(|i| i.counts.late == 1);
    let totals = server.control.until("all that came is counted", is_counted);
    let counts = input_of(&totals).unwrap().counts;
    assert_eq!((counts.missing, counts.foreign, counts.overflowed), (1, 0, 0));
    assert!((1..=7).contains(&counts.packets_lost), "{counts:?}");
    assert_eq!(totals.sum(|counters| counters.input_packets_lost), counts.packets_lost);
}

fn a_stray_datagram_neither_begins_nor_ends_a_stream(config: Config) {
    let server = start(config);
    let (_, addr) = socket();
    pull(&server, input(addr));
    server.control.until("the node listens", listens);
    let (sender, peer) = socket();
    let (stranger, _) = socket();
    for stray in [&b""[..], b"hello", &[0xff; 1316], &[0x47; 100], &[0x80, 33, 0, 1]] {
        stranger.send_to(stray, addr).unwrap();
    }
    let foreign = |n: u64| move |t: &Totals| input_of(t).is_some_and(|i| i.counts.foreign == n);
    // One without a byte says nothing.
    let totals = server.control.until("they are passed over", foreign(4));
    assert!(totals.stream("cam").is_none() && listens(&totals), "they begin nothing");
    send(&sender, addr, bare);
    server.control.until("the stream is on the air", is_on_air);
    // What would be taken of its sender is not of another one.
    for stray in [&CLIP[..DATAGRAM], b"hello"] {
        stranger.send_to(stray, addr).unwrap();
    }
    let totals = server.control.until("they are passed over", foreign(6));
    assert_eq!(input_of(&totals).unwrap().sender, Some(peer));
}

fn an_input_takes_the_program_it_is_told(config: Config) {
    let server = start(config);
    let names = ["first", "second"].map(|name| StreamName::parse(name).unwrap());
    let group = group();
    for (name, program) in names.iter().zip([7, 9]) {
        let transport = TransportTerms { program: Some(program), ..TransportTerms::default() };
        let input = Arc::new(UdpInput { transport, ..group.clone() });
        let inputs: Arc<[_]> = Arc::from([input]);
        let pull = || Command::Pull { stream: name.clone(), inputs: Arc::clone(&inputs) };
        server.control.send_all(pull);
    }
    let both = |totals: &Totals| totals.sum(|counters| counters.connections) == 2;
    server.control.until("the node listens for both", both);
    let (sender, _) = socket();
    for packets in TWO_PROGRAMS.chunks(DATAGRAM) {
        sender.send_to(packets, group.addr).unwrap();
    }
    let tracks = |totals: &Totals, name: &str| {
        let stream = totals.stream(name).filter(|stream| stream.units_in > 0)?;
        Some(stream.tracks.iter().map(|track| track.codec).collect::<Vec<_>>())
    };
    let is_there =
        |totals: &Totals| ["first", "second"].iter().all(|name| tracks(totals, name).is_some());
    let totals = server.control.until("both are on the air", is_there);
    let told = ["first", "second"].map(|name| tracks(&totals, name).unwrap());
    assert_ne!(told[0], told[1], "each has the tracks of its program");
}

fn of_two_inputs_the_one_that_delivers_holds_the_stream(config: Config) {
    let server = start(config);
    let addrs = [socket().1, socket().1];
    let inputs: Arc<[_]> = addrs.map(|addr| Arc::new(input(addr))).into();
    server.control.send_all(|| Command::Pull { stream: name(), inputs: Arc::clone(&inputs) });
    let both = |totals: &Totals| totals.sum(|counters| counters.connections) == 2;
    server.control.until("the node listens to both", both);
    let (sender, _) = socket();
    send(&sender, addrs[1], bare);
    let taken = |event: &Event| matches!(event, Event::InputTaken { .. });
    let (_, event) = server.control.event("the second delivers", taken);
    let Event::InputTaken { input, .. } = event else { panic!("{event:?}") };
    assert_eq!(input.addr, addrs[1]);
    // The other one delivers once the first has fallen silent.
    let lost = |event: &Event| matches!(event, Event::StreamLost { .. });
    server.control.event("it is silent", lost);
    send(&sender, addrs[0], bare);
    let (_, event) = server.control.event("the first delivers", taken);
    let Event::InputTaken { input, .. } = event else { panic!("{event:?}") };
    assert_eq!(input.addr, addrs[0]);
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

/// Two networks with two hosts each, which are all this one.
const PLACES: [(&str, [&str; 4]); 2] = [
    ("left", ["10.77.1.1", "10.77.1.2", "fd77:1::1", "fd77:1::2"]),
    ("right", ["10.77.2.1", "10.77.2.2", "fd77:2::1", "fd77:2::2"]),
];

fn groups_are_joined_where_and_for_whom_they_say(config: Config) {
    network::in_a_network("groups_are_joined_where_and_for_whom_they_say", config, |config| {
        for (interface, addrs) in PLACES {
            network::tool("ip", &format!("link add {interface} type veth peer name {interface}0"));
            network::tool("ip", &format!("link set {interface}0 up"));
            for addr in addrs {
                let (bits, options) = if addr.contains(':') { (64, " nodad") } else { (24, "") };
                network::tool("ip", &format!("addr add {addr}/{bits} dev {interface}{options}"));
            }
            network::tool("ip", &format!("link set {interface} up multicast on"));
        }
        let server = start(config);
        for (group, version) in [("232.7.7.7:5000", 0), ("[ff3e::7:7]:5000", 2)] {
            let [(left, near), (right, far)] = PLACES;
            let [from, beside] = [near[version], near[version + 1]];
            let group = UdpInput { interface: Some(left.into()), ..input(group.parse().unwrap()) };
            let source = Some(from.parse().unwrap());
            // On another interface, and on this one of another sender, somebody sends, too.
            let strangers = [(right, far[version]), (left, beside)];
            joined(&server, &group, (left, beside), &strangers[..1]);
            joined(&server, &UdpInput { source, ..group.clone() }, (left, from), &strangers);
        }
    });
}

/// Has the node take a group, to which strangers send, too: it hears nobody but the sender.
fn joined(server: &Server, group: &UdpInput, sender: (&str, &str), strangers: &[(&str, &str)]) {
    pull(server, group.clone());
    server.control.until("the node listens", listens);
    let (wanted, peer) = sender_in(sender);
    for &stranger in strangers {
        send(&sender_in(stranger).0, group.addr, bare);
    }
    send(&wanted, group.addr, bare);
    let hears = |t: &Totals| input_of(t).is_some_and(|i| i.counts.datagrams > 0);
    let totals = server.control.until("the group is heard", hears);
    let input = input_of(&totals).unwrap();
    assert_eq!((input.sender, input.counts.foreign), (Some(peer), 0), "{group:?}");
    let inputs: Arc<[Arc<UdpInput>]> = Arc::from([]);
    server.control.send_all(|| Command::Pull { stream: name(), inputs: Arc::clone(&inputs) });
    let over = |totals: &Totals| {
        totals.sum(|counters| counters.connections) == 0 && input_of(totals).is_none()
    };
    server.control.until("the node listens no more", over);
}

/// A sender to groups on an interface, from an address of it.
fn sender_in((interface, addr): (&str, &str)) -> (UdpSocket, SocketAddr) {
    let addr = SocketAddr::new(addr.parse::<IpAddr>().unwrap(), 0);
    let socket = UdpSocket::bind(addr).unwrap();
    let options = socket2::SockRef::from(&socket);
    match addr.ip() {
        IpAddr::V4(ip) => options.set_multicast_if_v4(&ip).unwrap(),
        IpAddr::V6(_) => {
            let index = dataplane::reactor::interface_index(interface).unwrap();
            options.set_multicast_if_v6(index).unwrap();
        }
    }
    let addr = socket.local_addr().unwrap();
    (socket, addr)
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
    let failed = |event: &Event| matches!(event, Event::InputFailed { .. });
    let (_, event) = server.control.event("the address is taken", failed);
    let Event::InputFailed { stream, input, reason } = event else { panic!("{event:?}") };
    assert_eq!((stream, input.addr, reason), (name(), addr, "address_in_use"));
    let status = server.control.until("it pauses", |totals| input_of(totals).is_some());
    let status = input_of(&status).unwrap();
    assert_eq!((status.state, status.error), (InputState::Pausing, Some("address_in_use")));
    drop(holder);
    server.control.until("the node listens", listens);
}
