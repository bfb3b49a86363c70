//! Players that wait for their stream: whoever publishes it, whenever, with the right key.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

#[path = "../node/mod.rs"]
mod node;
mod places;

use std::cell::RefCell;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use codecs::rtmp::message::UserControl;
use dataplane::config::{Config, UrlDialect};
use dataplane::control::{
    CloseReason, Command, Event, Grant, Intent, MoveOrder, MoveOutcome, SessionEvent, StreamState,
    Verdict,
};
use dataplane::ids::{ShardId, StreamId, StreamName};
use node::{
    Content, FlvPlayer, Peer, Player, Publisher, RtmpPlayer, Server, Totals, Tunnel, Viewer,
    assert_contiguous, join_head, with_tls, ws_opening,
};

on_both_backends! {
    a_player_waits_and_waits_again
    a_wrong_key_is_refused_when_the_stream_is_there
    a_key_that_changes_within_the_grace_time_counts_from_then_on
    http_players_wait_for_a_bounded_time
    a_player_may_change_its_mind
    a_stream_that_began_unheard_is_found
    a_player_waits_again_where_its_stream_went
    a_channel_is_played_inside_tls
    a_player_may_clear_what_later_ones_begin_with
    a_page_may_clear_what_later_ones_begin_with
    an_application_with_a_slash_is_no_channel
}

const ID: StreamId = StreamId([7; 16]);

/// A node that speaks of channels and keys, whose players wait; streams live on shard 1.
fn channels(mut config: Config) -> Server {
    config.session.url = UrlDialect::ChannelKey;
    waiting(config)
}

/// A node whose players wait; streams live on shard 1.
pub(crate) fn waiting(config: Config) -> Server {
    let server = Server::with_home(config, 1);
    server.control.judge(Box::new(|request| {
        let plays = request.intent == Intent::Play;
        let grant = Grant {
            id: Some(ID).filter(|_| !plays),
            waits: plays,
            same_key: plays,
            ..Grant::to(request.stream.clone())
        };
        Some(Verdict::Allow(grant))
    }));
    server
}

/// Asks to play `key` of the channel `cam`.
fn ask(server: &Server, key: &str) -> RtmpPlayer {
    let mut peer = Peer::open_app(server.rtmp, "cam", 0.0);
    peer.play(key);
    peer.flush();
    RtmpPlayer::of(peer)
}

/// Publishes the channel `cam` with `key`.
fn publish(server: &Server, key: &str) -> Publisher {
    let mut peer = Peer::open_app(server.rtmp, "cam", 0.0);
    peer.publish(key);
    peer.flush();
    peer.expect_status(code::PUBLISH_START);
    let mut publisher = Publisher::of(peer);
    publisher.configure(0);
    publisher.flush();
    publisher
}

pub(crate) fn end(publisher: &mut Publisher) {
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
}

pub(crate) fn all_wait(server: &Server, count: u64) -> Totals {
    server.control.until("they wait", |t| t.sum(|c| c.players_idle) == count)
}

fn a_player_waits_and_waits_again(config: Config) {
    let server = channels(config);
    // One on each shard, or at least two of them.
    let mut players: Vec<_> = (0..4).map(|_| ask(&server, "k?cache=no")).collect();
    all_wait(&server, 4);
    // A survey looks at the sessions over some turns, and at the counters in the last of them.
    let totals = server.control.until("they are told as waiting", |totals| {
        totals.sessions().filter(|session| session.state == "idle").count() == 4
    });
    assert_eq!(totals.sum(|c| c.players + c.plays_refused), 0);
    for round in 0..2 {
        let mut publisher = publish(&server, "k");
        for player in &mut players {
            let begun = player.peer.next().unwrap().user_control();
            assert_eq!(begun, Some(UserControl::StreamBegin(1)), "round {round}");
            let statuses = [(); 2].map(|()| player.peer.status().unwrap());
            assert_eq!(statuses, [code::PLAY_RESET, code::PLAY_START]);
        }
        publisher.send_frames(20);
        for player in &mut players {
            let items = player.items_to_audio(19);
            assert_contiguous(&items);
        }
        end(&mut publisher);
        for player in &mut players {
            player.items_to_status(code::PLAY_UNPUBLISH_NOTIFY);
            player.statuses.clear();
            let end = player.peer.next().unwrap().user_control();
            assert_eq!(end, Some(UserControl::StreamEof(1)), "the connection stays");
        }
        all_wait(&server, 4);
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.plays_started), 8);
    drop(players);
    all_wait(&server, 0);
}

