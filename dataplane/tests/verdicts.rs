//! Who may connect, publish and play: what is asked, what peers hear, and kicks of whole streams.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use dataplane::config::{AddrRange, AuthConfig, Config};
use dataplane::control::{
    AuthorizeRequest, CloseReason, Command, Denial, Event, Grant, Intent, Protocol, ProtocolSet,
    Role, StreamKick, Verdict,
};
use dataplane::ids::{StreamId, StreamName};
use dataplane::session::Refusal;
use node::{
    FlvPlayer, Peer, Player, Publisher, RtmpPlayer, Server, Totals, Viewer, assert_contiguous,
};

on_both_backends! {
    a_question_tells_all_that_a_peer_said
    every_denial_is_said_in_the_peers_protocol
    peers_are_judged_at_connect_if_that_is_wanted
    a_connect_that_nobody_judges_is_refused_in_time
    only_listed_ranges_play_live_formats
    the_name_that_was_granted_counts
    a_stream_is_kicked_at_once_and_for_good
    only_the_protocols_that_were_meant_are_kicked
    a_stream_in_its_grace_time_ends_when_it_is_kicked
    many_streams_are_kicked_by_one_order
}

const ID: StreamId = StreamId([9; 16]);

fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

/// Answers every question by `verdict`, and tells the questions.
fn judged(
    server: &Server,
    verdict: impl Fn(&AuthorizeRequest) -> Verdict + Send + 'static,
) -> Receiver<AuthorizeRequest> {
    let (asked, questions) = channel();
    server.control.judge(Box::new(move |request| {
        asked.send(request.clone()).unwrap();
        Some(verdict(request))
    }));
    questions
}

fn allow(request: &AuthorizeRequest) -> Verdict {
    Verdict::Allow(Grant::to(request.stream.clone()))
}

fn kick(server: &Server, role: Option<Role>, protocols: ProtocolSet) {
    server.control.send_all(|| Command::KickStream {
        stream: name("cam"),
        publication: None,
        role,
        protocols,
        reason: CloseReason::Kicked,
    });
}

fn a_question_tells_all_that_a_peer_said(config: Config) {
    let server = Server::start(config);
    let questions = judged(&server, allow);
    let publisher = Publisher::start(server.rtmp, "cam?key=s3&x=1");
    let asked = questions.recv().unwrap();
    assert_eq!((asked.intent, asked.protocol, asked.tls), (Intent::Publish, Protocol::Rtmp, false));
    assert_eq!((asked.stream.as_str(), asked.key.0.as_str()), ("cam", "s3"));
    assert_eq!((asked.query.0.as_str(), &*asked.url), ("key=s3&x=1", "rtmp://127.0.0.1/live/cam"));
    assert_eq!((asked.local, asked.peer), (server.rtmp, publisher.local_addr()));
    assert_eq!((&*asked.agent, asked.referer), ("FMLE/3.0", None));
    let mut viewer = Viewer::connect(server.http);
    let fields = "Referer: https://page/\r\nUser-Agent: seen\r\n";
    viewer.ask("GET", "/live/cam.flv?token=t%2B&y", fields);
    assert_eq!(viewer.head().status, 200);
    let asked = questions.recv().unwrap();
    assert_eq!((asked.intent, asked.protocol), (Intent::Play, Protocol::HttpFlv));
    assert_eq!((asked.key.0.as_str(), asked.query.0.as_str()), ("t+", "token=t%2B&y"));
    assert_eq!((&*asked.url, &*asked.agent), ("h/live/cam.flv", "seen"));
    assert_eq!((asked.referer.as_deref(), asked.local), (Some("https://page/"), server.http));
    let debug = format!("{asked:?}");
    assert!(!debug.contains("t%2B") && !debug.contains("t+"), "{debug}");
}

