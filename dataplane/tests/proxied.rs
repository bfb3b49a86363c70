//! Behind a load balancer: whose a connection is, and whose word about it counts.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use codecs::rtmp::command::code;
use dataplane::config::{AddrRange, Config, HlsSession, LimitId};
use dataplane::control::{Grant, Verdict};
use dataplane::metrics::ShardCounters;
use node::{Peer, Publisher, Server, TIME_BOUND, certificate, client, client_config, with_tls};
use rustls::StreamOwned;

on_both_backends! {
    a_balancer_tells_whose_a_connection_is
    a_head_may_come_in_pieces_and_through_the_smallest_rings
    a_balancer_without_a_head_is_refused_and_a_stranger_with_one
    heads_that_never_end_are_not_waited_for
    clients_are_capped_one_by_one_behind_a_balancer
    a_proxy_tells_for_whom_each_request_is
    clients_that_play_through_a_proxy_are_capped_one_by_one
    viewers_behind_a_proxy_are_capped_one_by_one
    a_stranger_speaks_for_nobody_else
}

/// Where balancers are.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn behind(mut config: Config) -> Config {
    config.session.proxies = vec![AddrRange { addr: BALANCER.into(), bits: 32 }];
    for listener in &mut config.listeners {
        listener.proxied = true;
    }
    config
}

/// A connection from that address of this machine.
fn from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
    let socket = socket2::Socket::new(domain, kind, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIME_BOUND)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn line(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, other) = if client.is_ipv4() { ("TCP4", "192.0.2.9") } else { ("TCP6", "::9") };
    format!("PROXY {family} {} {other} {} 1935\r\n", client.ip(), client.port()).into_bytes()
}

/// Version 2, for a client of IPv4.
fn binary(client: &str) -> Vec<u8> {
    let SocketAddr::V4(client) = client.parse().unwrap() else { panic!("not IPv4") };
    let mut head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    head.extend(client.ip().octets());
    head.extend([192, 0, 2, 9]);
    head.extend(client.port().to_be_bytes());
    head.extend(1935u16.to_be_bytes());
    head
}

/// A balancer's connection that begins with those bytes.
fn balanced(to: SocketAddr, head: &[u8]) -> TcpStream {
    let mut socket = from(BALANCER, to);
    socket.write_all(head).unwrap();
    socket
}

/// Plays by RTMP over a connection that began already.
fn plays(socket: TcpStream, name: &str) -> Peer {
    let mut peer = Peer::raw(socket);
    peer.hello();
    peer.flush();
    peer.skip_hello();
    peer.connect();
    peer.create_stream();
    peer.play(name);
    peer.flush();
    peer.expect_status(code::PLAY_START);
    peer
}

