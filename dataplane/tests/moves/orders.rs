//! Orders, and what becomes of them.

use dataplane::config::Config;
use dataplane::control::{Command, Event, MoveOrder, MoveOutcome, MoveRefusal};
use dataplane::ids::{ShardId, StreamName};

use super::node::{self, Publisher, Server};
use crate::on_both_backends;

on_both_backends! {
    a_stream_that_is_not_there_and_a_shard_that_is_not_there_are_refused
    a_stream_that_is_there_already_stays
}

/// Orders the home in the map, which is shard 0 in these cases, to move a stream.
pub(crate) fn order(server: &Server, name: &str, to: u16) -> MoveOutcome {
    let stream = StreamName::parse(name).unwrap();
    let order = MoveOrder { id: 7, stream, to: ShardId(to) };
    server.control.send(ShardId(0), Command::Move(order));
    let moved = |event: &Event| matches!(event, Event::Moved { id: 7, .. });
    match server.control.event("moved", moved) {
        (ShardId(0), Event::Moved { outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    }
}

/// Moves a stream, which must succeed.
pub(crate) fn moved(server: &Server, name: &str, from: u16, to: u16) {
    let outcome = order(server, name, to);
    assert_eq!(outcome, MoveOutcome::Moved { from: ShardId(from) });
}

fn a_stream_that_is_not_there_and_a_shard_that_is_not_there_are_refused(config: Config) {
    let server = Server::with_home(config, 0);
    let unknown = MoveOutcome::Refused(MoveRefusal::UnknownStream);
    assert_eq!(order(&server, "nobody", 1), unknown);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    server.control.until("a frame", |t| t.sum(|c| c.units_received) == 2);
    for shard in [2, 64, u16::MAX] {
        let refused = MoveOutcome::Refused(MoveRefusal::UnknownShard);
        assert_eq!(order(&server, "news", shard), refused);
    }
    assert_eq!(order(&server, "nobody", 1), unknown);
    assert_eq!(server.control.snapshot().stream("news").unwrap().shard, ShardId(0));
}

fn a_stream_that_is_there_already_stays(config: Config) {
    let server = Server::with_home(config, 0);
    let _publisher = Publisher::start(server.rtmp, "news");
    assert_eq!(order(&server, "news", 0), MoveOutcome::AlreadyThere);
    moved(&server, "news", 0, 1);
    assert_eq!(order(&server, "news", 1), MoveOutcome::AlreadyThere);
    moved(&server, "news", 1, 0);
    assert_eq!(server.control.snapshot().sum(|c| c.streams_moved), 2);
}
