//! Looks: what shards are asked of their streams, and what is made of their answers.

use std::time::{Duration, Instant};

use dataplane::control::{
    CloseReason, Command, Detail, Event, MoveOutcome, Protocol, StreamPublisher, StreamStart,
};
use dataplane::ids::{SessionId, ShardId, StreamId};
use tokio::sync::oneshot;

use super::rig::{TwoShards, exchange, name, snapshot};
use crate::bridge::{Ask, Exchange, GATHER_DEADLINE, Sighting};

#[test]
fn what_was_announced_and_is_on_no_shard_is_over() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let teller = crate::coordinator::Teller::default();
    exchange.coordinator().tell_by(teller.clone());
    // The word of its beginning was lost, and that of its end will be.
    let ready = Event::SegmentsReady {
        stream: name("a"),
        id: Some(StreamId([1; 16])),
        width: 640,
        height: 360,
        fps_milli: 30_000,
        target_ms: 2_000,
    };
    let overflowed = Event::SessionsOverflowed { shard: ShardId(0) };
    let events = [ready, overflowed].map(|event| (ShardId(0), event));
    exchange.fleet.events.extend(events);
    exchange.pump(now);
    assert_eq!(teller.running().len(), 1);
    let compared = (1..60).find(|&second| {
        let now = now + Duration::from_secs(second);
        exchange.tick(now);
        for (shard, command) in std::mem::take(&mut exchange.fleet.sent) {
            if let Command::Snapshot { id, .. } = command {
                exchange.fleet.events.push_back(snapshot(shard.0, id, &[]));
            }
        }
        exchange.pump(now);
        teller.running().is_empty()
    });
    assert!(compared.is_some(), "{:?}", teller.running());
}

#[test]
fn a_shard_that_does_not_answer_is_missing_and_fails_nothing() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let (reply, mut answer) = oneshot::channel();
    exchange.ask(Ask::Snapshot { detail: Detail::NONE, reply }, now);
    exchange.fleet.events.push_back(snapshot(1, 0, &[]));
    exchange.fleet.events.push_back(snapshot(1, 0, &[]));
    exchange.fleet.events.push_back(snapshot(0, 99, &[]));
    exchange.pump(now);
    assert!(answer.try_recv().is_err());
    exchange.tick(now + GATHER_DEADLINE);
    let gathered = answer.try_recv().unwrap();
    assert_eq!(gathered.snapshots.len(), 1);
    assert_eq!(gathered.missing, [ShardId(0)]);
}

