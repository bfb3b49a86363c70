//! Admission: new players are refused in the words of their protocol while others play on.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

mod node;
mod witness;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use codecs::rtmp::command::code;
use dataplane::config::{Admission, Config, EgressConfig, HlsSession, Limits, Reload};
use dataplane::control::{Command, CoreUse, Grant, Verdict};
use dataplane::ids::ShardId;
use dataplane::metrics::NoRoom;
use node::{
    FRAME_MS, FlvPlayer, Player, Publisher, RtmpPlayer, Server, Totals, Viewer, WsPlayer,
    ws_opening,
};
use witness::Witness;

on_both_backends! {
    everybody_new_hears_that_there_is_no_room
    a_viewer_that_views_goes_on
    who_is_told_apart_is_not_let_in_by_its_neighbour
    what_players_are_owed_is_counted_while_they_play
    what_the_node_plays_to_itself_is_owed_too
    a_crowd_that_waited_for_its_stream_is_not_let_in_whole
    a_shard_without_room_gives_its_connections_away
    viewers_of_segments_come_in_where_bursts_leave_no_room
}

/// So little of a core that nobody fits.
const NONE: f64 = 1e-9;

/// A publisher of which two segments are finished.
fn publish(server: &Server, name: &str) -> Publisher {
    let mut publisher = Publisher::start(server.rtmp, name);
    let frames = u64::from(publisher.send_frames(2 * 2_000 / FRAME_MS + 1));
    let arrived = |t: &Totals| t.stream(name).is_some_and(|s| s.units_in >= 2 * frames);
    server.control.until("the frames", arrived);
    publisher
}

/// Gives the server another target, or other limits.
fn reload(server: &Server, config: &Config, egress: EgressConfig, limits: Limits) {
    let reload = Arc::new(Reload {
        limits,
        egress,
        session: config.session.clone(),
        auth: config.auth,
        stream: config.stream,
        listeners: server.listeners().to_vec(),
        srt: config.srt.clone(),
        tls: None,
    });
    server.control.send_all(|| Command::Reload(Arc::clone(&reload)));
    // A snapshot that was asked for after the reload tells of what holds since.
    server.control.snapshot();
}

fn no_room(totals: &Totals, reason: NoRoom) -> u64 {
    totals.sum(|counters| counters.no_room[reason as usize])
}

fn says_503(head: &str) {
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("\r\nRetry-After: "), "{head}");
}

/// A viewer from that loopback address.
fn viewer_from(source: &str, to: SocketAddr) -> Viewer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source: IpAddr = source.parse().unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Viewer::of(TcpStream::from(socket))
}

