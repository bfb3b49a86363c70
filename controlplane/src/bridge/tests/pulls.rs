//! Pulls: home shards hear where they fetch streams, once for each change.

use std::time::Instant;

use dataplane::control::Command;
use dataplane::ids::{ShardId, StreamName};
use serde_json::{Value, json};

use super::rig::{TwoShards, exchange, name};
use crate::bridge::Exchange;
use crate::registry::Change;

fn declare(exchange: &mut Exchange<TwoShards>, stream: &StreamName, value: Value) {
    let change = Change::PutStream { name: stream.clone(), value };
    let effects = exchange.registry.apply(change).unwrap();
    let changed = effects.differences.into_iter().map(|difference| difference.stream);
    exchange.pull_anew(changed.collect(), Instant::now());
}

/// What was told since, as the addresses of each stream.
fn told(exchange: &mut Exchange<TwoShards>, now: Instant) -> Vec<(String, Vec<String>)> {
    exchange.tick(now);
    let pull = |(shard, command): (ShardId, Command)| match command {
        Command::Pull { stream, inputs } => {
            assert_eq!(shard, ShardId(1), "the home shard alone is told");
            let places = inputs.iter().map(|input| input.addr.to_string());
            Some((stream.to_string(), places.collect()))
        }
        _ => None,
    };
    exchange.fleet.sent.drain(..).filter_map(pull).collect()
}

#[test]
fn a_shard_hears_of_each_change_of_what_it_fetches_once() {
    let now = Instant::now();
    let (mut exchange, stream) = (exchange(now), name("a"));
    let inputs = json!([
        {"url": "udp://239.1.2.3:5000", "priority": 0},
        {"url": "publish://", "priority": 1},
        {"url": "udp://127.0.0.1:5000", "priority": 2},
        {"url": "udp://239.1.2.3:5000/", "priority": 3},
    ]);
    declare(&mut exchange, &name("b"), json!({"inputs": [{"url": "publish://", "priority": 0}]}));
    assert!(told(&mut exchange, now).is_empty(), "nobody fetches what is published");
    let places = ["239.1.2.3:5000", "127.0.0.1:5000"].map(str::to_owned).to_vec();
    let all = [("a".to_owned(), places)];
    declare(&mut exchange, &stream, json!({"inputs": inputs}));
    assert_eq!(told(&mut exchange, now), all, "each place once");
    declare(&mut exchange, &stream, json!({"inputs": inputs, "description": "x"}));
    assert!(told(&mut exchange, now).is_empty(), "it is the same");
    declare(&mut exchange, &stream, json!({"inputs": inputs, "disabled": true}));
    assert_eq!(told(&mut exchange, now), [("a".to_owned(), Vec::new())]);
    declare(&mut exchange, &stream, json!({"inputs": inputs}));
    assert_eq!(told(&mut exchange, now), all);
    let change = Change::DeleteStream { name: stream.clone() };
    exchange.registry.apply(change).unwrap();
    exchange.pull_anew([stream].into(), now);
    assert_eq!(told(&mut exchange, now), [("a".to_owned(), Vec::new())]);
}

#[test]
fn what_was_declared_before_is_fetched_from_the_start() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    for (stream, url) in [("a", "udp://239.1.2.3:5000"), ("b", "publish://")] {
        let value = json!({"inputs": [{"url": url, "priority": 0}]});
        let change = Change::PutStream { name: name(stream), value };
        exchange.registry.apply(change).unwrap();
    }
    exchange.pull_all();
    let expected = [("a".to_owned(), vec!["239.1.2.3:5000".to_owned()])];
    assert_eq!(told(&mut exchange, now), expected);
}
