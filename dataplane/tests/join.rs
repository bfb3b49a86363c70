//! How players join, pause, choose media, and hear of a new configuration.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use codecs::amf0::Value;
use codecs::rtmp::command::code;
use dataplane::config::Config;
use node::{
    Content, FlvPlayer, Item, Player, Publisher, RtmpPlayer, Server, asc, assert_contiguous, avcc,
    join_head,
};

on_both_backends! {
    a_join_is_preamble_then_newest_keyframe_then_live
    a_join_without_cache_waits_for_the_next_keyframe
    a_gop_that_is_too_large_makes_joins_wait
    sound_alone_is_joined_within_a_second
    pictures_alone_are_joined_at_a_keyframe
    a_short_pause_goes_on_where_it_stopped
    a_long_pause_goes_on_at_the_newest_keyframe
    a_paused_player_hears_the_end
    received_media_can_be_chosen
    a_new_picture_size_reaches_every_player_before_its_frames
    a_new_sound_format_reaches_every_player_before_its_frames
    new_picture_parameters_reach_every_player_before_their_frames
    new_metadata_reaches_every_player
}

/// A stream with 25 frames: two whole GOPs and half of the third.
fn half_way(config: Config) -> (Server, Publisher) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "join");
    publisher.send_frames(25);
    server.control.until("25 frames", |t| t.sum(|c| c.units_received) == 50);
    (server, publisher)
}

/// Plays in both formats; `query` may be empty.
fn both(server: &Server, query: &str) -> (RtmpPlayer, FlvPlayer) {
    let rtmp = RtmpPlayer::start(server.rtmp, &format!("join{query}"));
    let flv = FlvPlayer::ask(server.http, &format!("/join.flv{query}"));
    (rtmp, flv)
}

fn assert_preamble(head: &[Content]) {
    let [Content::Data(metadata), Content::VideoConfig(video), Content::AudioConfig(audio)] = head
    else {
        panic!("metadata and both sequence headers come first: {head:?}");
    };
    assert!(metadata.windows(10).any(|name| name == b"onMetaData"));
    assert_eq!(*video, avcc(40, 30, 0x80));
    assert_eq!(*audio, asc(4));
}

/// What a player gets first, then everything up to frame `last`.
fn joined(player: &mut impl Player, first: u32, last: u32) {
    let (head, item) = join_head(player);
    assert_preamble(&head);
    let frame = item.video().expect("pictures come first");
    assert!(frame.keyframe && frame.number == first, "{frame:?}");
    let mut items = vec![item];
    items.extend(player.items_to_audio(last));
    assert_contiguous(&items);
    let frames = items.iter().filter(|item| item.frame().is_some()).count();
    assert_eq!(frames, 2 * (last - first + 1) as usize);
}

fn a_join_is_preamble_then_newest_keyframe_then_live(config: Config) {
    let (server, mut publisher) = half_way(config);
    let (mut rtmp, mut flv) = both(&server, "");
    publisher.send_frames(15);
    joined(&mut rtmp, 20, 39);
    joined(&mut flv, 20, 39);
    assert_eq!(server.control.snapshot().sum(|c| c.joins_waiting), 0);
}

fn a_join_without_cache_waits_for_the_next_keyframe(config: Config) {
    let (server, mut publisher) = half_way(config);
    let (mut rtmp, mut flv) = both(&server, "?cache=no");
    server.control.until("both wait", |t| t.sum(|c| c.joins_waiting) == 2);
    publisher.send_frames(15);
    joined(&mut rtmp, 30, 39);
    joined(&mut flv, 30, 39);
}

fn a_gop_that_is_too_large_makes_joins_wait(mut config: Config) {
    config.stream.gop_bytes_max = 20_000;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "join");
    publisher.video_bytes = 6_000;
    publisher.send_frames(5);
    server.control.until("the GOP", |t| t.sum(|c| c.units_received) == 10);
    let (mut rtmp, mut flv) = both(&server, "");
    let totals = server.control.until("both wait", |t| t.sum(|c| c.joins_waiting) == 2);
    assert!(totals.sum(|c| c.gops_oversized) > 0);
    publisher.send_frames(5);
    publisher.video_bytes = 300;
    publisher.send_frames(10);
    joined(&mut rtmp, 10, 19);
    joined(&mut flv, 10, 19);
}

