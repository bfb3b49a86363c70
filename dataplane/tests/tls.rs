//! RTMPS and HTTPS: publish, play, stall, go home, end, and what strangers do to a handshake.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;
mod witness;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use codecs::time::MediaTime;
use dataplane::config::{Config, Reload};
use dataplane::control::{Command, Role};
use dataplane::metrics::ShardCounters;
use dataplane::session::tls::TlsFailure;
use node::{
    Certificate, FRAME_MS, FlvPlayer, Item, Player, Publisher, RtmpPlayer, Script, Server,
    TIME_BOUND, TsPlayer, Tunnel, WsPlayer, assert_contiguous, certificate, client, client_config,
    with_tls,
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use witness::Witness;

on_both_backends! {
    every_format_is_the_same_inside_and_outside
    every_format_is_the_same_through_the_smallest_rings
    a_publisher_goes_home_in_the_middle_of_a_record
    a_stalled_player_jumps_and_its_neighbours_do_not_notice
    a_storm_of_handshakes_delays_no_frame
    strangers_are_told_and_counted
    half_handshakes_end_at_their_deadline
    an_end_is_announced
    a_request_with_a_farewell_is_answered
    a_new_certificate_is_for_new_connections
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
    socket.set_write_timeout(Some(TIME_BOUND)).unwrap();
    socket
}

fn any_version() -> Arc<ClientConfig> {
    client_config(certificate(), rustls::ALL_VERSIONS)
}

/// A connection that has shaken hands.
fn secure(addr: SocketAddr, config: &Arc<ClientConfig>) -> Secure {
    let mut stream = StreamOwned::new(client(config), connect(addr));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

fn failed(failure: TlsFailure) -> impl Fn(&ShardCounters) -> u64 {
    move |counters| counters.tls_failures[failure as usize]
}

/// Everything up to the end of the connection.
fn heard(socket: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => answer,
    }
}

/// The bytes of items from the keyframe with number `from` on.
fn bytes_from(items: &[Item], from: u32) -> Vec<u8> {
    let begins = |item: &Item| item.video().is_some_and(|frame| frame.number == from);
    let at = items.iter().position(begins).unwrap();
    items[at..].iter().flat_map(|item| item.wire.clone()).collect()
}

fn every_format_is_the_same_inside_and_outside(config: Config) {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let server = Server::start(with_tls(config.clone()));
        let config = client_config(certificate(), &[version]);
        let rtmps = Tunnel::with(server.rtmps(), &config, None);
        let https = Tunnel::with(server.https(), &config, None);
        let mut publisher = Publisher::start(rtmps.addr, "safe");
        publisher.video_bytes = 40_000;
        publisher.send_frames(1);
        let mut pairs: Vec<[Box<dyn Player>; 2]> = vec![
            [server.rtmp, rtmps.addr].map(|at| Box::new(RtmpPlayer::start(at, "safe")) as _),
            [server.http, https.addr].map(|at| Box::new(FlvPlayer::start(at, "safe")) as _),
            [server.http, https.addr].map(|at| Box::new(TsPlayer::start(at, "safe")) as _),
            [server.http, https.addr].map(|at| Box::new(WsPlayer::start(at, "safe")) as _),
        ];
        let end = publisher.send_frames(60);
        for pair in &mut pairs {
            let [outside, inside] = pair.each_mut().map(|player| player.items_to_audio(end - 1));
            assert_contiguous(&outside);
            assert_contiguous(&inside);
            let from = outside.iter().find_map(Item::video).unwrap().number;
            assert!(bytes_from(&outside, from) == bytes_from(&inside, from), "other bytes");
        }
        let totals = server.control.snapshot();
        let inside: Vec<_> = totals.sessions().filter(|s| s.tls.is_some()).collect();
        let version = if *version == rustls::version::TLS13 { "1.3" } else { "1.2" };
        assert!(inside.iter().all(|session| session.tls == Some(version)));
        assert_eq!(inside.iter().filter(|s| s.role == Some(Role::Publish)).count(), 1);
        assert_eq!(inside.len() as u64, totals.sum(|c| c.tls_connections));
        assert_eq!(totals.sum(|c| c.tls_handshakes), 5);
        assert!(totals.sum(|c| c.tls_handshakes_resumed) >= 1, "clients return with their ticket");
        assert_eq!(totals.sum(|c| c.tls_failures.iter().sum()), 0);
        assert!(totals.sum(|c| c.tls_buffer_bytes) > 0);
    }
}

