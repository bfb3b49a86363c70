//! What encoders do to time, as players see it.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use codecs::time::MediaTime;
use dataplane::config::Config;
use node::{FlvPlayer, Item, Player, Publisher, RtmpPlayer, Server, assert_contiguous};

on_both_backends! {
    time_goes_on_over_the_wrap_of_the_wire
    a_step_back_is_raised_and_nothing_is_lost
    one_bad_timestamp_is_one_frame_s_matter
    a_jump_of_both_tracks_keeps_their_distance
    a_jump_of_one_track_moves_that_track_alone
    a_track_that_stalls_comes_back_in_time
    the_distance_between_sound_and_picture_is_kept
}

/// Video frames that a case sends.
const FRAMES: u32 = 30;

/// Publishes video and audio frames at the given times, and returns what both players got.
fn played(config: Config, times: impl Fn(u32) -> (u32, u32)) -> [Vec<Item>; 2] {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "time");
    publisher.configure(times(0).0);
    publisher.flush();
    let mut rtmp = RtmpPlayer::start(server.rtmp, "time");
    let mut flv = FlvPlayer::start(server.http, "time");
    for number in 0..FRAMES {
        let (video, audio) = times(number);
        publisher.video(number, video, number == 0);
        publisher.audio(number, audio);
    }
    publisher.flush();
    [rtmp.items_to_audio(FRAMES - 1), flv.items_to_audio(FRAMES - 1)].map(|items| {
        assert_contiguous_media(&items);
        let count = items.iter().filter(|item| item.frame().is_some()).count();
        assert_eq!(count, 2 * FRAMES as usize, "every frame arrives");
        items
    })
}

/// As [`assert_contiguous`], for times that may wrap.
fn assert_contiguous_media(items: &[Item]) {
    let wrapped = items.windows(2).any(|pair| pair[0].ms > pair[1].ms.saturating_add(1 << 31));
    if !wrapped {
        assert_contiguous(items);
    }
}

/// Times of the video and of the audio frames, by number.
fn times(items: &[Item]) -> (Vec<u32>, Vec<u32>) {
    let video = items.iter().filter(|item| item.video().is_some()).map(|item| item.ms);
    let audio = items.iter().filter(|item| item.audio().is_some()).map(|item| item.ms);
    (video.collect(), audio.collect())
}

fn time_goes_on_over_the_wrap_of_the_wire(config: Config) {
    let from = u32::MAX - 500;
    let at = |number: u32| from.wrapping_add(number * 40);
    for items in played(config, |n| (at(n), at(n).wrapping_add(10))) {
        let (video, audio) = times(&items);
        let expected: Vec<u32> = (0..FRAMES).map(at).collect();
        assert_eq!(video, expected, "32 bits wrap on our side as on the encoder's");
        assert_eq!(audio, expected.iter().map(|ms| ms.wrapping_add(10)).collect::<Vec<_>>());
    }
}

fn a_step_back_is_raised_and_nothing_is_lost(config: Config) {
    // Frame 10 is 60 ms too early.
    let video = |n: u32| if n == 10 { n * 40 - 60 } else { n * 40 };
    for items in played(config, |n| (video(n), n * 40 + 10)) {
        let (video, _) = times(&items);
        assert_eq!(video[10], video[9], "it is raised to the one before it");
        assert_eq!(video[11], 440, "and the next one is where it belongs");
    }
}

fn one_bad_timestamp_is_one_frame_s_matter(config: Config) {
    for bad in [4_000_000_000, 3_600_000, 0] {
        let video = |n: u32| if n == 20 { bad } else { 1_000_000 + n * 40 };
        for items in played(config.clone(), |n| (video(n), 1_000_000 + n * 40 + 10)) {
            let (video, audio) = times(&items);
            for (n, (video, audio)) in (0..).zip(video.into_iter().zip(audio)) {
                let expected = 1_000_000 + n * 40;
                assert!(video.abs_diff(expected) <= 40, "frame {n} of {bad} at {video}");
                assert_eq!(audio, expected + 10, "sound is not concerned");
            }
        }
    }
}

fn a_jump_of_both_tracks_keeps_their_distance(config: Config) {
    for base in [7_200_000, 100_000_000] {
        let at = |n: u32| if n < 15 { 9_000_000 + n * 40 } else { base + n * 40 };
        for items in played(config.clone(), |n| (at(n), at(n) + 10)) {
            let (video, audio) = times(&items);
            for n in 1..FRAMES as usize {
                let step = video[n] - video[n - 1];
                assert!((1..=80).contains(&step), "step {step} before frame {n} of {base}");
                assert_eq!(audio[n] - video[n], 10, "frame {n} of {base}");
            }
        }
    }
}

fn a_jump_of_one_track_moves_that_track_alone(config: Config) {
    let audio = |n: u32| if n < 15 { n * 40 + 10 } else { 50_000_000 + n * 40 };
    for items in played(config, |n| (n * 40, audio(n))) {
        let (video, audio) = times(&items);
        assert_eq!(video, (0..FRAMES).map(|n| n * 40).collect::<Vec<_>>());
        for n in 1..FRAMES as usize {
            assert!((1..=80).contains(&(audio[n] - audio[n - 1])), "{audio:?}");
        }
    }
}

fn a_track_that_stalls_comes_back_in_time(mut config: Config) {
    // The pictures' times are far apart here, and no player may jump for it.
    config.egress.player_lag_max = MediaTime::from_millis(3_600_000);
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "time");
    let mut player = RtmpPlayer::start(server.rtmp, "time");
    publisher.video(0, 0, true);
    publisher.audio(0, 5);
    for number in 1..200 {
        publisher.video(number, number * 100, false);
    }
    publisher.audio(1, 19_905);
    publisher.flush();
    let items = player.items_to_audio(1);
    assert_contiguous(&items);
    let (video, audio) = times(&items);
    assert_eq!(video, (0..200).map(|n| n * 100).collect::<Vec<_>>());
    assert_eq!(audio, [5, 19_905]);
}

fn the_distance_between_sound_and_picture_is_kept(config: Config) {
    // Sound leads by 300 ms, as with encoders that start their tracks at different times.
    for items in played(config, |n| (5_000 + n * 40, 4_700 + n * 40)) {
        let (video, audio) = times(&items);
        assert_eq!(video, (0..FRAMES).map(|n| 5_000 + n * 40).collect::<Vec<_>>());
        assert_eq!(audio, (0..FRAMES).map(|n| 4_700 + n * 40).collect::<Vec<_>>());
    }
}
