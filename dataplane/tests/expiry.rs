//! Leave that was given for a while ends by itself, on whichever shard its holder is by then.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::time::{Duration, Instant};

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use dataplane::config::{Config, ListenerKind, ListenerNumber};
use dataplane::control::{CloseReason, Command, Event, Grant, SessionEvent, Verdict};
use node::{FlvPlayer, Peer, Player, Publisher, RtmpPlayer, Server, Totals, WsPlayer};

on_both_backends! {
    players_of_every_protocol_are_sent_away_in_time
    a_publication_ends_with_its_leave_wherever_it_is
    who_waits_for_a_stream_waits_no_longer_than_he_may
    the_next_question_brings_leave_of_its_own
    leave_that_ends_on_the_way_out_keeps_no_shard_awake
    a_question_tells_the_listener
}

/// Longer than any case.
const LONG: Duration = Duration::from_secs(600);
/// Far more turns than shards take in some seconds in which nothing happens, and far fewer than one
/// takes that never sleeps.
const IDLE_TURNS_MAX: u64 = 3_000;

/// Allows everything; who asks with a query that begins with `brief` may for a moment, and with
/// `brief=5` for some.
fn briefly(server: &Server) {
    server.control.judge(Box::new(|request| {
        let brief = request.query.0.starts_with("brief");
        let moments = if request.query.0.starts_with("brief=5") { 5_000 } else { 1_500 };
        let until = brief.then(|| Instant::now() + Duration::from_millis(moments));
        let waits = request.query.0.ends_with("waits");
        Some(Verdict::Allow(Grant { until, waits, ..Grant::to(request.stream.clone()) }))
    }));
}

/// The reasons of the next ends of sessions and streams, so many, in any order.
fn ends(server: &Server, count: usize) -> Vec<(&'static str, CloseReason)> {
    let end = |event: &Event| match event {
        Event::StreamEnded { reason, .. } => Some(("stream", *reason)),
        Event::Session(told) => match &**told {
            SessionEvent::Ended { protocol, reason, .. } => Some((protocol.name(), *reason)),
            _ => None,
        },
        _ => None,
    };
    let next = |_| end(&server.control.event("an end", |event| end(event).is_some()).1).unwrap();
    let mut ends: Vec<_> = (0..count).map(next).collect();
    ends.sort_unstable_by_key(|(what, _)| *what);
    ends
}

fn players_of_every_protocol_are_sent_away_in_time(config: Config) {
    let server = Server::with_home(config, 1);
    briefly(&server);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(10);
    let mut stays = FlvPlayer::start(server.http, "cam");
    let mut rtmp: Vec<_> = (0..4).map(|_| RtmpPlayer::start(server.rtmp, "cam?brief")).collect();
    let mut flv = FlvPlayer::ask(server.http, "/cam.flv?brief");
    let mut ws = WsPlayer::ask(server.http, "/cam.flv?brief");
    for player in &mut rtmp {
        player.items_to_end();
        let said = [code::PLAY_UNPUBLISH_NOTIFY, code::CONNECT_CLOSED];
        assert_eq!(player.statuses, said);
    }
    flv.items_to_end();
    ws.hear_close();
    let expired = |what| (what, CloseReason::Expired);
    let expected = ["http-flv", "rtmp", "rtmp", "rtmp", "rtmp", "ws-flv"].map(expired);
    assert_eq!(ends(&server, expected.len()), expected);
    publisher.send_frames(10);
    stays.items_to_audio(19);
}

fn a_publication_ends_with_its_leave_wherever_it_is(config: Config) {
    let server = Server::with_home(config, 1);
    briefly(&server);
    // Some of them are accepted by one shard and go home to the other.
    for _ in 0..3 {
        let mut publisher = Publisher::start(server.rtmp, "cam?brief");
        publisher.send_frames(10);
        // It ends without grace.
        let expired = CloseReason::Expired;
        assert_eq!(ends(&server, 2), [("rtmp", expired), ("stream", expired)]);
        publisher.statuses_to_end();
    }
}

