//! Players of every other kind, while their stream moves: inside TLS, filtered, paused, urgent.

use std::time::Duration;

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use dataplane::config::Config;

use super::node::{
    self, FlvPlayer, GOP_FRAMES, Player, Publisher, RtmpPlayer, Server, TsPlayer, Tunnel, WsPlayer,
    with_tls,
};
use super::orders::moved;
use super::players::Witness;
use crate::on_both_backends;

on_both_backends! {
    players_inside_tls_lose_nothing
    urgent_players_lose_nothing
    a_filtered_player_gets_every_frame_that_it_wants
    a_paused_player_goes_on_at_a_keyframe
}

/// Frames that are no whole group of pictures.
const STEP: u32 = GOP_FRAMES + GOP_FRAMES / 2;

/// A stream at shard 0 with one frame.
fn begin(config: Config) -> (Server, Publisher) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    (server, publisher)
}

/// Moves the stream back and forth while it is played.
fn lose_nothing(server: &Server, mut publisher: Publisher, mut witnesses: Vec<Witness>) {
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        last = publisher.send_frames(STEP) - 1;
        moved(server, "news", from, to);
        for witness in &mut witnesses {
            witness.read_to(last);
        }
    }
    for witness in &witnesses {
        witness.assert_whole(0, last);
    }
    assert_eq!(server.control.snapshot().sum(|c| c.player_jumps), 0);
}

fn players_inside_tls_lose_nothing(config: Config) {
    let (server, publisher) = begin(with_tls(config));
    let (rtmps, https) = (Tunnel::start(server.rtmps()), Tunnel::start(server.https()));
    let players = (0..4).flat_map(|_| {
        [
            Witness::new(RtmpPlayer::start(rtmps.addr, "news")),
            Witness::new(FlvPlayer::start(https.addr, "news")),
            Witness::new(TsPlayer::start(https.addr, "news")),
            Witness::new(WsPlayer::start(https.addr, "news")),
        ]
    });
    lose_nothing(&server, publisher, players.collect());
}

fn urgent_players_lose_nothing(mut config: Config) {
    // Everybody else waits for the flush.
    config.egress.batch_min = Duration::from_millis(40);
    config.egress.batch_max = config.egress.batch_min;
    let (server, publisher) = begin(config);
    let players = (0..4).flat_map(|_| {
        [
            Witness::new(FlvPlayer::ask(server.http, "/news.flv?latency=low")),
            Witness::new(FlvPlayer::start(server.http, "news")),
            Witness::new(TsPlayer::ask(server.http, "/news.ts?latency=low")),
            Witness::new(WsPlayer::ask(server.http, "/news.flv?latency=low")),
        ]
    });
    lose_nothing(&server, publisher, players.collect());
}

fn a_filtered_player_gets_every_frame_that_it_wants(config: Config) {
    let (server, mut publisher) = begin(config);
    let mut player = RtmpPlayer::start(server.rtmp, "news");
    player.items_to_audio(0);
    player.peer.stream_command("receiveAudio", &[Value::Boolean(false)]);
    player.peer.flush();
    let mut last = publisher.next_number() - 1;
    // The request races with the first frames, and the last sound of those is read later.
    for (from, to, sounds_max) in
        [(0, 1, STEP as usize), (1, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 0)]
    {
        let first = last + 1;
        last = publisher.send_frames(STEP) - 1;
        moved(&server, "news", from, to);
        let items = player.items_to_video(last);
        let numbers: Vec<_> = items.iter().filter_map(|item| Some(item.video()?.number)).collect();
        assert!(numbers.iter().copied().eq(first..=last), "{numbers:?}");
        let sounds = items.iter().filter(|item| item.audio().is_some()).count();
        assert!(sounds <= sounds_max, "{sounds} frames of sound");
    }
    assert!(server.control.snapshot().sum(|c| c.entries_filtered) > 0);
}

fn a_paused_player_goes_on_at_a_keyframe(config: Config) {
    let (server, mut publisher) = begin(config);
    let mut player = RtmpPlayer::start(server.rtmp, "news");
    player.items_to_audio(0);
    player.peer.stream_command("pause", &[Value::Boolean(true), Value::Number(0.0)]);
    player.peer.flush();
    player.items_to_status(code::PAUSE_NOTIFY);
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        last = publisher.send_frames(STEP) - 1;
        moved(&server, "news", from, to);
    }
    player.peer.stream_command("pause", &[Value::Boolean(false), Value::Number(0.0)]);
    player.peer.flush();
    let items = player.items_to_audio(last);
    let first = items.iter().find_map(|item| item.video()).unwrap().number;
    assert_eq!((first % GOP_FRAMES, last - first < GOP_FRAMES), (0, true), "{first} of {last}");
    node::assert_contiguous(&items);
    last = publisher.send_frames(STEP) - 1;
    node::assert_contiguous(&player.items_to_audio(last));
}
