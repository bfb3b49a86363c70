//! What viewers are answered, and with which bytes.

use dataplane::config::{Config, HlsMode};
use dataplane::control::{Denial, Grant, Intent, Protocol, Role, Verdict};

use super::{SEGMENT_FRAMES, arrived, list_until, node, publish, segments_of};
use crate::node::{Player, Publisher, Server, Totals, TsPlayer, Viewer, tiny};
use crate::on_both_backends;

on_both_backends! {
    segments_are_what_players_get
    segments_are_what_players_get_through_the_smallest_rings
    viewers_on_both_shards_get_the_same
    ranges_and_conditions
    a_pipeline_is_answered_in_its_order
    a_key_goes_with_every_child
    what_is_not_there_is_not_found
    a_viewer_is_shown_while_it_is_served
}

fn segments_are_what_players_get(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "cam");
    player.items_to_audio(0);
    let mut viewer = Viewer::connect(server.http);
    viewer.ask("GET", "/live/cam/index.m3u8", "");
    server.control.until("it waits", |totals| totals.sum(|c| c.hls_waits) == 1);
    // In steps, because a player that is seconds behind jumps.
    for _ in 0..(3 * SEGMENT_FRAMES + 5) / 31 {
        let end = publisher.send_frames(31);
        player.items_to_audio(end - 1);
    }
    let index = viewer.answer();
    assert_eq!(index.status, 200, "{}", index.head);
    assert_eq!(index.field("Content-Type"), Some("application/vnd.apple.mpegurl"));
    assert_eq!(index.field("Cache-Control"), Some("no-cache"));
    assert_eq!(index.uris(), ["media.m3u8"]);
    let list = list_until(&mut viewer, "cam", |list| list.uris().len() == 3);
    let segments = segments_of(&mut viewer, "cam", &list);
    let joined = segments.concat();
    let at = position(&joined, &player.received);
    assert!(player.received.len() - at - joined.len() < joined.len() / 3, "nothing was left out");
    // A range of each segment is that part of it.
    for (uri, whole) in list.uris().iter().zip(&segments) {
        let part = viewer.get_with(&format!("/cam/{uri}"), "Range: bytes=100-299\r\n");
        assert_eq!((part.status, &*part.body), (206, &whole[100..300]));
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.segments_served), 3);
    assert_eq!(totals.sum(|c| c.segment_ranges_served), 3);
    assert_eq!(totals.sum(|c| c.viewers_too_slow), 0);
    assert_eq!(totals.sum(|c| c.authorize_asked), 3, "publisher, player and viewer");
}

fn segments_are_what_players_get_through_the_smallest_rings(config: Config) {
    segments_are_what_players_get(tiny(config));
}

fn viewers_on_both_shards_get_the_same(config: Config) {
    const VIEWERS: usize = 16;
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 30_000;
    publisher.send_frames(2 * SEGMENT_FRAMES + 1);
    let mut viewers: Vec<_> = (0..VIEWERS).map(|_| Viewer::connect(server.http)).collect();
    let mut first: Option<Vec<Vec<u8>>> = None;
    for viewer in &mut viewers {
        viewer.found("/cam/index.m3u8");
        let list = list_until(viewer, "cam", |list| list.uris().len() == 2);
        let segments = segments_of(viewer, "cam", &list);
        assert!(segments.iter().all(|segment| segment.len() > 1 << 20), "larger than a send");
        assert!(*first.get_or_insert_with(|| segments.clone()) == segments, "equal bytes");
    }
    let totals = server.control.snapshot();
    for shard in &totals.shards {
        assert!(shard.counters.segments_served > 0, "both shards have viewers");
    }
    assert_eq!(totals.sum(|c| c.segments_served), 2 * VIEWERS as u64);
    let log = totals.stream("cam").unwrap().logs.iter().find(|log| log.format == "mpegts");
    assert_eq!(log.unwrap().reader_shards, 2, "one reader for all viewers of a shard");
    drop(viewers);
    drop(publisher);
}

fn ranges_and_conditions(config: Config) {
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    let target = format!("/cam/{}", list.uris()[0]);
    let whole = viewer.found(&target);
    assert_eq!(whole.field("Content-Type"), Some("video/mp2t"));
    assert_eq!(whole.field("Cache-Control"), Some("max-age=3600, immutable"));
    assert_eq!(whole.field("Accept-Ranges"), Some("bytes"));
    assert_eq!(whole.field("Access-Control-Allow-Origin"), Some("*"));
    let len = whole.body.len();
    let etag = whole.field("ETag").unwrap().to_owned();
    for (fields, status, body) in [
        ("Range: bytes=0-0\r\n".to_owned(), 206, &whole.body[..1]),
        ("Range: bytes=-188\r\n".to_owned(), 206, &whole.body[len - 188..]),
        ("Range: bytes=188-\r\n".to_owned(), 206, &whole.body[188..]),
        (format!("Range: bytes={len}-\r\n"), 416, &[]),
        ("Range: bytes=0-1,3-4\r\n".to_owned(), 200, &whole.body[..]),
        (format!("Range: bytes=0-9\r\nIf-Range: {etag}\r\n"), 206, &whole.body[..10]),
        ("Range: bytes=0-9\r\nIf-Range: \"other\"\r\n".to_owned(), 200, &whole.body[..]),
        (format!("If-None-Match: {etag}\r\n"), 304, &[]),
        ("If-None-Match: \"other\"\r\n".to_owned(), 200, &whole.body[..]),
    ] {
        let answer = viewer.get_with(&target, &fields);
        assert_eq!(answer.status, status, "{fields}: {}", answer.head);
        assert!(answer.body == body, "{fields}: {} bytes", answer.body.len());
    }
    viewer.ask("HEAD", &target, "");
    let head = viewer.head();
    assert_eq!((head.status, head.field("Content-Length")), (200, Some(&*len.to_string())));
    let etag = list.field("ETag").unwrap().to_owned();
    let again = viewer.get_with("/cam/media.m3u8", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((again.status, again.field("ETag")), (304, Some(&*etag)));
    let short = viewer.get("/cam.m3u8?key=k");
    assert_eq!((short.status, short.field("Location")), (302, Some("cam/index.m3u8?key=k")));
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.hls_not_modified), 2);
    assert_eq!(totals.sum(|c| c.segment_ranges_served), 4);
    // Without keep-alive the connection ends behind the last byte.
    viewer.ask("GET", &target, "Connection: close\r\n");
    let last = viewer.head();
    assert_eq!(last.field("Connection"), Some("close"));
    assert!(viewer.rest() == whole.body);
}

