//! Ports: sockets that many SRT peers share, in a whole node. Room to send, what it costs whom,
//! datagrams that came to the wrong shard or from a stranger, sockets that fail.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod callers;
mod filter;
mod network;
#[path = "../node/mod.rs"]
mod node;

use std::net::SocketAddr;

use dataplane::config::{Config, ListenerConfig, ListenerKind, Pin};
use dataplane::control::{Command, Event, Protocol};
use dataplane::ids::ShardId;
use dataplane::reactor::BackendChoice;
use node::{Publisher, Server};

use callers::Callers;
use network::{in_a_network, narrow};

on_both_backends! {
    what_finds_no_room_leaves_later_and_is_paid_for_once
    datagrams_of_one_peer_reach_connections_on_both_shards
    strangers_are_not_heard
}

/// A node that speaks SRT, and where.
fn start(mut config: Config) -> (Server, SocketAddr) {
    let addr = "127.0.0.1:0".parse().unwrap();
    config.listeners.push(ListenerConfig::new(ListenerKind::Srt, addr));
    config.reactor.datagram_buffers = 16;
    let server = Server::start(config);
    let srt = server.listeners().iter().find(|listener| listener.kind == ListenerKind::Srt);
    let addr = srt.unwrap().addr;
    (server, addr)
}

/// Every stream whose name begins with `a` lives on one shard, and with `b` on the other.
fn on_both_shards(config: Config) -> Config {
    let pin = |pattern: &str, shard| Pin { pattern: pattern.into(), shard: ShardId(shard) };
    Config { pins: vec![pin("a*", 0), pin("b*", 1)], ..config }
}

/// Bytes that players of SRT were sent, as their streams are charged.
fn charged(server: &Server, shards: u16) -> u64 {
    let mut bytes = 0;
    for shard in (0..shards).map(ShardId) {
        server.control.send(shard, Command::Usage { number: 1 });
        let is = |event: &Event| matches!(event, Event::Usage(batch) if batch.shard == shard);
        let Event::Usage(batch) = server.control.event("a batch", is).1 else { unreachable!() };
        assert!(!batch.more);
        let rows = batch.rows.iter().filter(|row| row.protocol == Protocol::Srt);
        bytes += rows.map(|row| row.used.bytes_out).sum::<u64>();
    }
    bytes
}

fn what_finds_no_room_leaves_later_and_is_paid_for_once(config: Config) {
    /// A keyframe for all of them is more than a socket keeps.
    const PLAYERS: usize = 60;
    const KEYFRAME: usize = 300 << 10;
    let case = "what_finds_no_room_leaves_later_and_is_paid_for_once";
    in_a_network(case, config, |config| {
        let (server, addr) = start(config);
        narrow(addr.port(), "100mbit");
        let mut publisher = Publisher::start(server.rtmp, "cam");
        publisher.send_frames(1);
        server.control.stream_started("cam");
        let mut callers = Callers::new(addr);
        for _ in 0..PLAYERS {
            let socket = callers.socket();
            callers.call(socket, "#!::r=cam,m=request");
        }
        callers.until("all play", Callers::all_are_up);
        publisher.video_bytes = KEYFRAME;
        for _ in 0..3 {
            let before: Vec<_> = callers.list.iter().map(|peer| peer.payload_bytes).collect();
            publisher.send_frames(1);
            callers.until("all have the frame", |callers| {
                let now = callers.list.iter().zip(&before);
                now.clone().all(|(peer, before)| peer.payload_bytes >= before + KEYFRAME)
            });
        }
        let totals = server.control.snapshot();
        let blocked = totals.sum(|counters| counters.sends_blocked);
        assert!(blocked > 0, "there was always room");
        let (mut received, mut again) = (0, 0);
        for at in 0..PLAYERS {
            let counts = callers.connection(at).statistics();
            assert_eq!(counts.pkt_rcv_drop, 0, "player {at}: {counts:?}");
            received += counts.pkt_recv;
            again += counts.pkt_rcv_retrans;
        }
        // The last packet of a burst is sent twice where its acknowledgement is late.
        assert!(again * 20 < received, "{again} of {received} were sent again, {blocked} blocked");
        (0..PLAYERS).for_each(|at| callers.close(at));
        callers.turn();
        server.control.until("all are gone", |totals| totals.sum(|c| c.players) == 0);
        let charged = charged(&server, 2);
        let wire = |callers: &Callers| callers.list.iter().map(|peer| peer.wire_bytes).sum::<u64>();
        // The last of it may be on its way.
        callers.until("all that was charged came", |callers| wire(callers) >= charged);
        assert_eq!(wire(&callers), charged, "{blocked} blocked");
    });
}

