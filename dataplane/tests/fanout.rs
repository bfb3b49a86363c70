//! One packaging per format, however many players on whatever shard.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use std::sync::Arc;
use std::time::Duration;

use dataplane::config::{Config, EgressConfig, Reload};
use dataplane::control::{Command, Role, SessionStatus};
use dataplane::ids::ShardId;
use node::{
    FlvPlayer, Item, Player, Publisher, RtmpPlayer, Server, Totals, TsPlayer, assert_contiguous,
};

on_both_backends! {
    a_format_is_packaged_once_for_one_player
    a_format_is_packaged_once_for_six_hundred_players
    an_unused_format_is_not_packaged
    rtmp_players_on_both_shards_get_equal_bytes
    flv_players_on_both_shards_get_equal_bytes
    ts_players_on_both_shards_get_equal_bytes
    the_smallest_rings_and_buffers_deliver_every_frame
    what_was_gathered_goes_out_when_gathering_ends
}

/// Video frames that a case sends; each is followed by a frame of audio.
const FRAMES: u32 = 60;

/// Entries that were packaged: RTMP, FLV, MPEG-TS.
fn entries(totals: &Totals) -> [u64; 3] {
    [
        totals.sum(|c| c.entries_packaged_rtmp),
        totals.sum(|c| c.entries_packaged_flv),
        totals.sum(|c| c.entries_packaged_ts),
    ]
}

/// Sends to `players` of each format and returns the entries that were packaged for them.
fn entries_for(config: Config, players: usize) -> [u64; 3] {
    dataplane::reactor::raise_nofile().unwrap();
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "fan");
    // A configuration that came after the first player would be one more entry.
    server
        .control
        .until("both tracks", |t| t.stream("fan").is_some_and(|stream| stream.tracks.len() == 2));
    let mut rtmp: Vec<_> = (0..players).map(|_| RtmpPlayer::start(server.rtmp, "fan")).collect();
    let mut flv: Vec<_> = (0..players).map(|_| FlvPlayer::start(server.http, "fan")).collect();
    let mut ts: Vec<_> = (0..players).map(|_| TsPlayer::start(server.http, "fan")).collect();
    let before = entries(&server.control.snapshot());
    let (joined, last) = (publisher.send_frames(1) - 1, FRAMES - 1);
    let mut rtmp_heads: Vec<_> = rtmp.iter_mut().map(|p| p.items_to_audio(joined)).collect();
    let mut flv_heads: Vec<_> = flv.iter_mut().map(|p| p.items_to_audio(joined)).collect();
    let mut ts_heads: Vec<_> = ts.iter_mut().map(|p| p.items_to_audio(joined)).collect();
    publisher.send_frames(last);
    for (player, items) in rtmp.iter_mut().zip(&mut rtmp_heads) {
        items.extend(player.items_to_audio(last));
        assert_complete(items);
    }
    for (player, items) in flv.iter_mut().zip(&mut flv_heads) {
        items.extend(player.items_to_audio(last));
        assert_complete(items);
    }
    for (player, items) in ts.iter_mut().zip(&mut ts_heads) {
        items.extend(player.items_to_audio(last));
        assert_complete(items);
        assert_eq!(player.discontinuities, 0);
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.units_received), u64::from(2 * FRAMES));
    let after = entries(&totals);
    std::array::from_fn(|format| after[format] - before[format])
}

fn assert_complete(items: &[Item]) {
    assert_contiguous(items);
    let count = items.iter().filter(|item| item.frame().is_some()).count();
    assert_eq!(count, 2 * FRAMES as usize);
}

fn a_format_is_packaged_once_for_one_player(config: Config) {
    let units = u64::from(2 * FRAMES);
    assert_eq!(entries_for(config, 1), [units; 3]);
}

fn a_format_is_packaged_once_for_six_hundred_players(config: Config) {
    let units = u64::from(2 * FRAMES);
    assert_eq!(entries_for(config, 200), [units; 3]);
}

fn an_unused_format_is_not_packaged(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "fan");
    publisher.send_frames(FRAMES);
    let units = u64::from(2 * FRAMES);
    let totals = server.control.until("all units", |t| t.sum(|c| c.units_received) == units);
    assert_eq!(entries(&totals), [0; 3], "nobody plays");
    let mut player = FlvPlayer::start(server.http, "fan");
    publisher.send_frames(FRAMES);
    player.items_to_audio(2 * FRAMES - 1);
    let [rtmp, flv, ts] = entries(&server.control.snapshot());
    assert_eq!((rtmp, ts), (0, 0), "nobody plays those");
    assert!(flv >= units, "{flv}");
}

