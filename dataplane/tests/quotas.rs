//! Quotas: no more players than a stream may have, over all shards and protocols.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::sync::Arc;
use std::thread::JoinHandle;

use dataplane::config::{Config, HlsSession};
use dataplane::control::{
    CloseReason, Command, Event, Grant, Protocol, Quota, Role, SessionEvent, StreamQuotas, Verdict,
};
use dataplane::ids::StreamName;
use dataplane::metrics::NoRoom;
use node::{FlvPlayer, Player, Publisher, RtmpPlayer, Server, Viewer};

on_both_backends! {
    a_race_on_two_shards_ends_with_as_many_players_as_may_be
    a_place_is_free_again_when_its_player_left
    a_view_of_hls_is_a_player_like_others
    streams_of_one_tenant_share_its_places
    a_part_of_the_installation_takes_no_place_of_a_player
    what_the_node_plays_to_itself_is_told_to_nobody
    what_is_spent_is_so_for_viewers_who_are_not_told_apart
}

/// Gives all shards `quotas` of a stream.
fn give(server: &Server, stream: &str, quotas: &StreamQuotas) {
    let stream = StreamName::parse(stream).unwrap();
    server
        .control
        .send_all(|| Command::Quotas { stream: stream.clone(), quotas: Some(quotas.clone()) });
    // A snapshot that was asked for after the quotas tells of what holds since.
    server.control.snapshot();
}

/// Gives all shards one quota of `cam`.
fn quota(server: &Server, players_max: u32) -> Arc<Quota> {
    let quota = Arc::new(Quota::default());
    quota.set_players_max(players_max);
    give(server, "cam", &Arc::clone(&quota).into());
    quota
}

fn refused(server: &Server) -> u64 {
    server.control.snapshot().sum(|counters| counters.no_room[NoRoom::Quota as usize])
}

fn a_race_on_two_shards_ends_with_as_many_players_as_may_be(config: Config) {
    const PLAYERS: usize = 40;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    let quota = quota(&server, 7);
    let http = server.http;
    let ask = |_| std::thread::spawn(move || FlvPlayer::ask(http, "/cam.flv"));
    let asked: Vec<JoinHandle<FlvPlayer>> = (0..PLAYERS).map(ask).collect();
    let players: Vec<_> = asked.into_iter().map(|player| player.join().unwrap()).collect();
    let (mut let_in, turned_away): (Vec<_>, Vec<_>) =
        players.into_iter().partition(|player| player.head.starts_with("HTTP/1.1 200 "));
    assert!(turned_away.iter().all(|player| player.head.starts_with("HTTP/1.1 503 ")));
    assert_eq!((let_in.len(), turned_away.len()), (7, PLAYERS - 7));
    assert_eq!((quota.players(), quota.refused()), (7, PLAYERS as u64 - 7));
    assert_eq!(refused(&server), PLAYERS as u64 - 7);
    // Those who play are not disturbed.
    publisher.send_frames(20);
    for player in &mut let_in {
        player.items_to_audio(39);
    }
    // Another stream has no quota.
    let mut other = Publisher::start(server.rtmp, "other");
    other.send_frames(10);
    assert!(FlvPlayer::ask(http, "/other.flv").head.starts_with("HTTP/1.1 200 "));
}

fn a_place_is_free_again_when_its_player_left(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    let quota = quota(&server, 1);
    for _ in 0..5 {
        let player = RtmpPlayer::start(server.rtmp, "cam");
        assert!(FlvPlayer::ask(server.http, "/cam.flv").head.starts_with("HTTP/1.1 503 "));
        assert_eq!(quota.players(), 1);
        drop(player);
        server.control.until("nobody plays", |totals| totals.sum(|c| c.players) == 0);
        assert_eq!(quota.players(), 0);
    }
    assert_eq!(quota.refused(), 5);
    // More may play from now on, then none.
    quota.set_players_max(2);
    let _two = [0, 1].map(|_| RtmpPlayer::start(server.rtmp, "cam"));
    quota.set_players_max(0);
    assert!(FlvPlayer::ask(server.http, "/cam.flv").head.starts_with("HTTP/1.1 503 "));
    assert_eq!(quota.players(), 2, "who plays goes on");
}

fn a_view_of_hls_is_a_player_like_others(mut config: Config) {
    config.stream.hls.session = HlsSession::Token;
    config.stream.hls.session_idle = std::time::Duration::from_secs(600);
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(120);
    let quota = quota(&server, 2);
    let _player = RtmpPlayer::start(server.rtmp, "cam");
    let mut viewers = [0, 1].map(|_| Viewer::connect(server.http));
    let media = |viewer: &mut Viewer| {
        let index = viewer.found("/cam/index.m3u8");
        format!("/cam/{}", index.uris()[0])
    };
    let [first, second] = viewers.each_mut().map(media);
    assert_eq!(quota.players(), 1, "who reads one playlist is no player");
    viewers[0].found(&first);
    assert_eq!(quota.players(), 2);
    assert_eq!(viewers[1].get(&second).status, 503);
    viewers[0].found(&first);
    assert!(FlvPlayer::ask(server.http, "/cam.flv").head.starts_with("HTTP/1.1 503 "));
    assert_eq!((quota.players(), quota.refused()), (2, 2));
    // Who was turned away comes again when there is a place.
    quota.set_players_max(3);
    viewers[1].found(&second);
    assert_eq!(quota.players(), 3);
}

