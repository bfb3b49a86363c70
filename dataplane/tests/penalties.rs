//! Who has a penalty is shut out on every shard, whoever tells of him; who is in stays; and what
//! comes too often is let in at its rate, however it is spread.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "a rate is compared with a clock")]

mod node;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::rtmp::command::code::PUBLISH_START;
use dataplane::config::{AddrRange, Config, HlsSession, LimitId};
use dataplane::control::{Event, Turn, Turned};
use dataplane::metrics::ShardCounters;
use dataplane::rates::{Penalties, address_of, prefix_of};
use node::{FRAME_MS, Peer, Publisher, Server, TIME_BOUND, Viewer};

on_both_backends! {
    who_has_a_penalty_is_shut_out_and_who_is_in_stays
    who_has_a_penalty_at_the_start_never_comes_in
    a_penalty_of_a_prefix_is_one_of_who_shows_something
    a_view_goes_on_over_new_connections_and_no_other_begins
    clients_behind_balancers_and_proxies_have_their_own_penalties
    a_rate_holds_over_all_shards
    who_begins_with_nonsense_is_told_of
}

const HOUR: Duration = Duration::from_secs(3_600);
const PUBLISHER: Ipv4Addr = Ipv4Addr::LOCALHOST;
const GUESSER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 9);

/// A connection from that address of this machine.
fn from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
    let socket = socket2::Socket::new(domain, kind, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIME_BOUND)).unwrap();
    stream
}

/// The status of the answer to a request, with those fields; `None` if there is none.
fn status(socket: &mut TcpStream, target: &str, fields: &str) -> Option<String> {
    // One that was closed at once may refuse to be written to.
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let _ = socket.write_all(request.as_bytes());
    let mut status = [0; 12];
    socket.read_exact(&mut status).ok()?;
    Some(String::from_utf8(status[9..].to_vec()).unwrap())
}

/// The rest of an answer with a length.
fn skip_rest(socket: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    socket.read_exact(&mut vec![0; len.parse().unwrap()]).unwrap();
}

/// Reads so many bytes of a stream.
fn reads(socket: &mut TcpStream, len: usize) {
    socket.read_exact(&mut vec![0; len]).unwrap();
}

fn strangers(mut config: Config) -> Config {
    config.limits.exempt = vec![AddrRange { addr: PUBLISHER.into(), bits: 32 }];
    config
}

fn enforced(counters: &ShardCounters) -> u64 {
    counters.penalties_enforced
}

/// What shards told of those who were turned away, until it adds up to `count`.
fn turned(server: &Server, why: Turn, count: u64) -> Vec<Turned> {
    let mut all = Vec::new();
    while all.iter().map(|turned: &Turned| turned.count).sum::<u64>() < count {
        let (_, event) = server
            .control
            .event("who was turned away", |event| matches!(event, Event::TurnedAway(_)));
        let Event::TurnedAway(turned) = event else { unreachable!("it was chosen") };
        all.extend(turned.iter().filter(|turned| turned.why == why));
    }
    all
}

fn who_has_a_penalty_is_shut_out_and_who_is_in_stays(config: Config) {
    let server = Server::start(strangers(config));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    let mut player = from(GUESSER, server.http);
    assert_eq!(status(&mut player, "/good.flv", "").as_deref(), Some("200"));
    let mut kept = from(GUESSER, server.http);
    assert_eq!(status(&mut kept, "/nothing.mkv", "").as_deref(), Some("404"));
    skip_rest(&mut kept);

    let whose = address_of(GUESSER.into());
    server.penalties.begin(&whose, HOUR, Instant::now());
    for _ in 0..8 {
        let shut = status(&mut from(GUESSER, server.http), "/good.flv", "");
        assert_eq!(shut.as_deref(), Some("403"));
        let mut rtmp = from(GUESSER, server.rtmp);
        let _ = rtmp.write_all(&[3; 1_537]);
        assert!(rtmp.read(&mut [0; 16]).map_or(true, |len| len == 0));
    }
    // Nor is anything asked over a connection that was open.
    assert_eq!(status(&mut kept, "/good.flv", "").as_deref(), Some("403"));
    server.control.until("each is counted", |totals| totals.sum(enforced) == 17);
    let sums = turned(&server, Turn::Penalty, 17);
    assert!(sums.iter().all(|sum| sum.whose == Some(whose)));
    assert_eq!(sums.iter().map(|sum| sum.count).sum::<u64>(), 17);
    // Others come, and who plays goes on.
    let mut neighbour = from(NEIGHBOUR, server.http);
    assert_eq!(status(&mut neighbour, "/good.flv", "").as_deref(), Some("200"));
    publisher.send_frames(60);
    reads(&mut player, 2_000);
    reads(&mut neighbour, 2_000);

    server.penalties.end(&whose);
    let mut again = from(GUESSER, server.http);
    assert_eq!(status(&mut again, "/good.flv", "").as_deref(), Some("200"));
}

