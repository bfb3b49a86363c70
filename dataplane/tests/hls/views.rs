//! Viewers that are told apart: tokens, cookies, silence, kicks, limits.

use std::time::Duration;

use dataplane::config::{Config, HlsSession, LimitId};
use dataplane::control::{
    CloseReason, Command, Denial, Event, Grant, Protocol, Role, SessionEvent, Verdict,
};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};
use dataplane::session::view_token::{KEYS_BEFORE_MAX, ViewKeys};

use super::{node, publish};
use crate::node::{Answer, Server, Totals, Viewer};
use crate::on_both_backends;

on_both_backends! {
    a_viewer_is_known_by_its_token_on_every_shard
    who_shows_no_token_is_led_to_one_or_refused
    a_cookie_does_the_same_for_shared_playlists
    silence_ends_a_view_and_it_may_go_on_later
    a_kick_refuses_the_next_request_on_every_shard
    who_only_reads_a_playlist_is_no_viewer
    no_view_begins_with_what_is_not_there
    no_more_viewers_than_there_may_be
    the_control_plane_is_asked_once_for_each_viewer
    a_change_of_keys_ends_no_view
    a_stream_that_is_kicked_asks_about_its_viewers_again
    shared_playlists_name_nobody
}

/// Viewers are told apart by tokens.
pub(super) fn told_apart(mut config: Config) -> Config {
    config.stream.hls.session = HlsSession::Token;
    config
}

/// Reads a playlist of renditions: the address of its media playlist, which has the token.
pub(super) fn token_of(viewer: &mut Viewer, target: &str) -> String {
    let index = viewer.found(target);
    assert_eq!((index.field("ETag"), index.field("Cache-Control")), (None, Some("no-store")));
    let folder = target.rsplit_once('/').unwrap().0;
    format!("{folder}/{}", index.uris()[0])
}

/// Streams that have viewers, each as often as a shard has some of them, and how many.
fn audiences(totals: &Totals) -> Vec<(String, u64)> {
    let all = totals.shards.iter().flat_map(|shard| &shard.audiences);
    let viewed = all.filter(|of| (of.format, of.players) == ("hls", 0));
    viewed.map(|of| (of.stream.to_string(), of.viewers)).collect()
}

pub(super) fn started(server: &Server) -> (ShardId, SessionId, SessionEvent) {
    let view = |event: &Event| match event {
        Event::Session(told) => {
            matches!(**told, SessionEvent::Started { protocol: Protocol::Hls, .. })
        }
        _ => false,
    };
    match server.control.event("a view starts", view).1 {
        Event::Session(told) => match *told {
            SessionEvent::Started { session, shard, .. } => (shard, session, *told),
            _ => unreachable!(),
        },
        _ => unreachable!(),
    }
}

/// How the view ended: why, and after how many bytes.
pub(super) fn ended(server: &Server, view: SessionId) -> (CloseReason, u64) {
    let over = |event: &Event| match event {
        Event::Session(told) => {
            matches!(**told, SessionEvent::Ended { session, .. } if session == view)
        }
        _ => false,
    };
    match server.control.event("a view ends", over).1 {
        Event::Session(told) => match *told {
            SessionEvent::Ended { reason, bytes_out, role: Role::Play, .. } => (reason, bytes_out),
            _ => unreachable!(),
        },
        _ => unreachable!(),
    }
}

/// The same request on so many connections that both shards have some of them.
pub(super) fn everywhere(server: &Server, target: &str, status: u16) {
    for _ in 0..16 {
        let answer = Viewer::connect(server.http).get(target);
        assert_eq!(answer.status, status, "{target}: {}", answer.head);
    }
}

