//! What a shard tells while its mailbox to the control plane is full: later, in order, or as lost.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::time::Duration;

use dataplane::config::{Config, HlsSession};
use dataplane::control::{Event, Protocol, SessionEvent};
use node::{FRAME_MS, Publisher, Server, Viewer};

on_both_backends! {
    what_a_full_mailbox_held_back_comes_in_order_or_as_a_loss
    an_answer_waits_for_room_in_a_full_mailbox
}

fn one_shard_of_long_views(config: &mut Config) {
    config.stream.hls.session = HlsSession::Token;
    config.stream.hls.session_idle = Duration::from_secs(600);
    config.shards.truncate(1);
}

/// Publishes what has a playlist.
fn published(server: &Server) -> Publisher {
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(2_000 / FRAME_MS + 1);
    publisher
}

/// Begins so many views, each of which the control plane is to hear of.
fn begin_views(viewer: &mut Viewer, views: usize) {
    for _ in 0..views {
        let media = viewer.found("/cam/index.m3u8").uris()[0].to_owned();
        viewer.ask("HEAD", &format!("/cam/{media}"), "");
        assert_eq!(viewer.head().status, 200);
    }
}

/// Viewers begin and end while nobody reads the mailbox: their tokens speak for them.
fn what_a_full_mailbox_held_back_comes_in_order_or_as_a_loss(mut config: Config) {
    const VIEWERS: usize = 8_500;
    one_shard_of_long_views(&mut config);
    let server = Server::start(config);
    let _publisher = published(&server);
    let mut viewer = Viewer::connect(server.http);
    viewer.found("/cam/index.m3u8");
    server.control.forget_events();
    let held = server.control.hold();
    begin_views(&mut viewer, VIEWERS);
    drop(held);
    let lost = |event: &Event| matches!(event, Event::SessionsOverflowed { .. });
    let told = server.control.events_until(lost);
    let begun = told.iter().filter(|event| matches!(event, Event::Session(_))).count();
    let totals = server.control.snapshot();
    let missed = totals.sum(|c| c.tombstones_lost) as usize;
    assert_eq!(begun + missed, VIEWERS, "what is not told is counted");
    assert!(missed > 0, "the case fills the mailbox and the queue behind it");
    let there = totals.sessions().filter(|s| s.protocol == Protocol::Hls).count();
    assert_eq!(there, VIEWERS, "a snapshot has them all");
    // And what comes afterwards is told again.
    let media = viewer.found("/cam/index.m3u8").uris()[0].to_owned();
    viewer.found(&format!("/cam/{media}"));
    let begun = |event: &Event| match event {
        Event::Session(told) => matches!(**told, SessionEvent::Started { .. }),
        _ => false,
    };
    server.control.event("a view", begun);
}

fn an_answer_waits_for_room_in_a_full_mailbox(mut config: Config) {
    const VIEWERS: usize = dataplane::node::CONTROL_MAILBOX_MAX + 100;
    one_shard_of_long_views(&mut config);
    let server = Server::start(config);
    let _publisher = published(&server);
    let mut viewer = Viewer::connect(server.http);
    viewer.found("/cam/index.m3u8");
    let held = server.control.hold();
    begin_views(&mut viewer, VIEWERS);
    // It reaches the shard before anything is read: two turns later it was looked at.
    let answer = server.control.ask_snapshot();
    let still_held = server.control.hold();
    drop(held);
    still_held.begun();
    (0..2).for_each(|_| _ = viewer.found("/cam/index.m3u8"));
    drop(still_held);
    let totals = answer();
    let there = totals.sessions().filter(|s| s.protocol == Protocol::Hls).count();
    assert_eq!((there, totals.sum(|c| c.tombstones_lost)), (VIEWERS, 0));
}
