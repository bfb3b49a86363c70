//! HLS over real sockets: playlists, segments, conditions, waits, ends and returns.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod addresses;
mod lifetime;
#[path = "../node/mod.rs"]
mod node;
mod rechecks;
mod serving;
mod views;

use std::time::Instant;

use node::{Answer, FRAME_MS, Publisher, Server, TIME_BOUND, Viewer};

/// Frames of one segment: it ends with the first keyframe after two seconds.
const SEGMENT_FRAMES: u32 = 2_000 / FRAME_MS;

/// A stream of which `segments` segments are finished.
fn publish(server: &Server, name: &str, segments: u32) -> Publisher {
    let mut publisher = Publisher::start(server.rtmp, name);
    publisher.send_frames(segments * SEGMENT_FRAMES + 1);
    arrived(server, name, publisher.next_number());
    publisher
}

/// Waits until the stream has taken so many frames of both tracks.
fn arrived(server: &Server, name: &str, frames: u32) {
    let units = u64::from(2 * frames);
    server
        .control
        .until("the frames", |t| t.stream(name).is_some_and(|stream| stream.units_in >= units));
}

/// Reads the playlist of segments until it `is` so.
fn list_until(viewer: &mut Viewer, name: &str, is: impl Fn(&Answer) -> bool) -> Answer {
    let late = Instant::now() + TIME_BOUND;
    loop {
        let list = viewer.found(&format!("/{name}/media.m3u8"));
        if is(&list) {
            return list;
        }
        assert!(Instant::now() < late, "never: {}", list.text());
        std::thread::yield_now();
    }
}

/// The bytes of every listed segment, in order.
fn segments_of(viewer: &mut Viewer, name: &str, list: &Answer) -> Vec<Vec<u8>> {
    let targets = list.uris().into_iter().map(|uri| format!("/{name}/{uri}"));
    targets.map(|target| viewer.found(&target).body).collect()
}
