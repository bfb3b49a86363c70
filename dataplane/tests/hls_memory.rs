//! What a viewer takes of the process's memory: between two requests, and while it is sent a
//! segment. An allocator that counts what the threads of shards hold is under the whole node.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod counting;
mod node;

use std::sync::atomic::Ordering;

use counting::{ARMED, Counting, HELD, TAKEN};
use dataplane::config::{Config, LimitId};
use dataplane::reactor::BackendChoice;
use node::{FRAME_MS, Publisher, Server, Viewer};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What an idle connection of a viewer may take, everything included.
const IDLE_BYTES_MAX: i64 = 536;
/// Allocations that a request may take more than another: a head that came in pieces, a table that
/// grew.
const ALLOCATIONS_MORE_MAX: u64 = 8;
const SEGMENT_FRAMES: u32 = 2_000 / FRAME_MS;

/// One after the other, because the counts are the process's.
#[test]
fn viewers_take_little() {
    dataplane::reactor::raise_nofile().unwrap();
    for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
        an_idle_connection_is_small(node::config(choice));
        a_send_takes_nothing(node::config(choice));
    }
}

/// A stream with two segments, and the target of the first one.
fn scene(config: Config, video_bytes: usize) -> (Server, Publisher, Viewer, String) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = video_bytes;
    publisher.send_frames(2 * SEGMENT_FRAMES + 1);
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    let target = format!("/cam/{}", list.uris()[0]);
    (server, publisher, viewer, target)
}

/// A connection that asked for everything that a viewer asks for.
fn view(server: &Server, target: &str) -> Viewer {
    let mut viewer = Viewer::connect(server.http);
    let agent = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0\r\n";
    for target in ["/cam/index.m3u8", "/cam/media.m3u8", target] {
        assert_eq!(viewer.get_with(target, agent).status, 200);
    }
    viewer
}

fn an_idle_connection_is_small(mut config: Config) {
    const BEFORE: usize = 1_000;
    const VIEWERS: usize = 1_000;
    config.limits.set(LimitId::PlayersMax, 1);
    config.shards.truncate(1);
    let (server, _publisher, _viewer, target) = scene(config, 600);
    // Tables grow by doubling: they do it once meanwhile, at 1,024, and so each new connection pays
    // for its own places in them.
    let mut viewers: Vec<_> = (0..BEFORE).map(|_| view(&server, &target)).collect();
    HELD.store(0, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    viewers.extend((0..VIEWERS).map(|_| view(&server, &target)));
    // Each has read its last answer to the end. A snapshot would count: it is freed elsewhere.
    ARMED.store(false, Ordering::SeqCst);
    let each = HELD.load(Ordering::SeqCst) / VIEWERS as i64;
    assert!((200..=IDLE_BYTES_MAX).contains(&each), "{each} bytes");
    drop(viewers);
}

/// A whole segment takes no more than a few bytes of it do, in however many sends.
fn a_send_takes_nothing(mut config: Config) {
    // Many sends of one segment: the socket takes a little at a time.
    config.egress.send_buffer_bytes = 32 << 10;
    let (server, _publisher, mut viewer, target) = scene(config, 60_000);
    viewer.found(&target);
    let sends = || server.control.snapshot().sum(|c| c.sends);
    let mut request = |fields: &str| {
        let before = sends();
        TAKEN.store(0, Ordering::SeqCst);
        ARMED.store(true, Ordering::SeqCst);
        let answer = viewer.get_with(&target, fields);
        ARMED.store(false, Ordering::SeqCst);
        (answer.body.len(), TAKEN.load(Ordering::SeqCst), sends() - before)
    };
    let part = request("Range: bytes=0-187\r\n");
    let whole = request("");
    assert!(part.0 == 188 && part.1 > 0 && part.2 <= 3, "{part:?}");
    assert!(whole.0 > 2 << 20 && whole.2 > 20, "{whole:?}");
    assert!(whole.1 <= part.1 + ALLOCATIONS_MORE_MAX, "{part:?} and {whole:?}");
}
