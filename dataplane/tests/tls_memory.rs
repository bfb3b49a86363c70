//! What a player inside TLS takes of the process's memory, beside the same player outside.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod counting;
mod node;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use counting::{ARMED, Counting, HELD};
use dataplane::config::Config;
use dataplane::reactor::BackendChoice;
use node::{Player, Publisher, RtmpPlayer, Server, Tunnel, with_tls};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PLAYERS: usize = 100;
/// What `grandstand check` counts for the TLS of a player that keeps up.
const TLS_BYTES_MAX: i64 = 8 << 10;

/// One after the other, because the counts are the process's.
#[test]
fn players_inside_tls_take_what_is_planned() {
    dataplane::reactor::raise_nofile().unwrap();
    for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
        each_takes_little(node::config(choice));
    }
}

/// Players of a stream that is at its second frame when all of them have come.
fn crowd(server: &Server, addr: SocketAddr, publisher: &mut Publisher) -> Vec<RtmpPlayer> {
    let mut players: Vec<_> = (0..PLAYERS).map(|_| RtmpPlayer::start(addr, "cam")).collect();
    let newest = publisher.send_frames(2) - 1;
    for player in &mut players {
        player.items_to_video(newest);
    }
    server.control.until("everything is sent", |totals| totals.sum(|c| c.pages_retired) == 0);
    players
}

/// Bytes that each player of one more crowd takes.
fn each(server: &Server, addr: SocketAddr, publisher: &mut Publisher) -> i64 {
    // Tables grow by doubling: the first crowd makes them what they are.
    let first = crowd(server, addr, publisher);
    HELD.store(0, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    let second = crowd(server, addr, publisher);
    ARMED.store(false, Ordering::SeqCst);
    drop((first, second));
    HELD.load(Ordering::SeqCst) / PLAYERS as i64
}

fn each_takes_little(mut config: Config) {
    config.shards.truncate(1);
    let server = Server::start(with_tls(config));
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(2);
    let tunnel = Tunnel::start(server.rtmps());
    let outside = each(&server, server.rtmp, &mut publisher);
    let inside = each(&server, tunnel.addr, &mut publisher);
    println!("a player takes {outside} bytes, and {} more inside TLS", inside - outside);
    let more = inside - outside;
    assert!((1_000..=TLS_BYTES_MAX).contains(&more), "{inside} inside, {outside} outside");
}
