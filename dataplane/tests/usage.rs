//! What streams used is what went over the wire, to the byte, whatever became of sessions,
//! streams and mailboxes. Peers speak through relays that count for themselves.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use dataplane::config::{Config, HlsSession};
use dataplane::control::{Command, Event, MoveOrder, Protocol, Usage, UsageBatch};
use dataplane::ids::{ShardId, StreamName};
use node::{
    FlvPlayer, Player, Publisher, RtmpPlayer, Server, TIME_BOUND, TsPlayer, Tunnel, Viewer,
    WsPlayer, with_tls,
};

on_both_backends! {
    every_byte_of_every_protocol_is_charged_to_its_stream
    inside_tls_the_bytes_of_the_records_are_charged
    a_stream_that_moves_is_charged_once_where_it_was_and_where_it_is
    thousands_of_short_sessions_behind_a_full_mailbox_lose_nothing
    the_last_use_is_told_when_shards_end
}

/// Passes connections on to the node and counts what it passed.
struct Relay {
    addr: SocketAddr,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    up: AtomicU64,
    down: AtomicU64,
    open: AtomicUsize,
}

impl Relay {
    fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let wire = Arc::new(Wire::default());
        let counts = Arc::clone(&wire);
        // It ends with the process of the case.
        std::thread::spawn(move || {
            while let Ok((peer, _)) = listener.accept() {
                let node = TcpStream::connect(target).unwrap();
                let ways = [
                    (peer.try_clone().unwrap(), node.try_clone().unwrap(), true),
                    (node, peer, false),
                ];
                counts.open.fetch_add(ways.len(), Ordering::SeqCst);
                for (from, to, up) in ways {
                    let counts = Arc::clone(&counts);
                    std::thread::spawn(move || {
                        counts.pass(from, to, up);
                        counts.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self { addr, wire }
    }

    /// Bytes to the node and from it, once all its connections are over.
    fn counted(&self) -> (u64, u64) {
        until("the relay's connections end", || self.wire.open.load(Ordering::SeqCst) == 0);
        (self.wire.up.load(Ordering::SeqCst), self.wire.down.load(Ordering::SeqCst))
    }
}

impl Wire {
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, up: bool) {
        let mut buffer = [0; 64 << 10];
        while let Ok(len) = from.read(&mut buffer)
            && len > 0
        {
            let count = if up { &self.up } else { &self.down };
            count.fetch_add(len as u64, Ordering::SeqCst);
            // A peer that went away before the node's last words has counted them all the same.
            let _ = to.write_all(&buffer[..len]);
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let late = Instant::now() + TIME_BOUND;
    while !is() {
        assert!(Instant::now() < late, "never: {what}");
        std::thread::yield_now();
    }
}

/// What the control plane heard of the use of streams.
struct Heard {
    shards: u16,
    /// By shard: the number of its next batch.
    next: [u64; 2],
    used: BTreeMap<(String, &'static str), Usage>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { shards: 2, next: [0; 2], used: BTreeMap::new() }
    }
}

impl Heard {
    fn take(&mut self, batch: &UsageBatch) {
        let next = &mut self.next[batch.shard.index()];
        if batch.number != *next + 1 {
            return;
        }
        *next += 1;
        for row in batch.rows.iter() {
            let stream = row.stream.as_ref().map_or("-", StreamName::as_str).to_owned();
            let used = self.used.entry((stream, row.protocol.name())).or_default();
            *used = used.and(row.used);
        }
    }

    /// Asks all shards for all that they have to tell.
    fn ask(&mut self, server: &Server) {
        for shard in (0..self.shards).map(ShardId) {
            loop {
                let number = self.next[shard.index()] + 1;
                server.control.send(shard, Command::Usage { number });
                let is = |event: &Event| match event {
                    Event::Usage(batch) => (batch.shard, batch.number) == (shard, number),
                    _ => false,
                };
                let Event::Usage(batch) = server.control.event("a batch", is).1 else {
                    unreachable!()
                };
                self.take(&batch);
                if !batch.more {
                    break;
                }
            }
        }
    }

    fn of(&self, stream: &str, protocol: Protocol) -> Usage {
        self.used.get(&(stream.to_owned(), protocol.name())).copied().unwrap_or_default()
    }

    /// Asks until a stream used exactly what `relay` counted.
    fn expect(&mut self, server: &Server, stream: &str, protocol: Protocol, relay: &Relay) {
        let (up, down) = relay.counted();
        assert!(up > 0 && down > 0, "{}: {up} and {down}", protocol.name());
        self.ask(server);
        let used = self.of(stream, protocol);
        assert_eq!((used.bytes_in, used.bytes_out), (up, down), "{}", protocol.name());
    }
}

/// Waits until no session is left on any shard: what they used is counted then.
fn all_are_gone(server: &Server) {
    server.control.until("everybody is gone", |totals| totals.sum(|c| c.connections) == 0);
}

fn every_byte_of_every_protocol_is_charged_to_its_stream(mut config: Config) {
    config.stream.hls.session = HlsSession::Token;
    let server = Server::start(config);
    let relay = || Relay::start(server.http);
    let (publish, rtmp) = (Relay::start(server.rtmp), Relay::start(server.rtmp));
    let (flv, ts, ws, hls) = (relay(), relay(), relay(), relay());
    let mut publisher = Publisher::start(publish.addr, "cam");
    server.control.until("both tracks", |t| t.stream("cam").is_some_and(|s| s.tracks.len() == 2));
    publisher.send_frames(120);
    let mut by_rtmp = RtmpPlayer::start(rtmp.addr, "cam");
    let mut by_flv = FlvPlayer::start(flv.addr, "cam");
    let mut by_ts = TsPlayer::start(ts.addr, "cam");
    let mut by_ws = WsPlayer::start(ws.addr, "cam");
    let mut viewer = Viewer::connect(hls.addr);
    let index = viewer.found("/cam/index.m3u8");
    let media = format!("/cam/{}", index.uris()[0]);
    publisher.send_frames(60);
    by_rtmp.items_to_audio(179);
    by_flv.items_to_audio(179);
    by_ts.items_to_audio(179);
    by_ws.items_to_audio(179);
    let list = viewer.found(&media);
    let segment = list.uris().last().unwrap().to_string();
    assert!(!viewer.found(&format!("/cam/{segment}")).body.is_empty());
    drop((by_rtmp, by_flv, by_ts, by_ws, viewer));
    // Who publishes does so for longer than anybody plays.
    server.control.until("the players are gone", |totals| totals.sum(|c| c.players) == 0);
    drop(publisher);
    all_are_gone(&server);
    let mut heard = Heard::default();
    heard.expect(&server, "cam", Protocol::HttpFlv, &flv);
    heard.expect(&server, "cam", Protocol::HttpTs, &ts);
    heard.expect(&server, "cam", Protocol::WsFlv, &ws);
    heard.expect(&server, "cam", Protocol::Hls, &hls);
    let (publish, play) = (publish.counted(), rtmp.counted());
    let used = heard.of("cam", Protocol::Rtmp);
    assert_eq!(
        (used.bytes_in, used.bytes_out),
        (publish.0 + play.0, publish.1 + play.1),
        "handshakes and last words included"
    );
    assert!(used.publish_us > used.play_us && used.play_us > 0, "{used:?}");
    assert!(heard.of("cam", Protocol::Hls).play_us > 0, "a view lasts until it is idle");
    let known = ["http-flv", "http-ts", "ws-flv", "hls", "rtmp"];
    assert!(heard.used.keys().all(|(stream, word)| stream == "cam" && known.contains(word)));
}

fn inside_tls_the_bytes_of_the_records_are_charged(config: Config) {
    let server = Server::start(with_tls(config));
    let (rtmps, https) = (Relay::start(server.rtmps()), Relay::start(server.https()));
    let mut publisher = Publisher::start(Tunnel::start(rtmps.addr).addr, "cam");
    publisher.send_frames(10);
    let mut player = FlvPlayer::start(Tunnel::start(https.addr).addr, "cam");
    publisher.send_frames(20);
    player.items_to_audio(29);
    drop(player);
    drop(publisher);
    all_are_gone(&server);
    let mut heard = Heard::default();
    heard.expect(&server, "cam", Protocol::HttpFlv, &https);
    heard.expect(&server, "cam", Protocol::Rtmp, &rtmps);
}

fn a_stream_that_moves_is_charged_once_where_it_was_and_where_it_is(config: Config) {
    let server = Server::with_home(config, 0);
    let (publish, play) = (Relay::start(server.rtmp), Relay::start(server.http));
    let mut publisher = Publisher::start(publish.addr, "cam");
    publisher.send_frames(10);
    let mut player = FlvPlayer::start(play.addr, "cam");
    let mut heard = Heard::default();
    let mut frames = 10;
    for order in 1..=3 {
        let to = ShardId(order as u16 % 2);
        let stream = StreamName::parse("cam").unwrap();
        server.control.send(ShardId(0), Command::Move(MoveOrder { id: order, stream, to }));
        server.control.event(
            "the stream moved",
            |event| matches!(event, Event::Moved { id, .. } if *id == order),
        );
        frames += publisher.send_frames(10) - frames;
        player.items_to_audio(frames - 1);
        heard.ask(&server);
    }
    drop(player);
    drop(publisher);
    all_are_gone(&server);
    heard.expect(&server, "cam", Protocol::Rtmp, &publish);
    heard.expect(&server, "cam", Protocol::HttpFlv, &play);
    let used = heard.of("cam", Protocol::Rtmp);
    heard.ask(&server);
    assert_eq!(heard.of("cam", Protocol::Rtmp), used, "nobody publishes, so no time passes");
}

/// More sessions than a mailbox and what waits behind it hold together.
const SHORT: usize = 8_500;

fn thousands_of_short_sessions_behind_a_full_mailbox_lose_nothing(mut config: Config) {
    config.shards.truncate(1);
    config.stream.hls.session = HlsSession::Token;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(120);
    let relay = Relay::start(server.http);
    let mut viewer = Viewer::connect(relay.addr);
    // Who may view is asked once, and remembered by the shard.
    viewer.found("/cam/index.m3u8");
    let held = server.control.hold();
    for _ in 0..SHORT {
        let index = viewer.found("/cam/index.m3u8");
        let media = format!("/cam/{}", index.uris()[0]);
        viewer.ask("HEAD", &media, "");
        assert_eq!(viewer.head().status, 200);
    }
    drop(held);
    drop((viewer, publisher));
    all_are_gone(&server);
    let mut heard = Heard { shards: 1, ..Heard::default() };
    heard.expect(&server, "cam", Protocol::Hls, &relay);
}

fn the_last_use_is_told_when_shards_end(config: Config) {
    let mut server = Server::start(config);
    let relay = Relay::start(server.http);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(10);
    let mut player = FlvPlayer::start(relay.addr, "cam");
    let mut heard = Heard::default();
    heard.ask(&server);
    publisher.send_frames(10);
    player.items_to_audio(19);
    server.control.send_all(|| Command::Stop);
    for _ in 0..2 {
        let told = server.control.events_until(|event| matches!(event, Event::Stopped));
        for event in &told {
            if let Event::Usage(batch) = event {
                heard.take(batch);
            }
        }
    }
    server.control.joined();
    player.items_to_end();
    drop(player);
    let (_, down) = relay.counted();
    assert_eq!(heard.of("cam", Protocol::HttpFlv).bytes_out, down);
}