fn a_viewer_is_known_by_its_token_on_every_shard(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "news/cam", 3);
    let mut viewer = Viewer::connect(server.http);
    viewer.ask("GET", "/live/news/cam/index.m3u8?key=k", "User-Agent: v/1\r\n");
    let index = viewer.answer();
    let uri = index.uris()[0];
    assert!(uri.starts_with("media.m3u8?key=k&s="), "{uri}");
    let media = format!("/live/news/cam/{uri}");
    viewer.ask("GET", &media, "User-Agent: v/1\r\n");
    let list = viewer.answer();
    assert_eq!(list.status, 200);
    let (_, session, told) = started(&server);
    let SessionEvent::Started { role, stream, peer, agent, tls, .. } = told else { unreachable!() };
    assert_eq!((role, stream.as_str(), &*agent, tls), (Role::Play, "news/cam", "v/1", false));
    assert_eq!(peer, viewer.socket.local_addr().unwrap());
    let mut bytes = list.head.len() + list.body.len();
    for uri in list.uris() {
        let segment = Viewer::connect(server.http).found(&format!("/news/cam/{uri}"));
        bytes += segment.head.len() + segment.body.len();
    }
    everywhere(&server, &media, 200);
    let shown = server.control.until("the bytes are counted", |totals| {
        let view = totals.sessions().find(|status| status.id == session);
        view.is_some_and(|view| view.bytes_out >= bytes as u64)
    });
    let view = shown.sessions().find(|status| status.id == session).unwrap();
    assert_eq!(
        (view.protocol, view.role, view.state),
        (Protocol::Hls, Some(Role::Play), "viewing")
    );
    let views = shown.sessions().filter(|status| status.protocol == Protocol::Hls);
    assert_eq!(views.count(), 1, "connections are no viewers");
    assert_eq!((shown.sum(|c| c.views_started), shown.sum(|c| c.viewers)), (1, 1));
    assert_eq!(audiences(&shown), [("news/cam".to_owned(), 1)]);
}

fn who_shows_no_token_is_led_to_one_or_refused(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let led = viewer.get("/cam/media.m3u8?key=k");
    assert_eq!((led.status, led.field("Location")), (302, Some("index.m3u8?key=k")));
    assert_eq!(viewer.get("/cam/seg.0.ts").status, 403);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    let (path, token) = media.split_once("?s=").unwrap();
    let first = if token.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{path}?s={first}{}", &token[1..]);
    assert_eq!(viewer.get(&forged).status, 403);
    assert_eq!(viewer.get(&format!("{path}?s=short")).status, 403);
    // A token is for one stream.
    let _other = publish(&server, "other", 2);
    assert_eq!(viewer.get(&format!("/other/media.m3u8?s={token}")).status, 403);
    // Who asks for renditions with a bad one is given a good one.
    let again = token_of(&mut viewer, &format!("/cam/index.m3u8?s={first}{}", &token[1..]));
    assert_ne!(again, media);
    viewer.found(&again);
}

fn a_cookie_does_the_same_for_shared_playlists(mut config: Config) {
    config.stream.hls.session = HlsSession::Cookie;
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let index = viewer.found("/cam/index.m3u8");
    assert_eq!(index.uris(), ["media.m3u8"]);
    let cookie = index.field("Set-Cookie").unwrap();
    let (pair, terms) = cookie.split_once("; ").unwrap();
    assert_eq!(terms, "Path=/cam; HttpOnly; SameSite=Lax");
    assert_eq!(viewer.get("/cam/seg.0.ts").status, 403);
    let fields = format!("Cookie: {pair}\r\n");
    let list = viewer.get_with("/cam/media.m3u8", &fields);
    assert_eq!((list.status, list.field("Set-Cookie")), (200, None));
    let (shard, session, _) = started(&server);
    let segment = format!("/cam/{}", list.uris()[0]);
    assert_eq!(viewer.get_with(&segment, &fields).status, 200);
    let known = list.field("ETag").unwrap();
    let known = format!("{fields}If-None-Match: {known}\r\n");
    assert_eq!(viewer.get_with("/cam/media.m3u8", &known).status, 304);
    let reason = CloseReason::Kicked;
    server.control.send(shard, Command::Kick { session, reason });
    assert_eq!(ended(&server, session).0, reason);
    assert_eq!(viewer.get_with(&segment, &fields).status, 403);
    // Whoever asks for renditions is asked about anew, and is another viewer.
    let again = viewer.get_with("/cam/index.m3u8", &fields);
    let (other, _) = again.field("Set-Cookie").unwrap().split_once("; ").unwrap();
    assert_ne!(other, pair);
    assert_eq!(viewer.get_with(&segment, &format!("Cookie: {other}\r\n")).status, 200);
}