fn of_player(totals: &Totals, shard: u16) -> Vec<&SessionStatus> {
    let plays = |s: &&SessionStatus| s.role == Some(Role::Play) && s.shard == ShardId(shard);
    totals.sessions().filter(plays).collect()
}

/// Opens players until each shard serves two, so that one of them is not the stream's home.
fn on_both_shards<P: Player>(server: &Server, open: impl Fn() -> P) -> Vec<P> {
    let mut players = Vec::new();
    loop {
        assert!(players.len() < 200, "connections never spread over both shards");
        players.push(open());
        let totals = server.control.snapshot();
        if (0..2).all(|shard| of_player(&totals, shard).len() >= 2) {
            return players;
        }
    }
}

fn assert_equal_bytes<P: Player>(server: &Server, players: &mut [P], mut publisher: Publisher) {
    let count = players.len();
    let joined = publisher.send_frames(1) - 1;
    let mut heads: Vec<_> = players.iter_mut().map(|p| p.items_to_audio(joined)).collect();
    let last = publisher.send_frames(FRAMES - 1) - 1;
    let mut bytes_from_first_frame = |at: usize| {
        let mut items = std::mem::take(&mut heads[at]);
        items.extend(players[at].items_to_audio(last));
        assert_complete(&items);
        let first = items.iter().position(|item| item.frame().is_some()).unwrap();
        items[first..].iter().flat_map(|item| item.wire.clone()).collect::<Vec<u8>>()
    };
    let first = bytes_from_first_frame(0);
    for at in 1..count {
        assert!(bytes_from_first_frame(at) == first, "every player gets the same bytes");
    }
    let home = server.control.snapshot().stream("fan").unwrap().shard;
    assert_eq!(home, ShardId(0));
}

fn rtmp_players_on_both_shards_get_equal_bytes(config: Config) {
    let server = Server::with_home(config, 0);
    let publisher = Publisher::start(server.rtmp, "fan");
    let mut players = on_both_shards(&server, || RtmpPlayer::start(server.rtmp, "fan"));
    assert_equal_bytes(&server, &mut players, publisher);
}

fn flv_players_on_both_shards_get_equal_bytes(config: Config) {
    let server = Server::with_home(config, 0);
    let publisher = Publisher::start(server.rtmp, "fan");
    let mut players = on_both_shards(&server, || FlvPlayer::start(server.http, "fan"));
    assert_equal_bytes(&server, &mut players, publisher);
}

fn ts_players_on_both_shards_get_equal_bytes(config: Config) {
    let server = Server::with_home(config, 0);
    let publisher = Publisher::start(server.rtmp, "fan");
    let mut players = on_both_shards(&server, || TsPlayer::start(server.http, "fan"));
    assert_equal_bytes(&server, &mut players, publisher);
}

fn the_smallest_rings_and_buffers_deliver_every_frame(config: Config) {
    let units = u64::from(2 * FRAMES);
    assert_eq!(entries_for(node::tiny(config), 6), [units; 3]);
}

fn what_was_gathered_goes_out_when_gathering_ends(mut config: Config) {
    config.egress.batch_max = Duration::from_secs(3_600);
    config.egress.batch_min = config.egress.batch_max;
    let reload = Arc::new(Reload {
        limits: config.limits.clone(),
        egress: EgressConfig {
            batch_max: Duration::ZERO,
            batch_min: Duration::ZERO,
            ..config.egress
        },
        session: config.session.clone(),
        auth: config.auth,
        stream: config.stream,
        listeners: config.listeners.clone(),
        srt: config.srt.clone(),
        tls: None,
    });
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "fan");
    publisher.send_frames(1);
    server.control.until("one frame", |t| t.sum(|c| c.units_received) == 2);
    let mut player = FlvPlayer::start(server.http, "fan");
    let mut items = player.items_to_audio(0);
    publisher.send_frames(FRAMES - 1);
    let units = u64::from(2 * FRAMES);
    server.control.until("all units", |t| t.sum(|c| c.units_received) == units);
    server.control.send_all(|| Command::Reload(Arc::clone(&reload)));
    items.extend(player.items_to_audio(FRAMES - 1));
    assert_complete(&items);
}