fn every_format_is_the_same_through_the_smallest_rings(config: Config) {
    every_format_is_the_same_inside_and_outside(node::tiny(config));
}

/// A whole publication: what comes before its media, and its media.
fn publication(name: &str, frames: u32) -> [Vec<u8>; 2] {
    let mut script = Script::default();
    script.hello();
    script.connect();
    script.create_stream();
    script.publish(name);
    let opening = std::mem::take(&mut script.out);
    script.configure(0);
    for number in 0..frames {
        script.video(number, number, number == 0);
        script.audio(number, number);
    }
    [opening, script.out]
}

/// The ciphertext of `plain`.
fn encrypted(stream: &mut Secure, plain: &[u8]) -> Vec<u8> {
    stream.conn.writer().write_all(plain).unwrap();
    let mut bytes = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn a_publisher_goes_home_in_the_middle_of_a_record(mut config: Config) {
    const ATTEMPTS_MAX: u32 = 40;
    const FRAMES: u32 = 20;
    config.session.play_wait = Duration::from_secs(60);
    config.session.authorize_deadline = Duration::from_secs(60);
    config.egress.player_lag_max = MediaTime::from_millis(3_600_000);
    let server = Server::with_home(with_tls(config), 1);
    let client = any_version();
    for attempt in 0..ATTEMPTS_MAX {
        let name = format!("s{attempt}");
        let mut player = RtmpPlayer::ask(server.rtmp, &name);
        let [opening, media] = publication(&name, FRAMES);
        let mut stream = secure(server.rtmps(), &client);
        let mut bytes = encrypted(&mut stream, &opening);
        let began = bytes.len();
        bytes.extend(encrypted(&mut stream, &media));
        let cut = (began + bytes.len()) / 2;
        stream.sock.write_all(&bytes[..cut]).unwrap();
        let started = u64::from(attempt) + 1;
        server.control.until("published", |t| t.sum(|c| c.publishes_started) == started);
        stream.sock.write_all(&bytes[cut..]).unwrap();
        let items = player.items_to_audio(FRAMES - 1);
        assert_contiguous(&items);
        let count = items.iter().filter(|item| item.frame().is_some()).count();
        assert_eq!(count, 2 * FRAMES as usize, "every unit arrives");
        let totals = server.control.snapshot();
        assert_eq!(totals.sum(|c| c.units_dropped_malformed + c.sessions_malformed), 0);
        if totals.sum(|c| c.publishers_handed_over) >= 2 {
            return;
        }
    }
    panic!("no publisher was handed over");
}

fn a_stalled_player_jumps_and_its_neighbours_do_not_notice(mut config: Config) {
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    config.egress.player_lag_max = MediaTime::from_millis(i64::from(25 * FRAME_MS));
    let server = Server::start(with_tls(config));
    let mut witness = Witness::start(&server);
    witness.publisher.video_bytes = 30_000;
    let (rtmps, https) = (Tunnel::narrow(server.rtmps()), Tunnel::narrow(server.https()));
    let mut players: Vec<Box<dyn Player>> = vec![
        Box::new(RtmpPlayer::start(rtmps.addr, "good")),
        Box::new(FlvPlayer::start(https.addr, "good")),
        Box::new(WsPlayer::start(https.addr, "good")),
    ];
    for _ in 0..20 {
        witness.publish(10);
    }
    // A connection that is stalled keeps at most what one send left, a record from then on.
    let totals = server.control.snapshot();
    assert!(totals.sum(|c| c.tls_buffer_bytes) < (5 << 20), "{totals:?}");
    let end = witness.publisher.next_number();
    for player in &mut players {
        let items = player.items_to_audio(end - 1);
        let numbers: Vec<_> = items.iter().filter_map(Item::video).collect();
        let holes = numbers.windows(2).filter(|pair| pair[1].number != pair[0].number + 1);
        let holes: Vec<_> = holes.collect();
        assert!(!holes.is_empty(), "far more was published than sockets hold");
        assert!(holes.iter().all(|pair| pair[1].keyframe && pair[1].number > pair[0].number));
    }
    let totals = server.control.snapshot();
    assert!(totals.sum(|c| c.player_jumps) >= 3);
    assert_eq!(totals.sum(|c| c.players_too_slow), 0);
    witness.works();
}

fn a_storm_of_handshakes_delays_no_frame(mut config: Config) {
    const STORM: usize = 500;
    // The clients share one thread: on a busy machine the last of them answers late.
    config.session.connect_deadline = Duration::from_secs(120);
    config.session.keep_alive = Duration::from_secs(120);
    dataplane::reactor::raise_nofile().unwrap();
    let server = Server::start(with_tls(config));
    let mut witness = Witness::start(&server);
    let config = client_config(&Certificate::new(), rustls::ALL_VERSIONS);
    let trusting = any_version();
    let mut storm: Vec<_> = (0..STORM)
        .map(|n| {
            let config = if n % 10 == 0 { &config } else { &trusting };
            let mut stream = StreamOwned::new(client(config), connect(server.https()));
            stream.conn.write_tls(&mut stream.sock).unwrap();
            stream
        })
        .collect();
    // Every frame arrives while handshakes wait; none is lost or late for a jump.
    witness.publish(50);
    let mut refused = 0;
    for stream in &mut storm {
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                refused += 1;
                break;
            }
        }
    }
    assert_eq!(refused, STORM / 10, "those who do not trust us");
    witness.publish(10);
    let shaken = (STORM - refused) as u64;
    let totals = server.control.until("all have shaken hands", |totals| {
        totals.sum(|c| c.tls_handshakes) == shaken
            && totals.sum(failed(TlsFailure::Refused)) == refused as u64
    });
    assert!(totals.sum(|c| c.tls_handshakes_put_off) > 0, "some waited for another turn");
    assert_eq!(totals.sum(|c| c.player_jumps + c.players_too_slow), 0);
    drop(storm);
    witness.works();
}