fn silence_ends_a_view_and_it_may_go_on_later(mut config: Config) {
    config.stream.hls.session_idle = Duration::from_millis(300);
    let server = Server::start(told_apart(config));
    let publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    let list = viewer.found(&media);
    let (_, session, _) = started(&server);
    let (reason, bytes) = ended(&server, session);
    assert_eq!(reason, CloseReason::Idle);
    assert_eq!(bytes, (list.head.len() + list.body.len()) as u64);
    let gone = |totals: &node::Totals| totals.sessions().all(|status| status.id != session);
    server.control.until("it is gone", gone);
    viewer.found(&media);
    assert_eq!(started(&server).1, session, "under its number");
    drop(publisher);
    server.control.until("grace", |totals| totals.sum(|c| c.publishers) == 0);
    assert_eq!(ended(&server, session).0, CloseReason::Idle, "the stream may come back");
}

fn a_kick_refuses_the_next_request_on_every_shard(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let (mut viewer, mut other) = (Viewer::connect(server.http), Viewer::connect(server.http));
    let (media, others) =
        (token_of(&mut viewer, "/cam/index.m3u8"), token_of(&mut other, "/cam/index.m3u8"));
    let list = viewer.found(&media);
    let (shard, session, _) = started(&server);
    other.found(&others);
    let both = server.control.snapshot();
    let viewers = |totals: &Totals| audiences(totals).iter().map(|of| of.1).sum::<u64>();
    assert_eq!((viewers(&both), both.sum(|c| c.viewers)), (2, 2));
    server.control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    assert_eq!(ended(&server, session).0, CloseReason::Kicked);
    let left = server.control.snapshot();
    assert_eq!((audiences(&left), left.sum(|c| c.viewers)), (vec![("cam".to_owned(), 1)], 1));
    everywhere(&server, &media, 403);
    everywhere(&server, &format!("/cam/{}", list.uris()[0]), 403);
    everywhere(&server, &others, 200);
    // Whoever is let in again is another viewer.
    let again = token_of(&mut viewer, "/cam/index.m3u8");
    viewer.found(&again);
    assert_eq!(server.control.snapshot().sum(|c| c.views_ended), 1);
}

fn who_only_reads_a_playlist_is_no_viewer(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let tokens: Vec<_> = (0..5).map(|_| token_of(&mut viewer, "/cam/index.m3u8")).collect();
    assert!(tokens.windows(2).all(|two| two[0] != two[1]), "each is another viewer");
    assert_eq!(server.control.snapshot().sum(|c| c.views_started), 0);
}

fn no_view_begins_with_what_is_not_there(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let id = StreamId([7; 16]);
    server.control.judge(Box::new(move |request| {
        Some(Verdict::Allow(Grant { id: Some(id), ..Grant::to(request.stream.clone()) }))
    }));
    let _told = publish(&server, "told", 2);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    let (_, token) = media.split_once("?s=").unwrap();
    let other = StreamId([8; 16]);
    let missing = [
        format!("/cam/seg.99999.ts?s={token}"),
        format!("/hls/told/{id}/640x360-30/seg.99999.ts"),
        format!("/hls/told/{other}/640x360-30/seg.0.ts"),
    ];
    for target in &missing {
        everywhere(&server, target, 404);
    }
    let started = |server: &Server| server.control.snapshot().sum(|c| c.views_started);
    assert_eq!(started(&server), 0);
    viewer.found(&media);
    assert_eq!(started(&server), 1);
    let list = viewer.found(&format!("/hls/told/{id}/640x360-30/live.m3u8"));
    viewer.found(&format!("/hls/told/{id}/640x360-30/{}", list.uris()[0]));
    assert_eq!(started(&server), 2);
    // Whoever views goes on viewing, whatever else he asks for.
    everywhere(&server, &missing[0], 404);
    everywhere(&server, &media, 200);
    assert_eq!(started(&server), 2);
}

