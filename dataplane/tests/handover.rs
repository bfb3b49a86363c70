//! A publisher that was accepted off its stream's home shard goes there, and loses nothing.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use codecs::time::MediaTime;
use dataplane::config::Config;
use node::{Player, Publisher, RtmpPlayer, Script, Server, assert_contiguous};

on_both_backends! {
    bytes_cut_inside_connect_arrive
    bytes_cut_inside_publish_arrive
    bytes_cut_inside_a_chunk_of_media_arrive
    a_flood_that_waits_for_no_reply_arrives
    a_flood_arrives_through_the_smallest_rings_and_buffers
    a_flood_that_outlasts_the_verdict_arrives
    a_player_that_publishes_in_the_middle_of_an_entry_finishes_it_first
    a_player_that_plays_on_in_the_middle_of_an_entry_finishes_it_first
}

/// Attempts until the kernel accepts one off the home shard; each is as likely as not.
const ATTEMPTS_MAX: u32 = 40;
/// Hand-overs that a case wants to see.
const HANDED_OVER: u64 = 2;

/// Where a script is cut.
#[derive(Clone, Copy)]
struct Marks {
    connect: usize,
    publish: usize,
    media: usize,
}

/// A whole publication of one GOP of `frames` frames, and places inside it.
fn publication(name: &str, frames: u32) -> (Vec<u8>, Marks) {
    let mut script = Script::default();
    script.hello();
    let connect = script.out.len() + 60;
    script.connect();
    script.create_stream();
    let publish = script.out.len() + 25;
    script.publish(name);
    script.configure(0);
    for number in 0..frames {
        script.video(number, number, number == 0);
        script.audio(number, number);
    }
    let media = script.out.len() / 2;
    (script.out, Marks { connect, publish, media })
}

/// Players wait for the stream, and no lag makes them jump.
fn patient(mut config: Config) -> Config {
    config.session.play_wait = Duration::from_secs(60);
    config.session.authorize_deadline = Duration::from_secs(60);
    config.egress.player_lag_max = MediaTime::from_millis(3_600_000);
    config
}

/// Publishes stream after stream through `deliver`, with a player that waits for each, until some
/// publishers were handed over; nothing of any of them may be missing.
fn nothing_is_lost(config: Config, frames: u32, deliver: impl Fn(&Server, TcpStream, &str)) {
    let server = Server::with_home(patient(config), 1);
    for attempt in 0..ATTEMPTS_MAX {
        let name = format!("s{attempt}");
        let mut player = RtmpPlayer::ask(server.rtmp, &name);
        let socket = TcpStream::connect(server.rtmp).unwrap();
        let publisher = socket.try_clone().unwrap();
        deliver(&server, socket, &name);
        let items = player.items_to_audio(frames - 1);
        assert_contiguous(&items);
        let count = items.iter().filter(|item| item.frame().is_some()).count();
        assert_eq!(count, 2 * frames as usize, "every unit arrives");
        let totals = server.control.snapshot();
        assert_eq!(totals.sum(|c| c.units_dropped_malformed + c.sessions_malformed), 0);
        drop(publisher);
        if totals.sum(|c| c.publishers_handed_over) >= HANDED_OVER {
            return;
        }
    }
    panic!("no publisher was accepted off its home shard");
}

/// Writes up to `cut`, waits until the node has read that far, then writes the rest.
fn write_in_two(server: &Server, mut socket: TcpStream, bytes: &[u8], cut: usize) {
    let received = |t: &node::Totals| t.sum(|counters| counters.bytes_received);
    socket.set_nodelay(true).unwrap();
    let before = received(&server.control.snapshot());
    socket.write_all(&bytes[..cut]).unwrap();
    server.control.until("the first part is read", |t| received(t) >= before + cut as u64);
    socket.write_all(&bytes[cut..]).unwrap();
}

fn bytes_cut_inside_connect_arrive(config: Config) {
    nothing_is_lost(config, 50, |server, socket, name| {
        let (bytes, marks) = publication(name, 50);
        write_in_two(server, socket, &bytes, marks.connect);
    });
}

fn bytes_cut_inside_publish_arrive(config: Config) {
    nothing_is_lost(config, 50, |server, socket, name| {
        let (bytes, marks) = publication(name, 50);
        write_in_two(server, socket, &bytes, marks.publish);
    });
}

fn bytes_cut_inside_a_chunk_of_media_arrive(config: Config) {
    nothing_is_lost(config, 50, |server, socket, name| {
        let (bytes, marks) = publication(name, 50);
        write_in_two(server, socket, &bytes, marks.media);
    });
}

