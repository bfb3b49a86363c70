//! Dials: home shards hear which peers they connect to, and what they tell becomes events.

use std::time::Instant;

use dataplane::control::{
    Command, DialFailure, DialNews, DialNumber, DialPeer, DialState, Event, Role,
};
use dataplane::ids::{SessionId, ShardId, StreamName};
use serde_json::{Value, json};

use super::news::words;
use super::rig::{TwoShards, exchange, name};
use crate::bridge::Exchange;
use crate::registry::Change;

fn declare(exchange: &mut Exchange<TwoShards>, stream: &StreamName, value: Value) {
    let change = Change::PutStream { name: stream.clone(), value };
    let effects = exchange.registry.apply(change).unwrap();
    let changed = effects.differences.into_iter().map(|difference| difference.stream);
    exchange.pull_anew(changed.collect(), Instant::now());
}

/// What was told since: the role, and the number, address and stream id of each peer.
fn told(exchange: &mut Exchange<TwoShards>, now: Instant) -> Vec<(Role, Vec<String>)> {
    exchange.tick(now);
    let dial = |(shard, command): (ShardId, Command)| match command {
        Command::Dial { role, dials, .. } => {
            assert_eq!(shard, ShardId(1), "the home shard alone is told");
            let peers = dials.iter().map(|dial| {
                let said = match &*dial.peer {
                    DialPeer::Srt(peer) => peer.stream_id.0.as_str(),
                    DialPeer::Rtmp(peer) => peer.address.stream.0.as_str(),
                    DialPeer::Udp(peer) if peer.is_rtp => "rtp",
                    DialPeer::Udp(_) => "udp",
                };
                format!("{} {} {said}", dial.number.0, dial.addrs[0])
            });
            Some((role, peers.collect()))
        }
        _ => None,
    };
    exchange.fleet.sent.drain(..).filter_map(dial).collect()
}

fn shown_of(exchange: &Exchange<TwoShards>, stream: &StreamName) -> Value {
    let shown = exchange.peers_of(stream);
    json!({ "pulls": shown.pulls, "pushes": shown.pushes })
}

fn peers(list: &[&str]) -> Vec<String> {
    list.iter().map(|&peer| peer.to_owned()).collect()
}

#[test]
fn a_peer_keeps_its_number_as_long_as_its_declaration_stays() {
    let now = Instant::now();
    let (mut exchange, stream) = (exchange(now), name("a"));
    let declared = |second: &str| {
        json!({
            "inputs": [{"url": "srt://192.0.2.1:9000?streamid=read:a"}],
            "push": [
                {"url": "srt://192.0.2.2:9000?streamid=publish:a", "enabled": true},
                {"url": second, "enabled": true},
                {"url": "srt://192.0.2.4:9000"},
            ],
        })
    };
    declare(&mut exchange, &stream, declared("srt://[2001:db8::3]:9000"));
    let pulled = (Role::Publish, peers(&["1 192.0.2.1:9000 read:a"]));
    let one = "2 192.0.2.2:9000 publish:a";
    assert_eq!(
        told(&mut exchange, now),
        [pulled.clone(), (Role::Play, peers(&[one, "3 [2001:db8::3]:9000 "])),]
    );
    assert!(told(&mut exchange, now).is_empty(), "it is told once");
    declare(&mut exchange, &stream, declared("srt://192.0.2.3:9000"));
    assert_eq!(
        told(&mut exchange, now),
        [pulled, (Role::Play, peers(&[one, "4 192.0.2.3:9000 "])),]
    );
    let off = json!({"disabled": true, "push": [{"url": "srt://192.0.2.2:9000", "enabled": true}]});
    declare(&mut exchange, &stream, off);
    let nobody = [(Role::Publish, Vec::new()), (Role::Play, Vec::new())];
    assert_eq!(told(&mut exchange, now), nobody);
}