fn no_more_viewers_than_there_may_be(mut config: Config) {
    config.limits.set(LimitId::HlsViewersMax, 2);
    config.stream.hls.session_idle = Duration::from_secs(2);
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let media: Vec<_> = (0..3).map(|_| token_of(&mut viewer, "/cam/index.m3u8")).collect();
    viewer.found(&media[0]);
    viewer.found(&media[1]);
    let full = viewer.get(&media[2]);
    assert_eq!((full.status, full.field("Retry-After")), (503, Some("2")));
    viewer.found(&media[1]);
    let totals = server.control.snapshot();
    assert_eq!((totals.limit(LimitId::HlsViewersMax), totals.sum(|c| c.views_started)), (1, 2));
    // Who falls silent makes room.
    server.control.until("one has left", |totals| totals.sum(|c| c.views_ended) > 0);
    viewer.found(&media[2]);
}

fn the_control_plane_is_asked_once_for_each_viewer(mut config: Config) {
    config.stream.hls.verdict = Duration::ZERO;
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 3);
    let before = server.control.snapshot().sum(|c| c.authorize_asked);
    for viewers in 1..=3 {
        let mut viewer = Viewer::connect(server.http);
        let media = token_of(&mut viewer, "/cam/index.m3u8?key=k");
        for _ in 0..3 {
            let list: Answer = Viewer::connect(server.http).found(&media);
            for uri in list.uris() {
                viewer.found(&format!("/cam/{uri}"));
            }
        }
        let asked = server.control.snapshot().sum(|c| c.authorize_asked) - before;
        assert_eq!(asked, viewers);
    }
    // A name that was given by the control plane is not in the token: it is asked for again.
    server.control.judge(Box::new(|request| {
        let granted = StreamName::parse("cam").unwrap();
        Some(match request.stream.as_str() {
            "alias" => Verdict::Allow(Grant::to(granted)),
            _ => Verdict::Deny(Denial::Forbidden),
        })
    }));
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/alias/index.m3u8");
    let list = viewer.found(&media);
    viewer.found(&format!("/alias/{}", list.uris()[0]));
}

fn a_change_of_keys_ends_no_view(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let (media, unused) =
        (token_of(&mut viewer, "/cam/index.m3u8"), token_of(&mut viewer, "/cam/index.m3u8"));
    let list = viewer.found(&media);
    // A viewer watches for ten days.
    for day in 1..=10_u8 {
        let before = (0..day).rev().take(KEYS_BEFORE_MAX).map(|day| [1 + day; 32]).collect();
        let keys = std::sync::Arc::new(ViewKeys { current: [1 + day; 32], before });
        server.control.send_all(|| Command::ViewKeys(keys.clone()));
        server.control.snapshot();
        everywhere(&server, &media, 200);
        everywhere(&server, &format!("/cam/{}", list.uris()[0]), 200);
        if day > 7 {
            everywhere(&server, &unused, 403);
        }
    }
    assert_eq!(server.control.snapshot().sum(|c| c.views_started), 1);
    // What vouches for the token vouches for no other, and for no other stream.
    let _other = publish(&server, "other", 2);
    let (_, token) = media.split_once("?s=").unwrap();
    everywhere(&server, &format!("/other/media.m3u8?s={token}"), 403);
}

fn a_stream_that_is_kicked_asks_about_its_viewers_again(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    viewer.found(&media);
    let (_, session, _) = started(&server);
    server.control.send_all(|| Command::KickStream {
        stream: StreamName::parse("cam").unwrap(),
        publication: None,
        role: Some(Role::Play),
        protocols: dataplane::control::ProtocolSet::ALL,
        reason: CloseReason::StreamChanged,
    });
    assert_eq!(ended(&server, session).0, CloseReason::StreamChanged);
    // The other shard has heard of it, too.
    server.control.snapshot();
    server.control.judge(Box::new(|_| Some(Verdict::Deny(Denial::Forbidden))));
    everywhere(&server, &media, 403);
    server
        .control
        .judge(Box::new(|request| Some(Verdict::Allow(Grant::to(request.stream.clone())))));
    everywhere(&server, &media, 200);
}

fn shared_playlists_name_nobody(mut config: Config) {
    config.stream.hls.session = HlsSession::Off;
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    let (mut one, mut other) = (Viewer::connect(server.http), Viewer::connect(server.http));
    let [first, second] = [&mut one, &mut other].map(|viewer| viewer.found("/cam/media.m3u8"));
    assert_eq!(first.body, second.body);
    assert!(first.uris()[0].ends_with(".ts") && first.field("ETag").is_some());
    assert_eq!(server.control.snapshot().sum(|c| c.views_started), 0);
}
