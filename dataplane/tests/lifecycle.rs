//! How streams begin, survive their publisher, and end.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use std::net::Shutdown;
use std::time::Duration;

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use codecs::rtmp::message::UserControl;
use dataplane::config::{Config, DemoConfig, Pin};
use dataplane::control::{CloseReason, Command, Protocol, StreamState};
use dataplane::ids::{ShardId, StreamName};
use dataplane::metrics::ShardCounters;
use node::{
    Content, FlvPlayer, Item, Peer, Player, Publisher, RtmpPlayer, Server, assert_contiguous,
    demo_clip, join_head,
};

on_both_backends! {
    a_publisher_that_returns_within_grace_goes_on_for_the_same_players
    a_stream_ends_when_grace_is_over
    delete_stream_ends_at_once
    fc_unpublish_ends_at_once
    close_stream_ends_at_once
    a_stream_can_be_published_again_on_the_same_connection
    one_connection_publishes_on_one_shard_after_the_other
    a_second_publisher_is_refused_while_the_first_delivers
    a_second_publisher_takes_over_a_silent_stream
    a_kicked_publisher_ends_its_stream_at_once
    a_kicked_player_leaves_the_others_alone
    an_unknown_stream_is_not_found
    what_is_exported_is_counted
    a_player_can_wait_for_its_stream
    a_drain_says_farewell_and_ends
    the_demo_yields_to_an_encoder_and_returns
}

/// A stream with two players that got its first ten frames.
struct Scene {
    server: Server,
    publisher: Publisher,
    rtmp: RtmpPlayer,
    flv: FlvPlayer,
}

impl Scene {
    fn new(config: Config) -> Self {
        let server = Server::start(config);
        let mut publisher = Publisher::start(server.rtmp, "life");
        server.control.stream_started("life");
        let mut rtmp = RtmpPlayer::start(server.rtmp, "life");
        let mut flv = FlvPlayer::start(server.http, "life");
        publisher.send_frames(10);
        rtmp.items_to_audio(9);
        flv.items_to_audio(9);
        Self { server, publisher, rtmp, flv }
    }

    /// The publisher's connection breaks.
    fn lose_publisher(&self) {
        self.publisher.socket.shutdown(Shutdown::Both).unwrap();
        self.server.control.until("grace", |t| {
            t.stream("life").is_some_and(|stream| stream.state == StreamState::Grace)
        });
    }

    /// Both players hear the end of the stream in their protocol, and no frame more.
    fn assert_ended(&mut self) {
        assert_eq!(frames(&self.rtmp.items_to_end()), []);
        assert_eq!(self.rtmp.statuses, [code::PLAY_UNPUBLISH_NOTIFY]);
        assert_eq!(self.rtmp.controls.last(), Some(&UserControl::StreamEof(1)));
        assert_eq!(frames(&self.flv.items_to_end()), []);
        self.server.control.stream_ended("life");
        self.server
            .control
            .until("nobody is left", |t| t.stream("life").is_none() && t.sum(|c| c.players) == 0);
    }

    /// Everybody hears the end in its protocol, and the node's threads end.
    fn assert_drained(&mut self) {
        assert_eq!(self.rtmp.items_to_end(), []);
        assert_eq!(self.rtmp.statuses[0], code::PLAY_UNPUBLISH_NOTIFY);
        // On another shard than the home, the stream may end before the shard itself drains.
        let (_, after) = self.rtmp.statuses.split_first().unwrap();
        assert!(after.is_empty() || after == [code::CONNECT_APP_SHUTDOWN], "{after:?}");
        assert!(self.rtmp.controls.contains(&UserControl::StreamEof(1)));
        assert_eq!(self.flv.items_to_end(), []);
        let heard = self.publisher.statuses_to_end();
        assert!(heard.iter().any(|code| code == code::CONNECT_APP_SHUTDOWN), "{heard:?}");
        for socket in [&self.rtmp.peer.socket, &self.flv.socket, &self.publisher.socket] {
            // Those who hang up let the node end before its time.
            drop(socket.shutdown(Shutdown::Both));
        }
        self.server.control.joined();
    }
}

fn frames(items: &[Item]) -> Vec<u32> {
    items.iter().filter_map(|item| Some(item.frame()?.number)).collect()
}

fn a_publisher_that_returns_within_grace_goes_on_for_the_same_players(config: Config) {
    let mut scene = Scene::new(config);
    let last_ms = 9 * node::FRAME_MS + node::FRAME_MS / 2;
    scene.lose_publisher();
    // The encoder begins its clock anew.
    let mut again = Publisher::start(scene.server.rtmp, "life");
    again.send_frames(10);
    for items in [scene.rtmp.items_to_audio(9), scene.flv.items_to_audio(9)] {
        assert_contiguous(&items);
        assert_eq!(frames(&items).len(), 20);
        assert!(items.iter().all(|item| item.frame().is_some()), "nothing new to be told");
        assert!(items[0].ms > last_ms, "{} follows {last_ms}", items[0].ms);
        assert!(items[0].ms - last_ms < 60_000, "no hole but the silence");
    }
    let totals = scene.server.control.snapshot();
    assert_eq!(totals.sum(|c| c.publishes_resumed), 1);
    assert_eq!(totals.sum(|c| c.plays_started), 2, "nobody had to reconnect");
}