#[test]
fn datagrams_are_pushed_to_hosts_and_groups() {
    let now = Instant::now();
    let (mut exchange, stream) = (exchange(now), name("a"));
    let declared = |ttl: u8| {
        json!({"push": [
            {"url": "udp://192.0.2.2:5000", "enabled": true},
            {"url": format!("rtp://239.1.2.3:5004?ttl={ttl}"), "enabled": true},
        ]})
    };
    declare(&mut exchange, &stream, declared(1));
    let pulls = (Role::Publish, Vec::new());
    let one = "1 192.0.2.2:5000 udp";
    assert_eq!(
        told(&mut exchange, now),
        [pulls.clone(), (Role::Play, peers(&[one, "2 239.1.2.3:5004 rtp"]))]
    );
    declare(&mut exchange, &stream, declared(2));
    assert_eq!(
        told(&mut exchange, now),
        [pulls, (Role::Play, peers(&[one, "3 239.1.2.3:5004 rtp"]))],
        "what is sent otherwise is another push"
    );
    let mut cursor = exchange.bus.cursor();
    let reason = DialFailure::Socket(19);
    for (state, attempt) in [(DialState::Calling, 1), (DialState::Pausing { reason }, 1)] {
        let news = DialNews { number: DialNumber(3), stream: stream.clone(), state, attempt };
        exchange.fleet.events.push_back((ShardId(1), Event::Dialled(Box::new(news))));
    }
    exchange.pump(now);
    let url = "rtp://239.1.2.3:5004?ttl=2";
    let shown = shown_of(&exchange, &stream);
    let push = &shown["pushes"][0];
    assert_eq!((push["url"].as_str(), push["status"].as_str()), {
        (Some(url), Some("reconnecting"))
    });
    let error = push["errors"][0].as_str().unwrap();
    assert!(error.contains("no interface of that name"), "{error}");
    let expected = [format!("push.started a {url}"), format!("push.reconnecting a {url}")];
    assert_eq!(words(&mut cursor), expected);
}

#[test]
fn what_becomes_of_a_peer_is_told_and_shown() {
    let now = Instant::now();
    let (mut exchange, stream) = (exchange(now), name("a"));
    let secret = "srt://192.0.2.2:9000?passphrase=hunter2hunter2";
    let push = json!([{"url": secret, "enabled": true}]);
    let inputs = json!([
        {"url": "publish://", "priority": 0},
        {"url": "srt://192.0.2.1:9000", "priority": 1},
    ]);
    declare(&mut exchange, &stream, json!({"push": push, "inputs": inputs}));
    told(&mut exchange, now);
    let mut cursor = exchange.bus.cursor();
    let refused = |code| DialFailure::Refused(code);
    let connected =
        DialState::Connected { session: SessionId(7), peer: "192.0.2.2:9000".parse().unwrap() };
    for (number, state, attempt) in [
        (2, DialState::Waiting, 0),
        (2, DialState::Calling, 1),
        (2, DialState::Pausing { reason: refused(1403) }, 1),
        (2, DialState::Calling, 2),
        (2, connected, 2),
        (1, DialState::Calling, 1),
        (1, DialState::Pausing { reason: DialFailure::NoAnswer }, 1),
    ] {
        let news = DialNews { number: DialNumber(number), stream: stream.clone(), state, attempt };
        exchange.fleet.events.push_back((ShardId(1), Event::Dialled(Box::new(news))));
    }
    exchange.pump(now);
    let shown = shown_of(&exchange, &stream);
    assert_eq!(shown["pushes"][0]["status"], "active");
    assert_eq!(shown["pushes"][0]["url"], "srt://192.0.2.2:9000?passphrase=***");
    assert_eq!(shown["pulls"][0]["status"], "reconnecting");
    assert!(shown["pulls"][0]["errors"][0].as_str().unwrap().contains("does not answer"));
    assert_eq!(shown["pushes"][0]["errors"], Value::Null, "they are over");
    let failed = DialState::Failed { reason: refused(10) };
    let (number, attempt) = (DialNumber(2), 3);
    let news = DialNews { number, stream: stream.clone(), state: failed, attempt };
    exchange.fleet.events.push_back((ShardId(1), Event::Dialled(Box::new(news))));
    exchange.pump(now);
    let shown = shown_of(&exchange, &stream);
    assert_eq!(shown["pushes"][0]["status"], "failed", "it stays visible");
    let url = "srt://192.0.2.2:9000?passphrase=***";
    let expected = [
        format!("push.started a {url}"),
        format!("push.reconnecting a {url}"),
        format!("push.active a {url}"),
        "input.failed a no_answer".to_owned(),
        format!("push.failed a {url}"),
    ];
    assert_eq!(words(&mut cursor), expected);
}
