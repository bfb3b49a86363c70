//! Slow players: they jump or are closed, and nobody else notices.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;
mod witness;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use codecs::rtmp::command::code;
use codecs::rtmp::message::{Csid, MessageKind};
use codecs::time::MediaTime;
use dataplane::config::Config;
use node::{
    Content, FRAME_MS, FlvPlayer, GOP_FRAMES, Item, Peer, Player, Publisher, RtmpPlayer, Server,
    WsPlayer, assert_contiguous, avcc, tiny,
};
use witness::Witness;

on_both_backends! {
    a_publisher_of_large_pictures_outlives_an_empty_pool
    a_slow_player_jumps_to_the_newest_keyframe
    a_slow_player_jumps_through_the_smallest_rings
    a_player_that_keeps_jumping_is_closed
    a_player_that_the_tail_overtakes_in_an_entry_is_closed
    a_player_without_progress_is_closed
    a_long_group_of_pictures_is_no_lag
    a_stream_of_few_bytes_can_lag_too
}

/// Sockets that are full soon, and a lag of 25 frames.
fn narrow(mut config: Config) -> Config {
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    config.egress.player_lag_max = MediaTime::from_millis(i64::from(25 * FRAME_MS));
    config
}

/// Publishes by tens, so that the witness never lags, until far more is published than a socket
/// holds; returns the number after the last frame.
fn overwhelm(witness: &mut Witness, frames: u32) -> u32 {
    for _ in 0..frames / 10 {
        witness.publish(10);
    }
    witness.publisher.next_number()
}

/// How often a player jumped: each time over a part of the stream to a keyframe, with every frame
/// of both media before and after it.
fn jumps(items: &[Item]) -> u64 {
    let mut began = 0;
    let mut jumps = 0;
    let mut last = None;
    for (at, item) in items.iter().enumerate() {
        let Some(frame) = item.video() else { continue };
        if last.is_some_and(|last| frame.number != last + 1) {
            assert!(last < Some(frame.number), "a jump goes forward");
            assert!(frame.keyframe && frame.number % GOP_FRAMES == 0, "{frame:?}");
            assert_contiguous(&items[began..at]);
            began = at;
            jumps += 1;
        }
        last = Some(frame.number);
    }
    assert_contiguous(&items[began..]);
    jumps
}

fn jumps_forward(config: Config) {
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    witness.publisher.video_bytes = 8_000;
    let rtmp = RtmpPlayer::start(server.rtmp, "good");
    let flv = FlvPlayer::start(server.http, "good");
    let ws = WsPlayer::start(server.http, "good");
    overwhelm(&mut witness, 50);
    let record = avcc(20, 15, 0x81);
    let changed = witness.publisher.next_number();
    witness.publisher.video_config(&record, changed * FRAME_MS);
    let end = overwhelm(&mut witness, 50);
    let mut seen = 0;
    for mut player in [Box::new(rtmp) as Box<dyn Player>, Box::new(flv), Box::new(ws)] {
        let items = player.items_to_audio(end - 1);
        let of_player = jumps(&items);
        assert!(of_player > 0, "far more was published than its sockets hold");
        seen += of_player;
        let is_news = |item: &Item| item.content == Content::VideoConfig(record.clone());
        let needs_it = |item: &Item| item.frame().is_some_and(|f| f.number >= changed);
        let news = items.iter().position(is_news).unwrap();
        let needed = items.iter().position(needs_it).unwrap();
        assert!(news < needed, "the configuration comes before the frames that need it");
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.player_jumps), seen);
    assert_eq!(totals.sum(|c| c.players_too_slow), 0);
    witness.works();
}

fn a_slow_player_jumps_to_the_newest_keyframe(config: Config) {
    jumps_forward(narrow(config));
}

fn a_slow_player_jumps_through_the_smallest_rings(config: Config) {
    jumps_forward(tiny(narrow(config)));
}

fn a_player_that_keeps_jumping_is_closed(config: Config) {
    let mut config = narrow(config);
    config.egress.jumps_max = 2;
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    witness.publisher.video_bytes = 8_000;
    let mut player = narrow_player(&server);
    let mut items = Vec::new();
    for _ in 0..3 {
        let end = overwhelm(&mut witness, 100);
        let is_last = |item: &Item| item.audio().is_some_and(|f| f.number == end - 1);
        while !items.last().is_some_and(is_last) {
            let Some(item) = player.next_item() else {
                // What it got until then ended between two messages.
                let totals = server.control.snapshot();
                assert_eq!(jumps(&items), 2);
                assert_eq!(totals.sum(|c| c.player_jumps), 3);
                assert_eq!(totals.sum(|c| c.players_too_slow), 1);
                witness.works();
                return;
            };
            items.push(item);
        }
    }
    panic!("each round is a jump, and the third is one too many");
}