fn a_stream_ends_when_grace_is_over(mut config: Config) {
    config.stream.grace = Duration::from_millis(700);
    let mut scene = Scene::new(config);
    scene.lose_publisher();
    scene.assert_ended();
    assert_eq!(scene.server.control.snapshot().sum(|c| c.publishes_resumed), 0);
}

fn delete_stream_ends_at_once(config: Config) {
    let mut scene = Scene::new(config);
    scene.publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    scene.publisher.flush();
    scene.assert_ended();
    scene.publisher.expect_status(code::UNPUBLISH_SUCCESS);
}

fn fc_unpublish_ends_at_once(config: Config) {
    let mut scene = Scene::new(config);
    scene.publisher.command("FCUnpublish", 0, Value::Null, &["life".into()]);
    scene.publisher.flush();
    scene.assert_ended();
    scene.publisher.expect_status(code::UNPUBLISH_SUCCESS);
}

fn close_stream_ends_at_once(config: Config) {
    let mut scene = Scene::new(config);
    scene.publisher.stream_command("closeStream", &[]);
    scene.publisher.flush();
    scene.assert_ended();
    scene.publisher.expect_status(code::UNPUBLISH_SUCCESS);
}

fn a_stream_can_be_published_again_on_the_same_connection(config: Config) {
    let mut scene = Scene::new(config);
    scene.publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    scene.publisher.create_stream();
    scene.publisher.flush();
    scene.assert_ended();
    scene.publisher.expect_status(code::UNPUBLISH_SUCCESS);
    scene.publisher.publish("life");
    scene.publisher.flush();
    scene.publisher.expect_status(code::PUBLISH_START);
    scene.publisher.configure(0);
    scene.publisher.flush();
    let mut rtmp = RtmpPlayer::start(scene.server.rtmp, "life");
    let mut flv = FlvPlayer::start(scene.server.http, "life");
    let last = scene.publisher.send_frames(20) - 1;
    assert_contiguous(&rtmp.items_to_audio(last));
    assert_contiguous(&flv.items_to_audio(last));
}

fn one_connection_publishes_on_one_shard_after_the_other(mut config: Config) {
    let pin = |pattern: &str, shard| Pin { pattern: pattern.into(), shard: ShardId(shard) };
    config.pins = vec![pin("even-*", 0), pin("odd-*", 1)];
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "even-0");
    publisher.send_frames(5);
    for round in 1..6 {
        // A frame that has begun when its publication ends must not follow to the next shard.
        publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
        publisher.create_stream();
        let name = if round % 2 == 0 { format!("even-{round}") } else { format!("odd-{round}") };
        publisher.publish(&name);
        publisher.flush();
        publisher.expect_status(code::PUBLISH_START);
        publisher.configure(0);
        publisher.flush();
        let mut player = RtmpPlayer::start(server.rtmp, &name);
        let last = publisher.send_frames(20) - 1;
        assert_contiguous(&player.items_to_audio(last));
    }
    drop(publisher);
    server.control.until("five moves without a panic", |totals| {
        totals.sum(|counters| counters.panics) == 0 && totals.sum(|c| c.publishers_handed_over) >= 4
    });
}

fn a_second_publisher_is_refused_while_the_first_delivers(config: Config) {
    let mut scene = Scene::new(config);
    let mut second = Peer::open(scene.server.rtmp);
    second.publish("life");
    second.flush();
    second.expect_status(code::PUBLISH_BAD_NAME);
    second.statuses_to_end();
    scene.publisher.send_frames(10);
    assert_contiguous(&scene.rtmp.items_to_audio(19));
    assert_contiguous(&scene.flv.items_to_audio(19));
    assert_eq!(scene.server.control.snapshot().sum(|c| c.publishes_refused), 1);
}

fn a_second_publisher_takes_over_a_silent_stream(mut config: Config) {
    config.stream.takeover_after = Duration::ZERO;
    let mut scene = Scene::new(config);
    let mut second = Publisher::start(scene.server.rtmp, "life");
    second.send_frames(10);
    for items in [scene.rtmp.items_to_audio(9), scene.flv.items_to_audio(9)] {
        assert_contiguous(&items);
        assert_eq!(frames(&items).len(), 20);
    }
    let heard = scene.publisher.statuses_to_end();
    assert!(heard.iter().any(|code| code == code::UNPUBLISH_SUCCESS), "{heard:?}");
    let totals = scene.server.control.snapshot();
    assert_eq!(totals.sum(|c| c.publishes_taken_over), 1);
    assert_eq!(totals.sum(|c| c.plays_started), 2);
    assert_eq!(totals.stream("life").unwrap().state, StreamState::Live);
}

