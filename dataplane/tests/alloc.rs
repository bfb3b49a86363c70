//! Zero allocation in the steady state: a counting allocator under the shards of a whole node.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod counting;
mod node;

use std::sync::atomic::Ordering;
use std::time::Duration;

use codecs::rtmp::message::{Csid, MessageKind, UserControl};
use codecs::time::MediaTime;
use counting::{ARMED, Counting, TAKEN, TAKEN_BYTES};
use dataplane::config::Config;
use dataplane::control::Protocol;
use dataplane::reactor::BackendChoice;
use node::{
    FRAME_MS, FlvPlayer, Item, Player, Publisher, RtmpPlayer, Server, TsPlayer, WsPlayer,
    assert_contiguous,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Players of each format.
const PLAYERS: usize = 100;
/// Frames of the measured ten seconds.
const MEASURED: u32 = 10_000 / FRAME_MS;
/// Frames that go out between two looks at all players.
const STEP: u32 = 5;

/// A publisher and its crowd.
struct Crowd {
    publisher: Publisher,
    rtmp: Vec<RtmpPlayer>,
    flv: Vec<FlvPlayer>,
    ws: Vec<WsPlayer>,
    ts: Vec<TsPlayer>,
}

impl Crowd {
    fn start(server: &Server) -> Self {
        let mut publisher = Publisher::start(server.rtmp, "steady");
        publisher.video_bytes = 2_000;
        // Acknowledgements are a part of the steady state.
        let window = 20_000_u32.to_be_bytes();
        publisher.message(Csid::CONTROL, MessageKind::WindowAckSize, 0, 0, &window);
        publisher.send_frames(1);
        let rtmp = (0..PLAYERS).map(|_| RtmpPlayer::start(server.rtmp, "steady")).collect();
        let flv = (0..PLAYERS).map(|_| FlvPlayer::start(server.http, "steady")).collect();
        let ws = (0..PLAYERS).map(|_| WsPlayer::start(server.http, "steady")).collect();
        let ts = (0..PLAYERS).map(|_| TsPlayer::start(server.http, "steady")).collect();
        Self { publisher, rtmp, flv, ws, ts }
    }

    /// Publishes so many frames, each acknowledged by its arrival at every player.
    fn play(&mut self, frames: u32) {
        for _ in 0..frames / STEP {
            let end = self.publisher.send_frames(STEP);
            let mut reference: Option<Vec<Item>> = None;
            let Self { rtmp, flv, ws, ts, .. } = self;
            let rtmp = rtmp.iter_mut().map(|player| player as &mut dyn Player);
            let flv = flv.iter_mut().map(|player| player as &mut dyn Player);
            let ws = ws.iter_mut().map(|player| player as &mut dyn Player);
            let ts = ts.iter_mut().map(|player| player as &mut dyn Player);
            for player in rtmp.chain(flv).chain(ws).chain(ts) {
                let items = player.items_to_audio(end - 1);
                let first = reference.get_or_insert_with(|| items.clone());
                assert_eq!(items.len(), first.len(), "every player gets every frame");
                assert_contiguous(&items);
            }
        }
    }

    /// True once every RTMP and WebSocket player was pinged, the latter until their room for it is
    /// taken: one reply of it, and one of the connection.
    fn all_pinged(&self) -> bool {
        let pings = |event: &UserControl| matches!(event, UserControl::PingRequest(_));
        let rtmp = self.rtmp.iter().all(|player| player.controls.iter().any(pings));
        rtmp && self.ws.iter().all(|player| player.pings > 2)
    }
}

/// Warms up beyond every window, then counts over ten seconds of the stream.
fn takes_nothing(mut config: Config) {
    dataplane::reactor::raise_nofile().unwrap();
    config.stream.retain = MediaTime::from_millis(2_000);
    config.session.ping_interval = Duration::from_millis(500);
    let server = Server::start(config);
    let mut crowd = Crowd::start(&server);
    // Joins differ in what they begin with; from here on everybody is at the live edge.
    let end = crowd.publisher.send_frames(STEP);
    crowd.rtmp.iter_mut().for_each(|player| drop(player.items_to_audio(end - 1)));
    crowd.flv.iter_mut().for_each(|player| drop(player.items_to_audio(end - 1)));
    crowd.ws.iter_mut().for_each(|player| drop(player.items_to_audio(end - 1)));
    crowd.ts.iter_mut().for_each(|player| drop(player.items_to_audio(end - 1)));
    crowd.play(100);
    while !crowd.all_pinged() {
        crowd.play(STEP);
    }
    // The counter counts: a snapshot takes memory on every shard.
    ARMED.store(true, Ordering::SeqCst);
    let before = server.control.snapshot();
    ARMED.store(false, Ordering::SeqCst);
    assert!(TAKEN.swap(0, Ordering::SeqCst) > 0 && TAKEN_BYTES.swap(0, Ordering::SeqCst) > 0);
    assert!(before.shards.iter().all(|s| s.counters.players > 0), "both shards have players");
    // What the snapshot itself takes is freed before the frames come.
    crowd.play(STEP);
    ARMED.store(true, Ordering::SeqCst);
    crowd.play(MEASURED);
    ARMED.store(false, Ordering::SeqCst);
    let (taken, bytes) = (TAKEN.load(Ordering::SeqCst), TAKEN_BYTES.load(Ordering::SeqCst));
    assert_eq!((taken, bytes), (0, 0), "allocations on the threads of shards, and their bytes");
    let after = server.control.snapshot();
    let sent = |totals: &node::Totals| totals.sum(|c| c.units_received);
    assert_eq!(sent(&after) - sent(&before), u64::from(2 * (MEASURED + STEP)));
    let of = |protocol| after.sessions().filter(|s| s.protocol == protocol).count();
    assert_eq!((of(Protocol::Rtmp), of(Protocol::HttpFlv)), (PLAYERS + 1, PLAYERS));
    assert_eq!(of(Protocol::WsFlv), PLAYERS);
    assert_eq!(of(Protocol::HttpTs), PLAYERS);
}

/// One after the other, because the count is the process's: both backends, at once and gathered.
#[test]
fn ten_seconds_of_a_crowd_allocate_nothing() {
    for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
        for batch_ms in [0, 10] {
            let mut config = node::config(choice);
            config.egress.batch_min = Duration::from_millis(batch_ms);
            takes_nothing(config);
        }
    }
}