fn strangers_are_told_and_counted(config: Config) {
    let server = Server::start(with_tls(config));
    let mut witness = Witness::start(&server);
    let says = |addr, bytes: &[u8]| {
        let mut socket = connect(addr);
        // A server that has heard enough closes in the middle.
        let _ = socket.write_all(bytes);
        heard(&mut socket)
    };
    let answer = says(server.https(), b"GET /good.flv HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(says(server.rtmps(), &[3; 1_537])[0], 21, "an alert");
    assert_eq!(says(server.https(), &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0])[0], 21);
    assert_eq!(says(server.https(), &[0x16, 3, 1, 0xff, 0xff, 1])[0], 21);
    // A damaged record after the handshake, and a client that only ever renegotiates.
    let mut stream = secure(server.https(), &any_version());
    stream.sock.write_all(&[[0x17, 3, 3, 0, 64].to_vec(), vec![1; 64]].concat()).unwrap();
    heard(&mut stream.sock);
    // Clients that vanish: before the first byte, and in the middle of their first message.
    drop(connect(server.rtmps()));
    let mut half = connect(server.https());
    let mut hello = Vec::new();
    client(&any_version()).write_tls(&mut hello).unwrap();
    half.write_all(&hello[..hello.len() / 2]).unwrap();
    drop(half);
    let expected = [
        (TlsFailure::Plain, 2),
        (TlsFailure::Handshake, 2),
        (TlsFailure::Record, 1),
        (TlsFailure::Closed, 2),
    ];
    let totals = server.control.until("each is counted by its reason", |totals| {
        expected.iter().all(|&(failure, count)| totals.sum(failed(failure)) == count)
    });
    assert_eq!(totals.sum(|c| c.tls_failures.iter().sum()), 7);
    assert_eq!(totals.sum(|c| c.panics), 0);
    server.control.until("they are gone", |t| t.sum(|c| c.tls_connections) == 0);
    witness.works();
}

