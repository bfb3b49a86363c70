//! World: the shards, the letters between them, the control thread, and whoever comes and goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use dataplane::control::{
    CloseReason, Command, Detail, Event, FirstPlaylist, Protocol, Role, SessionEvent, StreamMove,
    StreamPublisher, StreamStart,
};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};
use proptest::prelude::*;

use super::shard::{Shard, Stream};
use crate::auth::Rules;
use crate::bridge::{Exchange, Fleet};
use crate::events::{Bus, Cursor, RingLimits};

const SHARDS: u16 = 3;
/// Rounds until everything must be told, and those without news after which it is.
const ROUNDS_MAX: u32 = 600;
const QUIET: u32 = 25;
/// Steps of the clock.
const TICK: Duration = Duration::from_millis(100);

/// Mailboxes of the control thread: what was delivered, and what it orders.
#[derive(Debug, Default)]
struct Post {
    delivered: VecDeque<(ShardId, Event)>,
    orders: VecDeque<(ShardId, u64, Detail)>,
}

impl Fleet for Post {
    fn shards(&self) -> usize {
        SHARDS.into()
    }
    fn home(&self, _: &StreamName) -> ShardId {
        ShardId(0)
    }
    fn next_event(&mut self) -> Option<(ShardId, Event)> {
        self.delivered.pop_front()
    }
    fn send(&mut self, shard: ShardId, command: Command) -> Result<(), Command> {
        if let Command::Snapshot { id, detail } = command {
            self.orders.push_back((shard, id, detail));
        }
        Ok(())
    }
}

/// Shards and control thread.
struct World {
    shards: Vec<Shard>,
    /// Streams between two shards, with the order by which they move.
    letters: VecDeque<(ShardId, StreamName, Stream, u64)>,
    exchange: Exchange<Post>,
    cursor: Cursor,
    now: Instant,
    next: u64,
    /// Sessions and publications that were told of as there.
    opened: BTreeSet<String>,
    /// Publications that were told of as playable.
    playable: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let (cursor, now) = (bus.cursor(), Instant::now());
        let exchange = Exchange::new(Post::default(), Rules::default(), bus, now);
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            letters: VecDeque::new(),
            exchange,
            cursor,
            now,
            next: 1,
            opened: BTreeSet::new(),
            playable: BTreeSet::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn tell(&mut self, shard: ShardId, event: Event) {
        self.shards[shard.index()].tell(shard, event);
    }

    fn started(&mut self, shard: ShardId, session: SessionId, role: Role, stream: &StreamName) {
        let event = SessionEvent::Started {
            session,
            shard,
            role,
            protocol: Protocol::Rtmp,
            tls: false,
            stream: stream.clone(),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "test".into(),
            at_ms: 0,
        };
        self.tell(shard, Event::Session(Box::new(event)));
    }

    fn ended(&mut self, shard: ShardId, session: SessionId, role: Role, stream: &StreamName) {
        let event = SessionEvent::Ended {
            session,
            role,
            protocol: Protocol::Rtmp,
            stream: stream.clone(),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "test".into(),
            bytes_in: 0,
            bytes_out: 0,
            age_ms: 0,
            reason: CloseReason::PeerClosed,
        };
        self.tell(shard, Event::Session(Box::new(event)));
    }

    fn play(&mut self, shard: ShardId) {
        let (session, stream) = (SessionId(self.number()), name("watched"));
        self.shards[shard.index()].plays.insert(session, stream.clone());
        self.started(shard, session, Role::Play, &stream);
    }

    /// The first player of a shard goes; `again` if its connection plays something else then.
    fn leave(&mut self, shard: ShardId, again: bool) {
        let Some((session, stream)) = self.shards[shard.index()].plays.pop_first() else { return };
        self.ended(shard, session, Role::Play, &stream);
        if again {
            let stream = name(&format!("other{}", self.number()));
            self.shards[shard.index()].plays.insert(session, stream.clone());
            self.started(shard, session, Role::Play, &stream);
        }
    }

    fn publish(&mut self, shard: ShardId) {
        let number = self.number();
        let (session, stream) = (SessionId(number), name(&format!("s{number}")));
        let id = StreamId(u128::from(number).to_be_bytes());
        let publisher = Some(session);
        self.shards[shard.index()]
            .streams
            .insert(stream.clone(), Stream { id, publisher, playable: None });
        let peer = "192.0.2.1:5".parse().unwrap();
        let start = StreamStart {
            stream: stream.clone(),
            id: Some(id),
            protocol: Protocol::Rtmp,
            publisher: Some(StreamPublisher { session, peer, agent: "test".into() }),
        };
        self.tell(shard, Event::StreamStarted(Box::new(start)));
        self.started(shard, session, Role::Publish, &stream);
    }