fn every_denial_is_said_in_the_peers_protocol(config: Config) {
    let server = Server::start(config);
    for (denial, publish, play, status) in [
        (Denial::Forbidden, code::PUBLISH_DENIED, code::PLAY_FAILED, 403),
        (Denial::NotFound, code::PUBLISH_BAD_NAME, code::PLAY_STREAM_NOT_FOUND, 404),
        (Denial::Busy, code::PUBLISH_BAD_NAME, code::PLAY_FAILED, 409),
        (Denial::Unavailable, code::PUBLISH_DENIED, code::PLAY_FAILED, 503),
        (Denial::Full, code::CONNECT_REJECTED, code::PLAY_FAILED, 503),
    ] {
        let _questions = judged(&server, move |_| Verdict::Deny(denial));
        let mut peer = Peer::open(server.rtmp);
        peer.publish("cam");
        peer.flush();
        assert_eq!(peer.statuses_to_end(), [publish], "{denial:?}");
        let refused = |event: &Event| matches!(event, Event::PublishRefused(_));
        let (_, Event::PublishRefused(refusal)) = server.control.event("a refusal", refused) else {
            unreachable!()
        };
        assert_eq!((refusal.stream, refusal.protocol), (name("cam"), Protocol::Rtmp));
        assert_eq!(refusal.reason, Refusal::from(denial).name());
        let mut player = RtmpPlayer::ask(server.rtmp, "cam");
        assert_eq!(player.peer.statuses_to_end()[0], play, "{denial:?}");
        let mut viewer = Viewer::connect(server.http);
        for target in ["/cam.flv", "/cam/index.m3u8"] {
            assert_eq!(viewer.get(target).status, status, "{denial:?} {target}");
        }
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.publishes_refused), 5);
    assert_eq!(totals.sum(|c| c.plays_refused), 15);
}

fn peers_are_judged_at_connect_if_that_is_wanted(mut config: Config) {
    config.auth = AuthConfig { connect: true, ..AuthConfig::default() };
    let server = Server::start(config);
    let questions = judged(&server, |request| match request.stream.as_str() {
        "closed" => Verdict::Deny(Denial::Forbidden),
        "unknown" => Verdict::Deny(Denial::NotFound),
        _ => allow(request),
    });
    for (app, said) in
        [("closed?key=k", code::CONNECT_REJECTED), ("unknown", code::CONNECT_INVALID_APP)]
    {
        let mut peer = Peer::connect(server.rtmp);
        peer.connect_to(app, 0.0);
        peer.create_stream();
        peer.flush();
        let refused = peer.command_named("_error");
        assert_eq!(refused.args[0].get("code").and_then(Value::as_str), Some(said));
        assert!(peer.next().is_none(), "and it is closed");
        let asked = questions.recv().unwrap();
        assert_eq!(asked.intent, Intent::Connect);
    }
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let mut player = RtmpPlayer::start(server.rtmp, "cam");
    publisher.send_frames(10);
    assert_contiguous(&player.items_to_audio(9));
    let intents: Vec<_> = questions.try_iter().map(|asked| asked.intent).collect();
    let connect = Intent::Connect;
    assert_eq!(intents, [connect, Intent::Publish, connect, Intent::Play]);
    // A name of two parts is no name of an application, but one of a stream.
    let mut peer = Peer::open_app(server.rtmp, "a//b", 0.0);
    peer.publish("c");
    peer.flush();
    peer.expect_status(code::PUBLISH_START);
    assert_eq!(questions.recv().unwrap().intent, Intent::Publish);
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.connects_refused), 2);
}

fn a_connect_that_nobody_judges_is_refused_in_time(mut config: Config) {
    config.auth = AuthConfig { connect: true, ..AuthConfig::default() };
    config.session.authorize_deadline = Duration::from_millis(200);
    let server = Server::start(config);
    server.control.judge(Box::new(|_| None));
    let mut peer = Peer::connect(server.rtmp);
    peer.connect_to("live", 0.0);
    peer.flush();
    let refused = peer.command_named("_error");
    let said = refused.args[0].get("code").and_then(Value::as_str);
    assert_eq!(said, Some(code::CONNECT_REJECTED));
    assert!(peer.next().is_none(), "and it is closed");
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.authorize_timeouts), 1);
}

