//! Callers that wait: for a verdict, for their stream. They are there as long as they call.

use std::io::ErrorKind;
use std::time::Duration;

use codecs::srt::{Header, RejectReason};
use dataplane::config::{Config, LimitId};
use dataplane::control::{CloseReason, Command};

use super::node::{self, Publisher, Server, Totals};
use super::{SrtPeer, listening};
use crate::on_both_backends;

on_both_backends! {
    who_stops_calling_is_sent_nothing_when_its_stream_begins
    a_host_has_as_many_callers_as_connections
    many_callers_of_one_host_are_let_in_at_once
    who_waits_hears_why_it_has_to_go
}

fn idle(totals: &Totals) -> u64 {
    totals.sum(|counters| counters.players_idle)
}

/// Goes on with one peer until the node's counts are so.
fn until(server: &Server, peer: &mut SrtPeer, what: &str, is: impl Fn(&Totals) -> bool) {
    peer.until(what, |_| is(&server.control.snapshot()));
}

fn who_stops_calling_is_sent_nothing_when_its_stream_begins(mut config: Config) {
    config.session.play_wait = Duration::from_secs(60);
    let (server, srt) = listening(config, 1);
    let mut gone = SrtPeer::new(srt, "read:cam");
    until(&server, &mut gone, "one waits", |totals| idle(totals) == 1);
    let mut waits = SrtPeer::new(srt, "read:cam");
    until(&server, &mut waits, "two wait", |totals| idle(totals) == 2);
    until(&server, &mut waits, "one is gone", |totals| idle(totals) == 1);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    waits.connect();
    waits.until("it plays", |waits| !waits.received.is_empty());
    let totals = server.control.snapshot();
    assert_eq!((totals.sum(|c| c.players), totals.sum(|c| c.plays_started)), (1, 1));
    // What the other one heard is the answer to its first handshake.
    gone.socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2_048];
    loop {
        match gone.socket.recv_from(&mut buffer) {
            Ok((len, _)) => {
                let header = Header::parse(&buffer[..len]).unwrap();
                assert!(matches!(header, Header::Control(_)), "{header:?}");
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
}

fn a_host_has_as_many_callers_as_connections(mut config: Config) {
    config.limits.exempt = Vec::new();
    config.limits.half_open_per_ip_max = 2;
    let (server, srt) = listening(config, 1);
    server.control.judge(Box::new(|_| None));
    let asked = |totals: &Totals| totals.sum(|c| c.authorize_asked);
    let mut callers = Vec::new();
    for count in 1..=2 {
        let mut caller = SrtPeer::new(srt, "read:cam");
        until(&server, &mut caller, "it waits", |totals| asked(totals) == count);
        callers.push(caller);
    }
    let mut third = SrtPeer::new(srt, "read:cam");
    assert_eq!(third.refusal(), RejectReason::OVERLOAD);
    assert_eq!(server.control.snapshot().limit(LimitId::HalfOpenPerIpMax), 1);
}

fn many_callers_of_one_host_are_let_in_at_once(mut config: Config) {
    config.shards.truncate(1);
    let (server, srt) = listening(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    server.control.stream_started("cam");
    let players: Vec<_> = (0..150).map(|_| SrtPeer::start(srt, "read:cam")).collect();
    let refused: Vec<_> = (0..150).map(|_| SrtPeer::new(srt, "read:nobody").refusal()).collect();
    assert!(refused.iter().all(|reason| *reason == RejectReason::NOT_FOUND), "{refused:?}");
    drop(SrtPeer::start(srt, "read:cam"));
    assert_eq!(server.control.snapshot().sum(|c| c.plays_started), players.len() as u64 + 1);
}

fn who_waits_hears_why_it_has_to_go(mut config: Config) {
    config.session.play_wait = Duration::from_secs(60);
    let (server, srt) = listening(config, 1);
    let mut kicked = SrtPeer::new(srt, "read:cam");
    until(&server, &mut kicked, "it waits", |totals| idle(totals) == 1);
    let totals = server.control.snapshot();
    let (shard, session) = totals.session_of(kicked.addr()).unwrap();
    let reason = CloseReason::Kicked;
    server.control.send(shard, Command::Kick { session, reason });
    assert_eq!(kicked.refusal(), RejectReason::FORBIDDEN);
    let mut drained = SrtPeer::new(srt, "read:cam");
    until(&server, &mut drained, "it waits", |totals| idle(totals) == 1);
    server.control.send_all(|| Command::Drain);
    assert_eq!(drained.refusal(), RejectReason::DOWN);
}
