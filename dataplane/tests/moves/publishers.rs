//! Publishers that are moved with their stream, and what happens to them meanwhile.

use std::io::Write;

use codecs::amf0::Value;
use dataplane::config::{Config, DemoConfig};
use dataplane::control::{MoveOutcome, MoveRefusal, Protocol, StreamState};
use dataplane::ids::{ShardId, StreamName};

use super::node::{
    self, FlvPlayer, Player, Publisher, RtmpPlayer, Server, TsPlayer, Tunnel, assert_contiguous,
    demo_clip, with_tls,
};
use super::orders::{moved, order};
use super::players::Witness;
use crate::on_both_backends;

on_both_backends! {
    a_move_in_the_middle_of_every_message_loses_no_byte
    a_move_in_the_middle_of_a_record_loses_no_byte
    a_lost_publisher_returns_where_its_stream_was_put
    a_publisher_that_ends_while_its_stream_moves_ends_it_once
    a_publisher_that_is_cut_while_its_stream_moves_returns
    the_demo_moves_and_returns
    a_stream_that_ended_elsewhere_begins_by_the_map
}

/// Places in a message of video where a case cuts it.
const CUTS: [usize; 6] = [1, 7, 12, 500, 4_100, 9_000];

/// Moves the stream back and forth while the publisher is inside a message.
fn moves_inside_messages(server: &Server, mut publisher: Publisher) {
    publisher.video_bytes = 9_500;
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    let mut flv = Witness::new(FlvPlayer::start(server.http, "news"));
    let mut ts = Witness::new(TsPlayer::start(server.http, "news"));
    flv.read_to(0);
    let mut last = 0;
    for (nth, cut) in CUTS.into_iter().enumerate() {
        let (from, to) = if nth % 2 == 0 { (0, 1) } else { (1, 0) };
        let before = server.control.snapshot();
        let session = before.stream("news").unwrap().publisher.unwrap();
        let received = before.sessions().find(|s| s.id == session).unwrap().bytes_in;
        let number = publisher.next_number();
        publisher.frames(number, number + 5);
        let bytes = std::mem::take(&mut publisher.out);
        publisher.socket.write_all(&bytes[..cut]).unwrap();
        server.control.until("the first part is read", |t| {
            t.sessions().any(|s| s.id == session && s.bytes_in > received)
        });
        moved(server, "news", from, to);
        publisher.socket.write_all(&bytes[cut..]).unwrap();
        publisher.sent(number + 5);
        last = number + 4;
        flv.read_to(last);
        ts.read_to(last);
    }
    flv.assert_whole(0, last);
    ts.assert_whole(0, last);
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.units_dropped_malformed + c.sessions_malformed), 0);
    assert_eq!(totals.sum(|c| c.units_dropped_memory), 0);
    assert_eq!(totals.sum(|c| c.publishers), 1);
}

fn a_move_in_the_middle_of_every_message_loses_no_byte(config: Config) {
    let server = Server::with_home(config, 0);
    let publisher = Publisher::start(server.rtmp, "news");
    moves_inside_messages(&server, publisher);
}

fn a_move_in_the_middle_of_a_record_loses_no_byte(config: Config) {
    let server = Server::with_home(with_tls(node::tiny(config)), 0);
    let tunnel = Tunnel::start(server.rtmps());
    let publisher = Publisher::start(tunnel.addr, "news");
    moves_inside_messages(&server, publisher);
    assert_eq!(tunnel.truncated(), 0);
}

fn a_lost_publisher_returns_where_its_stream_was_put(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(12);
    let mut player = RtmpPlayer::start(server.rtmp, "news");
    let mut items = player.items_to_audio(11);
    drop(publisher);
    let grace = |t: &node::Totals| t.stream("news").is_some_and(|s| s.state == StreamState::Grace);
    server.control.until("the grace time begins", grace);
    moved(&server, "news", 0, 1);
    assert_eq!(server.control.snapshot().stream("news").unwrap().shard, ShardId(1));
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.sent(12);
    publisher.send_frames(12);
    items.extend(player.items_to_audio(23));
    assert_contiguous(&items);
    let totals = server.control.snapshot();
    assert_eq!(totals.stream("news").unwrap().shard, ShardId(1));
    assert_eq!(totals.sum(|c| c.publishes_resumed), 1);
}

