//! What the control plane hears of sessions and streams: each beginning and each end once, with
//! its reason, whatever its mailbox is like.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::net::Shutdown;
use std::time::Duration;

use codecs::amf0::Value;
use dataplane::config::{Config, HlsMode, HlsSession};
use dataplane::control::{
    CloseReason, Command, ConnectionEnd, Event, Grant, Intent, MoveOrder, News, Protocol, Role,
    SessionEvent, StreamMove, Verdict,
};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};
use node::{FRAME_MS, FlvPlayer, Peer, Player, Publisher, RtmpPlayer, Server, Viewer, WsPlayer};

on_both_backends! {
    a_session_is_told_when_it_begins_and_how_it_ended
    every_protocol_says_how_a_kick_ended_it
    a_stream_keeps_its_name_through_grace_and_moves
    a_first_playlist_is_told_once_on_demand_too
    segments_and_connections_are_told_while_they_are_wanted
    whoever_waits_for_a_stream_is_told_while_that_is_wanted
    a_publisher_that_is_taken_over_from_is_told_so
    a_publication_is_closed_by_its_number_alone
}

const ID: StreamId = StreamId(*b"0123456789abcdef");

/// Allows everything; publications are called [`ID`].
fn named(server: &Server) {
    server.control.judge(Box::new(|request| {
        let id = (request.intent == Intent::Publish).then_some(ID);
        Some(Verdict::Allow(Grant { id, ..Grant::to(request.stream.clone()) }))
    }));
}

fn unpublish(publisher: &mut Publisher) {
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
}

fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

fn started(server: &Server, protocol: Protocol, role: Role) -> (SessionId, ShardId) {
    let is = |event: &Event| match event {
        Event::Session(told) => match &**told {
            SessionEvent::Started { protocol: p, role: r, .. } => (*p, *r) == (protocol, role),
            _ => false,
        },
        _ => false,
    };
    let what = format!("{} of {}", role.name(), protocol.name());
    match server.control.event(&what, is).1 {
        Event::Session(told) => match *told {
            SessionEvent::Started { session, shard, .. } => (session, shard),
            _ => unreachable!(),
        },
        _ => unreachable!(),
    }
}

fn ended(server: &Server, of: SessionId) -> SessionEvent {
    let is = |event: &Event| match event {
        Event::Session(told) => {
            matches!(**told, SessionEvent::Ended { session, .. } if session == of)
        }
        _ => false,
    };
    match server.control.event(&format!("the end of {of}"), is).1 {
        Event::Session(told) => *told,
        _ => unreachable!(),
    }
}

fn reason_of(event: &SessionEvent) -> CloseReason {
    match event {
        SessionEvent::Ended { reason, .. } => *reason,
        other => panic!("{other:?}"),
    }
}

fn a_session_is_told_when_it_begins_and_how_it_ended(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let (publish, _) = started(&server, Protocol::Rtmp, Role::Publish);
    publisher.send_frames(10);
    let mut player = RtmpPlayer::start(server.rtmp, "cam");
    player.items_to_audio(9);
    let (play, _) = started(&server, Protocol::Rtmp, Role::Play);
    let mut flv = FlvPlayer::start(server.http, "cam");
    flv.items_to_audio(9);
    let (over_http, _) = started(&server, Protocol::HttpFlv, Role::Play);
    drop(player);
    let told = ended(&server, play);
    assert!(matches!(reason_of(&told), CloseReason::PeerClosed | CloseReason::ConnectionLost));
    let SessionEvent::Ended { stream, role, protocol, bytes_in, bytes_out, .. } = told else {
        unreachable!()
    };
    assert_eq!((stream.as_str(), role, protocol), ("cam", Role::Play, Protocol::Rtmp));
    assert!(bytes_out > 1_000 && bytes_in < 3_000, "its stream went out, its handshake is over");
    let shown = server.control.snapshot();
    let status = shown.sessions().find(|status| status.id == over_http).unwrap();
    assert!(status.started.is_some());
    // A publication that is unpublished ends at once, and its players with it.
    unpublish(&mut publisher);
    // Two shards tell of it, in any order.
    let is_end = |event: &Event| match event {
        Event::StreamEnded { .. } => true,
        Event::Session(told) => matches!(**told, SessionEvent::Ended { .. }),
        _ => false,
    };
    for _ in 0..3 {
        match server.control.event("an end", is_end).1 {
            Event::StreamEnded { reason, .. } => assert_eq!(reason, CloseReason::PeerClosed),
            Event::Session(told) => {
                let SessionEvent::Ended { session, .. } = *told else { unreachable!() };
                assert!([publish, over_http].contains(&session));
                let of_publisher = session == publish;
                let reason = reason_of(&told);
                assert_eq!(reason == CloseReason::PeerClosed, of_publisher, "{reason:?}");
                assert_eq!(reason == CloseReason::StreamEnded, !of_publisher, "{reason:?}");
            }
            _ => unreachable!(),
        }
    }
}

