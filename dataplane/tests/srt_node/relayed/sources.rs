//! Sources that come after those who play, and after each other.

use std::time::Duration;

use dataplane::config::Config;
use dataplane::control::Role;
use dataplane::session::srt::Settings;

use super::super::dials::{dial, peer};
use super::super::host::Host;
use super::super::node::{self, Publisher, Server, Viewer};
use super::super::transport::*;
use super::super::{SrtPeer, listening};
use super::feed::*;
use super::{HttpPlayer, check, from_newest_key, has_last, is_made, media, packets, pid};
use super::{published, silent};
use crate::on_both_backends;

on_both_backends! {
    who_came_before_the_publisher_gets_its_packets
    an_encoder_of_units_may_come_instead
    who_plays_units_gets_the_packets_that_follow_them
    tables_alone_hold_no_name
}

fn who_came_before_the_publisher_gets_its_packets(mut config: Config) {
    config.session.play_wait = Duration::from_secs(60);
    let (server, srt) = listening(config, 1);
    let mut host = Host::start(Settings::default());
    dial(&server, "cam", Role::Play, &[peer(1, host.addr(), "publish:cam")]);
    let idle = |server: &Server| server.control.snapshot().sum(|c| c.players_idle);
    let mut http = HttpPlayer::ask(server.http, "cam.ts");
    let mut player = SrtPeer::new(srt, "read:cam");
    player.until("both wait", |_| idle(&server) == 2);
    // One of segments waits, too.
    let mut viewer = Viewer::connect(server.http);
    viewer.ask("GET", "/cam/media.m3u8", "");
    let mut publisher = SrtPeer::start(srt, "publish:cam");
    player.connect();
    http.answered();
    // They are there before the first byte; who is pushed to is called when the program is known.
    server.control.until("both play", |totals| totals.sum(|c| c.plays_started) == 2);
    let mut feed = Feed::new(3);
    let mut sent = feed.frames(5);
    published(&server, &mut publisher, &sent);
    player.until("it joins", |player| has_last(&player.received, &sent));
    host.until("it joins", |host| has_last(&host.received, &sent));
    http.until(|received| has_last(received, &sent));
    // One comes later.
    let mut late = SrtPeer::start(srt, "read:cam");
    late.until("it joins", |late| has_last(&late.received, &sent));
    let later = feed.frames(6 * GOP);
    sent.extend(&later);
    publisher.publish(&later);
    publisher.published();
    for peer in [&mut player, &mut late] {
        peer.until("all of it came", |peer| has_last(&peer.received, &sent));
    }
    host.until("all of it came", |host| has_last(&host.received, &sent));
    http.until(|received| has_last(received, &sent));
    let expected = media(&sent);
    for received in [&player.received, &host.received, &http.received, &late.received] {
        assert_eq!(check(received), [(MAP_PID, 3)], "its own map");
        assert!(media(received) == expected, "packet by packet, from the first picture on");
    }
    let list = viewer.answer();
    assert_eq!((list.status, list.uris().len()), (200, 1), "{}", list.text());
    assert!(is_made(&viewer.found(&format!("/cam/{}", list.uris()[0])).body));
    assert!([CUES, METADATA, UNKNOWN].iter().all(|it| expected.iter().any(|raw| pid(raw) == *it)));
}

fn an_encoder_of_units_may_come_instead(mut config: Config) {
    config.stream.takeover_after = Duration::from_millis(200);
    let (server, srt) = listening(config, 1);
    // It says nothing.
    let _first = SrtPeer::start(srt, "publish:cam");
    server.control.stream_started("cam");
    let mut player = SrtPeer::start(srt, "read:cam");
    let mut http = HttpPlayer::start(server.http, "cam.ts");
    silent(&server, 200);
    let mut second = Publisher::start(server.rtmp, "cam");
    second.send_frames(30);
    player.until("units came", |player| is_made(&player.received));
    http.until(is_made);
    check(&player.received);
    check(&http.received);
}

fn who_plays_units_gets_the_packets_that_follow_them(mut config: Config) {
    config.stream.takeover_after = Duration::from_millis(200);
    let (server, srt) = listening(config, 1);
    let mut first = Publisher::start(server.rtmp, "cam");
    // Two segments, which are viewed.
    first.send_frames(105);
    let mut viewer = Viewer::connect(server.http);
    let before = viewer.found("/cam/media.m3u8");
    let mut player = SrtPeer::start(srt, "read:cam");
    let mut http = HttpPlayer::start(server.http, "cam.ts");
    player.until("units came", |player| is_made(&player.received));
    http.until(is_made);
    silent(&server, 200);
    let mut second = SrtPeer::start(srt, "publish:cam");
    let mut feed = Feed::new(3);
    let sent = feed.frames(2 * GOP);
    second.publish(&sent);
    second.published();
    player.until("the packets came", |player| has_last(&player.received, &sent));
    http.until(|received| has_last(received, &sent));
    for received in [&player.received, &http.received] {
        assert_eq!(check(received), [(0x1000, 0), (MAP_PID, 3)], "one after the other");
        assert!(media(received).ends_with(&media(&sent)), "all of it");
    }
    // Viewers go on with the segments that they know.
    let after = viewer.found("/cam/media.m3u8");
    assert!(after.uris().starts_with(&before.uris()), "{} {}", before.text(), after.text());
    for uri in after.uris() {
        assert!(is_made(&viewer.found(&format!("/cam/{uri}")).body), "{uri}");
    }
    // Who comes now is told of this source alone.
    let mut late = SrtPeer::start(srt, "read:cam");
    late.until("it joins", |late| has_last(&late.received, &sent));
    assert!(media(&late.received) == from_newest_key(&sent));
    assert_eq!(check(&late.received), [(MAP_PID, 3)]);
    // And units again.
    silent(&server, 200);
    let mut third = Publisher::start(server.rtmp, "cam");
    third.send_frames(30);
    late.until("units came", |late| is_made(&late.received));
    assert_eq!(check(&late.received), [(MAP_PID, 3), (0x1000, 4)]);
}

fn tables_alone_hold_no_name(mut config: Config) {
    config.stream.takeover_after = Duration::from_millis(200);
    let (server, srt) = listening(config, 1);
    let mut feed = Feed::new(3);
    let mut publisher = SrtPeer::start(srt, "publish:cam");
    let sent = feed.frames(5);
    published(&server, &mut publisher, &sent);
    let mut player = SrtPeer::start(srt, "read:cam");
    player.until("it joins", |player| has_last(&player.received, &sent));
    // It has lost its source, and multiplexes what it has of its own.
    publisher.until("it is silent", |publisher| {
        publisher.publish(&feed.without_source());
        let totals = server.control.snapshot();
        totals.stream("cam").is_some_and(|stream| stream.silent_ms > 200)
    });
    let mut second = SrtPeer::start(srt, "publish:cam");
    let sent = Feed::new(3).frames(2 * GOP);
    second.publish(&sent);
    second.published();
    player.until("the second came", |player| has_last(&player.received, &sent));
    let tables = packets(&player.received).iter().filter(|packet| pid(packet) == 0).count();
    assert!(tables > 10, "they were sent on: {tables}");
}