fn streams_of_one_tenant_share_its_places(config: Config) {
    let server = Server::start(config);
    let mut publishers = ["cam", "other"].map(|stream| Publisher::start(server.rtmp, stream));
    for publisher in &mut publishers {
        publisher.send_frames(20);
    }
    let tenant = Arc::new(Quota::default());
    tenant.set_players_max(3);
    let own = Arc::new(Quota::default());
    own.set_players_max(1);
    give(&server, "cam", &StreamQuotas { own: Some(own), tenant: Some(Arc::clone(&tenant)) });
    give(&server, "other", &StreamQuotas { own: None, tenant: Some(Arc::clone(&tenant)) });
    let ask = |path: &str| {
        let player = FlvPlayer::ask(server.http, path);
        player.head.starts_with("HTTP/1.1 200 ").then_some(player)
    };
    let first = ask("/cam.flv").unwrap();
    assert!(ask("/cam.flv").is_none(), "the stream has one place");
    assert_eq!(tenant.players(), 1, "who found none in the stream has none in the tenant");
    let _others = [ask("/other.flv").unwrap(), ask("/other.flv").unwrap()];
    assert!(ask("/other.flv").is_none() && ask("/cam.flv").is_none(), "the tenant has three");
    drop(first);
    server.control.until("two play", |totals| totals.sum(|c| c.players) == 2);
    assert!(ask("/other.flv").is_some());
    // Another tenant's places are other ones: who played before stays where he was counted.
    let another = Arc::new(Quota::default());
    give(&server, "other", &StreamQuotas { own: None, tenant: Some(Arc::clone(&another)) });
    server.control.until("two play", |totals| totals.sum(|c| c.players) == 2);
    let _one = ask("/other.flv").unwrap();
    assert_eq!((tenant.players(), another.players()), (2, 1));
}

fn a_part_of_the_installation_takes_no_place_of_a_player(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    let quota = quota(&server, 1);
    server.control.judge(Box::new(|request| {
        let internal = request.protocol == Protocol::Rtmp;
        Some(Verdict::Allow(Grant { internal, ..Grant::to(request.stream.clone()) }))
    }));
    let _encoder = RtmpPlayer::start(server.rtmp, "cam");
    assert_eq!(quota.players(), 0);
    let player = FlvPlayer::ask(server.http, "/cam.flv");
    assert!(player.head.starts_with("HTTP/1.1 200 "), "{}", player.head);
    // Nor is it refused where players are.
    assert!(FlvPlayer::ask(server.http, "/cam.flv").head.starts_with("HTTP/1.1 503 "));
    let _another = RtmpPlayer::start(server.rtmp, "cam");
    assert_eq!(quota.players(), 1);
}

fn what_the_node_plays_to_itself_is_told_to_nobody(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    server.control.judge(Box::new(|request| {
        let unlisted = request.key.0 == "own";
        Some(Verdict::Allow(Grant { unlisted, ..Grant::to(request.stream.clone()) }))
    }));
    let mut own = FlvPlayer::ask(server.http, "/cam.flv?key=own");
    let mut other = FlvPlayer::start(server.http, "cam");
    let totals = server.control.until("one plays", |totals| totals.sum(|c| c.players) > 0);
    assert_eq!(totals.sum(|c| c.players), 1);
    let playing = totals.sessions().filter(|session| session.role == Some(Role::Play));
    assert_eq!(playing.map(|session| session.peer).collect::<Vec<_>>(), [other.local_addr()]);
    let audience = totals.shards.iter().flat_map(|shard| &shard.audiences);
    assert_eq!(audience.map(|audience| audience.players).sum::<u64>(), 1);
    server.control.send_all(|| Command::KickStream {
        stream: StreamName::parse("cam").unwrap(),
        publication: None,
        role: Some(Role::Play),
        protocols: [Protocol::HttpFlv].into_iter().collect(),
        reason: CloseReason::Kicked,
    });
    other.items_to_end();
    let told = server.control.events_until(|event| {
        matches!(event, Event::Session(event) if matches!(&**event, SessionEvent::Ended { .. }))
    });
    let of_players = told.iter().filter(|event| match event {
        Event::Session(event) => match &**event {
            SessionEvent::Started { role, .. } | SessionEvent::Ended { role, .. } => {
                *role == Role::Play
            }
        },
        _ => false,
    });
    assert_eq!(of_players.count(), 2, "the beginning and the end of the other");
    // The node itself goes on.
    publisher.send_frames(20);
    own.items_to_video(30);
}

fn what_is_spent_is_so_for_viewers_who_are_not_told_apart(mut config: Config) {
    config.stream.hls.session = HlsSession::Off;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(120);
    let quota = quota(&server, 0);
    let mut viewer = Viewer::connect(server.http);
    viewer.found("/cam/index.m3u8");
    assert_eq!(quota.players(), 0, "nobody is counted");
    quota.set_spent(true);
    assert_eq!(viewer.get("/cam/index.m3u8").status, 503);
    assert_eq!(refused(&server), 1);
    quota.set_spent(false);
    viewer.found("/cam/index.m3u8");
}