fn a_publisher_that_ends_while_its_stream_moves_ends_it_once(config: Config) {
    let server = Server::with_home(config, 0);
    for round in 0..12 {
        let mut publisher = Publisher::start(server.rtmp, "news");
        publisher.send_frames(3);
        let mut player = FlvPlayer::start(server.http, "news");
        player.items_to_audio(2);
        // The end and the order race; a round may be won by either.
        publisher.stream_command("FCUnpublish", &["news".into()]);
        publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
        publisher.flush();
        let outcome = order(&server, "news", 1);
        let refusals = [MoveRefusal::UnknownStream, MoveRefusal::Ended].map(MoveOutcome::Refused);
        let expected = outcome == MoveOutcome::Moved { from: ShardId(0) };
        assert!(expected || refusals.contains(&outcome), "round {round}: {outcome:?}");
        assert!(player.items_to_end().is_empty());
        server.control.until("nothing is left", |t| {
            t.stream("news").is_none() && t.sum(|c| c.publishers + c.logs_sealed) == 0
        });
    }
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    server.control.until("it is at its home", |t| {
        t.stream("news").is_some_and(|stream| stream.shard == ShardId(0))
    });
}

fn the_demo_moves_and_returns(mut config: Config) {
    let name = StreamName::parse("demo").unwrap();
    config.demo = Some(DemoConfig { name, flv: demo_clip() });
    let server = Server::with_home(config, 0);
    let mut player = FlvPlayer::start(server.http, "demo");
    let mut last = player.item().ms;
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        moved(&server, "demo", from, to);
        for _ in 0..12 {
            let item = player.item();
            assert!(item.ms >= last && item.ms - last <= 80, "{last} {}", item.ms);
            last = item.ms;
        }
    }
    // An encoder takes its place at the new home; after it the clip plays at home again.
    let mut publisher = Publisher::start(server.rtmp, "demo");
    publisher.send_frames(1);
    server.control.until("the encoder", |t| {
        t.stream("demo").is_some_and(|s| s.protocol == Protocol::Rtmp && s.shard == ShardId(1))
    });
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
    server.control.until("the clip is at home", |t| {
        t.stream("demo").is_some_and(|s| s.protocol == Protocol::Demo && s.shard == ShardId(0))
    });
}

fn a_stream_that_ended_elsewhere_begins_by_the_map(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    moved(&server, "news", 0, 1);
    publisher.command("deleteStream", 0, Value::Null, &[Value::Number(1.0)]);
    publisher.flush();
    server.control.stream_ended("news");
    let gone = MoveOutcome::Refused(MoveRefusal::UnknownStream);
    assert_eq!(order(&server, "news", 0), gone);
    let mut again = Publisher::start(server.rtmp, "news");
    again.send_frames(1);
    let totals = server.control.until("it began again", |t| t.stream("news").is_some());
    assert_eq!(totals.stream("news").unwrap().shard, ShardId(0));
    moved(&server, "news", 0, 1);
}

fn a_publisher_that_is_cut_while_its_stream_moves_returns(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(12);
    let mut player = FlvPlayer::start(server.http, "news");
    let mut items = player.items_to_audio(11);
    for round in 0..6 {
        let (from, to) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        let next = publisher.next_number();
        // Half a message is on its way; the cut and the order race.
        publisher.frames(next, next + 1);
        let bytes = std::mem::take(&mut publisher.out);
        publisher.socket.write_all(&bytes[..bytes.len() / 3]).unwrap();
        drop(publisher);
        moved(&server, "news", from, to);
        let lost = |t: &node::Totals| {
            t.stream("news")
                .is_some_and(|s| s.state == StreamState::Grace && s.shard == ShardId(to))
        };
        server.control.until("the grace time begins", lost);
        publisher = Publisher::start(server.rtmp, "news");
        publisher.sent(next);
        let last = publisher.send_frames(12) - 1;
        items.extend(player.items_to_audio(last));
    }
    assert_contiguous(&items);
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.publishes_resumed), 6);
    assert_eq!((totals.sum(|c| c.publishers), totals.sum(|c| c.streams)), (1, 1));
}