fn a_flood_that_waits_for_no_reply_arrives(config: Config) {
    nothing_is_lost(config, 1500, |_, mut socket, name| {
        socket.write_all(&publication(name, 1500).0).unwrap();
    });
}

fn a_flood_arrives_through_the_smallest_rings_and_buffers(config: Config) {
    nothing_is_lost(node::tiny(config), 150, |_, mut socket, name| {
        socket.write_all(&publication(name, 150).0).unwrap();
    });
}

fn a_flood_that_outlasts_the_verdict_arrives(config: Config) {
    use dataplane::control::{Grant, Intent, Verdict};
    nothing_is_lost(config, 300, |server, mut socket, name| {
        let (bytes, marks) = publication(name, 300);
        // The verdict is held back until media waits behind the publish command.
        let (go, gone) = std::sync::mpsc::channel();
        server.control.judge(Box::new(move |request| {
            if request.intent == Intent::Publish {
                gone.recv_timeout(node::TIME_BOUND).expect("the flood is on its way");
            }
            Some(Verdict::Allow(Grant::to(request.stream.clone())))
        }));
        let written = bytes.len().min(marks.publish + 32_000);
        socket.write_all(&bytes[..written]).unwrap();
        go.send(()).unwrap();
        socket.write_all(&bytes[written..]).unwrap();
    });
}

/// One player at a time, whose socket is full soon.
fn narrow(config: Config) -> Config {
    let mut config = patient(config);
    config.limits.players_max = 1;
    // What is kept for those who read late is not wanted elsewhere.
    config.page_bytes = 512 << 20;
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    config
}

/// A player that has not read what its socket holds, and has said that its play is over.
fn leaves_in_an_entry(server: &Server, publisher: &mut Publisher) -> RtmpPlayer {
    let mut player = RtmpPlayer::start(server.rtmp, "cam");
    let blocked = |t: &node::Totals| t.sum(|c| c.sends_blocked);
    let before = blocked(&server.control.snapshot());
    while blocked(&server.control.snapshot()) == before {
        publisher.send_frames(5);
    }
    player.peer.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    player
}

/// The publisher of a stream whose pictures fill a socket.
fn large_pictures(server: &Server) -> Publisher {
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 200_000;
    publisher
}

fn a_player_that_publishes_in_the_middle_of_an_entry_finishes_it_first(config: Config) {
    let server = Server::with_home(narrow(config), 1);
    let mut publisher = large_pictures(&server);
    let mut waited = 0;
    for attempt in 0..ATTEMPTS_MAX {
        let name = format!("s{attempt}");
        let asked = server.control.snapshot().sum(|c| c.authorize_asked);
        let mut peer = leaves_in_an_entry(&server, &mut publisher);
        peer.peer.publish(&name);
        peer.peer.flush();
        server.control.until("it asked", |t| t.sum(|c| c.authorize_asked) == asked + 2);
        // Unless its socket was full just where an entry ends.
        waited += u32::from(server.control.snapshot().stream(&name).is_none());
        // Every message is whole.
        peer.items_to_status(code::PUBLISH_START);
        let mut publishes = Publisher::of(peer.peer);
        publishes.configure(0);
        publishes.send_frames(10);
        let totals = server.control.snapshot();
        assert_eq!(totals.sum(|c| c.players), 0, "its play is over");
        let mut player = RtmpPlayer::start(server.rtmp, &name);
        player.items_to_audio(9);
        drop(player);
        server.control.until("the place is free", |t| t.sum(|c| c.players) == 0);
        if waited > 1 && totals.sum(|c| c.publishers_handed_over) >= HANDED_OVER {
            return;
        }
    }
    panic!("{waited} waited; too few of them were off their home shard");
}

fn a_player_that_plays_on_in_the_middle_of_an_entry_finishes_it_first(config: Config) {
    let server = Server::with_home(narrow(config), 1);
    let mut publisher = large_pictures(&server);
    let mut other = Publisher::start(server.rtmp, "other");
    other.send_frames(10);
    let mut player = leaves_in_an_entry(&server, &mut publisher);
    player.peer.play("other");
    player.peer.flush();
    player.items_to_status(code::PLAY_START);
    let items = player.items_to_audio(9);
    assert_contiguous(&items);
    let totals = server.control.snapshot();
    assert_eq!((totals.sum(|c| c.players), totals.sum(|c| c.plays_refused)), (1, 0));
}
