//! Whoever watches the process sees that its shards turn, without a word to them.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::time::{Duration, Instant};

use dataplane::Node;
use dataplane::config::Config;
use dataplane::control::Command;
use dataplane::ids::ShardId;
use node::TIME_BOUND;

on_both_backends! {
    shards_turn_unasked_and_tell_that_they_have_ended
}

fn shards_turn_unasked_and_tell_that_they_have_ended(config: Config) {
    let mut node = Node::start(config).unwrap();
    let heartbeats = node.heartbeats();
    assert_eq!(heartbeats.shards(), 2);
    let turns = || [0, 1].map(|shard| heartbeats.turns(ShardId(shard)));
    let before = turns();
    let late = Instant::now() + TIME_BOUND;
    while turns().iter().zip(&before).any(|(now, before)| now <= before) {
        assert!(Instant::now() < late, "never: {:?} {before:?}", turns());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    for shard in [0, 1].map(ShardId) {
        node.send(shard, Command::Stop).unwrap();
    }
    node.join();
    assert_eq!(turns(), [None, None]);
}