fn every_protocol_says_how_a_kick_ended_it(mut config: Config) {
    config.stream.hls.session = HlsSession::Token;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let (publish, home) = started(&server, Protocol::Rtmp, Role::Publish);
    publisher.send_frames(2 * 2_000 / FRAME_MS + 1);
    let mut rtmp = RtmpPlayer::start(server.rtmp, "cam");
    let mut flv = FlvPlayer::start(server.http, "cam");
    let mut ws = WsPlayer::start(server.http, "cam");
    let mut viewer = Viewer::connect(server.http);
    let media = viewer.found("/cam/index.m3u8").uris()[0].to_owned();
    viewer.found(&format!("/cam/{media}"));
    for protocol in [Protocol::Rtmp, Protocol::HttpFlv, Protocol::WsFlv, Protocol::Hls] {
        let play = server.control.until("it plays", |totals| {
            let plays = |s: &&_| is_play(s, protocol);
            totals.sessions().filter(plays).count() == 1
        });
        let play = play.sessions().find(|s| is_play(s, protocol)).unwrap();
        let reason = CloseReason::Kicked;
        server.control.send(play.shard, Command::Kick { session: play.id, reason });
        let told = ended(&server, play.id);
        assert_eq!(reason_of(&told), reason, "{}", protocol.name());
        let SessionEvent::Ended { protocol: told, .. } = told else { unreachable!() };
        assert_eq!(told, protocol);
    }
    rtmp.items_to_end();
    flv.items_to_end();
    ws.items_to_end();
    assert_eq!(viewer.get(&format!("/cam/{media}")).status, 403);
    let reason = CloseReason::Kicked;
    server.control.send(home, Command::Kick { session: publish, reason });
    assert_eq!(reason_of(&ended(&server, publish)), reason);
    let over =
        |event: &Event| matches!(event, Event::StreamEnded { reason: CloseReason::Kicked, .. });
    server.control.event("no grace", over);
}

fn is_play(status: &dataplane::control::SessionStatus, protocol: Protocol) -> bool {
    status.started.is_some() && status.role == Some(Role::Play) && status.protocol == protocol
}

fn a_stream_keeps_its_name_through_grace_and_moves(mut config: Config) {
    config.stream.grace = Duration::from_secs(60);
    let server = Server::with_home(config, 0);
    named(&server);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let start = server.control.event("a start", |event| matches!(event, Event::StreamStarted(_)));
    let Event::StreamStarted(start) = start.1 else { unreachable!() };
    assert_eq!((start.id, start.protocol), (Some(ID), Protocol::Rtmp));
    let (publish, _) = started(&server, Protocol::Rtmp, Role::Publish);
    assert_eq!(start.publisher.unwrap().session, publish);
    publisher.send_frames(10);
    let mut second = Peer::open(server.rtmp);
    second.publish("cam");
    second.flush();
    let refused = |event: &Event| match event {
        Event::PublishRefused(refusal) => {
            assert_ne!(refusal.publisher.session, publish);
            refusal.reason == "busy"
        }
        _ => false,
    };
    server.control.event("the refusal of a second publisher", refused);
    let order = MoveOrder { id: 7, stream: name("cam"), to: ShardId(1) };
    server.control.send(ShardId(0), Command::Move(order));
    // It leaves, and arrives; two shards tell it, in any order.
    for _ in 0..2 {
        let moved = |event: &Event| matches!(event, Event::StreamMoved(_));
        let (shard, event) = server.control.event("a move", moved);
        let Event::StreamMoved(told) = event else { unreachable!() };
        let arrived = shard == ShardId(1);
        let (id, session) = (Some(ID), Some(publish));
        let expected = StreamMove { stream: name("cam"), id, session, order: 7, arrived };
        assert_eq!(*told, expected);
    }
    publisher.socket.shutdown(Shutdown::Both).unwrap();
    ended(&server, publish);
    let lost = |event: &Event| matches!(event, Event::StreamLost { id: Some(ID), .. });
    server.control.event("the loss", lost);
    let _returned = Publisher::start(server.rtmp, "cam");
    let back = |event: &Event| match event {
        Event::StreamReturned { id: Some(ID), session: Some(session), .. } => *session != publish,
        _ => false,
    };
    server.control.event("the return", back);
    server.control.send_all(|| Command::KickStream {
        stream: name("cam"),
        publication: None,
        role: None,
        protocols: dataplane::control::ProtocolSet::ALL,
        reason: CloseReason::Expired,
    });
    let over = |event: &Event| {
        matches!(event, Event::StreamEnded { id: Some(ID), reason: CloseReason::Expired, .. })
    };
    server.control.event("the end", over);
}