fn who_has_a_penalty_at_the_start_never_comes_in(config: Config) {
    let penalties = Arc::<Penalties>::default();
    penalties.begin(&address_of(GUESSER.into()), HOUR, Instant::now());
    let server = Server::start_with(strangers(config), penalties);
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    for (source, heard) in [(GUESSER, "403"), (NEIGHBOUR, "200")] {
        let mut socket = from(source, server.http);
        assert_eq!(status(&mut socket, "/good.flv", "").as_deref(), Some(heard));
    }
}

fn a_penalty_of_a_prefix_is_one_of_who_shows_something(config: Config) {
    let server = Server::start(strangers(config));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    server.penalties.begin(&prefix_of(GUESSER.into()), HOUR, Instant::now());
    for (source, heard) in [
        (GUESSER, "403"),
        (NEIGHBOUR, "403"),
        // In the same prefix, but bound by nothing.
        (PUBLISHER, "200"),
        (Ipv4Addr::new(127, 0, 1, 2), "200"),
    ] {
        let answer = status(&mut from(source, server.http), "/good.flv?key=guess", "");
        assert_eq!(answer.as_deref(), Some(heard), "{source}");
        // Viewers who show nothing are not refused for what is around them.
        let answer = status(&mut from(source, server.http), "/good.flv", "");
        assert_eq!(answer.as_deref(), Some("200"), "{source}");
    }
    // Nor is a connection of RTMP, but what it would publish.
    let mut rtmp = Peer::raw(from(GUESSER, server.rtmp));
    rtmp.hello();
    rtmp.flush();
    rtmp.skip_hello();
    rtmp.connect_to("live", 0.0);
    rtmp.create_stream();
    rtmp.publish("other");
    rtmp.flush();
    let heard = rtmp.statuses_to_end();
    assert!(!heard.is_empty() && heard.iter().all(|code| code != PUBLISH_START), "{heard:?}");
}

fn a_view_goes_on_over_new_connections_and_no_other_begins(mut config: Config) {
    config.stream.hls.session = HlsSession::Token;
    let server = Server::start(strangers(config));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(2 * 2_000 / FRAME_MS + 1);
    let viewer = || Viewer::of(from(GUESSER, server.http));
    let index = viewer().found("/good/index.m3u8");
    let media = format!("/good/{}", index.uris()[0]);
    let list = viewer().found(&media);
    server.penalties.begin(&address_of(GUESSER.into()), HOUR, Instant::now());
    server.penalties.begin(&prefix_of(GUESSER.into()), HOUR, Instant::now());
    // Each request over a connection of its own, so that every shard has some.
    for _ in 0..8 {
        viewer().found(&media);
        for uri in list.uris() {
            viewer().found(&format!("/good/{uri}"));
        }
        // The same question was answered a moment ago, and is not his any more.
        assert_eq!(viewer().get("/good/index.m3u8").status, 403);
    }
    let mut neighbour = Viewer::of(from(NEIGHBOUR, server.http));
    neighbour.found("/good/index.m3u8");
}

