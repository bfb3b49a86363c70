//! Players that join late, stall or filter, and what is given back after many moves.

use codecs::time::MediaTime;
use dataplane::config::{Config, ShardConfig};
use dataplane::control::{MoveOutcome, MoveRefusal};
use dataplane::ids::ShardId;

use super::node::{
    self, FlvPlayer, GOP_FRAMES, Player, Publisher, RtmpPlayer, Server, TsPlayer, WsPlayer,
};
use super::orders::{moved, order};
use super::players::Witness;
use crate::on_both_backends;

on_both_backends! {
    who_joins_after_a_move_begins_at_the_newest_keyframe
    a_group_longer_than_what_is_kept_is_whole_across_the_seam
    a_stalled_player_goes_through_every_seam
    a_player_that_is_too_slow_jumps_as_ever
    a_hundred_moves_leave_nothing_behind
    a_stream_goes_round_three_shards
    a_reader_that_holds_too_many_moves_holds_the_next
}

/// Frames that are no whole group of pictures.
const STEP: u32 = GOP_FRAMES / 2;
/// Pages that ten seconds of the stream take at most, in the ring and in every format.
const PAGES_OF_A_WINDOW: u64 = 24;

fn who_joins_after_a_move_begins_at_the_newest_keyframe(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(GOP_FRAMES + STEP);
    let mut first = Witness::new(FlvPlayer::start(server.http, "news"));
    first.read_to(GOP_FRAMES + STEP - 1);
    moved(&server, "news", 0, 1);
    // The keyframe is in the log that was sealed, or, of a format that nobody used, in the group
    // of pictures that went along; nothing was published since.
    let mut late = [
        Witness::new(FlvPlayer::start(server.http, "news")),
        Witness::new(RtmpPlayer::start(server.rtmp, "news")),
        Witness::new(TsPlayer::start(server.http, "news")),
        Witness::new(WsPlayer::start(server.http, "news")),
    ];
    for witness in &mut late {
        witness.read_to(GOP_FRAMES + STEP - 2);
    }
    let last = publisher.send_frames(GOP_FRAMES) - 1;
    for witness in &mut late {
        witness.read_to(last);
        witness.assert_whole(GOP_FRAMES, last);
    }
    assert_eq!(server.control.snapshot().sum(|c| c.joins_waiting), 0, "nobody waited");
}

fn a_group_longer_than_what_is_kept_is_whole_across_the_seam(mut config: Config) {
    config.stream.retain = MediaTime::from_millis(100);
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(GOP_FRAMES + 2);
    let mut first = Witness::new(FlvPlayer::start(server.http, "news"));
    first.read_to(GOP_FRAMES + 1);
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 0)] {
        moved(&server, "news", from, to);
        // Some at a time, so that what is too old is dropped before the next ones.
        for _ in 0..4 {
            last = publisher.send_frames(GOP_FRAMES / 10) - 1;
            first.read_to(last);
        }
        let mut late = Witness::new(FlvPlayer::start(server.http, "news"));
        late.read_to(last);
        late.assert_whole(GOP_FRAMES, last);
    }
    first.assert_whole(GOP_FRAMES, last);
    assert_eq!(server.control.snapshot().sum(|c| c.player_jumps), 0);
}

/// Lag alone never makes a player jump, and what is kept is as long as a case.
fn patient(mut config: Config) -> Config {
    config.egress.player_lag_max = MediaTime::from_millis(3_600_000);
    config.stream.retain = MediaTime::from_millis(3_600_000);
    config
}

fn a_stalled_player_goes_through_every_seam(config: Config) {
    let server = Server::with_home(patient(config), 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.video_bytes = 60_000;
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    let mut stalled = [
        Witness::new(FlvPlayer::start(server.http, "news")),
        Witness::new(RtmpPlayer::start(server.rtmp, "news")),
        Witness::new(TsPlayer::start(server.http, "news")),
        Witness::new(WsPlayer::start(server.http, "news")),
    ];
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        last = publisher.send_frames(60) - 1;
        let units = u64::from(2 * (last + 1));
        server.control.until("all units", |t| t.sum(|c| c.units_received) == units);
        moved(&server, "news", from, to);
    }
    let totals = server.control.snapshot();
    assert!(totals.sum(|c| c.sends_blocked) > 0, "players were stalled");
    assert!(totals.sum(|c| c.logs_sealed) >= 4, "what they have not read is kept");
    for witness in &mut stalled {
        witness.read_to(last);
        witness.assert_whole(0, last);
    }
    publisher.send_frames(GOP_FRAMES);
    server.control.until("readers have passed", |t| t.sum(|c| c.logs_sealed) == 0);
}

