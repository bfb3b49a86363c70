//! Drain: first who is new is refused and who is there is served; then peers that can reconnect are
//! asked to and served on, all others hear the end at once, or at the deadline if all are served.

mod node;

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use codecs::amf0::Value;
use codecs::rtmp::command::{Command as Call, code};
use codecs::time::MediaTime;
use dataplane::config::{Config, ReconnectUrl};
use dataplane::control::Command;
use node::{
    Answer, FlvPlayer, Peer, Player, Publisher, RtmpPlayer, Server, Viewer, assert_contiguous,
};

on_both_backends! {
    who_can_reconnect_is_served_until_it_leaves
    who_does_not_leave_hears_the_end_before_the_deadline
    a_stream_of_a_publisher_that_cannot_ends_at_once
    a_peer_that_is_served_on_cannot_begin_anew
    who_is_new_is_refused_while_who_is_there_is_served
    all_are_served_until_the_deadline_if_so_configured
}

/// The bit of `capsEx` that says so.
const RECONNECTS: f64 = 1.0;

fn publisher(addr: SocketAddr, caps_ex: f64) -> Publisher {
    let mut peer = Peer::open_with(addr, caps_ex);
    peer.publish("down");
    peer.flush();
    peer.expect_status(code::PUBLISH_START);
    let mut publisher = Publisher::of(peer);
    publisher.configure(0);
    publisher.flush();
    publisher
}

fn player(addr: SocketAddr, caps_ex: f64) -> RtmpPlayer {
    let mut peer = Peer::open_with(addr, caps_ex);
    peer.play("down");
    peer.flush();
    peer.expect_status(code::PLAY_START);
    RtmpPlayer::of(peer)
}

/// The next request to reconnect that the peer gets.
fn request(peer: &mut Peer) -> Call {
    loop {
        let call = peer.command_named("onStatus");
        let told = call.args[0].get("code").and_then(Value::as_str);
        if told == Some(code::CONNECT_RECONNECT_REQUEST) {
            return call;
        }
    }
}

fn hang_up(peer: &Peer) {
    drop(peer.socket.shutdown(Shutdown::Both));
}

fn who_can_reconnect_is_served_until_it_leaves(mut config: Config) {
    config.session.drain = Duration::from_secs(15);
    config.session.reconnect_url = ReconnectUrl::parse("rtmp://other.example/live");
    let mut server = Server::start(config);
    let mut publisher = publisher(server.rtmp, 15.0);
    server.control.stream_started("down");
    let mut served = player(server.rtmp, RECONNECTS);
    let mut old = player(server.rtmp, 0.0);
    let mut flv = FlvPlayer::start(server.http, "down");
    publisher.send_frames(10);
    let mut items = served.items_to_audio(9);
    old.items_to_audio(9);
    flv.items_to_audio(9);

    server.control.send_all(|| Command::Drain);
    let call = request(&mut publisher);
    assert_eq!(call.transaction_id, 0.0);
    let text = |key| call.args[0].get(key).and_then(Value::as_str);
    assert_eq!(text("level"), Some("status"));
    assert_eq!(text("tcUrl"), Some("rtmp://other.example/live"));
    // Those who cannot hear the end, as ever.
    assert!(old.items_to_end().is_empty());
    assert_eq!(old.statuses, [code::PLAY_UNPUBLISH_NOTIFY, code::CONNECT_APP_SHUTDOWN]);
    assert!(flv.items_to_end().is_empty());
    hang_up(&old.peer);
    drop(flv);

    // Those who can are served as if nothing were: frames that are sent now arrive.
    publisher.send_frames(40);
    items.extend(served.items_to_audio(49));
    assert_contiguous(&items);
    assert_eq!(served.statuses, [code::CONNECT_RECONNECT_REQUEST]);

    // When the publisher leaves, there is no grace; when the last peer has left, it is over.
    hang_up(&publisher);
    assert!(served.items_to_end().is_empty());
    assert_eq!(served.statuses[1], code::PLAY_UNPUBLISH_NOTIFY);
    server.control.stream_ended("down");
    hang_up(&served.peer);
    server.control.joined();
}

fn who_does_not_leave_hears_the_end_before_the_deadline(mut config: Config) {
    config.session.drain = Duration::from_millis(1_500);
    let mut server = Server::start(config);
    let mut publisher = publisher(server.rtmp, RECONNECTS);
    server.control.stream_started("down");
    let mut served = player(server.rtmp, RECONNECTS);
    publisher.send_frames(10);
    served.items_to_audio(9);
    server.control.send_all(|| Command::Drain);
    let call = request(&mut publisher);
    assert_eq!(call.args[0].get("tcUrl"), None, "the same address");
    assert!(served.items_to_end().is_empty());
    assert_eq!(
        served.statuses[..2],
        [code::CONNECT_RECONNECT_REQUEST, code::PLAY_UNPUBLISH_NOTIFY]
    );
    let heard = publisher.statuses_to_end();
    assert!(heard.iter().any(|code| code == code::CONNECT_APP_SHUTDOWN), "{heard:?}");
    server.control.joined();
}