/// A player whose receive buffer stays small however well it reads.
fn narrow_player(server: &Server) -> RtmpPlayer {
    let kind = socket2::Type::STREAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.connect(&server.rtmp.into()).unwrap();
    let mut peer = Peer::raw(socket.into());
    peer.hello();
    peer.flush();
    peer.skip_hello();
    peer.connect();
    peer.create_stream();
    peer.play("good");
    peer.flush();
    peer.expect_status(code::PLAY_START);
    RtmpPlayer { peer, statuses: Vec::new(), controls: Vec::new() }
}

fn a_player_that_the_tail_overtakes_in_an_entry_is_closed(config: Config) {
    let mut config = narrow(config);
    config.stream.bytes_max = 2 << 20;
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    let mut player = RtmpPlayer::start(server.rtmp, "good");
    // One frame is more than the sockets of a connection hold.
    witness.publisher.video_bytes = 1 << 20;
    for _ in 0..6 {
        witness.publish(1);
    }
    // A reply that waits for the end of the entry does not keep the connection.
    player.peer.message(Csid::CONTROL, MessageKind::UserControl, 0, 0, &[0, 6, 0, 0, 0, 0]);
    player.peer.flush();
    let mut rest = Vec::new();
    let ended = player.peer.socket.read_to_end(&mut rest);
    let is_end = ended.as_ref().map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |_| true);
    assert!(is_end, "{ended:?}");
    assert!(rest.len() < 1 << 20, "it never had the whole frame");
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.players_too_slow), 1);
    assert_eq!(totals.sum(|c| c.player_jumps), 0);
    witness.publisher.video_bytes = 100;
    witness.works();
}

fn a_player_without_progress_is_closed(config: Config) {
    let mut config = narrow(config);
    config.egress.stall = Duration::from_millis(300);
    // A jump to where little is left would end the stall.
    config.egress.player_lag_max = MediaTime::from_millis(60_000);
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    witness.publisher.video_bytes = 8_000;
    let _rtmp = RtmpPlayer::start(server.rtmp, "good");
    let _flv = FlvPlayer::start(server.http, "good");
    let _ws = WsPlayer::start(server.http, "good");
    overwhelm(&mut witness, 100);
    // The witness is idle meanwhile, which is no stall.
    let totals = server.control.until("all stalled", |t| t.sum(|c| c.players_too_slow) == 3);
    assert_eq!(totals.sum(|c| c.players), 2);
    witness.works();
}

fn a_long_group_of_pictures_is_no_lag(config: Config) {
    let server = Server::start(narrow(config));
    let mut publisher = Publisher::start(server.rtmp, "long");
    publisher.video_bytes = 8_000;
    for number in 0..100 {
        publisher.video(number, number * FRAME_MS, number == 0);
        publisher.audio(number, number * FRAME_MS);
    }
    publisher.flush();
    server.control.until("published", |t| t.sum(|c| c.units_received) == 200);
    let mut rtmp = RtmpPlayer::start(server.rtmp, "long");
    let mut flv = FlvPlayer::start(server.http, "long");
    for items in [rtmp.items_to_audio(99), flv.items_to_audio(99)] {
        assert_eq!(items.iter().find_map(Item::video).unwrap().number, 0);
        assert_contiguous(&items);
    }
    assert_eq!(server.control.snapshot().sum(|c| c.player_jumps), 0);
}

fn a_stream_of_few_bytes_can_lag_too(config: Config) {
    let server = Server::start(narrow(config));
    let mut witness = Witness::start(&server);
    // The sockets are filled by large frames, then small ones follow: less than one send of them is
    // already too far behind.
    let mut player = FlvPlayer::start(server.http, "good");
    witness.publisher.video_bytes = 1 << 20;
    witness.publish(1);
    witness.publisher.video_bytes = 100;
    let end = overwhelm(&mut witness, 100);
    assert_eq!(jumps(&player.items_to_audio(end - 1)), 1);
    assert_eq!(server.control.snapshot().sum(|c| c.player_jumps), 1);
    witness.works();
}

fn a_publisher_of_large_pictures_outlives_an_empty_pool(mut config: Config) {
    config.page_bytes = 8 << 20;
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "large");
    publisher.video_config(&node::avcc(40, 30, 0x80), 0);
    publisher.video_bytes = 900_000;
    let mut send = |from: u32| {
        (from..from + 20).for_each(|n| publisher.video(n, n * 40, n % 10 == 0));
        publisher.flush();
    };
    send(0);
    server.control.until("memory ends", |t| t.sum(|c| c.units_dropped_memory) > 0);
    let before = server.control.snapshot().sum(|c| c.units_received);
    (1..6).for_each(|round| send(round * 20));
    server.control.until("frames again", |t| t.sum(|c| c.units_received) >= before + 10);
    assert_eq!(server.control.snapshot().sum(|c| c.units_dropped_malformed), 0);
}