/// The first bytes of the answer to a request.
fn answer(socket: &mut (impl Read + Write), target: &str) -> String {
    write!(socket, "GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}

fn is_closed(mut socket: TcpStream) -> bool {
    match socket.read(&mut [0; 256]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn malformed(counters: &ShardCounters) -> u64 {
    counters.sessions_malformed
}

fn a_balancer_tells_whose_a_connection_is(config: Config) {
    let server = Server::start(behind(with_tls(config)));
    // Who is no balancer comes as he is.
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    let (rtmp, http) = ("198.51.100.7:5001", "203.0.113.5:5002");
    let six = "[2001:db8::7]:5003";
    let _rtmp = plays(balanced(server.rtmp, &line(rtmp)), "good");
    let mut flv = balanced(server.http, &binary(http));
    assert_eq!(answer(&mut flv, "/good.flv"), "HTTP/1.1 200");
    // The head comes before TLS.
    let config = client_config(certificate(), rustls::ALL_VERSIONS);
    let mut secure = StreamOwned::new(client(&config), balanced(server.https(), &line(six)));
    assert_eq!(answer(&mut secure, "/good.ts"), "HTTP/1.1 200");
    // The balancer's own look whether the server lives.
    let mut own = balanced(server.http, b"PROXY UNKNOWN\r\n");
    let forged = "X-Forwarded-For: 198.51.100.99\r\n";
    assert_eq!(forwarded(&mut own, "/good.flv", forged), "HTTP/1.1 200");
    let own = own.local_addr().unwrap();
    assert!(!lists(&server.control.snapshot(), "198.51.100.99"));
    for peer in [rtmp.parse().unwrap(), http.parse().unwrap(), six.parse().unwrap(), own] {
        let listed = |totals: &node::Totals| totals.session_of(peer).is_some();
        server.control.until(&format!("{peer} is listed"), listed);
    }
}

fn a_head_may_come_in_pieces_and_through_the_smallest_rings(config: Config) {
    let server = Server::start(behind(node::tiny(config)));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    let client = "198.51.100.7:5001";
    for head in [line(client), binary(client)] {
        let mut socket = from(BALANCER, server.rtmp);
        for byte in &head {
            socket.write_all(std::slice::from_ref(byte)).unwrap();
        }
        let player = plays(socket, "good");
        let of_client =
            |totals: &node::Totals| totals.session_of(client.parse().unwrap()).is_some();
        server.control.until("it is the client's", of_client);
        drop(player);
        server.control.until("it is gone", |totals| !of_client(totals));
    }
    // Head and first request in one piece.
    let mut both = line(client);
    both.extend(b"GET /nothing.mkv HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut socket = balanced(server.http, &both);
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 404");
}

fn a_balancer_without_a_head_is_refused_and_a_stranger_with_one(config: Config) {
    let server = Server::start(behind(config));
    assert!(is_closed(balanced(server.rtmp, &[3; 1_537])));
    assert!(is_closed(balanced(server.http, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")));
    assert!(is_closed(balanced(server.http, b"PROXY TCP4 a b 1 2\r\n")));
    server.control.until("each is counted", |totals| totals.sum(malformed) == 3);
    // A stranger's word about himself is no word of RTMP or HTTP.
    let mut forged = from(Ipv4Addr::LOCALHOST, server.rtmp);
    forged.write_all(&line("198.51.100.7:1")).unwrap();
    assert!(is_closed(forged));
    let mut forged = from(Ipv4Addr::LOCALHOST, server.http);
    forged.write_all(&line("198.51.100.7:1")).unwrap();
    let mut heard = String::new();
    forged.read_to_string(&mut heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 505 "), "{heard}");
    let totals = server.control.snapshot();
    assert!(totals.session_of("198.51.100.7:1".parse().unwrap()).is_none());
}

fn heads_that_never_end_are_not_waited_for(mut config: Config) {
    config.session.connect_deadline = Duration::from_millis(500);
    let server = Server::start(behind(config));
    for to in [server.rtmp, server.http] {
        let mut socket = balanced(to, b"PROXY TCP4 192.0");
        let mut heard = Vec::new();
        // It is told what its protocol has to say, if anything, and closed.
        let _ = socket.read_to_end(&mut heard);
    }
    let timed_out = |counters: &ShardCounters| counters.sessions_timed_out;
    server.control.until("both are over", |totals| totals.sum(timed_out) == 2);
    let mut endless = from(BALANCER, server.rtmp);
    let mut long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
    long.resize(100_000, 0);
    // It may be closed before all of it is out.
    let _ = endless.write_all(&long);
    assert!(is_closed(endless));
}

fn clients_are_capped_one_by_one_behind_a_balancer(mut config: Config) {
    config.limits.exempt = Vec::new();
    config.limits.connections_per_ip_max = 2;
    config.limits.half_open_per_ip_max = 2;
    let server = Server::start(behind(config));
    let (one, other) = ("198.51.100.7:1", "203.0.113.7:1");
    let held = |client: &str| {
        let mut peer = Peer::raw(balanced(server.rtmp, &line(client)));
        peer.hello();
        peer.flush();
        peer.skip_hello();
        peer
    };
    let _held = [held(one), held(one)];
    assert!(is_closed(balanced(server.rtmp, &line(one))));
    // Neither the balancer nor its other clients are full.
    let _others = [held(other), held(other)];
    assert_eq!(
        server.control.snapshot().limit(LimitId::HalfOpenPerIpMax)
            + server.control.snapshot().limit(LimitId::ConnectionsPerIpMax),
        1
    );
}

/// A request through a proxy, and the first bytes of its answer.
fn forwarded(socket: &mut TcpStream, target: &str, fields: &str) -> String {
    write!(socket, "GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}

/// Reads an answer of HTTP to its end, so that the next one can be asked for.
fn body(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; len.parse().unwrap()];
    socket.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

/// A listener without heads: proxies of HTTP tell by a header.
fn behind_http(mut config: Config) -> Config {
    config = behind(config);
    for listener in &mut config.listeners {
        listener.proxied = false;
    }
    config
}

fn lists(totals: &node::Totals, client: &str) -> bool {
    let client: IpAddr = client.parse().unwrap();
    totals.sessions().any(|session| session.peer.ip() == client)
}

fn a_proxy_tells_for_whom_each_request_is(config: Config) {
    let server = Server::start(behind_http(config));
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&asked);
    server.control.judge(Box::new(move |request| {
        seen.lock().unwrap().push((request.peer.ip(), request.tls));
        Some(Verdict::Allow(Grant::to(request.stream.clone())))
    }));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(200);
    // One connection, one client after the other, and the proxy's own question.
    let mut socket = from(BALANCER, server.http);
    let secure = "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n";
    let told = [
        (secure, "198.51.100.7", true),
        ("X-Forwarded-For: 127.0.0.1, 203.0.113.5, 127.0.0.2\r\n", "203.0.113.5", false),
        ("", "127.0.0.2", false),
    ];
    for (fields, ..) in told {
        let status = forwarded(&mut socket, "/good/index.m3u8", fields);
        assert_eq!(status, "HTTP/1.1 200", "{}", body(&mut socket));
        assert!(body(&mut socket).starts_with("#EXTM3U"));
    }
    for (_, who, tls) in told {
        let asked = asked.lock().unwrap();
        let found = asked.iter().find(|(ip, _)| ip.to_string() == who);
        assert_eq!(found.map(|(_, tls)| *tls), Some(tls), "{who} was asked about");
    }
    // A whole stream is the client's, and listed as that.
    assert_eq!(forwarded(&mut socket, "/good.flv", told[0].0), "HTTP/1.1 200");
    server.control.until("it is listed", |totals| lists(totals, "198.51.100.7"));
}

fn clients_that_play_through_a_proxy_are_capped_one_by_one(mut config: Config) {
    config.limits.exempt = Vec::new();
    config.limits.connections_per_ip_max = 2;
    let server = Server::start(behind_http(config));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    let fields = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    // Who asks in vain, again and again over one connection of the proxy, holds no place.
    let mut kept = from(BALANCER, server.http);
    for _ in 0..5 {
        let status = forwarded(&mut kept, "/none.flv", &fields("198.51.100.7"));
        assert_eq!(status, "HTTP/1.1 404");
        body(&mut kept);
    }
    // One that is nobody's now.
    assert_eq!(forwarded(&mut kept, "/good.flv", &fields("203.0.113.5")), "HTTP/1.1 200");
    let play = |client: &str| {
        let mut socket = from(BALANCER, server.http);
        let status = forwarded(&mut socket, "/good.flv", &fields(client));
        (status, socket)
    };
    let held = ["198.51.100.7", "198.51.100.7", "203.0.113.5"].map(play);
    assert!(held.iter().all(|(status, _)| status == "HTTP/1.1 200"));
    let (status, mut full) = play("198.51.100.7");
    assert_eq!(status, "HTTP/1.1 503");
    assert_eq!(server.control.snapshot().limit(LimitId::ConnectionsPerIpMax), 1);
    // The proxy's connection goes on for others.
    body(&mut full);
    assert_eq!(forwarded(&mut full, "/good.flv", &fields("192.0.2.77")), "HTTP/1.1 200");
}

/// Views `good` through a connection of the proxy; the status of what tells its views apart.
fn views(socket: &mut TcpStream, fields: &str) -> String {
    assert_eq!(forwarded(socket, "/good/index.m3u8", fields), "HTTP/1.1 200");
    let index = body(socket);
    let media = index.lines().find(|line| line.starts_with("media.m3u8?s=")).unwrap();
    let status = forwarded(socket, &format!("/good/{media}"), fields);
    body(socket);
    status
}

fn viewers_behind_a_proxy_are_capped_one_by_one(mut config: Config) {
    config.limits.exempt = Vec::new();
    config.limits.hls_viewers_per_ip_max = 1;
    config.stream.hls.session = HlsSession::Token;
    let server = Server::start(behind_http(config));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(200);
    let mut socket = from(BALANCER, server.http);
    let fields = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let (one, other) = (fields("198.51.100.7"), fields("203.0.113.5"));
    for (fields, status) in [(&one, "200"), (&one, "503"), (&other, "200"), (&other, "503")] {
        assert_eq!(views(&mut socket, fields), format!("HTTP/1.1 {status}"), "{fields}");
    }
    // Whom it tells nothing of may be anybody: they are not taken for one.
    for _ in 0..3 {
        assert_eq!(views(&mut socket, ""), "HTTP/1.1 200");
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.limit(LimitId::HlsViewersPerIpMax), 2);
    assert!(lists(&totals, "198.51.100.7") && lists(&totals, "203.0.113.5"));
    // A stranger is counted for his own address, whatever he says.
    let mut stranger = from(Ipv4Addr::new(127, 0, 0, 3), server.http);
    assert_eq!(views(&mut stranger, &fields("192.0.2.1")), "HTTP/1.1 200");
    assert_eq!(views(&mut stranger, &fields("192.0.2.2")), "HTTP/1.1 503");
}

fn a_stranger_speaks_for_nobody_else(config: Config) {
    let server = Server::start(behind_http(config));
    let mut publisher = Publisher::start(server.rtmp, "good");
    publisher.send_frames(30);
    let mut forged = from(Ipv4Addr::new(127, 0, 0, 3), server.http);
    let fields = "X-Forwarded-For: 198.51.100.7\r\n";
    assert_eq!(forwarded(&mut forged, "/good.flv", fields), "HTTP/1.1 200");
    server.control.until("it is listed", |totals| lists(totals, "127.0.0.3"));
    assert!(!lists(&server.control.snapshot(), "198.51.100.7"));
}
