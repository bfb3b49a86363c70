//! Recordings: which publication is recorded, and what is told of it.

use std::net::TcpListener;
use std::time::Instant;

use dataplane::config::{ListenerConfig, ListenerKind};
use dataplane::control::{CloseReason, Event, Protocol, StreamPublisher, StreamStart};
use dataplane::ids::{SessionId, ShardId, StreamId};
use tokio::sync::mpsc;

use super::rig::{TwoShards, exchange, name};
use crate::bridge::Exchange;
use crate::config::RecordingSection;
use crate::record::{Entrance, Recorder, Shelf};
use crate::registry::Change;

/// One of `places` recordings, and the listener that they wait for.
fn recording(places: u32, now: Instant) -> (Exchange<TwoShards>, TcpListener) {
    let mut exchange = exchange(now);
    let dir = std::env::temp_dir().join(format!("grandstand-bridge-{}", std::process::id()));
    let terms = RecordingSection { active_max: places, ..RecordingSection::default() };
    let (asks, _) = mpsc::channel(1);
    exchange.record_by(Recorder::start(Shelf::new(dir, terms), asks));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = ListenerConfig::new(ListenerKind::Http, listener.local_addr().unwrap());
    exchange.record_anew(Entrance::of([open].into_iter()), now);
    for stream in ["a", "b", "c"] {
        let inputs = serde_json::json!([{ "url": "publish://", "priority": 0 }]);
        let value = serde_json::json!({ "inputs": inputs, "record": "flv" });
        let put = Change::PutStream { name: name(stream), value };
        exchange.registry.apply(put).unwrap();
    }
    (exchange, listener)
}

fn id(number: u8) -> Option<StreamId> {
    Some(StreamId([number; 16]))
}

fn began(stream: &str, number: u8) -> Event {
    let publisher = StreamPublisher {
        session: SessionId(number.into()),
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "OBS".into(),
    };
    let (stream, publisher) = (name(stream), Some(publisher));
    let (id, protocol) = (id(number), Protocol::Rtmp);
    Event::StreamStarted(Box::new(StreamStart { stream, id, protocol, publisher }))
}

fn ended(stream: &str, number: u8) -> Event {
    let (stream, id, reason) = (name(stream), id(number), CloseReason::ConnectionLost);
    Event::StreamEnded { stream, id, reason }
}

fn hears(exchange: &mut Exchange<TwoShards>, shard: u16, event: Event, now: Instant) {
    exchange.fleet.events.push_back((ShardId(shard), event));
    exchange.pump(now);
}

#[test]
fn a_publication_that_is_told_before_the_end_of_the_last_one_is_recorded_at_once() {
    let now = Instant::now();
    let (mut exchange, _listener) = recording(4, now);
    let recorded = |exchange: &Exchange<TwoShards>| {
        exchange.recorder().of(&name("a")).and_then(|active| active.id)
    };
    hears(&mut exchange, 0, began("a", 1), now);
    assert_eq!(recorded(&exchange), id(1));
    hears(&mut exchange, 1, began("a", 2), now);
    assert_eq!(recorded(&exchange), id(2));
    hears(&mut exchange, 0, ended("a", 1), now);
    assert_eq!(recorded(&exchange), id(2));
    assert_eq!(exchange.recorder().count_active(), 2, "the first ends by itself");
    hears(&mut exchange, 1, ended("a", 2), now);
    assert_eq!(recorded(&exchange), None);
}

#[test]
fn a_stream_that_waits_for_a_place_is_told_of_once() {
    let now = Instant::now();
    let (mut exchange, _listener) = recording(1, now);
    for (number, stream) in [(1, "a"), (2, "b"), (3, "c")] {
        hears(&mut exchange, 0, began(stream, number), now);
    }
    let failed = |exchange: &Exchange<TwoShards>| {
        let mut published = exchange.bus.published();
        published.find(|(kind, _)| *kind == "recording.failed").map(|(_, count)| count)
    };
    assert_eq!(failed(&exchange), Some(2));
    let entrance = ListenerConfig::new(ListenerKind::Http, "127.0.0.1:1".parse().unwrap());
    exchange.record_anew(Entrance::of([entrance].into_iter()), now);
    exchange.tick(now + std::time::Duration::from_secs(60));
    assert_eq!(failed(&exchange), Some(2));
    assert_eq!(exchange.recorder().count_active(), 1);
}
