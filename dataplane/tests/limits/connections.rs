//! Limits of how many: connections by address, players.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use codecs::rtmp::command::code;
use dataplane::control::{Grant, Intent, Verdict};

use crate::node::{
    FRAME_MS, FlvPlayer, Peer, Player, Publisher, RtmpPlayer, Server, TIME_BOUND, Totals, Viewer,
};

/// A connection from that loopback address.
fn from(source: &str, to: SocketAddr) -> TcpStream {
    let domain = socket2::Domain::IPV4;
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    let source: IpAddr = source.parse().unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIME_BOUND)).unwrap();
    stream
}

/// True once the server has closed without a word.
fn is_shed(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// A connection that shook hands, so that it surely was admitted.
fn admitted(source: &str, server: &Server) -> Peer {
    let mut peer = Peer::raw(from(source, server.rtmp));
    peer.hello();
    peer.flush();
    peer.skip_hello();
    peer
}

/// A connection whose request was answered and that stays open.
fn answered(source: &str, server: &Server) -> TcpStream {
    let mut stream = from(source, server.http);
    stream.write_all(b"GET /nothing.mkv HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 404");
    stream
}

pub(crate) fn one_too_many(server: &Server) -> u64 {
    assert!(is_shed(from("127.0.0.1", server.rtmp)));
    assert!(is_shed(from("127.0.0.2", server.http)));
    2
}

pub(crate) fn one_too_many_of_an_address(server: &Server) -> u64 {
    let _held = [admitted("127.0.0.2", server), admitted("127.0.0.2", server)];
    assert!(is_shed(from("127.0.0.2", server.rtmp)));
    assert!(is_shed(from("127.0.0.2", server.http)));
    let _other = admitted("127.0.0.3", server);
    2
}

/// Two viewers of one address, of whom one may have a session; others may have theirs.
pub(crate) fn one_viewer_too_many_of_an_address(server: &Server) -> u64 {
    let mut publisher = Publisher::start(server.rtmp, "seen");
    publisher.send_frames(2_000 / FRAME_MS + 1);
    let media = |source: &str| {
        let mut viewer = Viewer::of(from(source, server.http));
        let index = viewer.found("/seen/index.m3u8");
        (format!("/seen/{}", index.uris()[0]), viewer)
    };
    let [(first, mut one), (second, mut two)] = [media("127.0.0.2"), media("127.0.0.2")];
    one.found(&first);
    let refused = two.get(&second);
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("2")));
    // A view that goes on does so from any address, and counts where it began.
    two.found(&first);
    let (other, mut neighbour) = media("127.0.0.3");
    neighbour.found(&other);
    // Addresses that are exempt may have as many as they like.
    for _ in 0..3 {
        let (exempt, mut viewer) = media("127.0.0.1");
        viewer.found(&exempt);
    }
    1
}

pub(crate) fn one_too_many_of_a_prefix(server: &Server) -> u64 {
    let _held = [admitted("127.0.0.2", server), admitted("127.0.0.3", server)];
    assert!(is_shed(from("127.0.0.4", server.rtmp)));
    let _other = admitted("127.0.1.2", server);
    1
}

pub(crate) fn one_too_many_half_open(server: &Server) -> u64 {
    let (_held, mut peer) = (admitted("127.0.0.2", server), admitted("127.0.0.2", server));
    assert!(is_shed(from("127.0.0.2", server.rtmp)));
    // One that plays is no longer half open.
    peer.connect();
    peer.create_stream();
    peer.play("good");
    peer.flush();
    peer.expect_status(code::PLAY_START);
    let _next = admitted("127.0.0.2", server);
    // Nor is one whose request was answered.
    let _readers: Vec<_> = (0..4).map(|_| answered("127.0.0.5", server)).collect();
    1
}

/// Whether a connection from there is answered.
fn is_answered(source: &str, server: &Server) -> bool {
    let mut stream = from(source, server.http);
    // One that is closed at once may refuse to be written to.
    let _ = stream.write_all(b"GET /nothing.mkv HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut status = [0; 12];
    stream.read_exact(&mut status).is_ok()
}

pub(crate) fn too_often_from_an_address(server: &Server) -> u64 {
    for _ in 0..4 {
        assert!(is_answered("127.0.0.2", server));
    }
    // A machine that takes long gives another one a second.
    while is_answered("127.0.0.2", server) {}
    assert!(is_answered("127.0.0.3", server));
    1
}

pub(crate) fn too_often_from_a_prefix(server: &Server) -> u64 {
    let mut last = 2..;
    let mut next = || format!("127.0.0.{}", last.next().unwrap());
    for _ in 0..4 {
        assert!(is_answered(&next(), server));
    }
    while is_answered(&next(), server) {}
    assert!(is_answered("127.0.1.2", server));
    1
}

pub(crate) fn one_player_too_many(server: &Server) -> u64 {
    let mut player = RtmpPlayer::ask(server.rtmp, "good");
    assert_eq!(player.peer.statuses_to_end(), [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    let player = FlvPlayer::ask(server.http, "/good.flv");
    assert!(player.head.starts_with("HTTP/1.1 503 "), "{}", player.head);
    2
}

/// Players are allowed to wait for a stream that nobody publishes.
fn let_players_wait(server: &Server) {
    server.control.judge(Box::new(|request| {
        let waits = request.intent == Intent::Play;
        Some(Verdict::Allow(Grant { waits, ..Grant::to(request.stream.clone()) }))
    }));
}

/// Two that wait from the same address, and one from another.
pub(crate) fn one_player_too_many_of_an_address(server: &Server) -> u64 {
    let_players_wait(server);
    let ask = |source| {
        let mut peer = admitted(source, server);
        peer.connect();
        peer.create_stream();
        peer.play("late");
        peer.flush();
        peer
    };
    let _waits = ask("127.0.0.2");
    server.control.until("it waits", |totals| totals.sum(|c| c.players_idle) == 1);
    let refused = ask("127.0.0.2").statuses_to_end();
    assert!(refused.ends_with(&[code::PLAY_FAILED.into(), code::CONNECT_REJECTED.into()]));
    let _other = ask("127.0.0.3");
    server.control.until("it waits, too", |totals| totals.sum(|c| c.players_idle) == 2);
    1
}

pub(crate) fn one_player_too_many_that_waits(server: &Server) -> u64 {
    let_players_wait(server);
    let _waits = RtmpPlayer::ask(server.rtmp, "late");
    server.control.until("it waits", |totals| totals.sum(|c| c.players_idle) == 1);
    let mut player = RtmpPlayer::ask(server.rtmp, "late");
    assert_eq!(player.peer.statuses_to_end(), [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    let player = FlvPlayer::ask(server.http, "/late.flv");
    assert!(player.head.starts_with("HTTP/1.1 503 "), "{}", player.head);
    2
}

/// Players of a stream that alone has more bits a second, while those of a small one play on.
pub(crate) fn more_bits_than_may_be_owed(server: &Server) -> u64 {
    let mut publisher = Publisher::start(server.rtmp, "big");
    publisher.video_bytes = 40_000;
    let frames = u64::from(publisher.send_frames(30));
    let arrived = |totals: &Totals| totals.stream("big").is_some_and(|s| s.units_in >= 2 * frames);
    server.control.until("the frames", arrived);
    let mut player = RtmpPlayer::ask(server.rtmp, "big");
    assert_eq!(player.peer.statuses_to_end(), [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    let player = FlvPlayer::ask(server.http, "/big.flv");
    assert!(player.head.starts_with("HTTP/1.1 503 "), "{}", player.head);
    let mut small = FlvPlayer::start(server.http, "good");
    small.item();
    2
}