fn datagrams_of_one_peer_reach_connections_on_both_shards(config: Config) {
    let (server, addr) = start(on_both_shards(config));
    let mut callers = Callers::new(addr);
    let socket = callers.socket();
    let all =
        ["a/cam", "b/cam"].map(|name| callers.call(socket, &format!("#!::r={name},m=publish")));
    callers.until("both publish", Callers::all_are_up);
    for round in 1..=10 {
        callers.publish_together(&all, 30);
        callers.until("all is acknowledged", |callers| {
            all.iter().all(|&at| callers.connection(at).is_sent())
        });
        for at in all {
            let counts = callers.connection(at).statistics();
            assert_eq!((counts.pkt_snd_loss, counts.pkt_sent_unique), (0, 30 * round), "{at}");
        }
    }
    let totals = server.control.snapshot();
    assert!(totals.sum(|counters| counters.datagrams_handed_over) >= 10, "runs were mixed");
    assert_eq!(totals.sum(|counters| counters.datagrams_unknown), 0);
}

fn strangers_are_not_heard(config: Config) {
    let (server, addr) = start(config);
    let mut callers = Callers::new(addr);
    let (socket, other) = (callers.socket(), callers.socket());
    let publisher = callers.call(socket, "#!::r=cam,m=publish");
    callers.until("it publishes", Callers::all_are_up);
    callers.publish_together(&[publisher], 10);
    // A SHUTDOWN, then data, in the name of the publisher.
    let mut shutdown = [0; 20];
    shutdown[..2].copy_from_slice(&[0x80, 0x05]);
    let mut data = [0x47; 204];
    data[..4].copy_from_slice(&1_u32.to_be_bytes());
    callers.forge(publisher, other, &mut shutdown);
    callers.forge(publisher, other, &mut data);
    server.control.until("both came", |totals| totals.sum(|c| c.datagrams_foreign) == 2);
    callers.publish_together(&[publisher], 10);
    callers.until("it publishes on", |callers| callers.connection(publisher).is_sent());
    assert!(callers.connection(publisher).closed().is_none());
    // From its own socket it is heard, and after that nobody has the connection's number.
    callers.forge(publisher, socket, &mut shutdown);
    server.control.until("it is gone", |totals| totals.sum(|c| c.publishers) == 0);
    callers.forge(publisher, socket, &mut data);
    server.control.until("it is nobody's", |totals| totals.sum(|c| c.datagrams_unknown) > 0);
}

#[test]
fn a_port_that_cannot_be_read_is_tried_again() {
    let begin = || {
        filter::deny(libc::SYS_recvmsg, libc::EIO.unsigned_abs());
        start(node::config(BackendChoice::Epoll))
    };
    let (server, addr) = std::thread::spawn(begin).join().unwrap();
    let mut callers = Callers::new(addr);
    let socket = callers.socket();
    callers.call(socket, "#!::r=cam,m=publish");
    callers.turn();
    server.control.until("it failed again", |totals| totals.sum(|c| c.receives_failed) >= 3);
    // Whoever comes another way is served.
    Publisher::start(server.rtmp, "cam").send_frames(1);
}
