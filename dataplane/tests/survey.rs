//! What a shard tells of thousands: whole lists, gathered a slice per turn.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use std::collections::HashSet;
use std::net::TcpStream;

use dataplane::config::{Config, ShardConfig};
use node::{FlvPlayer, Player, Publisher, RtmpPlayer, Server};

on_both_backends! {
    a_list_of_many_sessions_is_whole_and_takes_several_turns
    a_stream_has_its_players_by_shard_and_format
}

/// Idle connections, and the slots that one turn looks at.
const CROWD: usize = 1_200;
const SESSIONS_PER_TURN: usize = 512;

fn a_list_of_many_sessions_is_whole_and_takes_several_turns(mut config: Config) {
    dataplane::reactor::raise_nofile().unwrap();
    config.shards = vec![ShardConfig { cpu: None }];
    // Nobody here ever asks for anything.
    config.session.keep_alive = node::TIME_BOUND * 10;
    config.session.connect_deadline = node::TIME_BOUND * 10;
    config.limits.half_open_per_ip_max = CROWD as u64 * 2;
    let server = Server::start(config);
    let crowd: Vec<_> = (0..CROWD).map(|_| TcpStream::connect(server.http).unwrap()).collect();
    let all = CROWD as u64;
    let first = server.control.until("all are there", |t| t.sum(|c| c.connections) == all);
    let second = server.control.snapshot();
    let ids: HashSet<_> = second.sessions().map(|session| session.id).collect();
    assert_eq!((ids.len(), second.sessions().count()), (CROWD, CROWD), "each of them once");
    let turns = second.sum(|c| c.turns) - first.sum(|c| c.turns);
    let slices = (CROWD.div_ceil(SESSIONS_PER_TURN)) as u64;
    assert!(turns >= slices, "{slices} slices in {turns} turns");
    drop(crowd);
    // Counters are of one turn, and lists of several.
    server
        .control
        .until("all have left", |t| t.sum(|c| c.connections) == 0 && t.sessions().count() == 0);
}

fn a_stream_has_its_players_by_shard_and_format(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publishers = ["one", "two"].map(|name| Publisher::start(server.rtmp, name));
    publishers.iter_mut().for_each(|publisher| _ = publisher.send_frames(5));
    let mut flv: Vec<_> = (0..20).map(|_| FlvPlayer::start(server.http, "one")).collect();
    let mut rtmp: Vec<_> = (0..3).map(|_| RtmpPlayer::start(server.rtmp, "one")).collect();
    let mut other = RtmpPlayer::start(server.rtmp, "two?latency=low");
    flv.iter_mut().for_each(|player| _ = player.items_to_audio(4));
    rtmp.iter_mut().for_each(|player| _ = player.items_to_audio(4));
    other.items_to_audio(4);
    let totals = server.control.snapshot();
    let players = |stream: &str, format: &str| {
        let audiences = totals.shards.iter().flat_map(|shard| &shard.audiences);
        let of = audiences.filter(|a| a.stream.as_str() == stream && a.format == format);
        of.map(|audience| audience.players).sum::<u64>()
    };
    assert_eq!((players("one", "flv"), players("one", "rtmp")), (20, 3));
    assert_eq!((players("two", "flv"), players("two", "rtmp")), (0, 1), "a low one counts once");
    assert_eq!(totals.sum(|c| c.players), 24);
    assert!(totals.shards.iter().all(|shard| !shard.audiences.is_empty()), "both serve some");
    drop((flv, rtmp));
    let left = server.control.until("the others left", |t| t.sum(|c| c.players) == 1);
    let streams: Vec<_> = left.shards.iter().flat_map(|shard| &shard.audiences).collect();
    assert_eq!(streams.len(), 1, "{streams:?}");
}