fn a_kicked_publisher_ends_its_stream_at_once(config: Config) {
    let mut scene = Scene::new(config);
    let control = &scene.server.control;
    let (shard, session) = control.snapshot().session_of(scene.publisher.local_addr()).unwrap();
    control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    scene.assert_ended();
    let heard = scene.publisher.statuses_to_end();
    assert!(heard.iter().any(|code| code == code::CONNECT_CLOSED), "{heard:?}");
}

fn a_kicked_player_leaves_the_others_alone(config: Config) {
    let mut scene = Scene::new(config);
    let control = &scene.server.control;
    let (shard, session) = control.snapshot().session_of(scene.rtmp.peer.local_addr()).unwrap();
    control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    assert_eq!(scene.rtmp.items_to_end(), []);
    assert_eq!(scene.rtmp.statuses, [code::PLAY_UNPUBLISH_NOTIFY, code::CONNECT_CLOSED]);
    scene.publisher.send_frames(10);
    assert_contiguous(&scene.flv.items_to_audio(19));
}

fn what_is_exported_is_counted(config: Config) {
    let server = Server::start(config);
    let player = FlvPlayer::ask(server.http, "/nothing.flv");
    assert!(player.head.starts_with("HTTP/1.1 404 "), "{}", player.head);
    server.control.until("both counters and a timer", |totals| {
        let timers = |c: &ShardCounters| c.loop_lag_us.count();
        totals.sum(|c| c.http_requests) == 1
            && totals.sum(|c| c.http_not_found) == 1
            && totals.sum(timers) > 0
    });
}

fn an_unknown_stream_is_not_found(config: Config) {
    let scene = Scene::new(config);
    let mut player = RtmpPlayer::ask(scene.server.rtmp, "nobody");
    assert_eq!(player.peer.statuses_to_end(), [code::PLAY_STREAM_NOT_FOUND]);
    let player = FlvPlayer::ask(scene.server.http, "/nobody.flv");
    assert!(player.head.starts_with("HTTP/1.1 404 "), "{}", player.head);
    let totals = scene.server.control.snapshot();
    assert_eq!(totals.sum(|c| c.plays_refused), 2);
    assert_eq!(totals.sum(|c| c.players), 2, "the others play on");
}

fn a_player_can_wait_for_its_stream(mut config: Config) {
    config.session.play_wait = Duration::from_secs(60);
    config.session.authorize_deadline = Duration::from_secs(60);
    let server = Server::start(config);
    let mut player = RtmpPlayer::ask(server.rtmp, "late");
    server.control.until("it asked", |t| t.sum(|c| c.authorize_asked) == 1);
    let mut publisher = Publisher::start(server.rtmp, "late");
    player.peer.expect_status(code::PLAY_START);
    publisher.send_frames(10);
    let items = player.items_to_audio(9);
    assert_contiguous(&items);
}

fn a_drain_says_farewell_and_ends(config: Config) {
    let mut scene = Scene::new(config);
    scene.server.control.send_all(|| Command::Drain);
    scene.assert_drained();
}

fn the_demo_yields_to_an_encoder_and_returns(mut config: Config) {
    let name = StreamName::parse("demo").unwrap();
    config.demo = Some(DemoConfig { name, flv: demo_clip() });
    let server = Server::start(config);
    let mut rtmp = RtmpPlayer::start(server.rtmp, "demo");
    let mut flv = FlvPlayer::start(server.http, "demo");
    // The clip loops: the same number comes twice, on one timeline.
    let clip = |player: &mut dyn FnMut() -> Vec<Item>| {
        let items = [player(), player()].concat();
        assert!(items.windows(2).all(|pair| pair[0].ms <= pair[1].ms), "time goes on");
        items.last().unwrap().ms
    };
    let last = clip(&mut || rtmp.items_to_audio(node::DEMO_NUMBER));
    clip(&mut || flv.items_to_audio(node::DEMO_NUMBER));

    let mut publisher = Publisher::start(server.rtmp, "demo");
    publisher.send_frames(10);
    for items in [rtmp.items_to_audio(9), flv.items_to_audio(9)] {
        let own: Vec<_> = items
            .iter()
            .filter(|item| item.frame().is_some_and(|frame| frame.number < 10))
            .cloned()
            .collect();
        assert_contiguous(&own);
        assert_eq!(own.len(), 20);
        assert!(own[0].ms > last, "one timeline");
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.stream("demo").unwrap().protocol, Protocol::Rtmp);

    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
    assert_eq!(frames(&rtmp.items_to_end()), []);
    assert_eq!(frames(&flv.items_to_end()), []);
    let back =
        |t: &node::Totals| t.stream("demo").is_some_and(|stream| stream.protocol == Protocol::Demo);
    server.control.until("the demo is back", back);
    let mut player = RtmpPlayer::start(server.rtmp, "demo");
    let (head, _) = join_head(&mut player);
    assert!(matches!(head[0], Content::VideoConfig(_)));
}
