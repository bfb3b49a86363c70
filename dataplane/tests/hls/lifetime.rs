//! When there is a list: waits for the first, ends, returns, idle streams.

use std::time::{Duration, Instant};

use codecs::amf0::Value;
use dataplane::config::{Config, LimitId};

use super::{SEGMENT_FRAMES, arrived, list_until, node, publish, segments_of};
use crate::node::{Answer, Publisher, Server, TIME_BOUND, Totals, Viewer};
use crate::on_both_backends;

on_both_backends! {
    a_first_playlist_is_waited_for
    a_first_playlist_is_not_waited_for_too_long
    only_so_many_wait
    the_list_ends_with_the_stream_and_is_gone_later
    a_publisher_that_returns_goes_on_with_the_list
    a_stream_that_returns_after_its_end_goes_on_with_numbers
    packets_are_made_on_demand_and_dropped
    a_drain_lets_segments_end
}

fn a_first_playlist_is_waited_for(config: Config) {
    const VIEWERS: usize = 20;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(SEGMENT_FRAMES);
    arrived(&server, "cam", SEGMENT_FRAMES);
    let mut viewers: Vec<_> = (0..VIEWERS).map(|_| Viewer::connect(server.http)).collect();
    for (viewer, asset) in viewers.iter_mut().zip(["index.m3u8", "media.m3u8"].iter().cycle()) {
        viewer.ask("GET", &format!("/cam/{asset}"), "");
    }
    server.control.until("all wait", |totals| totals.sum(|c| c.hls_waits) == VIEWERS as u64);
    // One of them gives up, which nobody else notices.
    drop(viewers.pop());
    publisher.send_frames(1);
    for viewer in &mut viewers {
        assert_eq!(viewer.answer().status, 200);
    }
    let list = viewers[0].found("/cam/media.m3u8");
    assert_eq!(list.uris().len(), 1);
}

fn a_first_playlist_is_not_waited_for_too_long(mut config: Config) {
    config.stream.hls.first_playlist_wait = Duration::from_millis(200);
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(5);
    arrived(&server, "cam", 5);
    let mut viewer = Viewer::connect(server.http);
    let late = viewer.get("/cam/index.m3u8");
    assert_eq!((late.status, late.field("Retry-After")), (503, Some("2")));
    publisher.send_frames(SEGMENT_FRAMES);
    list_until(&mut viewer, "cam", |list| list.uris().len() == 1);
}

fn only_so_many_wait(mut config: Config) {
    config.limits.set(LimitId::HlsWaitersMax, 2);
    config.shards.truncate(1);
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(5);
    arrived(&server, "cam", 5);
    let mut waiting = [0, 1].map(|_| Viewer::connect(server.http));
    for viewer in &mut waiting {
        viewer.ask("GET", "/cam/index.m3u8", "");
    }
    server.control.until("two wait", |totals| totals.sum(|c| c.hls_waits) == 2);
    let mut third = Viewer::connect(server.http);
    let refused = third.get("/cam/index.m3u8");
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("2")));
    assert_eq!(server.control.snapshot().limit(LimitId::HlsWaitersMax), 1);
    publisher.send_frames(SEGMENT_FRAMES);
    for viewer in waiting.iter_mut().map(Viewer::answer) {
        assert_eq!(viewer.status, 200);
    }
    third.found("/cam/index.m3u8");
}

/// Asks until the answer is 404.
fn until_gone(viewer: &mut Viewer, target: &str) {
    let late = Instant::now() + TIME_BOUND;
    while viewer.get(target).status != 404 {
        assert!(Instant::now() < late, "{target} is never gone");
        std::thread::yield_now();
    }
}

fn the_list_ends_with_the_stream_and_is_gone_later(mut config: Config) {
    config.stream.hls.ended = Duration::from_secs(2);
    config.limits.set(LimitId::HttpRequestsMax, u64::MAX);
    let server = Server::start(config);
    let mut publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let live = viewer.found("/cam/media.m3u8");
    assert_eq!((live.uris().len(), live.has_ended()), (2, false));
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
    server.control.stream_ended("cam");
    let last = list_until(&mut viewer, "cam", Answer::has_ended);
    assert_eq!(last.uris().len(), 3, "what was begun is a segment, too");
    assert_eq!(last.number("#EXT-X-MEDIA-SEQUENCE:"), live.number("#EXT-X-MEDIA-SEQUENCE:"));
    for segment in segments_of(&mut viewer, "cam", &last) {
        assert!(segment.len().is_multiple_of(188) && !segment.is_empty());
    }
    // Who comes now, on whatever shard, may still watch the end.
    let mut others: Vec<_> = (0..6).map(|_| Viewer::connect(server.http)).collect();
    for other in &mut others {
        assert!(other.found("/cam/media.m3u8").has_ended());
    }
    for viewer in others.iter_mut().chain([&mut viewer]) {
        until_gone(viewer, "/cam/media.m3u8");
        until_gone(viewer, "/cam/index.m3u8");
        until_gone(viewer, &format!("/cam/{}", last.uris()[2]));
    }
    drop(publisher);
    server.control.until("no page is left", |totals| totals.pages_used() == 0);
}