    /// The first stream of a shard ends.
    fn unpublish(&mut self, shard: ShardId) {
        let Some((stream, Stream { id, publisher, .. })) =
            self.shards[shard.index()].streams.pop_first()
        else {
            return;
        };
        if let Some(session) = publisher {
            self.ended(shard, session, Role::Publish, &stream);
        }
        let (id, reason) = (Some(id), CloseReason::PeerClosed);
        self.tell(shard, Event::StreamEnded { stream, id, reason });
    }

    /// The last stream of a shard loses its publisher, or gets one again.
    fn turn_over(&mut self, shard: ShardId) {
        let number = self.number();
        let Some(mut entry) = self.shards[shard.index()].streams.last_entry() else { return };
        let (stream, held) = (entry.key().clone(), entry.get_mut());
        let id = Some(held.id);
        let before = held.publisher.take();
        match before {
            Some(session) => {
                self.ended(shard, session, Role::Publish, &stream);
                let reason = CloseReason::ConnectionLost;
                self.tell(shard, Event::StreamLost { stream, id, reason });
            }
            None => {
                let session = SessionId(number);
                held.publisher = Some(session);
                let back = Event::StreamReturned {
                    stream: stream.clone(),
                    id,
                    session: Some(session),
                    protocol: Protocol::Rtmp,
                };
                self.tell(shard, back);
                self.started(shard, session, Role::Publish, &stream);
            }
        }
    }

    /// The first stream of a shard has its first playlist.
    fn become_playable(&mut self, shard: ShardId) {
        let Some(mut entry) = self.shards[shard.index()].streams.first_entry() else { return };
        let (stream, id) = (entry.key().clone(), Some(entry.get().id));
        let (width, height, fps_milli, target_ms) = (640, 360, 30_000, 2_000);
        let first = FirstPlaylist { width, height, fps_milli, target_ms };
        if entry.get_mut().playable.replace(first).is_none() {
            let ready = Event::SegmentsReady { stream, id, width, height, fps_milli, target_ms };
            self.tell(shard, ready);
        }
    }

    /// The first stream of a shard goes to the next one.
    fn depart(&mut self, shard: ShardId) {
        let (order, to) = (self.number(), ShardId((shard.0 + 1) % SHARDS));
        let Some((stream, held)) = self.shards[shard.index()].streams.pop_first() else { return };
        let word = moved(&stream, &held, order, false);
        self.letters.push_back((to, stream, held, order));
        self.tell(shard, word);
    }

    fn arrive(&mut self) {
        let Some((to, stream, held, order)) = self.letters.pop_front() else { return };
        let word = moved(&stream, &held, order, true);
        self.shards[to.index()].streams.insert(stream, held);
        self.tell(to, word);
    }

    fn deliver(&mut self, shard: ShardId) {
        if let Some(event) = self.shards[shard.index()].mailbox.pop_front() {
            self.exchange.fleet.delivered.push_back((shard, event));
        }
        self.exchange.pump(self.now);
        self.shards[shard.index()].flush(shard);
        self.heard();
    }

    fn look(&mut self, shard: ShardId) {
        self.shards[shard.index()].look(shard);
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.exchange.tick(self.now);
        self.exchange.pump(self.now);
        self.heard();
    }

    /// Takes what the control thread ordered and published.
    fn heard(&mut self) {
        while let Some((shard, id, detail)) = self.exchange.fleet.orders.pop_front() {
            self.shards[shard.index()].orders.push_back((id, detail));
        }
        let events = self.cursor.read(usize::MAX).events;
        if events.is_empty() {
            return;
        }
        let (sessions, streams) = self.truth();
        for event in events {
            let event: serde_json::Value = serde_json::from_str(event.json()).unwrap();
            let data = &event["data"];
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let kind = text(&event["type"]);
            let (what, there) = match kind.as_str() {
                "stream.started" | "stream.stopped" => {
                    let id = text(&event["stream_id"]);
                    let there = streams.keys().any(|(_, known)| known.to_string() == id);
                    (id, there)
                }
                "segment.ready" => {
                    // Of a stream whose beginning was lost it may be told twice.
                    self.playable.insert(text(&event["stream_id"]));
                    continue;
                }
                "session.opened" | "session.closed" | "publish.started" | "publish.ended" => {
                    let (id, stream) = (text(&data["party"]["session"]), text(&event["stream"]));
                    if let Some(fed) = event["stream_id"].as_str() {
                        let number = stream.strip_prefix('s').unwrap().parse::<u128>().unwrap();
                        assert_eq!(fed, StreamId(number.to_be_bytes()).to_string(), "{event}");
                    }
                    let there = sessions
                        .iter()
                        .any(|(known, (_, of))| known.to_string() == id && of.as_str() == stream);
                    (id, there)
                }
                _ => continue,
            };
            let begins =
                matches!(kind.as_str(), "stream.started" | "session.opened" | "publish.started");
            if begins {
                assert!(self.opened.insert(what), "told twice: {event}");
            } else {
                let falsely = there && data["reason"] == "unknown";
                assert!(!falsely, "it is still there: {event}");
                // Of one whose beginning was lost its end alone is told.
                self.opened.remove(&what);
            }
        }
    }