fn clients_behind_balancers_and_proxies_have_their_own_penalties(config: Config) {
    let mut config = strangers(config);
    config.session.proxies = vec![AddrRange { addr: BALANCER.into(), bits: 32 }];
    for listener in &mut config.listeners {
        listener.proxied = listener.kind == dataplane::config::ListenerKind::Rtmp;
    }
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    let guesser: IpAddr = "198.51.100.7".parse().unwrap();
    let now = Instant::now();
    server.penalties.begin(&address_of(guesser), HOUR, now);
    // Whoever speaks for others is not refused for what one of them did.
    server.penalties.begin(&address_of(BALANCER.into()), HOUR, now);
    let balanced = |client: &str| {
        let mut socket = from(BALANCER, server.rtmp);
        write!(socket, "PROXY TCP4 {client} 192.0.2.1 5000 1935\r\n").unwrap();
        let _ = socket.write_all(&[3; 1_537]);
        socket.read(&mut [0; 16]).is_ok_and(|len| len > 0)
    };
    assert!(!balanced("198.51.100.7"));
    assert!(balanced("198.51.100.8"));
    let fields = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let mut proxy = from(BALANCER, server.http);
    let shut = status(&mut proxy, "/good.flv", &fields("198.51.100.7"));
    assert_eq!(shut.as_deref(), Some("403"));
    skip_rest(&mut proxy);
    let shut = status(&mut proxy, "/good/index.m3u8", &fields("198.51.100.7"));
    assert_eq!(shut.as_deref(), Some("403"));
    skip_rest(&mut proxy);
    let open = status(&mut proxy, "/good.flv", &fields("198.51.100.8"));
    assert_eq!(open.as_deref(), Some("200"));
    // Nor is what he asks without a word about anybody.
    let own = status(&mut from(BALANCER, server.http), "/good.flv", "");
    assert_eq!(own.as_deref(), Some("200"));
    // A stranger's word about somebody else helps nobody, and harms nobody.
    server.penalties.begin(&address_of(GUESSER.into()), HOUR, now);
    let guesser = status(&mut from(GUESSER, server.http), "/good.flv", &fields("198.51.100.8"));
    assert_eq!(guesser.as_deref(), Some("403"));
    let heard = status(&mut from(NEIGHBOUR, server.http), "/good.flv", &fields("198.51.100.7"));
    assert_eq!(heard.as_deref(), Some("200"));
}

fn a_rate_holds_over_all_shards(mut config: Config) {
    const PER_SECOND: u64 = 5;
    const BURST: u64 = 4 * PER_SECOND;
    config = strangers(config);
    config.limits.set(LimitId::ConnectsPerIpMax, PER_SECOND);
    let server = Server::start(config);
    let began = Instant::now();
    let answered = (0..80)
        .filter(|_| status(&mut from(GUESSER, server.http), "/nothing.mkv", "").is_some())
        .count() as u64;
    let earned = began.elapsed().as_millis() as u64 * PER_SECOND / 1_000;
    assert!(answered <= BURST + earned, "{answered}, {BURST} and {earned}");
    assert!(answered >= BURST, "{answered}");
    let shed = 80 - answered;
    server
        .control
        .until("each is counted", |totals| totals.limit(LimitId::ConnectsPerIpMax) == shed);
    let sums = turned(&server, Turn::Rate, shed);
    assert!(sums.iter().all(|sum| sum.whose == Some(address_of(GUESSER.into()))));
    // Nobody else is bound by it.
    let heard = status(&mut from(NEIGHBOUR, server.http), "/nothing.mkv", "");
    assert_eq!(heard.as_deref(), Some("404"));
}

fn who_begins_with_nonsense_is_told_of(config: Config) {
    let server = Server::start(strangers(config));
    for _ in 0..3 {
        let mut socket = from(GUESSER, server.rtmp);
        socket.write_all(&[0xff; 4_000]).unwrap();
        let mut heard = Vec::new();
        // It is closed, with a word of its protocol or without one.
        let _ = socket.read_to_end(&mut heard);
    }
    let sums = turned(&server, Turn::Malformed, 3);
    assert!(sums.iter().all(|sum| sum.whose == Some(address_of(GUESSER.into()))));
}