fn only_listed_ranges_play_live_formats(mut config: Config) {
    config.limits.play_from = vec![AddrRange { addr: "192.0.2.0".parse().unwrap(), bits: 24 }];
    let server = Server::start(config.clone());
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(60);
    let mut player = RtmpPlayer::ask(server.rtmp, "cam");
    assert_eq!(player.peer.statuses_to_end(), [code::PLAY_FAILED]);
    let mut viewer = Viewer::connect(server.http);
    for target in ["/cam.flv", "/cam.ts"] {
        assert_eq!(viewer.get(target).status, 403, "{target}");
    }
    assert_ne!(viewer.get("/cam/index.m3u8").status, 403, "HLS is not bound by it");
    config.limits.play_from = AddrRange::EVERYWHERE.to_vec();
    let server = Server::start(config);
    let _publisher = Publisher::start(server.rtmp, "cam");
    RtmpPlayer::start(server.rtmp, "cam");
}

fn the_name_that_was_granted_counts(config: Config) {
    let server = Server::with_home(config, 1);
    let _questions = judged(&server, |request| {
        let id = (request.intent == Intent::Publish).then_some(ID);
        Verdict::Allow(Grant { id, ..Grant::to(name("cam")) })
    });
    let mut publisher = Publisher::start(server.rtmp, "secret-1");
    let (_, event) =
        server.control.event("it started", |event| matches!(event, Event::StreamStarted(_)));
    let Event::StreamStarted(start) = event else { unreachable!() };
    assert_eq!((start.stream.as_str(), start.id), ("cam", Some(ID)));
    let told = start.publisher.unwrap();
    assert_eq!((told.peer, &*told.agent), (publisher.local_addr(), "FMLE/3.0"));
    let mut player = RtmpPlayer::start(server.rtmp, "whatever");
    publisher.send_frames(10);
    player.items_to_audio(9);
    kick(&server, None, ProtocolSet::ALL);
    assert_eq!(player.items_to_end(), []);
    publisher.statuses_to_end();
}

fn a_stream_is_kicked_at_once_and_for_good(config: Config) {
    let server = Server::with_home(config, 1);
    let _questions = judged(&server, |request| {
        let id = (request.intent == Intent::Publish).then_some(ID);
        Verdict::Allow(Grant { id, ..Grant::to(request.stream.clone()) })
    });
    for _ in 0..4 {
        // Every shard has done what it was told of those before.
        server.control.until("nobody is there", |totals| totals.sum(|c| c.connections) == 0);
        let mut publisher = Publisher::start(server.rtmp, "cam");
        let mut other = Publisher::start(server.rtmp, "other");
        let mut players: Vec<_> = (0..4).map(|_| RtmpPlayer::start(server.rtmp, "cam")).collect();
        let mut flv = FlvPlayer::start(server.http, "cam");
        publisher.send_frames(10);
        flv.items_to_audio(9);
        kick(&server, Some(Role::Publish), ProtocolSet::ALL);
        let over = |event: &Event| {
            let kicked = CloseReason::Kicked;
            matches!(event, Event::StreamEnded { id: Some(ID), reason, .. } if *reason == kicked)
        };
        server.control.event("it ended at once", over);
        let heard = publisher.statuses_to_end();
        assert!(heard.iter().any(|said| said == code::CONNECT_CLOSED), "{heard:?}");
        for player in &mut players {
            player.items_to_end();
            assert_eq!(player.statuses, [code::PLAY_UNPUBLISH_NOTIFY]);
        }
        flv.items_to_end();
        other.send_frames(1);
        other.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
        other.flush();
        server.control.stream_ended("other");
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.publishes_resumed), 0);
}

