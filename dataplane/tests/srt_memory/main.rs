//! What an SRT peer takes of the heap, in the clear and encrypted: a player, with its shard's
//! state; and a publisher with its stream, to which come what waits out of order and the stream's
//! pages.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

#[path = "../counting/mod.rs"]
mod counting;
#[path = "../node/mod.rs"]
mod node;
#[allow(dead_code, reason = "other tests look closer at a peer")]
#[path = "../srt_node/peer.rs"]
mod peer;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use codecs::srt::Passphrase;
use counting::{ARMED, Counting, HELD, WITH_CONTROL};
use dataplane::config::{ListenerConfig, ListenerKind};
use dataplane::reactor::BackendChoice;
use dataplane::session::srt::Settings;
use node::{Publisher, Server};
use peer::SrtPeer;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Between these numbers of peers the slope is taken.
const FEW: usize = 50;
const MANY: usize = 250;
/// What a player may take, also with the keys of an encrypted connection.
const PLAYER_BYTES_MAX: i64 = 4_096;
/// What a publisher may take: its session, the demultiplexer, and the stream that it begins.
const PUBLISHER_BYTES_MAX: i64 = 32_768;
/// Longer than the whole test: nobody is served all the time.
const PATIENCE: Duration = Duration::from_secs(200);

/// One after the other, because the counts are the process's.
#[test]
fn peers_take_what_is_planned() {
    dataplane::reactor::raise_nofile().unwrap();
    for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
        for passphrase in [None, Some(Passphrase::new(b"a secret of many").unwrap())] {
            let key = if passphrase.is_some() { "encrypted" } else { "plain" };
            let settings = Settings { passphrase, idle_timeout: PATIENCE, ..Settings::default() };
            let player = players(choice, &settings);
            println!("{choice:?}, {key}: {player} bytes a player");
            assert!((500..=PLAYER_BYTES_MAX).contains(&player), "{player}");
            let publisher = publishers(choice, &settings);
            println!("{choice:?}, {key}: {publisher} bytes a publisher");
            assert!((500..=PUBLISHER_BYTES_MAX).contains(&publisher), "{publisher}");
        }
    }
}

fn listening(choice: BackendChoice, settings: &Settings) -> (Server, SocketAddr) {
    let mut config = node::config(choice);
    config.shards.truncate(1);
    config.listeners.push(ListenerConfig::new(ListenerKind::Srt, "127.0.0.1:0".parse().unwrap()));
    config.reactor.datagram_buffers = 64;
    config.srt.passphrase = settings.passphrase.clone();
    config.srt.idle_timeout = PATIENCE;
    let server = Server::start(config);
    server.control.skip_sessions();
    let srt = server.listeners().iter().find(|l| l.kind == ListenerKind::Srt).unwrap().addr;
    (server, srt)
}

/// Bytes that `come` takes, for each peer that it adds to the first ones.
fn slope(mut come: impl FnMut(usize)) -> i64 {
    come(FEW);
    HELD.store(0, Ordering::SeqCst);
    WITH_CONTROL.store(true, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    come(MANY);
    ARMED.store(false, Ordering::SeqCst);
    WITH_CONTROL.store(false, Ordering::SeqCst);
    HELD.load(Ordering::SeqCst) / (MANY - FEW) as i64
}

fn players(choice: BackendChoice, settings: &Settings) -> i64 {
    let (server, srt) = listening(choice, settings);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    let mut peers = Vec::new();
    slope(|count| {
        while peers.len() < count {
            let mut player = SrtPeer::with(srt, "read:cam", settings.clone());
            player.connect();
            peers.push(player);
        }
        // All of them have something of what is sent now, and said so.
        let before: Vec<_> = peers.iter().map(|player| player.received.len()).collect();
        publisher.send_frames(20);
        for (player, before) in peers.iter_mut().zip(before) {
            player.until("it plays", |player| player.received.len() > before);
        }
    })
}

fn publishers(choice: BackendChoice, settings: &Settings) -> i64 {
    let (_server, srt) = listening(choice, settings);
    let mut peers = Vec::new();
    slope(|count| {
        while peers.len() < count {
            let name = format!("publish:cam{}", peers.len());
            let mut publisher = SrtPeer::with(srt, &name, settings.clone());
            publisher.connect();
            peers.push(publisher);
        }
    })
}
