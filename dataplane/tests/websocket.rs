//! FLV over WebSocket: the stream's own bytes in whole messages, and both protocols' ends.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;
mod witness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use codecs::time::MediaTime;
use codecs::websocket::Opcode;
use dataplane::config::{Config, LimitId};
use dataplane::control::{CloseReason, Command, Protocol};
use node::{
    FlvPlayer, GOP_FRAMES, Item, Player, Publisher, Server, TIME_BOUND, Totals, TsPlayer, WsPlayer,
    assert_contiguous, client_frame, tiny, ws_opening,
};
use witness::Witness;

on_both_backends! {
    messages_are_the_tags_that_http_players_get
    messages_through_the_smallest_rings
    gathered_frames_share_a_message
    a_picture_larger_than_a_send_is_one_message
    messages_are_the_packets_that_http_players_get
    control_frames_stand_between_messages
    a_peer_without_pongs_is_closed
    a_silent_stream_is_pinged
    the_end_of_a_stream_is_a_normal_close
    a_drain_and_a_kick_are_told
    a_peer_may_close
    a_peer_that_does_not_answer_the_close_frame_is_let_go
    a_change_of_configuration_comes_in_a_message
    a_player_that_keeps_jumping_hears_why
    a_peer_that_pings_without_reading_is_closed
    what_follows_the_request_at_once_is_heard
}

fn wires(items: &[Item]) -> Vec<u8> {
    items.iter().flat_map(|item| item.wire.clone()).collect()
}

/// Publishes under a WebSocket and an HTTP player; returns the messages of the first.
fn equal_bytes(config: Config, video_bytes: usize, step: u32) -> u32 {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = video_bytes;
    publisher.send_frames(1);
    let mut flv = FlvPlayer::start(server.http, "cam");
    // On both shards there are some.
    let mut players: Vec<_> = (0..4).map(|_| WsPlayer::start(server.http, "cam")).collect();
    let mut count = 0;
    for _ in 0..10 {
        let end = publisher.send_frames(step);
        let expected = flv.items_to_audio(end - 1);
        assert_contiguous(&expected);
        for player in &mut players {
            let items = player.items_to_audio(end - 1);
            assert_eq!(items.len(), expected.len());
            assert_eq!(wires(&items), wires(&expected));
        }
        count += expected.len();
    }
    let totals = server.control.snapshot();
    let of = |protocol| totals.sessions().filter(|s| s.protocol == protocol).count();
    assert_eq!((of(Protocol::WsFlv), of(Protocol::HttpFlv)), (4, 1));
    let logs = &totals.stream("cam").unwrap().logs;
    assert_eq!(logs.len(), 1, "one log serves both: {logs:?}");
    let messages = players[0].messages;
    assert!(messages as usize <= count, "{messages} messages of {count} tags");
    messages
}

fn messages_are_the_tags_that_http_players_get(config: Config) {
    equal_bytes(config, 1_000, 3);
}

fn messages_through_the_smallest_rings(config: Config) {
    equal_bytes(tiny(config), 5_000, 3);
}

fn gathered_frames_share_a_message(mut config: Config) {
    config.egress.batch_min = Duration::from_millis(10);
    assert!(equal_bytes(config, 100, 50) < 500, "of a thousand tags");
}

fn a_picture_larger_than_a_send_is_one_message(mut config: Config) {
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    equal_bytes(config, 300_000, 1);
}

fn messages_are_the_packets_that_http_players_get(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut http = TsPlayer::start(server.http, "cam");
    let socket = TcpStream::connect(server.http).unwrap();
    let mut player = WsPlayer::on(socket, "/cam.ts");
    server.control.until("both play", |t| t.sum(|c| c.players) == 2);
    let totals = server.control.snapshot();
    assert!(totals.sessions().any(|session| session.protocol == Protocol::WsTs));
    for _ in 0..4 {
        let end = publisher.send_frames(5);
        http.items_to_audio(end - 1);
    }
    publisher.stream_command("deleteStream", &[]);
    publisher.flush();
    http.items_to_end();
    assert_eq!(player.hear_close(), Some(1000));
    assert!(http.received.len() > 20 * 188);
    assert_eq!(player.packets.unwrap(), http.received);
}

fn control_frames_stand_between_messages(mut config: Config) {
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.video_bytes = 20_000;
    publisher.send_frames(1);
    let mut player = WsPlayer::start(server.http, "cam");
    for round in 0..20_u8 {
        let end = publisher.send_frames(5);
        // Every frame of both sides is checked where it is read.
        let payload = vec![round; usize::from(round) * 6];
        player.say(Opcode::Ping, &payload);
        assert_eq!(player.hear_pong(), payload);
        assert_contiguous(&player.items_to_audio(end - 1));
    }
}

fn a_peer_without_pongs_is_closed(mut config: Config) {
    config.session.ping_interval = Duration::from_millis(100);
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    let mut player = WsPlayer::start(server.http, "good");
    player.mute = true;
    assert_eq!(player.hear_close(), Some(1008));
    assert_eq!(player.pings, 2);
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.sessions_timed_out), 1);
    witness.works();
}