/// One of each protocol asks, and hears no.
fn all_are_refused(server: &Server) -> u64 {
    let mut player = RtmpPlayer::ask(server.rtmp, "cam");
    let statuses = player.peer.statuses_to_end();
    assert_eq!(statuses, [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    says_503(&FlvPlayer::ask(server.http, "/cam.flv").head);
    says_503(&FlvPlayer::ask(server.http, "/cam.ts").head);
    let mut socket = Viewer::connect(server.http);
    socket.say(&ws_opening("/cam.flv"));
    says_503(&socket.answer().head);
    let mut viewer = Viewer::connect(server.http);
    for playlist in ["/cam/index.m3u8", "/cam/media.m3u8"] {
        let answer = viewer.get(playlist);
        says_503(&answer.head);
        assert!(answer.text().contains("no room"), "{}", answer.text());
    }
    6
}

fn everybody_new_hears_that_there_is_no_room(mut config: Config) {
    let open = config.egress;
    config.egress.admission_target = NONE;
    config.egress.admission = Admission::Off;
    let server = Server::start(config.clone());
    let _publisher = publish(&server, "cam");
    let mut witness = Witness::start(&server);
    let full = EgressConfig { admission: Admission::Measured, ..config.egress };
    reload(&server, &config, full, config.limits.clone());
    let refused = all_are_refused(&server);
    witness.works();
    // Whoever publishes is welcome.
    drop(publish(&server, "other"));
    let totals = server.control.snapshot();
    assert_eq!(no_room(&totals, NoRoom::Cpu), refused);
    assert_eq!(totals.sum(|c| c.plays_refused), refused);
    // Limits of players and of bits say the same, in their own names.
    let none = Limits { players_max: 2, ..config.limits.clone() };
    reload(&server, &config, open, none);
    let refused = all_are_refused(&server);
    assert_eq!(no_room(&server.control.snapshot(), NoRoom::Players), refused);
    let none = Limits { egress_bps_max: 1, ..config.limits.clone() };
    reload(&server, &config, open, none);
    let refused = all_are_refused(&server);
    assert_eq!(no_room(&server.control.snapshot(), NoRoom::EgressBps), refused);
    witness.works();
    // And with room again, everybody plays.
    reload(&server, &config, open, config.limits.clone());
    RtmpPlayer::start(server.rtmp, "cam").item();
    FlvPlayer::start(server.http, "cam").item();
    WsPlayer::start(server.http, "cam").item();
    Viewer::connect(server.http).found("/cam/index.m3u8");
    witness.works();
}

fn a_viewer_that_views_goes_on(config: Config) {
    let server = Server::start(config.clone());
    let _publisher = publish(&server, "cam");
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    let segment = format!("/cam/{}", list.uris()[0]);
    let none = Limits { egress_bps_max: 1, players_max: 1, ..config.limits.clone() };
    reload(&server, &config, config.egress, none);
    // On its connection, on another, and whatever it asks for.
    viewer.found("/cam/media.m3u8");
    viewer.found(&segment);
    for _ in 0..4 {
        let mut again = Viewer::connect(server.http);
        again.found("/cam/index.m3u8");
        again.found("/cam/media.m3u8");
    }
    let mut other = viewer_from("127.0.0.2", server.http);
    says_503(&other.get("/cam/media.m3u8").head);
    // A segment is what only a viewer knows of.
    other.found(&segment);
    // Everybody who left is counted no more: the other one fits in.
    drop(viewer);
    server.control.until("all are gone", |totals| totals.sum(|c| c.connections) == 2);
    let one = Limits { players_max: 1, ..config.limits.clone() };
    reload(&server, &config, config.egress, one);
    other.found("/cam/media.m3u8");
    says_503(&viewer_from("127.0.0.3", server.http).get("/cam/media.m3u8").head);
}

fn who_is_told_apart_is_not_let_in_by_its_neighbour(mut config: Config) {
    config.stream.hls.session = HlsSession::Token;
    let server = Server::start(config.clone());
    let _publisher = publish(&server, "cam");
    let token_of = |viewer: &mut Viewer| {
        let index = viewer.found("/cam/index.m3u8");
        format!("/cam/{}", index.uris()[0])
    };
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer);
    viewer.found(&media);
    // This one has read no more than what it begins with.
    let early = token_of(&mut Viewer::connect(server.http));
    let none = Limits { egress_bps_max: 1, players_max: 1, ..config.limits.clone() };
    reload(&server, &config, config.egress, none);
    // Who views does so on any connection, and who was let in a moment ago, too.
    for _ in 0..4 {
        Viewer::connect(server.http).found(&media);
    }
    Viewer::connect(server.http).found(&early);
    // Its neighbour shares the address and nothing else.
    for _ in 0..4 {
        says_503(&Viewer::connect(server.http).get("/cam/index.m3u8").head);
    }
    assert_eq!(no_room(&server.control.snapshot(), NoRoom::Players), 4);
    viewer.found(&media);
}

fn what_players_are_owed_is_counted_while_they_play(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 20_000;
    let frames = u64::from(publisher.send_frames(50));
    let arrived = |t: &Totals| t.stream("cam").is_some_and(|s| s.units_in >= 2 * frames);
    server.control.until("the frames", arrived);
    let owed = |t: &Totals| t.shards.iter().map(|s| s.headroom.owed_bps).sum::<u64>();
    let players: Vec<_> = (0..4).map(|_| RtmpPlayer::start(server.rtmp, "cam")).collect();
    // Each plays frames of 20 kB, 25 of them a second at most.
    let some = |t: &Totals| owed(t) > 4_000_000 && owed(t) < 4 * 5_000_000;
    let totals = server.control.until("they are owed their stream", some);
    let left = totals.shards[0].headroom.node[2].1;
    assert!(left <= Limits::default().egress_bps_max - 4_000_000, "{left}");
    drop(players);
    let totals = server.control.until("nobody is owed anything", |totals| owed(totals) == 0);
    let counted = |t: &Totals| t.shards[0].headroom.node[2].1 == Limits::default().egress_bps_max;
    server.control.until("and the node knows", counted);
    assert!(totals.shards.iter().all(|shard| shard.headroom.players_room > 100));
}

fn what_the_node_plays_to_itself_is_owed_too(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 20_000;
    publisher.send_frames(50);
    server.control.judge(Box::new(|request| {
        let grant = Grant { unlisted: true, ..Grant::to(request.stream.clone()) };
        Some(Verdict::Allow(grant))
    }));
    let owed = |t: &Totals| t.shards.iter().map(|s| s.headroom.owed_bps).sum::<u64>();
    let own = FlvPlayer::start(server.http, "cam");
    let totals = server.control.until("it is owed its stream", |t| owed(t) > 1_000_000);
    assert_eq!(totals.sum(|counters| counters.players), 0, "it is no player");
    drop(own);
    server.control.until("nobody is owed anything", |totals| owed(totals) == 0);
}

fn a_crowd_that_waited_for_its_stream_is_not_let_in_whole(mut config: Config) {
    const CROWD: u64 = 16;
    config.limits.egress_bps_max = 10_000_000;
    config.session.play_wait = Duration::from_secs(60);
    config.session.authorize_deadline = Duration::from_secs(60);
    let server = Server::start(config);
    let crowd: Vec<_> = (0..CROWD).map(|_| RtmpPlayer::ask(server.rtmp, "cam")).collect();
    server.control.until("all wait", |t| t.sum(|c| c.authorize_asked) == CROWD);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    let told = |t: &Totals| t.sum(|c| c.plays_started + c.plays_refused) == CROWD;
    let totals = server.control.until("each is told", told);
    // A stream of which nothing is known yet is taken for 2 Mb/s.
    let playing = totals.sum(|c| c.players);
    assert!((1..=5).contains(&playing), "{playing} play");
    assert_eq!(no_room(&totals, NoRoom::EgressBps), CROWD - playing);
    // A tenth of a second does not tell more.
    publisher.send_frames(3);
    let mut late = RtmpPlayer::ask(server.rtmp, "cam");
    assert_eq!(late.peer.statuses_to_end(), [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    // It turns out to be far less, which makes room.
    publisher.send_frames(50);
    let owed = |t: &Totals| t.shards.iter().map(|s| s.headroom.owed_bps).sum::<u64>();
    server.control.until("the rate is known", |t| owed(t) < 2_000_000);
    let end = publisher.next_number();
    let mut late = RtmpPlayer::start(server.rtmp, "cam");
    publisher.send_frames(1);
    late.items_to_audio(end);
    drop(crowd);
}

fn a_shard_without_room_gives_its_connections_away(mut config: Config) {
    config.egress.admission = Admission::Measured;
    config.egress.admission_target = 0.4;
    let server = Server::start(config);
    let mut publisher = publish(&server, "cam");
    // More than a core can be, so that no span of a few microseconds makes a difference.
    let used = CoreUse { busy: 10.0, softirq: 0.0, stolen: 0.0 };
    server.control.until("the first shard's core is busy", |totals| {
        server.control.send(ShardId(0), Command::CoreUsed(used));
        totals.shards[0].headroom.full
    });
    let mut players: Vec<_> = (0..12).map(|_| RtmpPlayer::start(server.rtmp, "cam")).collect();
    let end = publisher.send_frames(3);
    for player in &mut players {
        player.items_to_audio(end - 1);
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.shards.iter().map(|s| s.counters.players).collect::<Vec<_>>(), [0, 12]);
    assert_eq!(no_room(&totals, NoRoom::Cpu), 0);
    assert_eq!(totals.shards[0].headroom.players_room, 0);
}

fn viewers_of_segments_come_in_where_bursts_leave_no_room(mut config: Config) {
    config.egress.admission = Admission::Measured;
    // So much that the core itself never lacks.
    config.egress.admission_target = 100.0;
    let server = Server::start(config);
    let mut publisher = publish(&server, "cam");
    let core_of_others = |share: f64| {
        let used = CoreUse { busy: share, softirq: 0.0, stolen: share };
        for shard in 0..server.control.snapshot().shards.len() as u16 {
            server.control.send(ShardId(shard), Command::CoreUsed(used));
        }
    };
    server.control.until("no shard sends a burst in time", |totals| {
        core_of_others(10.0);
        totals.shards.iter().all(|s| s.headroom.full && s.headroom.bound == NoRoom::Latency)
    });
    let refused = |reason| no_room(&server.control.snapshot(), reason);
    let players_are_refused = || {
        let mut player = RtmpPlayer::ask(server.rtmp, "cam");
        let statuses = player.peer.statuses_to_end();
        assert_eq!(statuses, [code::PLAY_FAILED, code::CONNECT_REJECTED]);
        says_503(&FlvPlayer::ask(server.http, "/cam.flv").head);
    };
    players_are_refused();
    // Several who view take nothing of it, and open nothing to others.
    for source in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        let mut viewer = viewer_from(source, server.http);
        viewer.found("/cam/index.m3u8");
        let list = viewer.found("/cam/media.m3u8");
        viewer.found(&format!("/cam/{}", list.uris()[0]));
        players_are_refused();
    }
    assert_eq!((refused(NoRoom::Latency), refused(NoRoom::Cpu)), (8, 0));
    server.control.until("the core is ours again", |totals| {
        core_of_others(0.0);
        totals.shards.iter().all(|shard| !shard.headroom.full)
    });
    let mut player = RtmpPlayer::start(server.rtmp, "cam");
    let end = publisher.send_frames(3);
    player.items_to_audio(end - 1);
}
