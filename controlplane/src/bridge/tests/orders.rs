//! Orders: shards are told what is wanted of them, and nothing once they are over.

use std::time::Instant;

use dataplane::control::{Command, Event, MoveOutcome, Protocol, Role, StreamStart};
use dataplane::ids::{ShardId, StreamId};
use tokio::sync::oneshot;

use super::rig::{exchange, name};
use crate::bridge::{Ask, CommandAsk};

#[test]
fn a_move_is_ordered_of_the_streams_home_and_answered_when_it_is_over() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let (reply, mut answer) = oneshot::channel();
    exchange.ask(Ask::Move { stream: name("one"), to: ShardId(0), reply }, now);
    exchange.pump(now);
    let [(ShardId(1), Command::Move(order))] = exchange.fleet.sent.as_slice() else {
        panic!("{:?}", exchange.fleet.sent);
    };
    let (id, outcome) = (order.id, MoveOutcome::Moved { from: ShardId(1) });
    assert!(answer.try_recv().is_err());
    exchange.fleet.events.push_back((ShardId(1), Event::Moved { id: id + 1, outcome }));
    exchange.fleet.events.push_back((ShardId(1), Event::Moved { id, outcome }));
    exchange.pump(now);
    assert_eq!(answer.try_recv(), Ok(outcome));
}

#[test]
fn a_close_by_number_reaches_the_shards_with_the_number() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let id = StreamId([7; 16]);
    let start = StreamStart {
        stream: name("cam7"),
        id: Some(id),
        protocol: Protocol::Rtmp,
        publisher: None,
    };
    exchange.fleet.events.push_back((ShardId(0), Event::StreamStarted(Box::new(start))));
    exchange.pump(now);
    for (text, meant, publication) in [
        (id.to_string(), true, Some(id)),
        ("*".to_owned(), true, None),
        (String::new(), true, None),
        (StreamId([8; 16]).to_string(), false, None),
    ] {
        exchange.fleet.sent.clear();
        let (reply, mut answer) = oneshot::channel();
        let channel = "cam7".to_owned();
        exchange.ask(Ask::Command(CommandAsk::Close { channel, id: text, reply }), now);
        exchange.pump(now);
        assert_eq!(answer.try_recv(), Ok(meant));
        let told = exchange.fleet.sent.iter().map(|(_, command)| match command {
            Command::KickStream { publication, role, .. } => (*publication, *role),
            other => panic!("{other:?}"),
        });
        let expected = vec![(publication, Some(Role::Publish)); if meant { 2 } else { 0 }];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_stopped_shard_is_told_nothing_more() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    exchange.fleet.full = true;
    exchange.drain();
    exchange.fleet.events.push_back((ShardId(0), Event::Stopped));
    exchange.pump(now);
    exchange.fleet.full = false;
    exchange.stop();
    exchange.pump(now);
    assert_eq!(exchange.live(), 1);
    let told: Vec<_> = exchange.fleet.sent.iter().map(|(shard, _)| shard.0).collect();
    assert_eq!(told, [1, 1]);
}
