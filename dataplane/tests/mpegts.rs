//! MPEG-TS over HTTP: what players receive, packet by packet, over real sockets.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use dataplane::config::Config;
use dataplane::control::Protocol;
use node::{FRAME_MS, Player, Publisher, Server, TsPlayer, assert_contiguous, tiny};

on_both_backends! {
    every_frame_arrives_as_it_was_sent
    every_frame_arrives_through_the_smallest_rings
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