#[test]
fn the_directory_goes_out_when_it_changes_and_only_then() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let refresh = |exchange: &mut Exchange<TwoShards>, now, streams: &[&str]| {
        exchange.tick(now);
        let id = match exchange.fleet.sent.first() {
            Some((_, Command::Snapshot { id, detail: Detail::STREAMS })) => *id,
            other => panic!("{other:?}"),
        };
        exchange.fleet.sent.clear();
        exchange.fleet.events.push_back(snapshot(0, id, streams));
        exchange.fleet.events.push_back(snapshot(1, id, &[]));
        exchange.pump(now);
        let sent = std::mem::take(&mut exchange.fleet.sent);
        let text = |(_, command)| match command {
            Command::Directory(json) => String::from_utf8(json.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        sent.into_iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(refresh(&mut exchange, now, &[]), [r#"{"rtmp":null,"streams":[]}"#; 2]);
    let now = exchange.deadline(now).unwrap();
    assert!(refresh(&mut exchange, now, &[]).is_empty());
    let start =
        StreamStart { stream: name("b"), id: None, protocol: Protocol::Rtmp, publisher: None };
    exchange.fleet.events.push_back((ShardId(0), Event::StreamStarted(Box::new(start))));
    exchange.pump(now);
    let soon = exchange.deadline(now).unwrap();
    assert_eq!(soon, now + Duration::from_millis(250));
    let track = r#"[{"codec":"h264","codec_string":"","width":null,"height":null}]"#;
    let listing = format!(
        r#"{{"rtmp":null,"streams":[{},{}]}}"#,
        format_args!(r#"{{"name":"a","tracks":{track}}}"#),
        format_args!(r#"{{"name":"b","tracks":{track}}}"#)
    );
    assert_eq!(refresh(&mut exchange, soon, &["b", "a"]), [listing.as_str(); 2]);
}

#[test]
fn a_stream_that_was_seen_on_two_shards_is_listed_once_and_looked_for_again() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    exchange.tick(now);
    for shard in 0..2 {
        exchange.fleet.events.push_back(snapshot(shard, 0, &["a"]));
    }
    exchange.fleet.sent.clear();
    exchange.pump(now);
    let listed = match exchange.fleet.sent.first() {
        Some((_, Command::Directory(json))) => String::from_utf8(json.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed.matches(r#""name":"a""#).count(), 1, "{listed}");
    let outcome = MoveOutcome::Moved { from: ShardId(1) };
    let later = exchange.deadline(now).unwrap();
    exchange.fleet.events.push_back((ShardId(0), Event::Moved { id: 0, outcome }));
    exchange.pump(now);
    let soon = exchange.deadline(now).unwrap();
    assert!(soon < later && soon == now + Duration::from_millis(250));
}

/// The shards are asked for their streams, and tell these.
fn answer_survey(exchange: &mut Exchange<TwoShards>, now: Instant, told: [&[&str]; 2]) {
    let asked = exchange.fleet.sent.iter().find_map(|(_, command)| match command {
        Command::Snapshot { id, detail: Detail::STREAMS } => Some(*id),
        _ => None,
    });
    let id = asked.expect("they are asked");
    exchange.fleet.sent.clear();
    for (shard, streams) in (0..).zip(told) {
        exchange.fleet.events.push_back(snapshot(shard, id, streams));
    }
    exchange.pump(now);
}

fn start(exchange: &mut Exchange<TwoShards>, stream: &str, now: Instant) {
    let publisher = Some(StreamPublisher {
        session: SessionId(7),
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "test".into(),
    });
    let (stream, protocol) = (name(stream), Protocol::Rtmp);
    let start = StreamStart { stream, id: None, protocol, publisher };
    exchange.fleet.events.push_back((ShardId(0), Event::StreamStarted(Box::new(start))));
    exchange.pump(now);
}

fn ask_stream(
    exchange: &mut Exchange<TwoShards>,
    stream: &str,
    now: Instant,
) -> oneshot::Receiver<Sighting> {
    let (reply, answer) = oneshot::channel();
    exchange.ask(Ask::Stream { name: name(stream), reply }, now);
    answer
}

#[test]
fn whoever_asks_how_often_for_a_stream_shards_are_asked_once_a_second() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let idle = ask_stream(&mut exchange, "nobody", now).try_recv().unwrap();
    assert!(idle.item.is_none() && exchange.fleet.sent.is_empty(), "no shard is asked");
    start(&mut exchange, "a", now);
    let mut first = ask_stream(&mut exchange, "a", now);
    assert!(first.try_recv().is_err());
    answer_survey(&mut exchange, now, [&["a"], &[]]);
    let seen = first.try_recv().unwrap();
    assert_eq!(seen.gathered.stream(&name("a")).map(|status| status.shard), Some(ShardId(0)));
    assert_eq!(seen.item.unwrap().slot.unwrap().holder, Some(SessionId(7)));
    let later = now + Duration::from_millis(999);
    for _ in 0..5_000 {
        assert!(ask_stream(&mut exchange, "a", later).try_recv().is_ok());
    }
    assert!(exchange.fleet.sent.is_empty(), "they were asked already");
    // What no survey has told of is asked for.
    start(&mut exchange, "b", later);
    assert!(ask_stream(&mut exchange, "b", later).try_recv().is_err());
    assert_eq!(exchange.fleet.sent.len(), 2);
    // Nobody publishes it any more, and that is known at once.
    let lost =
        Event::StreamLost { stream: name("a"), id: None, reason: CloseReason::ConnectionLost };
    exchange.fleet.events.push_back((ShardId(0), lost));
    let seen = ask_stream(&mut exchange, "a", later).try_recv().unwrap();
    assert_eq!(seen.item.unwrap().slot.unwrap().holder, None);
}

#[test]
fn a_stream_that_moves_while_shards_are_asked_is_told_of_once() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let list = |exchange: &mut Exchange<TwoShards>, now, told| {
        let (reply, mut answer) = oneshot::channel();
        exchange.ask(Ask::Snapshot { detail: Detail::STREAMS, reply }, now);
        answer_survey(exchange, now, told);
        answer.try_recv().unwrap()
    };
    start(&mut exchange, "a", now);
    list(&mut exchange, now, [&["a"], &[]]);
    let (reply, _answer) = oneshot::channel();
    let moving = Ask::Move { stream: name("a"), to: ShardId(1), reply };
    let now = now + Duration::from_millis(300);
    exchange.ask(moving, now);
    let outcome = MoveOutcome::Moved { from: ShardId(0) };
    exchange.fleet.events.push_back((ShardId(1), Event::Moved { id: 0, outcome }));
    exchange.pump(now);
    // One shard has let it go, the other was asked before it came.
    let told = list(&mut exchange, now, [&[], &[]]);
    assert_eq!(told.stream(&name("a")).map(|status| status.shard), Some(ShardId(0)));
    // It is told of by both.
    let now = now + Duration::from_secs(1);
    let told = list(&mut exchange, now, [&["a"], &["a"]]);
    assert_eq!(told.stream(&name("a")).map(|status| status.shard), Some(ShardId(1)));
    // What was on its way a while ago and nobody tells of is not made up.
    let now = now + Duration::from_millis(600);
    assert!(list(&mut exchange, now, [&[], &[]]).stream(&name("a")).is_none());
}