fn sound_alone_is_joined_within_a_second(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "join");
    publisher.audio_config(&asc(4), 0);
    (0..100).for_each(|number| publisher.audio(number, number * 25));
    publisher.flush();
    server.control.until("100 frames", |t| t.sum(|c| c.units_received) == 100);
    let (mut rtmp, mut flv) = both(&server, "");
    let heads = [join_head(&mut rtmp), join_head(&mut flv)];
    for (head, item) in &heads {
        assert_eq!(*head, [Content::AudioConfig(asc(4).to_vec())]);
        assert!(item.audio().is_some());
    }
    (100..200).for_each(|number| publisher.audio(number, number * 25));
    publisher.flush();
    let rest = [rtmp.items_to_audio(199), flv.items_to_audio(199)];
    for ((_, first), rest) in heads.into_iter().zip(rest) {
        let items: Vec<Item> = [first].into_iter().chain(rest).collect();
        assert_contiguous(&items);
        let first = items[0].audio().unwrap().number;
        assert!(first >= 60, "at most one second before the newest, not {first}");
    }
}

fn pictures_alone_are_joined_at_a_keyframe(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "join");
    publisher.video_config(&avcc(40, 30, 0x80), 0);
    (0..25).for_each(|number| publisher.video(number, number * 40, number % 10 == 0));
    publisher.flush();
    server.control.until("25 frames", |t| t.sum(|c| c.units_received) == 25);
    let (mut rtmp, mut flv) = both(&server, "");
    (25..30).for_each(|number| publisher.video(number, number * 40, false));
    publisher.flush();
    let check = |player: &mut dyn FnMut() -> Item| {
        let head = player();
        assert_eq!(head.content, Content::VideoConfig(avcc(40, 30, 0x80)));
        for number in 20..30 {
            let frame = player().video().unwrap();
            assert_eq!((frame.number, frame.keyframe), (number, number == 20));
        }
    };
    check(&mut || rtmp.item());
    check(&mut || flv.item());
}

fn pause(player: &mut RtmpPlayer, flag: bool) -> Vec<Item> {
    player.peer.stream_command("pause", &[Value::Boolean(flag), Value::Number(0.0)]);
    player.peer.flush();
    player.statuses.clear();
    player.items_to_status(if flag { code::PAUSE_NOTIFY } else { code::UNPAUSE_NOTIFY })
}

fn a_short_pause_goes_on_where_it_stopped(config: Config) {
    let (server, mut publisher) = half_way(config);
    let mut player = RtmpPlayer::start(server.rtmp, "join");
    let mut items = player.items_to_audio(24);
    items.extend(pause(&mut player, true));
    publisher.send_frames(3);
    items.extend(pause(&mut player, false));
    publisher.send_frames(2);
    items.extend(player.items_to_audio(29));
    assert_contiguous(&items);
}

fn a_long_pause_goes_on_at_the_newest_keyframe(config: Config) {
    let (server, mut publisher) = half_way(config);
    let mut player = RtmpPlayer::start(server.rtmp, "join");
    let mut witness = FlvPlayer::start(server.http, "join");
    player.items_to_audio(24);
    assert_eq!(pause(&mut player, true), []);
    publisher.send_frames(30);
    // What somebody has received is published.
    witness.items_to_audio(54);
    let mut items = pause(&mut player, false);
    items.extend(player.items_to_audio(54));
    let first = items.iter().find_map(Item::frame).unwrap();
    assert_eq!((first.number, first.keyframe), (50, true), "nothing of the pause is sent");
    assert_contiguous(&items);
}

fn a_paused_player_hears_the_end(config: Config) {
    let (server, mut publisher) = half_way(config);
    let mut player = RtmpPlayer::start(server.rtmp, "join");
    player.items_to_audio(24);
    pause(&mut player, true);
    publisher.send_frames(3);
    publisher.stream_command("deleteStream", &[Value::Number(1.0)]);
    publisher.flush();
    assert_eq!(player.items_to_end(), []);
    assert!(player.statuses.iter().any(|status| status == code::PLAY_UNPUBLISH_NOTIFY));
}