fn a_stream_of_a_publisher_that_cannot_ends_at_once(config: Config) {
    let mut server = Server::start(config);
    let mut publisher = publisher(server.rtmp, 14.0);
    server.control.stream_started("down");
    let mut served = player(server.rtmp, RECONNECTS);
    publisher.send_frames(10);
    served.items_to_audio(9);
    server.control.send_all(|| Command::Drain);
    let heard = publisher.statuses_to_end();
    assert!(!heard.iter().any(|code| code == code::CONNECT_RECONNECT_REQUEST), "{heard:?}");
    assert!(heard.iter().any(|code| code == code::CONNECT_APP_SHUTDOWN), "{heard:?}");
    assert!(served.items_to_end().is_empty());
    assert!(served.statuses.iter().any(|code| code == code::PLAY_UNPUBLISH_NOTIFY));
    hang_up(&publisher);
    hang_up(&served.peer);
    server.control.joined();
}

fn a_peer_that_is_served_on_cannot_begin_anew(mut config: Config) {
    config.session.drain = Duration::from_secs(15);
    let mut server = Server::start(config);
    let mut publisher = publisher(server.rtmp, RECONNECTS);
    server.control.stream_started("down");
    publisher.send_frames(1);
    server.control.send_all(|| Command::Drain);
    request(&mut publisher);
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.create_stream();
    publisher.publish("down");
    publisher.flush();
    let heard = publisher.statuses_to_end();
    assert_eq!(heard.last().map(String::as_str), Some(code::CONNECT_REJECTED), "{heard:?}");
    hang_up(&publisher);
    server.control.joined();
}

fn who_is_new_is_refused_while_who_is_there_is_served(mut config: Config) {
    config.session.refuse = Duration::from_secs(3_600);
    config.stream.hls.segment = MediaTime::from_millis(400);
    let server = Server::start(config);
    let mut publisher = publisher(server.rtmp, 0.0);
    server.control.stream_started("down");
    let mut old = player(server.rtmp, 0.0);
    let mut flv = FlvPlayer::start(server.http, "down");
    let mut viewer = Viewer::connect(server.http);
    let mut sent = publisher.send_frames(40);
    let list = |viewer: &mut Viewer| viewer.found("/down/media.m3u8");
    let segment = |list: &Answer| format!("/down/{}", list.uris().last().expect("a segment"));
    let first = segment(&list(&mut viewer));
    assert_eq!(viewer.get(&first).status, 200);
    server.control.send_all(|| Command::Drain);
    server.control.until("all drain", |totals| totals.shards.iter().all(|shard| shard.draining));

    // Connections are accepted and answered, so that whoever checks the server's health is content.
    let mut fresh = Viewer::connect(server.http);
    assert_eq!(fresh.get("/streams.json").status, 200);
    assert_eq!(fresh.get("/down.flv").status, 503);
    let refused = |ask: &dyn Fn(&mut Peer)| {
        let mut peer = Peer::open(server.rtmp);
        ask(&mut peer);
        peer.flush();
        peer.statuses_to_end()
    };
    assert_eq!(refused(&|peer| peer.play("down")), [code::PLAY_FAILED]);
    assert_eq!(refused(&|peer| peer.publish("other")), [code::CONNECT_REJECTED]);

    // Nobody who was there before notices, and a viewer of segments asks for new ones.
    sent = sent.max(publisher.send_frames(40));
    let items = old.items_to_audio(sent - 1);
    assert_contiguous(&items);
    flv.items_to_audio(sent - 1);
    assert!(old.statuses.is_empty(), "{:?}", old.statuses);
    let lists = std::iter::repeat_with(|| segment(&list(&mut viewer))).take(100_000);
    let newest = lists.into_iter().find(|newest| *newest != first).expect("a new segment");
    assert_eq!(viewer.get(&newest).status, 200);
}

fn all_are_served_until_the_deadline_if_so_configured(mut config: Config) {
    config.session.drain = Duration::from_millis(1_500);
    config.session.drain_serve = true;
    // A shard with nobody ends at once, and answers no more.
    config.shards.truncate(1);
    let mut server = Server::start(config);
    let mut publisher = publisher(server.rtmp, 0.0);
    server.control.stream_started("down");
    let mut old = player(server.rtmp, 0.0);
    let mut flv = FlvPlayer::start(server.http, "down");
    publisher.send_frames(10);
    server.control.send_all(|| Command::Drain);
    server.control.until("all drain", |totals| totals.shards.iter().all(|shard| shard.draining));
    let sent = publisher.send_frames(20);
    assert_contiguous(&old.items_to_audio(sent - 1));
    flv.items_to_audio(sent - 1);
    assert!(old.items_to_end().is_empty());
    assert_eq!(old.statuses[0], code::PLAY_UNPUBLISH_NOTIFY);
    let heard = publisher.statuses_to_end();
    assert!(heard.iter().any(|code| code == code::CONNECT_APP_SHUTDOWN), "{heard:?}");
    assert!(flv.items_to_end().is_empty());
    server.control.joined();
}