fn only_the_protocols_that_were_meant_are_kicked(config: Config) {
    let server = Server::with_home(config, 1);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let mut rtmp: Vec<_> = (0..4).map(|_| RtmpPlayer::start(server.rtmp, "cam")).collect();
    let mut flv: Vec<_> = (0..4).map(|_| FlvPlayer::start(server.http, "cam")).collect();
    publisher.send_frames(10);
    flv.iter_mut().for_each(|player| drop(player.items_to_audio(9)));
    kick(&server, Some(Role::Play), [Protocol::HttpFlv].into_iter().collect());
    flv.iter_mut().for_each(|player| drop(player.items_to_end()));
    publisher.send_frames(10);
    rtmp.iter_mut().for_each(|player| assert_contiguous(&player.items_to_audio(19)));
    kick(&server, Some(Role::Play), ProtocolSet::ALL);
    for player in &mut rtmp {
        player.items_to_end();
        assert_eq!(player.statuses, [code::PLAY_UNPUBLISH_NOTIFY, code::CONNECT_CLOSED]);
    }
    let plays = |t: &Totals| t.sum(|c| c.players) == 0 && t.stream("cam").is_some();
    server.control.until("the stream stays", plays);
}

fn a_stream_in_its_grace_time_ends_when_it_is_kicked(config: Config) {
    let server = Server::with_home(config, 1);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let mut player = RtmpPlayer::start(server.rtmp, "cam");
    publisher.send_frames(10);
    player.items_to_audio(9);
    drop(publisher);
    server.control.event("lost", |event| matches!(event, Event::StreamLost { .. }));
    kick(&server, Some(Role::Play), ProtocolSet::NONE);
    kick(&server, Some(Role::Publish), ProtocolSet::ALL);
    server.control.stream_ended("cam");
    assert_eq!(player.items_to_end(), []);
    assert_eq!(player.statuses, [code::PLAY_UNPUBLISH_NOTIFY]);
}

fn many_streams_are_kicked_by_one_order(config: Config) {
    const STREAMS: usize = 24;
    let server = Server::start(config);
    let stream = |number: usize| format!("cam-{number:02}");
    let mut publishers: Vec<_> =
        (0..STREAMS).map(|number| Publisher::start(server.rtmp, &stream(number))).collect();
    let mut players: Vec<_> =
        (0..STREAMS).map(|number| RtmpPlayer::start(server.rtmp, &stream(number))).collect();
    let mut flv: Vec<_> =
        (0..STREAMS).map(|number| FlvPlayer::start(server.http, &stream(number))).collect();
    for publisher in &mut publishers {
        publisher.send_frames(10);
    }
    flv.iter_mut().for_each(|player| drop(player.items_to_audio(9)));
    // Of each three streams: one ends, one loses its players of one protocol, one is left alone.
    let flv_alone = [Protocol::HttpFlv].into_iter().collect();
    let kick = |number: usize| match number % 3 {
        0 => Some(StreamKick::of(name(&stream(number)), None, ProtocolSet::ALL)),
        1 => Some(StreamKick::of(name(&stream(number)), Some(Role::Play), flv_alone)),
        _ => None,
    };
    let kicks: Arc<[_]> = (0..STREAMS).filter_map(kick).collect();
    server.control.send_all(|| Command::KickStreams {
        kicks: Arc::clone(&kicks),
        reason: CloseReason::StreamChanged,
    });
    for number in (0..STREAMS).filter(|number| number % 3 != 2) {
        flv[number].items_to_end();
    }
    for number in (0..STREAMS).step_by(3) {
        let heard = publishers[number].statuses_to_end();
        assert!(heard.iter().any(|said| said == code::CONNECT_CLOSED), "{number}: {heard:?}");
        players[number].items_to_end();
    }
    for number in (0..STREAMS).filter(|number| number % 3 != 0) {
        publishers[number].send_frames(10);
        assert_contiguous(&players[number].items_to_audio(19));
    }
    for number in (2..STREAMS).step_by(3) {
        assert_contiguous(&flv[number].items_to_audio(10));
    }
}