fn a_silent_stream_is_pinged(mut config: Config) {
    config.session.ping_interval = Duration::from_millis(50);
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut player = WsPlayer::start(server.http, "cam");
    // Far more than a peer that does not answer would hear.
    player.hear_pings(10);
    let end = publisher.send_frames(3);
    assert_contiguous(&player.items_to_audio(end - 1));
}

fn gone(totals: &Totals) -> bool {
    totals.sum(|c| c.players) == 0 && !totals.sessions().any(|s| s.protocol == Protocol::WsFlv)
}

fn the_end_of_a_stream_is_a_normal_close(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(GOP_FRAMES + 1);
    let mut player = WsPlayer::start(server.http, "cam");
    publisher.stream_command("deleteStream", &[]);
    publisher.flush();
    let items = player.items_to_end();
    assert_eq!(items.last().unwrap().audio().unwrap().number, GOP_FRAMES);
    assert_eq!(player.closed, Some((1000, "stream_ended".into())));
    server.control.until("the player is gone", gone);
}

fn a_drain_and_a_kick_are_told(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut kicked = WsPlayer::start(server.http, "cam");
    let mut drained = WsPlayer::start(server.http, "cam");
    let found = server.control.until("both play", |t| t.sum(|c| c.players) == 2);
    let (shard, session) = found.session_of(kicked.local_addr()).unwrap();
    server.control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    assert_eq!(kicked.hear_close(), Some(1008));
    assert_eq!(kicked.closed.unwrap().1, "kicked");
    // Its own shard alone: the home of the stream would end the stream at the same time.
    let (shard, _) = found.session_of(drained.local_addr()).unwrap();
    server.control.send(shard, Command::Drain);
    assert_eq!(drained.hear_close(), Some(1001));
}

fn a_peer_may_close(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut player = WsPlayer::start(server.http, "cam");
    player.say(Opcode::Close, b"\x0f\xa0enough");
    player.mute = true;
    assert_eq!(player.hear_close(), Some(4000));
    server.control.until("the player is gone", gone);
    assert_eq!(server.control.snapshot().sum(|c| c.sessions_malformed), 0);
}

fn a_peer_that_does_not_answer_the_close_frame_is_let_go(mut config: Config) {
    config.session.drain = Duration::from_millis(200);
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut player = WsPlayer::start(server.http, "cam");
    player.mute = true;
    publisher.stream_command("deleteStream", &[]);
    publisher.flush();
    assert_eq!(player.hear_close(), Some(1000));
    server.control.until("the player is gone", gone);
}

fn a_change_of_configuration_comes_in_a_message(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut player = WsPlayer::start(server.http, "cam");
    player.items_to_audio(0);
    let record = node::avcc(20, 15, 0x81);
    publisher.video_config(&record, 40);
    publisher.metadata(320, 40);
    let end = publisher.send_frames(1);
    let items = player.items_to_audio(end - 1);
    let is_news = |item: &Item| item.content == node::Content::VideoConfig(record.clone());
    assert!(items.iter().any(is_news));
}

fn narrow_socket(server: &Server) -> TcpStream {
    let kind = socket2::Type::STREAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.connect(&server.http.into()).unwrap();
    socket.into()
}

fn a_player_that_keeps_jumping_hears_why(mut config: Config) {
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    config.egress.player_lag_max = MediaTime::from_millis(i64::from(25 * node::FRAME_MS));
    config.egress.jumps_max = 1;
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    witness.publisher.video_bytes = 8_000;
    let mut player = WsPlayer::on(narrow_socket(&server), "/good.flv");
    for _ in 0..10 {
        witness.publish(10);
    }
    // It reads what waits and jumps once; then it stops again.
    let end = witness.publisher.next_number();
    player.items_to_audio(end - 1);
    for _ in 0..10 {
        witness.publish(10);
    }
    assert_eq!(player.hear_close(), Some(1013));
    let totals = server.control.snapshot();
    assert_eq!((totals.sum(|c| c.player_jumps), totals.sum(|c| c.players_too_slow)), (2, 1));
    witness.works();
}

fn a_peer_that_pings_without_reading_is_closed(mut config: Config) {
    config.egress.send_buffer_bytes = 16 << 10;
    config.limits.websocket_frames_per_second_max = 1 << 30;
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    let mut player = WsPlayer::on(narrow_socket(&server), "/good.flv");
    let pings = client_frame(true, Opcode::Ping, &[1; 125]).repeat(1_000);
    while player.socket.write_all(&pings).is_ok() {}
    let limits = [LimitId::HttpPipelineBytesMax, LimitId::ReplyBytesMax];
    let reached = |totals: &Totals| limits.iter().any(|&limit| totals.limit(limit) == 1);
    server.control.until("a limit ends it", reached);
    witness.works();
}

fn what_follows_the_request_at_once_is_heard(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut socket = TcpStream::connect(server.http).unwrap();
    socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
    let ping = client_frame(true, Opcode::Ping, b"early");
    let close = client_frame(true, Opcode::Close, b"");
    let request = [ws_opening("/cam.flv").as_bytes(), &ping, &close].concat();
    socket.write_all(&request).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(answer.windows(7).any(|window| window == b"\x8a\x05early"));
    assert!(answer.ends_with(&[0x88, 0]), "the peer gave no code");
}