fn a_wrong_key_is_refused_when_the_stream_is_there(config: Config) {
    let server = channels(config);
    let mut wrong: Vec<_> = (0..3).map(|_| ask(&server, "guess")).collect();
    let mut right = ask(&server, "k");
    all_wait(&server, 4);
    let mut publisher = publish(&server, "k");
    right.peer.expect_status(code::PLAY_START);
    for player in &mut wrong {
        assert_eq!(player.peer.statuses_to_end(), [code::PLAY_BAD_NAME]);
    }
    assert_eq!(ask(&server, "guess").peer.statuses_to_end(), [code::PLAY_BAD_NAME]);
    publisher.send_frames(10);
    assert_contiguous(&right.items_to_audio(9));
    let mut late = ask(&server, "k");
    late.peer.expect_status(code::PLAY_START);
    let totals = server.control.snapshot();
    assert_eq!((totals.sum(|c| c.plays_refused), totals.sum(|c| c.players_idle)), (4, 0));
}

fn a_key_that_changes_within_the_grace_time_counts_from_then_on(config: Config) {
    let server = channels(config);
    let mut publisher = publish(&server, "old");
    // More than one turn looks at.
    let mut players: Vec<_> = (0..40).map(|_| ask(&server, "old")).collect();
    for player in &mut players {
        player.peer.expect_status(code::PLAY_START);
    }
    let mut over_http = FlvPlayer::start(server.http, "cam.flv?key=old&x=");
    publisher.send_frames(10);
    for player in &mut players {
        player.items_to_audio(9);
    }
    over_http.items_to_audio(9);
    publisher.socket.shutdown(Shutdown::Both).unwrap();
    let lost = |event: &Event| matches!(event, Event::StreamLost { id: Some(ID), .. });
    server.control.event("the publisher is lost", lost);
    let grace = |t: &Totals| t.stream("cam").is_some_and(|s| s.state == StreamState::Grace);
    server.control.until("grace", grace);
    let mut publisher = publish(&server, "new");
    // Two shards tell of the return, and of those who play by the old key, in any order.
    let back = |event: &Event| matches!(event, Event::StreamReturned { id: Some(ID), .. });
    let expired = |event: &Event| match event {
        Event::Session(told) => {
            let reason = CloseReason::Expired;
            matches!(&**told, SessionEvent::Ended { reason: r, .. } if *r == reason)
        }
        _ => false,
    };
    let told = [(); 42].map(|()| {
        back(
            &server
                .control
                .event("the return, and every end", |event| back(event) || expired(event))
                .1,
        )
    });
    assert_eq!(told.iter().filter(|&&back| back).count(), 1);
    assert_eq!(ask(&server, "old").peer.statuses_to_end(), [code::PLAY_BAD_NAME]);
    // Nor does anybody play on by it.
    for player in &mut players {
        assert!(player.items_to_end().iter().all(|item| item.frame().is_none()));
        assert_eq!(player.statuses, [code::PLAY_UNPUBLISH_NOTIFY, code::CONNECT_CLOSED]);
    }
    assert!(over_http.items_to_end().iter().all(|item| item.frame().is_none()));
    let mut player = ask(&server, "new");
    player.peer.expect_status(code::PLAY_START);
    publisher.send_frames(10);
    player.items_to_audio(9);
    end(&mut publisher);
    let over = |event: &Event| {
        let reason = CloseReason::PeerClosed;
        matches!(event, Event::StreamEnded { id: Some(ID), reason: r, .. } if *r == reason)
    };
    server.control.event("the stream ended", over);
}