fn a_pipeline_is_answered_in_its_order(config: Config) {
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 3);
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    let targets: Vec<_> = list.uris().iter().map(|uri| format!("/cam/{uri}")).collect();
    let one: Vec<_> = targets.iter().map(|target| viewer.found(target)).collect();
    let mut requests = String::new();
    for target in targets.iter().chain(["/cam/media.m3u8", "/nothing.flv"].map(String::from).iter())
    {
        requests.push_str(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    viewer.say(&requests.repeat(10));
    for _ in 0..10 {
        for expected in one.iter().chain([&list]) {
            assert!(viewer.answer() == *expected);
        }
        assert_eq!(viewer.answer().status, 404);
    }
    // The same with the peer's end behind the last request.
    viewer.say(&requests);
    viewer.socket.shutdown(std::net::Shutdown::Write).unwrap();
    for expected in one.iter().chain([&list]) {
        assert!(viewer.answer() == *expected);
    }
    assert_eq!(viewer.answer().status, 404);
    assert_eq!(viewer.rest(), b"");
}

fn a_key_goes_with_every_child(config: Config) {
    let server = Server::start(config);
    server.control.judge(Box::new(|request| {
        let allowed = request.intent == Intent::Publish || request.key.0 == "s3+cret";
        let allow = Verdict::Allow(Grant::to(request.stream.clone()));
        Some(if allowed { allow } else { Verdict::Deny(Denial::Forbidden) })
    }));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    assert_eq!(viewer.get("/cam/index.m3u8").status, 403);
    assert_eq!(viewer.get("/cam/index.m3u8?key=wrong").status, 403);
    let index = viewer.found("/cam/index.m3u8?key=s3%2Bcret");
    assert_eq!(index.uris(), ["media.m3u8?key=s3%2Bcret"]);
    let list = viewer.found(&format!("/cam/{}", index.uris()[0]));
    for uri in list.uris() {
        let (bare, query) = uri.split_once('?').unwrap();
        assert_eq!(query, "key=s3%2Bcret");
        assert_eq!(viewer.get(&format!("/cam/{bare}")).status, 403);
        viewer.found(&format!("/cam/{uri}"));
    }
}

fn what_is_not_there_is_not_found(mut config: Config) {
    config.stream.hls.mode = HlsMode::Off;
    let off = Server::start(config.clone());
    let _publisher = publish(&off, "cam", 2);
    assert_eq!(Viewer::connect(off.http).get("/cam/index.m3u8").status, 404);
    config.stream.hls.mode = HlsMode::Always;
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    let first = list.number("#EXT-X-MEDIA-SEQUENCE:");
    for target in [
        "/nobody/index.m3u8".to_owned(),
        "/nobody/seg.1.ts".to_owned(),
        format!("/cam/seg.{}.ts", first - 1),
        format!("/cam/seg.{}.ts", first + 2),
        "/cam/seg.18446744073709551615.ts".to_owned(),
    ] {
        let answer = viewer.get(&target);
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(answer.field("Cache-Control"), Some("no-store"));
    }
}

fn a_viewer_is_shown_while_it_is_served(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(5);
    arrived(&server, "cam", 5);
    let mut viewer = Viewer::connect(server.http);
    viewer.ask("GET", "/cam/index.m3u8", "User-Agent: viewer/1\r\n");
    let peer = viewer.socket.local_addr().unwrap();
    let shown = |totals: &Totals| {
        let of_peer = |s: &&dataplane::control::SessionStatus| s.peer == peer;
        totals.sessions().find(of_peer).is_some_and(|session| {
            session.protocol == Protocol::Hls
                && session.role == Some(Role::Play)
                && session.stream.as_ref().is_some_and(|stream| stream.as_str() == "cam")
                && &*session.agent == "viewer/1"
        })
    };
    let totals = server.control.until("it is shown", shown);
    assert_eq!(totals.sum(|c| c.players), 0, "viewers are no players");
    publisher.send_frames(SEGMENT_FRAMES);
    viewer.answer();
    server.control.until("it is an idle connection", |totals| !shown(totals));
}

fn position(of: &[u8], within: &[u8]) -> usize {
    let mut places = within.chunks(188).enumerate();
    let first = &of[..188];
    let fits = |at: usize| within.len() >= at + of.len() && within[at..at + of.len()] == *of;
    let found = places.find(|&(nth, packet)| packet == first && fits(nth * 188));
    found.expect("the segments are a part of the stream").0 * 188
}