fn half_handshakes_end_at_their_deadline(mut config: Config) {
    config.session.connect_deadline = Duration::from_millis(500);
    let server = Server::start(with_tls(config));
    let mut witness = Witness::start(&server);
    let mut hello = Vec::new();
    client(&any_version()).write_tls(&mut hello).unwrap();
    let mut slow: Vec<_> = [server.rtmps(), server.https()].map(connect).into();
    for socket in &mut slow {
        socket.write_all(&hello[..100]).unwrap();
    }
    slow.extend([server.rtmps(), server.https()].map(connect));
    for socket in &mut slow {
        assert_eq!(heard(socket), b"", "nothing can be said without keys");
    }
    drop(slow);
    server.control.until("each is counted", |t| t.sum(failed(TlsFailure::Timeout)) == 4);
    witness.works();
}

fn an_end_is_announced(mut config: Config) {
    config.stream.grace = Duration::ZERO;
    let server = Server::start(with_tls(config));
    let (rtmps, https) = (Tunnel::start(server.rtmps()), Tunnel::start(server.https()));
    let mut publisher = Publisher::start(rtmps.addr, "short");
    publisher.send_frames(1);
    let mut flv = FlvPlayer::start(https.addr, "short");
    let mut ts = TsPlayer::start(https.addr, "short");
    let mut rtmp = RtmpPlayer::start(rtmps.addr, "short");
    publisher.send_frames(10);
    publisher.stream_command("closeStream", &[]);
    publisher.flush();
    for items in [flv.items_to_end(), ts.items_to_end()] {
        assert_contiguous(&items);
    }
    rtmp.items_to_audio(10);
    server.control.send_all(|| Command::Drain);
    drop(rtmp.items_to_end());
    assert_eq!(https.truncated() + rtmps.truncated(), 0, "every end is told inside TLS");
}

fn a_request_with_a_farewell_is_answered(config: Config) {
    let server = Server::start(with_tls(config));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut stream = secure(server.https(), &client_config(certificate(), &[version]));
        stream.write_all(b"GET /streams.json HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // Peers that end without a word are peers that end.
    let mut stream = secure(server.https(), &any_version());
    stream.write_all(b"GET /streams.json HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    server.control.until("it is gone", |t| t.sum(|c| c.tls_connections) == 0);
}

fn a_new_certificate_is_for_new_connections(config: Config) {
    let config = with_tls(config);
    let [renewed, reloaded] = [Certificate::new(), Certificate::new()];
    let identity = renewed.identity().with_tickets_of(config.tls.as_ref().unwrap());
    let reload = Arc::new(Reload {
        limits: config.limits.clone(),
        egress: config.egress,
        session: config.session.clone(),
        auth: config.auth,
        stream: config.stream,
        listeners: Vec::new(),
        srt: config.srt.clone(),
        tls: Some(reloaded.identity().with_tickets_of(&identity)),
    });
    let server = Server::start(config);
    let tunnel = Tunnel::start(server.rtmps());
    let mut publisher = Publisher::start(tunnel.addr, "kept");
    publisher.send_frames(1);
    let mut player = RtmpPlayer::start(tunnel.addr, "kept");
    let listeners = server.listeners().to_vec();
    let reload = Arc::new(Reload { listeners, ..Arc::into_inner(reload).unwrap() });
    let is_proved_by = |old: &Certificate, new: &Certificate| {
        server.control.snapshot();
        let trusting = |whom| client_config(whom, rustls::ALL_VERSIONS);
        let mut refused = StreamOwned::new(client(&trusting(old)), connect(server.https()));
        refused.conn.complete_io(&mut refused.sock).unwrap_err();
        assert!(!secure(server.https(), &trusting(new)).conn.is_handshaking());
    };
    server.control.send_all(|| Command::Identity(identity.clone()));
    is_proved_by(certificate(), &renewed);
    server.control.send_all(|| Command::Reload(Arc::clone(&reload)));
    is_proved_by(&renewed, &reloaded);
    let end = publisher.send_frames(20);
    assert_contiguous(&player.items_to_audio(end - 1));
}