fn http_players_wait_for_a_bounded_time(mut config: Config) {
    config.session.idle_play = Duration::from_millis(300);
    let server = waiting(config.clone());
    let player = FlvPlayer::ask(server.http, "/nobody.flv");
    assert!(player.head.starts_with("HTTP/1.1 404 "), "{}", player.head);
    let mut player = RtmpPlayer::ask(server.rtmp, "nobody");
    assert_eq!(player.peer.statuses_to_end(), [code::PLAY_STREAM_NOT_FOUND]);
    all_wait(&server, 0);

    config.session.idle_play = Duration::from_secs(3_600);
    let server = waiting(config);
    let mut flv = TcpStream::connect(server.http).unwrap();
    let mut ts = TcpStream::connect(server.http).unwrap();
    flv.write_all(b"GET /cam.flv?key=k HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    ts.write_all(b"GET /cam.ts?key=guess HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut ws = TcpStream::connect(server.http).unwrap();
    ws.write_all(ws_opening("/cam.flv?key=k").as_bytes()).unwrap();
    all_wait(&server, 3);
    let mut publisher = Publisher::start(server.rtmp, "cam?key=k");
    publisher.send_frames(10);
    assert_eq!(Viewer::of(ws).head().status, 101);
    assert_eq!(Viewer::of(ts).answer().status, 403, "it has another key");
    let mut viewer = Viewer::of(flv);
    assert_eq!(viewer.head().status, 200);
}

fn a_player_may_change_its_mind(config: Config) {
    let server = waiting(config);
    let mut player = RtmpPlayer::ask(server.rtmp, "cam");
    all_wait(&server, 1);
    // What it asks for while it waits holds when the stream is there.
    player.peer.stream_command("receiveAudio", &[Value::Boolean(false)]);
    player.peer.stream_command("deleteStream", &[Value::Number(1.0)]);
    player.peer.flush();
    all_wait(&server, 0);
    player.peer.play("other?key=k");
    player.peer.stream_command("receiveAudio", &[Value::Boolean(false)]);
    player.peer.flush();
    all_wait(&server, 1);
    let mut publisher = Publisher::start(server.rtmp, "other?key=k");
    player.peer.expect_status(code::PLAY_START);
    publisher.send_frames(10);
    let items = player.items_to_video(9);
    assert!(items.iter().all(|item| item.audio().is_none()), "{items:?}");
}

/// A word that a stream began may cross an answer that it is not there: it is asked for again.
fn a_stream_that_began_unheard_is_found(config: Config) {
    let server = waiting(config);
    let mut publisher = Publisher::start(server.rtmp, "cam?key=k");
    let mut players: Vec<_> = (0..8).map(|_| RtmpPlayer::ask(server.rtmp, "cam?key=k")).collect();
    for _ in 0..10 {
        end(&mut publisher);
        publisher.publish("cam?key=k");
        publisher.configure(0);
        publisher.flush();
    }
    publisher.send_frames(20);
    for player in &mut players {
        player.items_to_audio(19);
    }
}

fn a_player_may_clear_what_later_ones_begin_with(config: Config) {
    let server = channels(config);
    let mut publisher = publish(&server, "k");
    publisher.send_frames(15);
    let mut first = ask(&server, "k");
    assert_eq!(join_head(&mut first).1.frame().unwrap().number, 10);
    let mut clears = ask(&server, "k?cache=clear");
    assert_eq!(join_head(&mut clears).1.frame().unwrap().number, 10, "it has the kept group");
    let late = RefCell::new(Vec::new());
    server.control.until("the group is cleared", |totals| {
        let waits = totals.sum(|c| c.joins_waiting) > 0;
        if !waits {
            // Who comes before the home has heard of it begins there, too.
            let mut player = ask(&server, "k");
            player.peer.expect_status(code::PLAY_START);
            late.borrow_mut().push(player);
        }
        waits
    });
    let mut player = late.borrow_mut().pop().unwrap();
    publisher.send_frames(10);
    let (head, item) = join_head(&mut player);
    assert_eq!(item.frame().unwrap().number, 20, "it begins at the next keyframe");
    assert!(head.iter().any(|content| matches!(content, Content::VideoConfig(_))));
    assert_contiguous(&first.items_to_audio(24));
    assert_contiguous(&clears.items_to_audio(24));
}

/// In the other formats, and for readers of another shard than the stream's.
fn a_page_may_clear_what_later_ones_begin_with(config: Config) {
    let server = channels(config);
    let mut publisher = publish(&server, "k");
    publisher.send_frames(15);
    let mut first = FlvPlayer::start(server.http, "cam.flv?key=k&x=");
    assert_eq!(join_head(&mut first).1.frame().unwrap().number, 10);
    let mut clears = FlvPlayer::start(server.http, "cam.flv?key=k&cache=clear&x=");
    assert_eq!(join_head(&mut clears).1.frame().unwrap().number, 10);
    let late = RefCell::new(Vec::new());
    server.control.until("the group is cleared", |totals| {
        let waits = totals.sum(|c| c.joins_waiting) > 0;
        if !waits {
            late.borrow_mut().push(FlvPlayer::start(server.http, "cam.flv?key=k&x="));
        }
        waits
    });
    // Formats that nobody used yet do not begin there either.
    let mut other = ask(&server, "k");
    other.peer.expect_status(code::PLAY_START);
    publisher.send_frames(10);
    let mut player = late.borrow_mut().pop().unwrap();
    assert_eq!(join_head(&mut player).1.frame().unwrap().number, 20);
    let number = join_head(&mut other).1.frame().unwrap().number;
    assert!(number >= 15, "it begins at {number}");
    assert_contiguous(&clears.items_to_audio(24));
}

fn a_player_waits_again_where_its_stream_went(config: Config) {
    let server = channels(config);
    let mut players: Vec<_> = (0..2).map(|_| ask(&server, "k")).collect();
    all_wait(&server, 2);
    let mut publisher = publish(&server, "k");
    for player in &mut players {
        player.peer.expect_status(code::PLAY_START);
    }
    publisher.send_frames(10);
    let order = MoveOrder { id: 1, stream: StreamName::parse("cam").unwrap(), to: ShardId(0) };
    server.control.send(ShardId(1), Command::Move(order));
    let moved = |event: &Event| {
        let outcome = MoveOutcome::Moved { from: ShardId(1) };
        matches!(event, Event::Moved { outcome: told, .. } if *told == outcome)
    };
    server.control.event("it moved", moved);
    publisher.send_frames(10);
    end(&mut publisher);
    for player in &mut players {
        assert_contiguous(&player.items_to_status(code::PLAY_UNPUBLISH_NOTIFY));
        player.statuses.clear();
    }
    all_wait(&server, 2);
    // The next one begins where the map says.
    let mut publisher = publish(&server, "k");
    for player in &mut players {
        player.peer.expect_status(code::PLAY_START);
    }
    let to = publisher.send_frames(10);
    for player in &mut players {
        player.items_to_audio(to - 1);
    }
}

fn a_channel_is_played_inside_tls(config: Config) {
    let server = channels(with_tls(config));
    let tunnel = Tunnel::start(server.rtmps());
    let mut peer = Peer::open_app(tunnel.addr, "cam", 0.0);
    peer.play("k");
    peer.flush();
    let mut player = RtmpPlayer::of(peer);
    all_wait(&server, 1);
    let mut publisher = publish(&server, "k");
    player.peer.expect_status(code::PLAY_START);
    publisher.send_frames(10);
    assert_contiguous(&player.items_to_audio(9));
}

fn an_application_with_a_slash_is_no_channel(config: Config) {
    let server = channels(config);
    let mut peer = Peer::connect(server.rtmp);
    peer.connect_to("live/cam", 0.0);
    peer.flush();
    let refused = peer.command_named("_error");
    let said = refused.args[0].get("code").and_then(Value::as_str);
    assert_eq!(said, Some(code::CONNECT_INVALID_APP));
    assert!(peer.next().is_none(), "and it is closed");
    for key in ["", "a/b", "k.", &"k".repeat(129)] {
        for (command, code) in [("play", code::PLAY_BAD_NAME), ("publish", code::PUBLISH_BAD_NAME)]
        {
            let mut peer = Peer::open_app(server.rtmp, "cam", 0.0);
            peer.stream_command(command, &[key.into()]);
            peer.flush();
            assert_eq!(peer.statuses_to_end(), [code], "{command} {key}");
        }
    }
    assert_eq!(server.control.snapshot().sum(|c| c.authorize_asked), 0, "nobody was asked");
}
