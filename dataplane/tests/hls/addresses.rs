//! Viewers at several addresses: a token is no pass for others, and a viewer may move.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use dataplane::config::{Config, HlsSession};
use dataplane::control::{AuthorizeRequest, Denial, Grant, Verdict};

use super::rechecks::{LONG, judge, yes};
use super::views::{everywhere, token_of, told_apart};
use super::{node, publish};
use crate::node::{Server, Viewer};
use crate::on_both_backends;

on_both_backends! {
    a_token_is_no_pass_at_another_address
    a_token_is_no_pass_without_what_it_was_given_for
    a_cookie_is_no_pass_at_another_address
    a_viewer_who_moves_is_asked_about_once_and_stays_in
}

const OWNER: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";

/// Yes to the owner of an address that was signed for him.
fn by_address(request: &AuthorizeRequest) -> Option<Verdict> {
    let own = request.peer.ip().to_string() == OWNER && &*request.key.0 == "k";
    Some(if own { yes(request) } else { Verdict::Deny(Denial::Forbidden) })
}

/// A viewer at that loopback address.
fn from(source: &str, addr: SocketAddr) -> Viewer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let (socket, source) = (socket.unwrap(), SocketAddr::new(source.parse().unwrap(), 0));
    socket.bind(&source.into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    Viewer::of(socket.into())
}

/// The same request from the other address, on so many connections that both shards have some.
fn elsewhere(server: &Server, target: &str, fields: &str, status: u16) {
    for _ in 0..16 {
        let answer = from(OTHER, server.http).get_with(target, fields);
        assert_eq!(answer.status, status, "{target}: {}", answer.head);
    }
}

fn a_token_is_no_pass_at_another_address(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    judge(&server, by_address);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8?key=k");
    // Before its view begins, and after.
    elsewhere(&server, &media, "", 403);
    assert_eq!(server.control.snapshot().sum(|c| c.views_started), 0);
    let list = viewer.found(&media);
    let segment = format!("/cam/{}", list.uris()[0]);
    for target in [&media, &segment] {
        elsewhere(&server, target, "", 403);
        everywhere(&server, target, 200);
    }
    let totals = server.control.snapshot();
    assert_eq!((totals.sum(|c| c.views_started), totals.sum(|c| c.views_ended)), (1, 0));
}

fn a_token_is_no_pass_without_what_it_was_given_for(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    judge(&server, by_address);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8?key=k");
    let bare = media.replace("key=k&", "");
    everywhere(&server, &bare, 403);
    viewer.found(&media);
    everywhere(&server, &bare, 403);
    everywhere(&server, &media, 200);
}

fn a_cookie_is_no_pass_at_another_address(mut config: Config) {
    config.stream.hls.session = HlsSession::Cookie;
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    judge(&server, by_address);
    let mut viewer = Viewer::connect(server.http);
    let index = viewer.found("/cam/index.m3u8?key=k");
    let (pair, _) = index.field("Set-Cookie").unwrap().split_once("; ").unwrap();
    let (media, fields) = (format!("/cam/{}", index.uris()[0]), format!("Cookie: {pair}\r\n"));
    elsewhere(&server, &media, &fields, 403);
    assert_eq!(viewer.get_with(&media, &fields).status, 200);
    elsewhere(&server, &media, &fields, 403);
    assert_eq!(viewer.get_with(&media, &fields).status, 200);
    assert_eq!(viewer.get_with("/cam/media.m3u8", &fields).status, 403, "without the key");
    assert_eq!(server.control.snapshot().sum(|c| c.views_started), 1);
}

fn a_viewer_who_moves_is_asked_about_once_and_stays_in(mut config: Config) {
    config.stream.hls.verdict = LONG;
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    judge(&server, |request| {
        let entry_until = Some(Instant::now() + LONG);
        Some(Verdict::Allow(Grant { entry_until, ..Grant::to(request.stream.clone()) }))
    });
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8?key=k");
    viewer.found(&media);
    // What he shows lets nobody new in any more.
    let asked = judge(&server, |request| {
        let is_in = request.since.is_some() && &*request.key.0 == "k";
        Some(if is_in { yes(request) } else { Verdict::Deny(Denial::Forbidden) })
    });
    elsewhere(&server, &media, "", 200);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(viewer.get("/cam/index.m3u8?key=n").status, 403);
    let stolen = media.replace("key=k", "key=n");
    elsewhere(&server, &stolen, "", 403);
    let totals = server.control.snapshot();
    assert_eq!((totals.sum(|c| c.views_started), totals.sum(|c| c.views_ended)), (1, 0));
}
