//! MPEG-TS over HTTP: what players receive, packet by packet, over real sockets.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

#[path = "../node/mod.rs"]
mod node;
#[path = "../witness/mod.rs"]
mod witness;

mod left_out;

use std::net::Shutdown;

use codecs::h264::AvcDecoderConfigurationRecord;
use codecs::rtmp::message::{Csid, MessageKind};
use codecs::time::MediaTime;
use dataplane::config::Config;
use dataplane::control::{Protocol, StreamState};
use node::{
    FRAME_MS, GOP_FRAMES, Item, Player, Publisher, Server, TsPlayer, assert_contiguous, avcc,
    payload, tiny,
};
use witness::Witness;

on_both_backends! {
    every_frame_arrives_as_it_was_sent
    every_frame_arrives_through_the_smallest_rings
    a_join_begins_with_tables_and_a_keyframe
    a_slow_player_jumps_with_a_splice
    a_slow_player_jumps_through_the_smallest_rings
    a_new_configuration_comes_with_its_keyframe
    another_codec_is_another_map
    sound_alone_is_a_program
    pictures_alone_are_a_program
    pictures_out_of_order_keep_their_times
    pictures_of_any_size_arrive
    distant_pictures_have_clock_and_tables_between_them
    a_publisher_that_returns_goes_on
    the_body_ends_with_the_stream
}

/// Video frames that a case sends; each is followed by a frame of audio.
const FRAMES: u32 = 60;

fn publish(server: &Server, name: &str) -> Publisher {
    let publisher = Publisher::start(server.rtmp, name);
    server
        .control
        .until("both tracks", |t| t.stream(name).is_some_and(|stream| stream.tracks.len() == 2));
    publisher
}

fn every_frame_arrives_as_it_was_sent(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "live/ts");
    assert!(player.head.contains("Content-Type: video/mp2t\r\n"), "{}", player.head);
    assert!(player.head.contains("Connection: close\r\n"), "{}", player.head);
    let mut items = player.items_to_audio(0);
    let totals = server.control.snapshot();
    assert_eq!(totals.sessions().filter(|s| s.protocol == Protocol::HttpTs).count(), 1);
    publisher.send_frames(FRAMES - 1);
    items.extend(player.items_to_audio(FRAMES - 1));
    assert_contiguous(&items);
    assert_eq!(items.iter().filter(|item| item.frame().is_some()).count(), 2 * FRAMES as usize);
    for item in &items {
        let frame = item.frame().unwrap();
        let late = if item.audio().is_some() { FRAME_MS / 2 } else { 0 };
        assert_eq!(item.ms, frame.number * FRAME_MS + late, "{frame:?}");
    }
    assert_eq!(player.streams, [(0x100, 0x1b), (0x110, 0x0f)]);
    assert_eq!((player.versions.as_slice(), player.discontinuities), (&[0][..], 0));
}

fn every_frame_arrives_through_the_smallest_rings(config: Config) {
    every_frame_arrives_as_it_was_sent(tiny(config));
}

/// The PIDs of the first packets that a player received.
fn first_pids(player: &TsPlayer) -> Vec<u16> {
    let pid = |packet: &[u8]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
    player.received.chunks(188).take(3).map(pid).collect()
}

/// The parameter sets of a record.
fn sets_of(record: &[u8]) -> Vec<Vec<u8>> {
    let avcc = AvcDecoderConfigurationRecord::parse(record).unwrap();
    avcc.sps.iter().chain(&avcc.pps).map(|unit| unit.to_vec()).collect()
}

fn a_join_begins_with_tables_and_a_keyframe(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    let mut first = TsPlayer::start(server.http, "ts");
    publisher.send_frames(2 * GOP_FRAMES + 5);
    first.items_to_audio(2 * GOP_FRAMES + 4);
    for _ in 0..3 {
        let mut player = TsPlayer::start(server.http, "ts");
        let items = player.items_to_audio(2 * GOP_FRAMES + 4);
        assert_eq!(first_pids(&player), [0, 0x1000, 0x100]);
        let frame = items[0].video().unwrap();
        assert_eq!((frame.number, frame.keyframe), (2 * GOP_FRAMES, true));
        assert_contiguous(&items);
        assert_eq!(player.parameter_sets, sets_of(&avcc(40, 30, 0x80)));
        assert_eq!(player.discontinuities, 0, "nothing was before");
    }
}