fn receive(player: &mut RtmpPlayer, command: &str, flag: bool) {
    player.peer.stream_command(command, &[Value::Boolean(flag)]);
    // Answered in order, so that the next frame finds the filter set.
    player.peer.command("getStreamLength", 1, Value::Null, &["join".into()]);
    player.peer.flush();
    player.peer.command_named("_result");
}

fn received_media_can_be_chosen(config: Config) {
    let (server, mut publisher) = half_way(config);
    let mut player = RtmpPlayer::start(server.rtmp, "join");
    player.items_to_audio(24);
    receive(&mut player, "receiveAudio", false);
    publisher.send_frames(10);
    let items = player.items_to_video(34);
    assert!(items.iter().all(|item| item.audio().is_none()), "sound is off");
    assert_contiguous(&items);
    receive(&mut player, "receiveAudio", true);
    receive(&mut player, "receiveVideo", false);
    publisher.send_frames(5);
    let items = player.items_to_audio(39);
    assert!(items.iter().all(|item| item.video().is_none()), "pictures are off");
    publisher.send_frames(5);
    player.items_to_audio(44);
    receive(&mut player, "receiveVideo", true);
    publisher.send_frames(15);
    let items = player.items_to_audio(59);
    assert_contiguous(&items);
    let first = items.iter().find_map(Item::video).unwrap();
    assert_eq!((first.number, first.keyframe), (50, true), "pictures begin at a keyframe");
    let sound = items.iter().find_map(Item::audio).unwrap();
    assert_eq!(sound.number, 45, "sound goes on meanwhile");
    assert!(server.control.snapshot().sum(|c| c.entries_filtered) > 0);
}

/// Changes the configuration at frame 30: two players are there, two more come afterwards.
fn changed(config: Config, change: impl Fn(&mut Publisher, u32), is: impl Fn(&Content) -> bool) {
    let (server, mut publisher) = half_way(config);
    let (mut rtmp, mut flv) = both(&server, "");
    publisher.send_frames(5);
    change(&mut publisher, 30 * 40);
    publisher.send_frames(5);
    for items in [rtmp.items_to_audio(34), flv.items_to_audio(34)] {
        assert_contiguous(&items);
        let at = items.iter().position(|item| is(&item.content)).expect("it is told");
        let before = items[..at].iter().filter_map(Item::frame).next_back().unwrap();
        assert_eq!(before.number, 29, "after the last frame of the old one");
        let after = items[at..].iter().find_map(Item::frame).unwrap();
        assert_eq!((after.number, after.keyframe), (30, true), "before the first of the new one");
        assert_eq!(items.iter().filter(|item| is(&item.content)).count(), 1, "told once");
    }
    let (mut rtmp, mut flv) = both(&server, "");
    for (head, first) in [join_head(&mut rtmp), join_head(&mut flv)] {
        assert_eq!(head.len(), 3);
        assert_eq!(head.iter().filter(|content| is(content)).count(), 1, "{head:?}");
        assert_eq!(first.video().unwrap().number, 30);
    }
}

fn a_new_picture_size_reaches_every_player_before_its_frames(config: Config) {
    let new = avcc(80, 45, 0x80);
    let is = |content: &Content| *content == Content::VideoConfig(new.clone());
    changed(config, |publisher, ms| publisher.video_config(&new, ms), is);
}

fn new_picture_parameters_reach_every_player_before_their_frames(config: Config) {
    let new = avcc(40, 30, 0x90);
    let is = |content: &Content| *content == Content::VideoConfig(new.clone());
    changed(config, |publisher, ms| publisher.video_config(&new, ms), is);
}

fn a_new_sound_format_reaches_every_player_before_its_frames(config: Config) {
    let is = |content: &Content| *content == Content::AudioConfig(asc(3).to_vec());
    changed(config, |publisher, ms| publisher.audio_config(&asc(3), ms), is);
}

fn new_metadata_reaches_every_player(config: Config) {
    let width = 1234.0_f64.to_be_bytes();
    let has_width = |body: &[u8]| body.windows(8).any(|bytes| bytes == width);
    let is = |content: &Content| matches!(content, Content::Data(body) if has_width(body));
    changed(config, |publisher, ms| publisher.metadata(1234, ms), is);
}
