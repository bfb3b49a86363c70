//! Viewers of HLS while their stream moves: one list without a break, every segment there.

use std::collections::BTreeMap;
use std::time::Instant;

use codecs::amf0::Value;
use dataplane::config::{Config, HlsMode};
use m3u8_rs::Playlist;

use super::node::{
    self, Answer, FRAME_MS, Player, Publisher, Server, TIME_BOUND, TsPlayer, Viewer,
};
use super::orders::moved;
use crate::on_both_backends;

on_both_backends! {
    a_list_goes_on_without_a_break
    a_list_ends_where_the_stream_was_put
}

/// Frames of one segment: it ends with the first keyframe after two seconds.
const SEGMENT_FRAMES: u32 = 2_000 / FRAME_MS;

/// Reads the playlist of segments until it lists one of that number.
fn list_with(viewer: &mut Viewer, number: u64) -> Answer {
    let late = Instant::now() + TIME_BOUND;
    loop {
        let list = viewer.found("/news/media.m3u8");
        let end = list.number("#EXT-X-MEDIA-SEQUENCE:") + list.uris().len() as u64;
        if end > number {
            return list;
        }
        assert!(Instant::now() < late, "never: {}", list.text());
        std::thread::yield_now();
    }
}

fn parsed(list: &Answer) -> m3u8_rs::MediaPlaylist {
    match m3u8_rs::parse_playlist_res(&list.body).unwrap() {
        Playlist::MediaPlaylist(list) => list,
        Playlist::MasterPlaylist(_) => panic!("{}", list.text()),
    }
}

fn a_list_goes_on_without_a_break(mut config: Config) {
    config.stream.hls.mode = HlsMode::Always;
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    let mut player = None;
    let mut viewers: Vec<_> = (0..8).map(|_| Viewer::connect(server.http)).collect();
    let mut segments: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut first = None;
    for round in 0..8_u16 {
        // Two segments less a few frames, so that each move lies inside one.
        for _ in 0..12 {
            publisher.send_frames(8);
            let player = player.get_or_insert_with(|| {
                server.control.until("a frame", |t| t.sum(|c| c.units_received) > 1);
                TsPlayer::start(server.http, "news")
            });
            player.items_to_audio(publisher.next_number() - 1);
        }
        if round == 0 {
            viewers[0].found("/news/index.m3u8");
            let list = viewers[0].found("/news/media.m3u8");
            first = Some(list.number("#EXT-X-MEDIA-SEQUENCE:"));
        }
        let first = first.unwrap();
        let finished = u64::from((publisher.next_number() - 1) / SEGMENT_FRAMES);
        for viewer in &mut viewers {
            let list = list_with(viewer, first + finished - 1);
            let media = parsed(&list);
            assert!(media.segments.iter().all(|segment| !segment.discontinuity), "{}", list.text());
            assert_eq!(
                media.discontinuity_sequence,
                parsed(&viewer.found("/news/media.m3u8")).discontinuity_sequence
            );
            for (number, segment) in (media.media_sequence..).zip(&media.segments) {
                let body = viewer.found(&format!("/news/{}", segment.uri)).body;
                let known = segments.entry(number).or_insert_with(|| body.clone());
                assert!(*known == body, "segment {number} is the same before and after a move");
            }
        }
        let (from, to) = (round % 2, 1 - round % 2);
        moved(&server, "news", from, to);
    }
    let numbers: Vec<_> = segments.keys().copied().collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(numbers.len() >= 14, "{numbers:?}");
    // The segments are the player's packets, in order and without a gap, across every move.
    let joined: Vec<u8> = segments.into_values().flatten().collect();
    let received = player.unwrap().received;
    let at = received.windows(joined.len().min(4_096)).position(|w| w == &joined[..w.len()]);
    let at = at.expect("the player has the first segment");
    assert!(received[at..].starts_with(&joined), "segments are what players get");
    assert_eq!(server.control.snapshot().sum(|c| c.viewers_too_slow), 0);
}

fn a_list_ends_where_the_stream_was_put(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(2 * SEGMENT_FRAMES + 1);
    let mut viewer = Viewer::connect(server.http);
    viewer.found("/news/index.m3u8");
    let before = viewer.found("/news/media.m3u8");
    moved(&server, "news", 0, 1);
    publisher.send_frames(SEGMENT_FRAMES);
    list_with(&mut viewer, before.number("#EXT-X-MEDIA-SEQUENCE:") + 2);
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
    server.control.stream_ended("news");
    // Old viewers and new ones, on whatever shard, see the end and every segment.
    for nth in 0..8 {
        let mut viewer = if nth == 0 {
            std::mem::replace(&mut viewer, Viewer::connect(server.http))
        } else {
            Viewer::connect(server.http)
        };
        viewer.found("/news/index.m3u8");
        let late = Instant::now() + TIME_BOUND;
        let list = loop {
            let list = viewer.found("/news/media.m3u8");
            if list.has_ended() {
                break list;
            }
            assert!(Instant::now() < late, "never: {}", list.text());
        };
        assert!(list.uris().len() >= 3, "{}", list.text());
        for uri in list.uris() {
            assert!(!viewer.found(&format!("/news/{uri}")).body.is_empty());
        }
    }
    // Who publishes again begins at home; the numbers go on.
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(SEGMENT_FRAMES + 1);
    let mut viewer = Viewer::connect(server.http);
    let late = Instant::now() + TIME_BOUND;
    loop {
        let list = viewer.found("/news/media.m3u8");
        if !list.has_ended() {
            let last = before.number("#EXT-X-MEDIA-SEQUENCE:");
            assert!(list.number("#EXT-X-MEDIA-SEQUENCE:") > last + 2, "{}", list.text());
            break;
        }
        assert!(Instant::now() < late, "never: {}", list.text());
    }
}
