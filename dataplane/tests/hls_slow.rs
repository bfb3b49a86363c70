//! Viewers who do not read: they are let go, and nobody else notices.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;

use std::time::Duration;

use dataplane::config::Config;
use node::{FRAME_MS, Publisher, Server, Viewer};

on_both_backends! {
    a_segment_that_leaves_the_window_ends_the_download
    who_reads_nothing_is_closed
    who_reads_slowly_gets_it_all
    an_idle_connection_ends_after_its_time
}

const SEGMENT_FRAMES: u32 = 2_000 / FRAME_MS;

/// A stream of large segments, sockets with little room, and the target of the newest segment.
fn scene(mut config: Config) -> (Server, Publisher, Viewer, String) {
    config.egress.send_buffer_bytes = 16 << 10;
    config.stream.hls.bytes_max = 16 << 20;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 150_000;
    publisher.send_frames(SEGMENT_FRAMES + 1);
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    let target = format!("/cam/{}", list.uris()[0]);
    (server, publisher, viewer, target)
}

fn a_segment_that_leaves_the_window_ends_the_download(config: Config) {
    let (server, mut publisher, mut viewer, target) = scene(config);
    viewer.ask("GET", &target, "");
    let head = viewer.head();
    let len: usize = head.field("Content-Length").unwrap().parse().unwrap();
    server.control.until("its socket is full", |totals| totals.sum(|c| c.sends_blocked) > 0);
    // Other viewers go on; the bytes that the stream may take are soon newer ones.
    let mut other = Viewer::connect(server.http);
    while server.control.snapshot().sum(|c| c.viewers_too_slow) == 0 {
        publisher.send_frames(10);
        other.found("/cam/media.m3u8");
        // What was taken of the socket lets the server find that the rest is gone.
        let mut some = [0; 4_096];
        if std::io::Read::read(&mut viewer.socket, &mut some).unwrap_or(0) == 0 {
            server.control.until("it is closed only as too slow", |totals| {
                totals.sum(|c| c.viewers_too_slow) > 0
            });
        }
    }
    let rest = viewer.rest();
    assert!(rest.len() < len, "the promise is broken, so the connection ends");
    let list = other.found("/cam/media.m3u8");
    let newest = format!("/cam/{}", list.uris().last().unwrap());
    assert!(!other.found(&newest).body.is_empty());
    let totals = server.control.snapshot();
    assert_eq!((totals.sum(|c| c.downloads), totals.sum(|c| c.viewers_too_slow)), (0, 1));
    assert_eq!(other.get(&target).status, 404, "nobody gets it any more");
}

fn who_reads_nothing_is_closed(mut config: Config) {
    config.egress.stall = Duration::from_millis(500);
    let (server, _publisher, mut viewer, target) = scene(config);
    viewer.ask("GET", &target, "");
    let closed = |totals: &node::Totals| totals.sum(|c| c.players_too_slow) == 1;
    let totals = server.control.until("it is closed", closed);
    assert_eq!((totals.sum(|c| c.downloads), totals.sum(|c| c.connections)), (0, 1));
}

fn who_reads_slowly_gets_it_all(config: Config) {
    let (server, _publisher, mut viewer, target) = scene(config);
    let whole = viewer.found(&target).body;
    viewer.ask("GET", &target, "");
    let head = viewer.head();
    assert_eq!(head.field("Content-Length"), Some(&*whole.len().to_string()));
    // Small reads: the server is blocked again and again.
    let mut body = viewer.come();
    while body.len() < whole.len() {
        let mut some = [0; 5_000];
        let taken = std::io::Read::read(&mut viewer.socket, &mut some).unwrap();
        assert!(taken > 0);
        body.extend_from_slice(&some[..taken]);
    }
    assert!(body == whole);
    let totals = server.control.snapshot();
    assert!(totals.sum(|c| c.sends_blocked) > 10);
    assert_eq!(totals.sum(|c| c.viewers_too_slow), 0);
    assert_eq!(viewer.get("/nothing.flv").status, 404, "the connection goes on");
}

fn an_idle_connection_ends_after_its_time(mut config: Config) {
    config.session.keep_alive = Duration::from_millis(300);
    let (server, _publisher, mut viewer, target) = scene(config);
    viewer.found(&target);
    assert_eq!(viewer.rest(), b"");
    server.control.until("it is gone", |totals| totals.sum(|c| c.connections) == 1);
}
