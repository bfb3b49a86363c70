//! Latency classes: who is sent each frame at once while others wait for their flush, and which
//! shards accept where.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::net::SocketAddr;
use std::time::Duration;

use codecs::amf0::Value;
use dataplane::config::{Config, Latency, ListenerConfig, ListenerKind, Reload};
use dataplane::control::{Command, Role};
use dataplane::ids::{ShardId, ShardSet};
use node::{
    FlvPlayer, Player, Publisher, RtmpPlayer, Server, Totals, TsPlayer, WsPlayer, assert_contiguous,
};

on_both_backends! {
    a_low_latency_player_gets_each_frame_at_once_and_an_ordinary_one_waits
    a_listener_gives_its_class_to_players_that_name_none
    a_listener_accepts_on_its_shards_alone
    a_reload_changes_class_and_shards_of_an_open_listener
}

/// Frames that are published one by one.
const FRAMES: u32 = 20;
/// Frames that are there before anybody plays.
const BEFORE: u32 = 10;

/// Nobody is flushed within the life of a case.
fn gathering(mut config: Config) -> Config {
    config.egress.batch_min = Duration::from_secs(3_600);
    config.egress.batch_max = config.egress.batch_min;
    config
}

/// One more listener of each protocol, of that class, behind those that are there.
fn with_listeners(mut config: Config, latency: Latency, shards: ShardSet) -> Config {
    for at in 0..2 {
        config.listeners.push(ListenerConfig { latency, shards, ..config.listeners[at] });
    }
    config
}

fn sent_to(totals: &Totals, peer: SocketAddr) -> u64 {
    totals.sessions().find(|session| session.peer == peer).unwrap().bytes_out
}

/// A player, and how many frames behind the last one it can tell: of a transport stream it knows
/// that a frame is whole when the next one begins.
type Low = (u32, Box<dyn Player>);

/// An ordinary player and its address.
type Ordinary = (SocketAddr, Box<dyn Player>);

/// Publishes frame by frame: each must reach every one of `low` before the next is sent, and not a
/// byte of them those of `ordinary`, who get all of them when the stream ends.
fn assert_classes(
    server: &Server,
    mut publisher: Publisher,
    mut low: Vec<Low>,
    mut ordinary: Vec<Ordinary>,
) {
    for (behind, player) in &mut low {
        player.items_to_audio(BEFORE - 1 - *behind);
    }
    for (_, player) in &mut ordinary {
        player.items_to_audio(BEFORE - 1);
    }
    // A shard that has still to hear that a send is over goes on with what came meanwhile.
    server.control.snapshot();
    let before = server.control.snapshot();
    for number in BEFORE..BEFORE + FRAMES {
        publisher.send_frames(1);
        for (behind, player) in &mut low {
            assert_contiguous(&player.items_to_audio(number - *behind));
        }
    }
    let after = server.control.snapshot();
    for (peer, _) in &ordinary {
        assert_eq!(sent_to(&before, *peer), sent_to(&after, *peer), "its flush has not come");
    }
    let sends = after.sum(|c| c.sends) - before.sum(|c| c.sends);
    // Nobody waited for what a player cannot tell yet, so two frames of it may share a send.
    let awaited = low.iter().filter(|(behind, _)| *behind == 0).count();
    let each = u64::from(FRAMES) * awaited as u64;
    assert!(sends >= each, "{sends} sends for {each} frames that went out one by one");
    publisher.stream_command("deleteStream", &[Value::Number(1.0)]);
    publisher.flush();
    for (_, player) in &mut ordinary {
        let items = player.items_to_end();
        assert_contiguous(&items);
        let last = items.iter().rev().find_map(node::Item::audio).unwrap();
        assert_eq!(last.number, BEFORE + FRAMES - 1);
    }
}

fn a_low_latency_player_gets_each_frame_at_once_and_an_ordinary_one_waits(config: Config) {
    let server = Server::start(gathering(config));
    let mut publisher = Publisher::start(server.rtmp, "life");
    publisher.send_frames(BEFORE);
    let (rtmp, http) = (server.rtmp, server.http);
    let low: Vec<Low> = vec![
        (0, Box::new(RtmpPlayer::start(rtmp, "life?latency=low"))),
        (0, Box::new(FlvPlayer::ask(http, "/life.flv?latency=low"))),
        (0, Box::new(WsPlayer::ask(http, "/life.flv?latency=low"))),
        (1, Box::new(TsPlayer::ask(http, "/life.ts?latency=low"))),
    ];
    // Packets of a picture end where the next one begins, so TS has a case of its own below.
    let flv = FlvPlayer::start(http, "life");
    let rtmp = RtmpPlayer::start(rtmp, "life?latency=auto");
    let ordinary: Vec<Ordinary> =
        vec![(flv.local_addr(), Box::new(flv)), (rtmp.peer.local_addr(), Box::new(rtmp))];
    assert_classes(&server, publisher, low, ordinary);
}