fn a_publisher_that_is_taken_over_from_is_told_so(mut config: Config) {
    config.stream.takeover_after = Duration::ZERO;
    let server = Server::start(config);
    let _silent = Publisher::start(server.rtmp, "cam");
    let (silent, _) = started(&server, Protocol::Rtmp, Role::Publish);
    let _next = Publisher::start(server.rtmp, "cam");
    assert_eq!(reason_of(&ended(&server, silent)), CloseReason::TakenOver);
}

/// An order by number comes late: the publication that it means is over, and another goes on.
fn a_publication_is_closed_by_its_number_alone(mut config: Config) {
    const NEXT: StreamId = StreamId(*b"the-next-one-abc");
    config.stream.grace = Duration::from_secs(60);
    let server = Server::with_home(config, 1);
    let close = |id| {
        server.control.send_all(|| Command::KickStream {
            stream: name("cam"),
            publication: Some(id),
            role: Some(Role::Publish),
            protocols: dataplane::control::ProtocolSet::ALL,
            reason: CloseReason::Kicked,
        });
        // Both shards have read it, and what one of them sent the other.
        for _ in 0..2 {
            server.control.snapshot();
        }
    };
    let over = |event: &Event| matches!(event, Event::StreamEnded { .. });
    named(&server);
    for in_grace in [false, true] {
        let mut publisher = Publisher::start(server.rtmp, "cam");
        let mut player = RtmpPlayer::start(server.rtmp, "cam");
        publisher.send_frames(10);
        close(NEXT);
        publisher.send_frames(10);
        player.items_to_audio(19);
        if in_grace {
            publisher.socket.shutdown(Shutdown::Both).unwrap();
            let lost = |event: &Event| matches!(event, Event::StreamLost { .. });
            server.control.event("the loss", lost);
            close(NEXT);
            assert!(server.control.snapshot().stream("cam").is_some_and(|s| s.id == Some(ID)));
        }
        close(ID);
        let (_, event) = server.control.event("the end", over);
        let Event::StreamEnded { id, reason, .. } = event else { unreachable!() };
        assert_eq!((id, reason), (Some(ID), CloseReason::Kicked));
    }
}

fn a_first_playlist_is_told_once_on_demand_too(mut config: Config) {
    config.stream.hls.mode = HlsMode::OnDemand;
    let server = Server::start(config);
    named(&server);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(2_000 / FRAME_MS + 1);
    let ready = |event: &Event| matches!(event, Event::SegmentsReady { .. });
    let (_, event) = server.control.event("the first playlist", ready);
    let Event::SegmentsReady { stream, id, width, height, fps_milli, target_ms } = event else {
        unreachable!()
    };
    assert_eq!((stream.as_str(), id, target_ms), ("cam", Some(ID), 4_000));
    assert!(width > 0 && height > 0 && fps_milli > 0, "{width} x {height}, {fps_milli}");
    let list = Viewer::connect(server.http).found("/cam/media.m3u8");
    assert_eq!(list.uris().len(), 1);
    // Neither more segments nor another publisher of the same publication tell it again.
    publisher.send_frames(2 * 2_000 / FRAME_MS);
    unpublish(&mut publisher);
    let told = server.control.events_until(|event| matches!(event, Event::StreamEnded { .. }));
    assert!(!told.iter().any(ready), "{told:?}");
}