fn a_player_that_is_too_slow_jumps_as_ever(mut config: Config) {
    config.egress.player_lag_max = MediaTime::from_millis(400);
    config.egress.send_buffer_bytes = 32 << 10;
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.video_bytes = 60_000;
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    let mut slow = FlvPlayer::start(server.http, "news");
    let mut well = Witness::new(FlvPlayer::start(server.http, "news"));
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
        for _ in 0..12 {
            last = publisher.send_frames(STEP) - 1;
            well.read_to(last);
        }
        moved(&server, "news", from, to);
    }
    well.assert_whole(0, last);
    // It goes on at a keyframe, and time does not go back.
    let items = slow.items_to_audio(last);
    let frames: Vec<_> =
        items.iter().filter_map(|item| Some((item.video()?.number, item.ms))).collect();
    assert!(frames.windows(2).all(|pair| pair[1].1 >= pair[0].1));
    let jumped = frames.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1);
    let landed: Vec<_> = jumped.map(|pair| pair[1].0).collect();
    assert!(
        !landed.is_empty() && landed.iter().all(|number| number % GOP_FRAMES == 0),
        "{landed:?}"
    );
    assert!(server.control.snapshot().sum(|c| c.player_jumps) > 0);
}

/// Moves a stream as soon as the logs of earlier moves are passed.
fn moved_when_passed(server: &Server, name: &str, from: u16, to: u16) {
    let late = std::time::Instant::now() + node::TIME_BOUND;
    loop {
        match order(server, name, to) {
            MoveOutcome::Moved { from: at } => return assert_eq!(at, ShardId(from)),
            MoveOutcome::Refused(MoveRefusal::Busy) => {}
            other => panic!("{other:?}"),
        }
        assert!(std::time::Instant::now() < late, "never passed");
        std::thread::yield_now();
    }
}

fn a_hundred_moves_leave_nothing_behind(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    let mut witnesses = [
        Witness::new(FlvPlayer::start(server.http, "news")),
        Witness::new(RtmpPlayer::start(server.rtmp, "news")),
        Witness::new(TsPlayer::start(server.http, "news")),
        Witness::new(WsPlayer::start(server.http, "news")),
    ];
    let mut level = 0;
    for round in 0..100 {
        let (from, to) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        let mut last = publisher.send_frames(GOP_FRAMES - 1) - 1;
        moved_when_passed(&server, "news", from, to);
        if round == 3 || round == 99 {
            // The next keyframe is behind the move: nobody begins in a sealed log any more.
            last = publisher.send_frames(2 * GOP_FRAMES) - 1;
        }
        for witness in &mut witnesses {
            witness.read_to(last);
        }
        if round == 3 || round == 99 {
            let totals = server.control.until("every sealed log is given back", |t| {
                t.sum(|c| c.logs_sealed + c.pages_retired) == 0
            });
            assert_eq!(totals.sum(|c| c.streams_moved), round + 1);
            let pages = totals.pages_used();
            level = if round == 3 { pages } else { level };
            // The window of the stream grew meanwhile, to its ten seconds.
            assert!(pages <= level + PAGES_OF_A_WINDOW, "{pages} pages, {level} at first");
        }
    }
    let last = publisher.next_number() - 1;
    for witness in &witnesses {
        witness.assert_whole(0, last);
    }
    drop((publisher, witnesses));
    server
        .control
        .until("all pages are free", |t| t.stream("news").is_none() && t.pages_used() == 0);
}

fn a_stream_goes_round_three_shards(mut config: Config) {
    config.shards = vec![ShardConfig { cpu: None }; 3];
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    let mut witnesses: Vec<_> =
        (0..12).map(|_| Witness::new(FlvPlayer::start(server.http, "news"))).collect();
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 2), (2, 1), (1, 0), (0, 2), (2, 0)] {
        moved(&server, "news", from, to);
        last = publisher.send_frames(STEP) - 1;
        // Whoever asks the map's home is sent on.
        let mut late = RtmpPlayer::start(server.rtmp, "news");
        late.items_to_audio(last);
        for witness in &mut witnesses {
            witness.read_to(last);
        }
    }
    for witness in &witnesses {
        witness.assert_whole(0, last);
    }
    assert_eq!(server.control.snapshot().sum(|c| c.player_jumps), 0);
}

fn a_reader_that_holds_too_many_moves_holds_the_next(config: Config) {
    let server = Server::with_home(patient(config), 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    let mut player = FlvPlayer::start(server.http, "news");
    player.items_to_audio(0);
    // No keyframe comes, so whoever joins begins in the first log.
    let mut at = 0;
    let refused = (0..40).find_map(|_| match order(&server, "news", 1 - at) {
        MoveOutcome::Moved { .. } => {
            at = 1 - at;
            None
        }
        outcome => Some(outcome),
    });
    assert_eq!(refused, Some(MoveOutcome::Refused(MoveRefusal::Busy)));
    let last = publisher.send_frames(2 * GOP_FRAMES) - 1;
    player.items_to_audio(last);
    moved_when_passed(&server, "news", at, 1 - at);
}