fn who_waits_for_a_stream_waits_no_longer_than_he_may(config: Config) {
    let server = Server::start(config);
    briefly(&server);
    let mut player = RtmpPlayer::ask(server.rtmp, "later?brief&waits");
    player.peer.statuses_to_end();
    let gone = |t: &Totals| t.sessions().count() == 0;
    server.control.until("nobody is left", gone);
}

fn the_next_question_brings_leave_of_its_own(config: Config) {
    let server = Server::with_home(config, 1);
    briefly(&server);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(10);
    let mut player = RtmpPlayer::start(server.rtmp, "cam?brief");
    player.items_to_audio(9);
    player.peer.command("closeStream", 1, Value::Null, &[]);
    player.peer.play("cam");
    player.peer.flush();
    player.items_to_status(code::PLAY_START);
    // One who came later is the clock: once he is gone, the leave of the first question is over.
    let mut later = FlvPlayer::ask(server.http, "/cam.flv?brief");
    later.items_to_end();
    publisher.send_frames(10);
    player.items_to_audio(19);
}

fn leave_that_ends_on_the_way_out_keeps_no_shard_awake(mut config: Config) {
    (config.egress.send_buffer_bytes, config.egress.notsent_lowat_bytes) = (16 << 10, 16 << 10);
    (config.egress.stall, config.session.drain) = (LONG, LONG);
    let server = Server::with_home(config, 1);
    briefly(&server);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 8_000;
    publisher.send_frames(10);
    // It reads nothing, so that its last words wait until it does.
    let mut leaving = narrow_player(&server, "cam?brief=5");
    publisher.send_frames(60);
    server.control.until("its socket is full", |totals| totals.sum(|c| c.sends_blocked) > 0);
    let peer = leaving.peer.socket.local_addr().unwrap();
    let (shard, session) = server.control.snapshot().session_of(peer).unwrap();
    let reason = CloseReason::Kicked;
    server.control.send(shard, Command::Kick { session, reason });
    let kicked = |event: &Event| matches!(event, Event::Kicked { found: true, .. });
    server.control.event("it is kicked", kicked);
    // One who came later is the clock.
    FlvPlayer::ask(server.http, "/cam.flv?brief=5").items_to_end();
    let turns = || server.control.snapshot().sum(|c| c.turns);
    let before = turns();
    FlvPlayer::ask(server.http, "/cam.flv?brief").items_to_end();
    let taken = turns() - before;
    assert!(taken < IDLE_TURNS_MAX, "{taken} turns");
    // It was on its way out all the time.
    leaving.items_to_end();
    assert_eq!(leaving.statuses.last().map(String::as_str), Some(code::CONNECT_CLOSED));
    let of_session = |event: &Event| match event {
        Event::Session(told) => match &**told {
            SessionEvent::Ended { session: ended, reason, .. } if *ended == session => {
                Some(*reason)
            }
            _ => None,
        },
        _ => None,
    };
    let (_, ended) = server.control.event("its end", |event| of_session(event).is_some());
    assert_eq!(of_session(&ended), Some(reason));
}

/// A player whose receive buffer stays small, and who reads no more than that it plays.
fn narrow_player(server: &Server, name: &str) -> RtmpPlayer {
    let kind = socket2::Type::STREAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.connect(&server.rtmp.into()).unwrap();
    let mut peer = Peer::raw(socket.into());
    peer.hello();
    peer.flush();
    peer.skip_hello();
    peer.connect();
    peer.create_stream();
    peer.play(name);
    peer.flush();
    peer.expect_status(code::PLAY_START);
    RtmpPlayer::of(peer)
}

fn a_question_tells_the_listener(mut config: Config) {
    for listener in &mut config.listeners {
        let number = if listener.kind == ListenerKind::Rtmp { 7 } else { 8 };
        listener.number = ListenerNumber(number);
    }
    let server = Server::with_home(config, 1);
    let rtmp = server.rtmp;
    server.control.judge(Box::new(move |request| {
        let expected = if request.local == rtmp { 7 } else { 8 };
        assert_eq!(request.listener, ListenerNumber(expected));
        Some(Verdict::Allow(Grant::to(request.stream.clone())))
    }));
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(10);
    FlvPlayer::start(server.http, "cam").items_to_audio(9);
    RtmpPlayer::start(server.rtmp, "cam").items_to_audio(9);
}