/// Sockets that are full soon, and a lag of 25 frames.
fn narrow(mut config: Config) -> Config {
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    config.egress.player_lag_max = MediaTime::from_millis(i64::from(25 * FRAME_MS));
    config
}

fn a_slow_player_jumps_with_a_splice(config: Config) {
    let server = Server::start(narrow(config));
    let mut witness = Witness::start(&server);
    witness.publisher.video_bytes = 8_000;
    let mut player = TsPlayer::start(server.http, "good");
    let mut items: Vec<Item> = Vec::new();
    for _ in 0..2 {
        (0..10).for_each(|_| witness.publish(10));
        let end = witness.publisher.next_number();
        items.extend(player.items_to_audio(end - 1));
    }
    let mut began = 0;
    let mut jumps = 0;
    for at in 1..items.len() {
        let (Some(frame), before) = (items[at].video(), &items[began..at]) else { continue };
        let last = before.iter().rev().find_map(Item::video).unwrap();
        if frame.number != last.number + 1 {
            assert!(frame.number > last.number && frame.keyframe, "{frame:?} after {last:?}");
            assert_contiguous(before);
            began = at;
            jumps += 1;
        }
    }
    assert_contiguous(&items[began..]);
    assert!(jumps > 0, "far more was published than its sockets hold");
    assert_eq!(player.discontinuities, 4 * jumps, "tables and both streams, each time");
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.player_jumps), jumps as u64);
    assert_eq!(totals.sum(|c| c.players_too_slow), 0);
    witness.works();
}

fn a_slow_player_jumps_through_the_smallest_rings(config: Config) {
    a_slow_player_jumps_with_a_splice(tiny(config));
}

fn a_new_configuration_comes_with_its_keyframe(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "ts");
    player.items_to_audio(0);
    publisher.send_frames(GOP_FRAMES - 1);
    player.items_to_audio(GOP_FRAMES - 1);
    let record = avcc(20, 15, 0x81);
    publisher.video_config(&record, GOP_FRAMES * FRAME_MS);
    publisher.send_frames(GOP_FRAMES);
    let items = player.items_to_audio(2 * GOP_FRAMES - 1);
    assert_eq!(items.len(), 2 * GOP_FRAMES as usize);
    assert_eq!(player.parameter_sets, sets_of(&record));
    assert_eq!(player.versions, [0], "the map says nothing of parameter sets");
    let mut late = TsPlayer::start(server.http, "ts");
    late.items_to_audio(2 * GOP_FRAMES - 1);
    assert_eq!(late.parameter_sets, sets_of(&record));
}

fn another_codec_is_another_map(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "ts");
    player.items_to_audio(0);
    assert_eq!(player.streams, [(0x100, 0x1b), (0x110, 0x0f)]);
    for number in 1..GOP_FRAMES {
        publisher.video(number, number * FRAME_MS, false);
        // MP3, 44.1 kHz, stereo.
        let body = [&[0x2f][..], &payload(number, 80)].concat();
        let ms = number * FRAME_MS + FRAME_MS / 2;
        publisher.message(Csid::AUDIO, MessageKind::Audio, 1, ms, &body);
    }
    publisher.flush();
    let items = player.items_to_audio(GOP_FRAMES - 1);
    assert_contiguous(&items);
    assert_eq!(player.streams, [(0x100, 0x1b), (0x111, 0x03)]);
    assert_eq!(player.versions, [0, 1]);
}

fn sound_alone_is_a_program(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "ts");
    publisher.audio_config(&node::asc(4), 0);
    publisher.audio(0, 0);
    publisher.flush();
    server.control.until("the first", |t| t.sum(|c| c.units_received) == 1);
    let mut player = TsPlayer::start(server.http, "ts");
    let mut items = player.items_to_audio(0);
    (1..150).for_each(|number| publisher.audio(number, number * 23));
    publisher.flush();
    items.extend(player.items_to_audio(149));
    assert_contiguous(&items);
    assert_eq!(items.len(), 150);
    assert_eq!(player.streams, [(0x110, 0x0f)]);
    let mut late = TsPlayer::start(server.http, "ts");
    let items = late.items_to_audio(149);
    assert!(items.len() < 60, "it begins in the last second, not before");
    assert_eq!(first_pids(&late), [0, 0x1000, 0x110]);
}