/// The connection of a publisher is one, whatever it did by it, and each segment is told with the
/// last one that ends with the stream.
fn segments_and_connections_are_told_while_they_are_wanted(config: Config) {
    let server = Server::start(config);
    named(&server);
    let is_news =
        |event: &Event| matches!(event, Event::SegmentFinished(_) | Event::ConnectionClosed(_));
    let ended = |event: &Event| matches!(event, Event::StreamEnded { .. });
    let mut publisher = Publisher::start(server.rtmp, "before");
    publisher.send_frames(2 * 2_000 / FRAME_MS + 1);
    unpublish(&mut publisher);
    drop(publisher);
    let told = server.control.events_until(ended);
    assert!(!told.iter().any(is_news), "nobody wants to hear of it: {told:?}");
    let news = News { segments: true, connections: true, waits: false };
    server.control.send_all(|| Command::Want(news));
    server.control.snapshot();

    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(2 * 2_000 / FRAME_MS + 5);
    unpublish(&mut publisher);
    let told = server.control.events_until(ended);
    let segments: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::SegmentFinished(segment) => Some(segment),
            _ => None,
        })
        .collect();
    let [first, second, last] = segments.as_slice() else { panic!("{told:?}") };
    assert_eq!((first.stream.as_str(), first.id, first.duration_ms), ("cam", Some(ID), 2_000));
    assert_eq!([second.number, last.number], [first.number + 1, first.number + 2]);
    assert!(second.duration_ms == 2_000 && last.duration_ms < 1_000, "{segments:?}");
    drop(publisher);
    let end = connection_end(&server);
    assert_eq!((end.request.intent, end.request.protocol), (Intent::Connect, Protocol::Rtmp));
    assert_eq!(end.request.stream.as_str(), "live");
    assert_eq!(end.last, Some((Role::Publish, name("cam"))));
    assert!(end.bytes_in > 10_000 && end.bytes_out > 3_000, "handshake and all: {end:?}");
    // A player that leaves, and somebody who only looked in.
    let _publisher = Publisher::start(server.rtmp, "other");
    server.control.stream_started("other");
    let player = RtmpPlayer::start(server.rtmp, "other");
    started(&server, Protocol::Rtmp, Role::Play);
    drop(player);
    assert_eq!(connection_end(&server).last, Some((Role::Play, name("other"))));
    drop(Peer::open(server.rtmp));
    assert_eq!(connection_end(&server).last, None);
}

fn connection_end(server: &Server) -> ConnectionEnd {
    let closed = |event: &Event| matches!(event, Event::ConnectionClosed(_));
    match server.control.event("the end of a connection", closed).1 {
        Event::ConnectionClosed(end) => *end,
        _ => unreachable!(),
    }
}

fn whoever_waits_for_a_stream_is_told_while_that_is_wanted(mut config: Config) {
    config.session.play_wait = Duration::from_secs(60);
    let server = Server::start(config);
    named(&server);
    server.control.send_all(|| Command::Want(News { waits: true, ..News::default() }));
    server.control.snapshot();
    let _player = RtmpPlayer::ask(server.rtmp, "nobody");
    let waits = |event: &Event| matches!(event, Event::PlayerWaits(_));
    let (_, event) = server.control.event("a player that waits", waits);
    let Event::PlayerWaits(told) = event else { unreachable!() };
    assert_eq!((told.stream.as_str(), told.protocol), ("nobody", Protocol::Rtmp));
    // It is who it is called, and can be sent away.
    let (session, reason) = (told.session, CloseReason::Kicked);
    server.control.send_all(|| Command::Kick { session, reason });
    let kicked = |event: &Event| matches!(event, Event::Kicked { found: true, .. });
    let (_, event) = server.control.event("the kick", kicked);
    assert!(matches!(event, Event::Kicked { session: s, .. } if s == session));
}