fn a_publisher_that_returns_goes_on_with_the_list(config: Config) {
    let server = Server::start(config);
    let publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let before = viewer.found("/cam/media.m3u8");
    drop(publisher);
    server.control.until("nobody publishes", |totals| totals.sum(|c| c.publishers) == 0);
    let silent = viewer.found("/cam/media.m3u8");
    assert!(!silent.has_ended(), "the stream waits for its publisher");
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(2 * SEGMENT_FRAMES + 1);
    let after = list_until(&mut viewer, "cam", |list| list.uris().len() >= 5);
    assert_eq!(after.uris()[..2], before.uris()[..], "the same list goes on");
    let breaks = after.text().lines().filter(|line| *line == "#EXT-X-DISCONTINUITY").count();
    assert_eq!(breaks, 1, "{}", after.text());
    segments_of(&mut viewer, "cam", &after);
}

fn a_stream_that_returns_after_its_end_goes_on_with_numbers(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    viewer.found("/cam/media.m3u8");
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
    server.control.stream_ended("cam");
    let last = list_until(&mut viewer, "cam", Answer::has_ended);
    let segments = segments_of(&mut viewer, "cam", &last);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(SEGMENT_FRAMES + 1);
    let next = list_until(&mut viewer, "cam", |list| !list.has_ended());
    let sequence = |list: &Answer| list.number("#EXT-X-MEDIA-SEQUENCE:");
    assert!(sequence(&next) >= sequence(&last) + last.uris().len() as u64, "{}", next.text());
    let period = |list: &Answer| list.number("#EXT-X-DISCONTINUITY-SEQUENCE:");
    assert!(period(&next) > period(&last), "{}", next.text());
    // A player in the middle of the old list can finish it.
    assert!(segments_of(&mut viewer, "cam", &last) == segments);
    segments_of(&mut viewer, "cam", &next);
}

fn packets_are_made_on_demand_and_dropped(mut config: Config) {
    config.stream.hls.idle = Duration::from_millis(300);
    config.stream.idle_log = Duration::from_millis(100);
    let server = Server::start(config);
    let mut publisher = publish(&server, "cam", 2);
    let of = |totals: &Totals| totals.sum(|c| c.entries_packaged_ts);
    let before = server.control.snapshot();
    assert_eq!((of(&before), before.sum(|c| c.logs)), (0, 0), "nobody asked yet");
    let pages = before.pages_used();
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    assert_eq!(list.uris().len(), 2, "what the ring holds is there at once");
    let target = format!("/cam/{}", list.uris()[1]);
    let segment = viewer.found(&target);
    server.control.until("it is dropped", |totals| totals.sum(|c| c.logs) == 0);
    server.control.until("its pages are", |totals| totals.pages_used() <= pages);
    let packaged = of(&server.control.snapshot());
    publisher.send_frames(10);
    arrived(&server, "cam", publisher.next_number());
    assert_eq!(of(&server.control.snapshot()), packaged, "nobody asks any more");
    // Who asks again gets the same segments, cut at the same places.
    let again = viewer.found("/cam/media.m3u8");
    assert_eq!(again.uris(), list.uris());
    let answer = viewer.found(&target);
    assert_eq!(answer.body.len(), segment.body.len());
}

fn a_drain_lets_segments_end(mut config: Config) {
    config.egress.send_buffer_bytes = 16 << 10;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 100_000;
    publisher.send_frames(SEGMENT_FRAMES + 1);
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    let target = format!("/cam/{}", list.uris()[0]);
    viewer.ask("GET", &target, "");
    let head = viewer.head();
    server.control.until("its socket is full", |totals| totals.sum(|c| c.downloads) == 1);
    server.control.send_all(|| dataplane::control::Command::Drain);
    let body = viewer.rest();
    assert_eq!(head.field("Content-Length"), Some(&*body.len().to_string()));
    drop(publisher);
}
