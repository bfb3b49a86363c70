//! News: what shards tell is published, in its order.

use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{
    CloseReason, Event, Protocol, Role, SessionEvent, StreamPublisher, StreamStart,
};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};

use super::rig::{TwoShards, exchange, name, snapshot};
use crate::bridge::Exchange;
use crate::events::{Cursor, Kind};
use crate::registry::{Change, Difference};
use crate::viewing::StreamChange;

#[test]
fn what_shards_tell_is_published() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let told = |exchange: &Exchange<TwoShards>| {
        let published = exchange.bus.published().filter(|&(_, count)| count > 0);
        published.collect::<Vec<_>>()
    };
    assert_eq!(told(&exchange), [("shard.started", 2)]);
    let reason = CloseReason::ConnectionLost;
    let mut full = snapshot(0, 0, &[]);
    for _ in 0..2 {
        if let (_, Event::Snapshot(snapshot)) = &mut full {
            snapshot.headroom.full = true;
        }
        exchange.fleet.events.push_back(full);
        full = snapshot(0, 0, &[]);
    }
    let lost = Event::StreamLost { stream: name("b"), id: None, reason };
    exchange.fleet.events.push_back((ShardId(0), lost));
    exchange.fleet.events.push_back((ShardId(1), Event::Stopped));
    exchange.pump(now);
    assert_eq!(
        told(&exchange),
        [("stream.lost", 1), ("shard.started", 2), ("shard.overloaded", 1), ("shard.stopped", 1),]
    );
}

/// Each event with its stream and the word that tells it from others of its kind.
pub(super) fn words(cursor: &mut Cursor) -> Vec<String> {
    let text = |event: &Arc<crate::events::Event>| {
        let json: serde_json::Value = serde_json::from_str(event.json()).unwrap();
        let word = ["origin", "url", "reason"].iter().find_map(|key| json["data"][*key].as_str());
        let stream = event.stream().map(StreamName::as_str).unwrap_or_default();
        format!("{} {stream} {}", event.kind().name(), word.unwrap_or_default())
    };
    cursor.read(99).events.iter().map(text).collect()
}

#[test]
fn what_a_comparison_finds_is_told_in_the_order_of_what_shards_tell() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let mut cursor = exchange.bus.cursor();
    let (stream, id, protocol) = (name("wild"), Some(StreamId([1; 16])), Protocol::Rtmp);
    let publisher = StreamPublisher {
        session: SessionId(7),
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "OBS".into(),
    };
    let publisher = Some(publisher);
    let start = StreamStart { stream: stream.clone(), id, protocol, publisher };
    let held = |session| StreamChange::Held { stream: stream.clone(), id, protocol, session };
    for change in [
        StreamChange::Began(ShardId(0), Box::new(start)),
        held(None),
        held(Some(SessionId(8))),
        StreamChange::Over(stream.clone(), id),
    ] {
        exchange.stream_found(change, now);
    }
    let expected = [
        "stream.created wild runtime",
        "stream.started wild ",
        "input.connected wild ",
        "stream.lost wild ",
        "input.lost wild internal",
        "stream.returned wild ",
        "input.connected wild ",
        "stream.stopped wild unknown",
        "input.lost wild internal",
        "input.failed wild internal",
    ];
    assert_eq!(words(&mut cursor), expected);
}

/// That session `id` publishes `cam`, or that this ended for a reason.
fn publishing(id: u64, ended: Option<CloseReason>) -> Event {
    let (session, role, protocol, stream) =
        (SessionId(id), Role::Publish, Protocol::Rtmp, name("cam"));
    let (peer, agent) = ("192.0.2.1:5".parse().unwrap(), "OBS".into());
    let (bytes_in, bytes_out, age_ms) = (0, 0, 0);
    Event::Session(Box::new(match ended {
        None => {
            let (shard, tls, at_ms) = (ShardId(0), false, 0);
            SessionEvent::Started {
                session,
                shard,
                role,
                protocol,
                tls,
                stream,
                peer,
                agent,
                at_ms,
            }
        }
        Some(reason) => SessionEvent::Ended {
            session,
            role,
            protocol,
            stream,
            peer,
            agent,
            bytes_in,
            bytes_out,
            age_ms,
            reason,
        },
    }))
}