fn a_listener_gives_its_class_to_players_that_name_none(config: Config) {
    let config = with_listeners(gathering(config), Latency::Low, ShardSet::ALL);
    let server = Server::start(config);
    let (rtmp, http) = (server.listeners()[2].addr, server.listeners()[3].addr);
    let mut publisher = Publisher::start(server.rtmp, "life");
    publisher.send_frames(BEFORE);
    let low: Vec<Low> = vec![
        (0, Box::new(RtmpPlayer::start(rtmp, "life"))),
        (0, Box::new(FlvPlayer::start(http, "life"))),
        (1, Box::new(TsPlayer::start(http, "life"))),
    ];
    let over = FlvPlayer::ask(http, "/life.flv?latency=auto");
    let plain = FlvPlayer::start(server.http, "life");
    let ordinary: Vec<Ordinary> =
        vec![(over.local_addr(), Box::new(over)), (plain.local_addr(), Box::new(plain))];
    assert_classes(&server, publisher, low, ordinary);
}

/// More connections than a shard leads by before it gives some away.
const CROWD: usize = 24;

/// Players through `addr`, once they play: how many each shard serves.
fn players_by_shard(server: &Server, addr: SocketAddr) -> (Vec<FlvPlayer>, [usize; 2]) {
    let crowd: Vec<_> = (0..CROWD).map(|_| FlvPlayer::start(addr, "life")).collect();
    let playing = |totals: &Totals, shard: u16| {
        let sessions = totals.sessions().filter(|session| session.shard == ShardId(shard));
        sessions.filter(|session| session.role == Some(Role::Play)).count()
    };
    let totals = server.control.until("all play", |t| t.sum(|c| c.players) == CROWD as u64);
    (crowd, [playing(&totals, 0), playing(&totals, 1)])
}

fn a_listener_accepts_on_its_shards_alone(config: Config) {
    let second = [ShardId(1)].into_iter().collect();
    let server = Server::with_home(with_listeners(config, Latency::Auto, second), 0);
    let (rtmp, http) = (server.listeners()[2].addr, server.listeners()[3].addr);
    // Its publisher goes home all the same.
    let mut publisher = Publisher::start(rtmp, "life");
    publisher.send_frames(BEFORE);
    let totals = server.control.snapshot();
    assert_eq!(totals.stream("life").unwrap().shard, ShardId(0));
    assert_eq!(totals.sum(|c| c.publishers_handed_over), 1);
    let (crowd, shards) = players_by_shard(&server, http);
    assert_eq!(shards, [0, CROWD], "nobody is given to a shard that does not accept there");
    drop(crowd);
    server.control.until("all left", |t| t.sum(|c| c.players) == 0);
    let (_crowd, shards) = players_by_shard(&server, server.http);
    assert!(shards[0] > 0 && shards[1] > 0, "{shards:?}");
}

/// Sockets of this process's network that listen at the port of `addr`: one of each shard.
fn sockets_listening(addr: SocketAddr) -> usize {
    const LISTENS: &str = "0A";
    let port = format!(":{:04X}", addr.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let listens = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        local.is_some_and(|local| local.ends_with(&port)) && state == Some(LISTENS)
    };
    table.lines().filter(listens).count()
}

fn a_reload_changes_class_and_shards_of_an_open_listener(config: Config) {
    let config = gathering(config);
    let server = Server::start(config.clone());
    let mut publisher = Publisher::start(server.rtmp, "life");
    publisher.send_frames(BEFORE);
    let first = [ShardId(0)].into_iter().collect();
    let listeners = server.listeners().iter();
    let listeners = listeners.map(|listener| match listener.kind {
        ListenerKind::Http => ListenerConfig { latency: Latency::Low, shards: first, ..*listener },
        _ => *listener,
    });
    let reload = std::sync::Arc::new(Reload {
        limits: config.limits,
        egress: config.egress,
        session: config.session,
        auth: config.auth,
        stream: config.stream,
        listeners: listeners.collect(),
        srt: config.srt.clone(),
        tls: None,
    });
    server.control.send_all(|| Command::Reload(reload.clone()));
    // Whoever connects to a socket that is about to be closed is sent away.
    server.control.until("one shard listens", |_| sockets_listening(server.http) == 1);
    let (crowd, shards) = players_by_shard(&server, server.http);
    assert_eq!(shards, [CROWD, 0]);
    drop(crowd);
    let low: Vec<Low> = vec![(0, Box::new(FlvPlayer::start(server.http, "life")))];
    let plain = RtmpPlayer::start(server.rtmp, "life");
    let ordinary: Vec<Ordinary> = vec![(plain.peer.local_addr(), Box::new(plain))];
    assert_classes(&server, publisher, low, ordinary);
}
