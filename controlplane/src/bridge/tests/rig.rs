//! Rig: the control plane before two shards that do nothing by themselves.

use std::collections::VecDeque;
use std::time::Instant;

use codecs::media::Codec;
use dataplane::control::{
    AuthorizeRequest, Command, Event, Intent, Protocol, ShardSnapshot, StreamState, StreamStatus,
    Ticket, TrackStatus,
};
use dataplane::ids::{Secret, SessionId, ShardId, StreamName};

use crate::auth::Rules;
use crate::bridge::snapshots;
use crate::bridge::{Exchange, Fleet};
use crate::events::{Bus, RingLimits};

/// Mailboxes of two shards that the test reads and writes.
#[derive(Default)]
pub(in crate::bridge) struct TwoShards {
    pub(in crate::bridge) events: VecDeque<(ShardId, Event)>,
    pub(in crate::bridge) sent: Vec<(ShardId, Command)>,
    pub(in crate::bridge) full: bool,
}

impl Fleet for TwoShards {
    fn shards(&self) -> usize {
        2
    }
    fn home(&self, _: &StreamName) -> ShardId {
        ShardId(1)
    }
    fn next_event(&mut self) -> Option<(ShardId, Event)> {
        self.events.pop_front()
    }
    fn send(&mut self, shard: ShardId, command: Command) -> Result<(), Command> {
        if self.full {
            return Err(command);
        }
        self.sent.push((shard, command));
        Ok(())
    }
}

pub(in crate::bridge) fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

pub(in crate::bridge) fn question(epoch: u32) -> Event {
    Event::Authorize {
        ticket: Ticket { slot: 1, generation: 2, epoch },
        request: Box::new(AuthorizeRequest {
            session: SessionId(7),
            intent: Intent::Play,
            protocol: Protocol::Rtmp,
            tls: false,
            stream: name("one"),
            key: Secret::default(),
            login: Secret::default(),
            query: Secret::default(),
            url: "rtmp://h/one".into(),
            referer: None,
            peer: "192.0.2.1:5".parse().unwrap(),
            local: "192.0.2.2:1935".parse().unwrap(),
            listener: dataplane::config::ListenerNumber(1),
            agent: "test".into(),
            since: None,
        }),
    }
}

pub(in crate::bridge) fn snapshot(shard: u16, id: u64, streams: &[&str]) -> (ShardId, Event) {
    let shard = ShardId(shard);
    let track =
        TrackStatus { id: 0, kind: Codec::H264.kind(), codec: Codec::H264, config: None, bps: 0 };
    let status = |stream: &&str| StreamStatus {
        name: name(stream),
        id: None,
        shard,
        state: StreamState::Live,
        publisher: None,
        protocol: Protocol::Rtmp,
        playable: None,
        age_ms: 0,
        silent_ms: 0,
        tracks: vec![track.clone()],
        transport: None,
        logs: Vec::new(),
        bytes_in: 0,
        units_in: 0,
        timestamps_repaired: 0,
    };
    let streams = streams.iter().map(status).collect();
    let snapshot = ShardSnapshot { streams, ..snapshots::empty(shard, id) };
    (shard, Event::Snapshot(Box::new(snapshot)))
}

pub(in crate::bridge) fn exchange(now: Instant) -> Exchange<TwoShards> {
    let bus = Bus::new("edge-1".into(), RingLimits::default());
    Exchange::new(TwoShards::default(), Rules::default(), bus, now)
}
