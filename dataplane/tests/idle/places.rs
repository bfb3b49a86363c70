//! How many may wait, what they hold meanwhile, and how their wait is ended.

use std::io::Write;
use std::net::TcpStream;

use codecs::rtmp::command::code;
use dataplane::config::{Config, LimitId};
use dataplane::control::{CloseReason, Command, Event, ProtocolSet, Role};
use dataplane::ids::StreamName;

use super::node::{self, FlvPlayer, Player, Publisher, RtmpPlayer, Totals, Viewer, ws_opening};
use super::{all_wait, end, waiting};
use crate::on_both_backends;

on_both_backends! {
    who_hangs_up_while_it_waits_is_gone
    idle_players_are_bounded_in_number
    idle_players_can_be_kicked_and_are_drained
    an_idle_player_is_kicked_by_its_number
    who_waits_holds_no_place_and_is_asked_for_room_when_it_begins
}

fn who_hangs_up_while_it_waits_is_gone(config: Config) {
    let server = waiting(config);
    let rtmp = RtmpPlayer::ask(server.rtmp, "cam");
    let mut flv = TcpStream::connect(server.http).unwrap();
    flv.write_all(b"GET /cam.flv HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    all_wait(&server, 2);
    drop((rtmp, flv));
    let gone = |t: &Totals| t.sum(|c| c.players_idle) + t.sum(|c| c.connections) == 0;
    server.control.until("both are gone", gone);
}

fn idle_players_are_bounded_in_number(mut config: Config) {
    config.limits.idle_players_max = 2;
    let server = waiting(config);
    let players: Vec<_> = (0..2).map(|_| RtmpPlayer::ask(server.rtmp, "cam")).collect();
    all_wait(&server, 2);
    let mut third = RtmpPlayer::ask(server.rtmp, "cam");
    assert_eq!(third.peer.statuses_to_end(), [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    assert_eq!(server.control.snapshot().limit(LimitId::IdlePlayersMax), 1);
    drop(players);
    all_wait(&server, 0);
    let _again = RtmpPlayer::ask(server.rtmp, "cam");
    all_wait(&server, 1);
}

fn idle_players_can_be_kicked_and_are_drained(config: Config) {
    let server = waiting(config);
    let mut kicked = RtmpPlayer::ask(server.rtmp, "cam");
    let mut drained = RtmpPlayer::ask(server.rtmp, "other");
    let mut flv = TcpStream::connect(server.http).unwrap();
    flv.write_all(b"GET /other.flv HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    all_wait(&server, 3);
    let stream = StreamName::parse("cam").unwrap();
    server.control.send_all(|| Command::KickStream {
        stream: stream.clone(),
        publication: None,
        role: Some(Role::Play),
        protocols: ProtocolSet::ALL,
        reason: CloseReason::StreamChanged,
    });
    assert_eq!(kicked.peer.statuses_to_end(), [code::CONNECT_CLOSED]);
    all_wait(&server, 2);
    server.control.send_all(|| Command::Drain);
    assert_eq!(drained.peer.statuses_to_end(), [code::CONNECT_APP_SHUTDOWN]);
    assert_eq!(Viewer::of(flv).answer().status, 503);
}

fn an_idle_player_is_kicked_by_its_number(config: Config) {
    let server = waiting(config);
    let mut rtmp = RtmpPlayer::ask(server.rtmp, "cam");
    let mut flv = TcpStream::connect(server.http).unwrap();
    flv.write_all(b"GET /cam.flv HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut ws = TcpStream::connect(server.http).unwrap();
    ws.write_all(ws_opening("/cam.flv").as_bytes()).unwrap();
    let totals = all_wait(&server, 3);
    let numbers: Vec<_> = totals.sessions().map(|status| status.id).collect();
    assert_eq!(numbers.len(), 3, "they are listed");
    for &session in &numbers {
        server.control.send_all(|| Command::Kick { session, reason: CloseReason::Kicked });
        // Both shards answer, and one of them had it.
        let answers = [(); 2].map(|()| {
            let answer = |event: &Event| matches!(event, Event::Kicked { .. });
            let Event::Kicked { session: told, found, stream } =
                server.control.event("an answer", answer).1
            else {
                unreachable!()
            };
            assert_eq!((told, stream.is_some()), (session, found));
            found
        });
        assert_eq!(answers.iter().filter(|found| **found).count(), 1);
    }
    assert_eq!(rtmp.peer.statuses_to_end(), [code::CONNECT_CLOSED]);
    for socket in [flv, ws] {
        assert_eq!(Viewer::of(socket).answer().status, 403, "it is not to try again later");
    }
    all_wait(&server, 0);
}

fn who_waits_holds_no_place_and_is_asked_for_room_when_it_begins(mut config: Config) {
    config.limits.players_max = 1;
    let server = waiting(config);
    let mut playing = Publisher::start(server.rtmp, "other");
    let mut player = FlvPlayer::start(server.http, "other");
    // Nobody has room for another player, and nobody plays this.
    let refused = RtmpPlayer::ask(server.rtmp, "cam").peer.statuses_to_end();
    assert_eq!(refused, [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    end(&mut playing);
    player.items_to_end();
    server.control.until("its place is free", |t| t.sum(|c| c.players) == 0);
    let mut waits: Vec<_> = (0..2).map(|_| RtmpPlayer::ask(server.rtmp, "cam?key=k")).collect();
    let refused_before = all_wait(&server, 2).sum(|c| c.plays_refused);
    let mut playing = Publisher::start(server.rtmp, "other");
    let player = FlvPlayer::start(server.http, "other");
    // Streams that are waited for are asked for again, whoever plays meanwhile.
    let age = |t: &Totals| {
        let idle = t.sessions().filter(|status| status.state == "idle");
        idle.map(|status| status.age_ms).min().unwrap_or(0)
    };
    let before = age(&all_wait(&server, 2));
    server.control.until("some rounds of housekeeping", |t| age(t) > before + 600);
    let totals = all_wait(&server, 2);
    assert_eq!(totals.sum(|c| c.players), 1, "they hold no place");
    assert_eq!(totals.sum(|c| c.plays_refused), refused_before, "and ask for none");
    let mut publisher = Publisher::start(server.rtmp, "cam?key=k");
    for player in &mut waits {
        let refused = player.peer.statuses_to_end();
        assert_eq!(refused, [code::PLAY_FAILED, code::CONNECT_REJECTED]);
    }
    drop(player);
    server.control.until("the place is free", |t| t.sum(|c| c.players) == 0);
    let mut player = RtmpPlayer::start(server.rtmp, "cam?key=k");
    publisher.send_frames(10);
    player.items_to_audio(9);
    end(&mut playing);
}