#[test]
fn whoever_publishes_is_told_with_the_publication_that_it_feeds() {
    use CloseReason::{Kicked, PeerClosed, TakenOver};
    let now = Instant::now();
    let mut exchange = exchange(now);
    let mut cursor = exchange.bus.cursor();
    let (stream, protocol, peer) = (name("cam"), Protocol::Rtmp, "192.0.2.1:5".parse().unwrap());
    let [one, two] = [1, 2].map(|id| Some(StreamId([id; 16])));
    let start = |id| {
        let publisher = StreamPublisher { session: SessionId(7), peer, agent: "OBS".into() };
        let (stream, publisher) = (stream.clone(), Some(publisher));
        Event::StreamStarted(Box::new(StreamStart { stream, id, protocol, publisher }))
    };
    let over = |id, reason| Event::StreamEnded { stream: stream.clone(), id, reason };
    let (id, session) = (one, Some(SessionId(8)));
    for event in [
        start(one),
        publishing(7, None),
        // Another one takes it over: the stream has its publisher before the first one's end.
        Event::StreamReturned { stream: stream.clone(), id, session, protocol },
        publishing(7, Some(TakenOver)),
        publishing(8, None),
        publishing(8, Some(PeerClosed)),
        over(one, PeerClosed),
        // The connection of the first publishes the next one, whose end comes before its own.
        start(two),
        publishing(7, None),
        over(two, Kicked),
        publishing(7, Some(Kicked)),
        // Of this one nothing was heard before its end.
        publishing(9, Some(PeerClosed)),
    ] {
        exchange.fleet.events.push_back((ShardId(0), event));
    }
    exchange.pump(now);
    let events = cursor.read(99).events;
    let told = events.iter().filter_map(|event| {
        let event: serde_json::Value = serde_json::from_str(event.json()).unwrap();
        let kind = event["type"].as_str()?.to_owned();
        let id = event["stream_id"].as_str().map_or("", |id| &id[..2]).to_owned();
        (!kind.starts_with("input.") && kind != "stream.created").then_some(kind + " " + &id)
    });
    let expected = [
        "stream.started 01",
        "publish.started 01",
        "stream.returned 01",
        "publish.ended 01",
        "publish.started 01",
        "publish.ended 01",
        "stream.stopped 01",
        "stream.started 02",
        "publish.started 02",
        "stream.stopped 02",
        "publish.ended 02",
        "publish.ended ",
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn a_stream_is_told_with_its_input_and_where_it_should_go() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let value = serde_json::json!({
        "inputs": [{ "url": "publish://", "priority": 0 }],
        "push": [
            { "url": "rtmp://h/live/hunter2", "enabled": true },
            { "url": "rtmp://h/live/off", "enabled": false },
        ],
    });
    let put = Change::PutStream { name: name("declared"), value };
    exchange.registry.apply(put).unwrap();
    let mut cursor = exchange.bus.cursor();
    let publisher = StreamPublisher {
        session: SessionId(7),
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "OBS".into(),
    };
    let (id, protocol) = (None, Protocol::Rtmp);
    let start = |stream| {
        let publisher = Some(publisher.clone());
        let start = StreamStart { stream: name(stream), id, protocol, publisher };
        Event::StreamStarted(Box::new(start))
    };
    let (stream, session) = (name("wild"), Some(SessionId(8)));
    let (broke, reason) = (CloseReason::ConnectionLost, CloseReason::PeerClosed);
    for event in [
        start("declared"),
        start("wild"),
        Event::StreamLost { stream: stream.clone(), id, reason: broke },
        Event::StreamReturned { stream: stream.clone(), id, session, protocol },
        Event::StreamEnded { stream, id, reason },
        Event::StreamEnded { stream: name("declared"), id, reason: broke },
    ] {
        exchange.fleet.events.push_back((ShardId(0), event));
    }
    exchange.pump(now);
    exchange.tick(now + exchange.registry.idle);
    let told = words(&mut cursor);
    let expected = [
        "stream.started declared ",
        "input.connected declared ",
        "push.failed declared rtmp://h/live/***",
        "stream.created wild runtime",
        "stream.started wild ",
        "input.connected wild ",
        "stream.lost wild ",
        "input.lost wild connection_lost",
        "stream.returned wild ",
        "input.connected wild ",
        "stream.stopped wild peer_closed",
        "input.lost wild peer_closed",
        "stream.stopped declared connection_lost",
        "input.lost declared connection_lost",
        "input.failed declared connection_lost",
        "stream.deleted wild runtime",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_template_is_told_by_the_streams_that_live_by_it() {
    let mut exchange = exchange(Instant::now());
    let template = |text: &str| {
        let value = serde_json::json!({
            "prefixes": ["news"], "description": text,
            "inputs": [{ "url": "publish://", "priority": 0 }],
        });
        Change::PutTemplate { code: "t".into(), value }
    };
    exchange.registry.apply(template("before")).unwrap();
    exchange.registry.running.acquire(&name("news/1"), SessionId(7)).unwrap();
    let effects = exchange.registry.apply(template("after")).unwrap();
    let kinds: Vec<_> = effects.differences.iter().filter_map(Difference::kind).collect();
    let [Kind::StreamUpdated { origin: "runtime", changed, disabled: false }] = &*kinds else {
        panic!("{kinds:?}");
    };
    assert_eq!(changed, &["description"]);
}
