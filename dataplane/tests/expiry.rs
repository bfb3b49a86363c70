//! Leave that was given for a while ends by itself, on whichever shard its holder is by then.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::time::{Duration, Instant};

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use dataplane::config::{Config, ListenerKind, ListenerNumber};
use dataplane::control::{CloseReason, Event, Grant, SessionEvent, Verdict};
use node::{FlvPlayer, Player, Publisher, RtmpPlayer, Server, Totals, WsPlayer};

on_both_backends! {
    players_of_every_protocol_are_sent_away_in_time
    a_publication_ends_with_its_leave_wherever_it_is
    who_waits_for_a_stream_waits_no_longer_than_he_may
    the_next_question_brings_leave_of_its_own
    a_question_tells_the_listener
}

/// Allows everything; who asks with a query that begins with `brief` may for a moment.
fn briefly(server: &Server) {
    server.control.judge(Box::new(|request| {
        let brief = request.query.0.starts_with("brief");
        let until = brief.then(|| Instant::now() + Duration::from_millis(1_500));
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