    /// Everything is read, and every comparison is over.
    fn settle(&mut self) {
        while !self.letters.is_empty() {
            self.arrive();
        }
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            for shard in (0..SHARDS).map(ShardId) {
                for _ in 0..4 {
                    self.deliver(shard);
                    self.look(shard);
                }
            }
            self.tick();
            let silent = self.shards.iter().all(Shard::is_silent);
            let settled = silent && self.exchange.sessions().resync_due().is_none();
            quiet = if settled { quiet + 1 } else { 0 };
            if quiet > QUIET {
                break;
            }
        }
        assert_eq!(self.exchange.sessions().resync_due(), None, "it comes to an end");
    }

    #[expect(clippy::type_complexity, reason = "two tables")]
    fn truth(
        &self,
    ) -> (
        BTreeMap<SessionId, (Option<ShardId>, StreamName)>,
        BTreeMap<(StreamName, StreamId), (Option<ShardId>, Option<SessionId>)>,
    ) {
        let (mut sessions, mut streams) = (BTreeMap::new(), BTreeMap::new());
        let mut add = |at: Option<ShardId>, name: &StreamName, stream: &Stream| {
            if let Some(session) = stream.publisher {
                sessions.insert(session, (at, name.clone()));
            }
            streams.insert((name.clone(), stream.id), (at, stream.publisher));
        };
        for (shard, at) in self.shards.iter().zip(0..) {
            shard.streams.iter().for_each(|(name, held)| add(Some(ShardId(at)), name, held));
        }
        self.letters.iter().for_each(|(_, name, held, _)| add(None, name, held));
        for (shard, at) in self.shards.iter().zip(0..) {
            let plays = shard.plays.iter();
            sessions.extend(plays.map(|(&id, name)| (id, (Some(ShardId(at)), name.clone()))));
        }
        (sessions, streams)
    }

    fn check(&self) {
        let (sessions, streams) = self.truth();
        let table = self.exchange.sessions();
        let known = |id: &SessionId| {
            let live = table.get(*id).unwrap();
            (*id, (Some(live.shard), live.stream.clone()))
        };
        assert_eq!(table.ids().map(known).collect::<BTreeMap<_, _>>(), sessions);
        let known = table.streams().map(|(name, id, shard, session)| {
            ((name.clone(), id.unwrap()), (Some(shard), session))
        });
        assert_eq!(known.collect::<BTreeMap<_, _>>(), streams);
        let active: Vec<_> = self.exchange.coordinator.channels().active().collect();
        let there: Vec<_> = streams.keys().map(|(name, id)| (name, *id)).collect();
        assert_eq!(active, there);
        assert_eq!(self.opened.len(), sessions.len() + streams.len());
        let here = self.shards.iter().flat_map(|shard| shard.streams.values());
        for stream in here.filter(|stream| stream.playable.is_some()) {
            assert!(self.playable.contains(&stream.id.to_string()), "{stream:?}");
        }
    }
}

fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

fn moved(stream: &StreamName, held: &Stream, order: u64, arrived: bool) -> Event {
    let (stream, id, session) = (stream.clone(), Some(held.id), held.publisher);
    Event::StreamMoved(Box::new(StreamMove { stream, id, session, order, arrived }))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_tables_hold_whatever_is_lost_or_late(
        steps in proptest::collection::vec((0_u8..17, 0..SHARDS), 1..160),
    ) {
        let mut world = World::new();
        for (step, shard) in steps {
            let shard = ShardId(shard);
            match step {
                0 => world.play(shard),
                1 => world.leave(shard, false),
                2 => world.leave(shard, true),
                3 => world.publish(shard),
                4 => world.unpublish(shard),
                5 => world.turn_over(shard),
                6 => world.depart(shard),
                7 => world.arrive(),
                8..=10 => world.deliver(shard),
                11..=13 => world.look(shard),
                14 => world.become_playable(shard),
                _ => world.tick(),
            }
        }
        world.settle();
        world.check();
    }
}