fn pictures_alone_are_a_program(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "ts");
    publisher.video_config(&avcc(40, 30, 0x80), 0);
    publisher.video(0, 0, true);
    publisher.flush();
    server.control.until("the first", |t| t.sum(|c| c.units_received) == 1);
    let mut player = TsPlayer::start(server.http, "ts");
    let mut items = player.items_to_video(0);
    (1..50).for_each(|number| publisher.video(number, number * 33, number % 10 == 0));
    publisher.flush();
    items.extend(player.items_to_video(49));
    assert_contiguous(&items);
    assert_eq!((items.len(), player.streams.as_slice()), (50, &[(0x100, 0x1b)][..]));
}

fn pictures_out_of_order_keep_their_times(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    let mut player = TsPlayer::start(server.http, "ts");
    let cts = |number: u32| if number == 0 { 80 } else { [40, 120, 0, 0][number as usize % 4] };
    for number in 0..40 {
        publisher.video_cts(number, number * FRAME_MS, number == 0, cts(number));
    }
    publisher.flush();
    for item in player.items_to_video(39) {
        let frame = item.video().unwrap();
        assert_eq!((item.ms, frame.cts_ms), (frame.number * FRAME_MS, cts(frame.number)));
    }
}

fn pictures_of_any_size_arrive(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "ts");
    player.items_to_audio(0);
    // Around the sizes where stuffing, one packet, and the length of a PES packet end.
    let sizes = [4, 5, 90, 110, 111, 112, 113, 114, 150, 290, 300, 65_400, 65_520, 1 << 20, 400];
    for (number, size) in (1..).zip(sizes) {
        publisher.video_bytes = size;
        publisher.frame(number);
    }
    publisher.flush();
    let last = u32::try_from(sizes.len()).unwrap();
    let items = player.items_to_video(last);
    assert_contiguous(&items);
    let found: Vec<_> = items.iter().filter_map(|item| Some(item.video()?.len - 10)).collect();
    assert_eq!(found, sizes);
}

fn distant_pictures_have_clock_and_tables_between_them(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "ts");
    publisher.video_config(&avcc(40, 30, 0x80), 0);
    publisher.video(0, 0, true);
    publisher.flush();
    server.control.until("the first", |t| t.sum(|c| c.units_received) == 1);
    let mut player = TsPlayer::start(server.http, "ts");
    player.item();
    // Not so many that it lags.
    (1..5).for_each(|number| publisher.video(number, number * 1_001, true));
    publisher.flush();
    let items = player.items_to_video(4);
    assert_eq!(items.len(), 4);
    let clocks = player.received.chunks(188).filter(|p| p[3] & 0x20 != 0 && p[5] & 0x10 != 0);
    assert!(clocks.count() >= 4 * 25, "one reference each 40 ms");
    assert_eq!(player.discontinuities, 0);
}

fn a_publisher_that_returns_goes_on(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "ts");
    publisher.send_frames(GOP_FRAMES - 1);
    let last_ms = player.items_to_audio(GOP_FRAMES - 1).last().unwrap().ms;
    publisher.socket.shutdown(Shutdown::Both).unwrap();
    server.control.until("grace", |t| {
        t.stream("ts").is_some_and(|stream| stream.state == StreamState::Grace)
    });
    let mut again = Publisher::start(server.rtmp, "ts");
    again.send_frames(GOP_FRAMES);
    let items = player.items_to_audio(GOP_FRAMES - 1);
    assert_contiguous(&items);
    assert_eq!(items.len(), 2 * GOP_FRAMES as usize);
    assert!(items[0].ms > last_ms && items[0].ms - last_ms < 60_000);
    assert_eq!(player.versions, [0]);
}

fn the_body_ends_with_the_stream(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "ts");
    player.items_to_audio(0);
    publisher.send_frames(4);
    publisher.command("deleteStream", 0, codecs::amf0::Value::Null, &[1.0.into()]);
    publisher.flush();
    let items = player.items_to_end();
    assert_contiguous(&items);
    assert_eq!(items.last().and_then(Item::audio).map(|frame| frame.number), Some(4));
    let gone = TsPlayer::ask(server.http, "/ts.ts");
    assert!(gone.head.starts_with("HTTP/1.1 404 "), "{}", gone.head);
}
