//! Exchange: takes the shards' events and the API's questions, gives answers and orders.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::config::Reload;
use dataplane::control::{Command, CoreUse, Detail, HttpChallenge, News};
use dataplane::ids::{ShardId, StreamName};
use dataplane::session::tls::Identity;
use tokio::sync::oneshot;

use super::ask::Ask;
use super::bindings::Bindings;
use super::directory::Directory;
use super::fleet::Fleet;
use super::gather::{Asker, Gathers};
use super::gathered::Gathered;
use super::inputs::Inputs;
use super::moves::Moves;
use super::outbox::Outbox;
use super::quotas::Quotas;
use super::survey::{Surveys, Waiter};
use crate::auth::{Gate, Rules};
use crate::coordinator::Coordinator;
use crate::coordinator::client::Client;
use crate::counts::Counts;
use crate::events::{Backlog, Bus, Kind};
use crate::penalties::Warden;
use crate::registry::Registry;
use crate::usage::{Book, Collector};
use crate::viewing::Sessions;

/// Events taken in one turn, so that the API is served even while shards ask a lot.
const EVENTS_PER_TURN: usize = 1_024;
/// A full mailbox is tried again after this long, and events for which there was no room.
const RETRY: Duration = Duration::from_millis(5);

/// The control plane's side of all mailboxes.
#[derive(Debug)]
pub struct Exchange<F> {
    fleet: F,
    pub(super) gate: Gate,
    pub(super) outbox: Outbox,
    pub(super) gathers: Gathers,
    pub(super) surveys: Surveys,
    /// What is known of streams that are not on the air.
    pub(super) nothing: Arc<Gathered>,
    /// The stream that the clip of the program plays on.
    pub(super) clip: Option<StreamName>,
    /// When a move of a stream was last under way.
    pub(super) moved_at: Option<Instant>,
    pub(super) moves: Moves,
    pub(super) directory: Directory,
    pub(super) sessions: Sessions,
    pub(super) live: Vec<bool>,
    pub(super) coordinator: Coordinator,
    /// The coordinator that this node is a server of.
    pub(super) client: Option<Client>,
    pub(super) bus: Bus,
    /// What is told of players, in their crowds.
    pub(super) news: Backlog,
    /// What shards tell besides.
    pub(super) wanted: News,
    pub(super) inputs: Inputs,
    /// What was used, once it is kept.
    pub(super) usage: Option<(Collector, Book)>,
    pub(super) quotas: Quotas,
    pub(super) bindings: Bindings,
    full: Vec<bool>,
    pub(super) warden: Warden,
    pub(crate) registry: Registry,
}

impl<F: Fleet> Exchange<F> {
    /// Starts to speak with `fleet`, all of whose shards are up.
    pub fn new(fleet: F, rules: Rules, bus: Bus, now: Instant) -> Self {
        let shards = fleet.shards();
        let exchange = Self {
            fleet,
            gate: Gate::new(rules, bus.clone()),
            outbox: Outbox::new(shards),
            gathers: Gathers::default(),
            surveys: Surveys::default(),
            nothing: Arc::default(),
            clip: None,
            moved_at: None,
            moves: Moves::default(),
            directory: Directory::new(now),
            bus,
            news: Backlog::default(),
            wanted: News::default(),
            sessions: Sessions::default(),
            live: vec![true; shards],
            coordinator: Coordinator::default(),
            client: None,
            inputs: Inputs::default(),
            usage: None,
            quotas: Quotas::default(),
            bindings: Bindings::default(),
            full: vec![false; shards],
            warden: Warden::default(),
            registry: Registry::default(),
        };
        for shard in exchange.shards() {
            exchange.bus.publish(None, None, Kind::ShardStarted { shard: shard.0 });
        }
        exchange
    }

    /// Where what shards tell is published.
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Takes waiting events; true if there may be more.
    pub fn pump(&mut self, now: Instant) -> bool {
        self.want();
        for _ in 0..EVENTS_PER_TURN {
            let Some((shard, event)) = self.fleet.next_event() else {
                self.outbox.flush(&mut self.fleet);
                return false;
            };
            self.event(shard, event, now);
        }
        self.outbox.flush(&mut self.fleet);
        true
    }

    /// Takes a question of the API to the shards.
    pub fn ask(&mut self, ask: Ask, now: Instant) {
        match ask {
            Ask::Snapshot { detail, reply } => self.inquire(detail, Waiter::All(reply), now),
            Ask::Stream { name, reply } => self.look_at(name, reply, now),
            Ask::Session { id, reply } => self.look_for(id, reply, now),
            Ask::Command(ask) => self.command(ask, now),
            Ask::Attached(ask) => self.ask_of_attached(ask, now),
            Ask::Client(ask) => self.ask_of_client(ask, now),
            Ask::Move { stream, to, reply } => {
                let home = self.fleet.home(&stream);
                if let Some(order) = self.moves.order(stream, to, reply, now) {
                    self.moved_at = Some(now);
                    self.tell(home, Command::Move(order));
                }
            }
            // The desk answers those before it asks here: the asker is told that nobody does.
            Ask::Config(_) | Ask::Counts { .. } | Ask::Registry(_) | Ask::Acme(_) => {}
            Ask::Auth(ask) => self.ask_of_gate(ask),
            Ask::Sessions(ask) => self.ask_of_sessions(ask, now),
        }
    }

    /// Does what time alone makes due.
    pub fn tick(&mut self, now: Instant) {
        self.bind(now);
        self.outbox.flush(&mut self.fleet);
        self.news.tell(&self.bus, now);
        while let Some((asker, gathered)) = self.gathers.late(now) {
            self.answer(asker, gathered, now);
        }
        self.surveys.forget(now);
        self.survey(now);
        self.moves.expire(now);
        self.tick_sessions(now);
        self.tick_attached(now);
        self.tick_client(now);
        self.tick_usage(now);
        self.reap(now);
        if self.directory.due().is_some_and(|due| due <= now) {
            self.directory.asked(now);
            self.gather(Asker::Directory, Detail::STREAMS, now);
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = !self.outbox.is_empty() || self.is_telling();
        let retry = waits.then(|| now + RETRY);
        let (gathers, surveys) = (self.gathers.deadline(), self.surveys.deadline());
        let reap = self.registry.due();
        let reap = if self.bus.has_room() { reap } else { reap.map(|due| due.max(now + RETRY)) };
        let (moves, stays) = (self.moves.deadline(), self.gate.due(now));
        let (peers, usage) = (self.coordinator.due(), self.usage_due());
        let client = self.client.as_ref().and_then(Client::due);
        let (directory, sessions) = (self.directory.due(), self.sessions.due());
        let (bindings, unbegun) = (self.bindings.due(), self.gate.unbegun_due());
        let due =
            [moves, peers, client, directory, sessions, stays, reap, usage, bindings, unbegun];
        [retry, gathers, surveys].into_iter().chain(due).flatten().min()
    }

    /// True if more is to be told of players than there is room for.
    pub fn is_telling(&self) -> bool {
        !self.news.is_empty()
    }

    /// Tells `warden` who was refused and turned away.
    pub fn watch_by(&mut self, warden: Warden) {
        self.gate.watch_by(warden.clone());
        self.warden = warden;
    }

    /// What is kept for the coordinator's contract.
    pub const fn coordinator(&mut self) -> &mut Coordinator {
        &mut self.coordinator
    }

    /// Gives every shard its new values.
    pub fn reload(&mut self, reload: &Arc<Reload>) {
        self.tell_all(|| Command::Reload(Arc::clone(reload)));
    }

    /// Has every shard prove itself by `identity` from now on; whoever was let in stays so.
    pub fn renew(&mut self, identity: &Identity) {
        self.tell_all(|| Command::Identity(identity.clone()));
    }

    /// Has every shard answer an authority of certificates with `challenge`, or with nothing.
    pub fn challenge(&mut self, challenge: Option<&Arc<HttpChallenge>>) {
        self.tell_all(|| Command::Challenge(challenge.cloned()));
    }

    /// Tells a shard what its core did lately.
    pub fn core_used(&mut self, shard: ShardId, used: CoreUse) {
        self.tell(shard, Command::CoreUsed(used));
    }

    /// Lets every shard end its sessions, then itself.
    pub fn drain(&mut self) {
        self.tell_all(|| Command::Drain);
    }

    /// Ends every shard now.
    pub fn stop(&mut self) {
        self.tell_all(|| Command::Stop);
    }

    /// What the bridge counts.
    pub fn count(&self, into: &mut Counts) {
        self.coordinator.count(into);
        Client::count(self.client.as_ref(), into);
        self.gate.count(into);
        into.counter(
            "control_commands_dropped_total",
            "Commands that found no room in a shard's mailbox nor before it.",
            self.outbox.dropped,
        );
        into.gauge(
            "control_commands_waiting",
            "Commands that wait for room in a shard's mailbox.",
            self.outbox.waiting() as f64,
        );
    }

    /// Asks every shard how it is, for the desk.
    pub fn look(&mut self, now: Instant) -> oneshot::Receiver<Gathered> {
        let (asker, answer) = oneshot::channel();
        self.gather(Asker::Desk(asker), Detail::NONE, now);
        answer
    }

    /// The shards, for a model of them.
    #[cfg(test)]
    pub(super) const fn fleet_mut(&mut self) -> &mut F {
        &mut self.fleet
    }

    /// Shards that run.
    pub fn live(&self) -> usize {
        self.live.iter().filter(|&&live| live).count()
    }

    /// The shards, to be joined when all are over.
    pub fn into_fleet(self) -> F {
        self.fleet
    }

    /// Tells once that a shard has no room for more players, until it had some again.
    pub(super) fn room(&mut self, shard: ShardId, full: bool) {
        let before = std::mem::replace(&mut self.full[shard.index()], full);
        if full && !before {
            self.bus.publish(None, None, Kind::ShardOverloaded { shard: shard.0 });
        }
    }

    pub(super) fn gather(&mut self, asker: Asker, detail: Detail, now: Instant) {
        match self.gathers.begin(asker, self.shards(), now) {
            Ok(id) => self.tell_all(|| Command::Snapshot { id, detail }),
            Err((asker, missing)) => {
                self.answer(asker, Gathered { missing, ..Gathered::default() }, now);
            }
        }
    }

    pub(super) fn answer(&mut self, asker: Asker, gathered: Gathered, now: Instant) {
        match asker {
            Asker::Api(detail, askers) => self.surveyed(detail, askers, gathered),
            Asker::Directory => {
                if let Some(json) = self.directory.update(&gathered) {
                    self.tell_all(|| Command::Directory(Arc::clone(&json)));
                }
            }
            Asker::Resync => self.resynced(&gathered, now),
            // The desk may have asked anew meanwhile.
            Asker::Desk(asker) => drop(asker.send(gathered)),
        }
    }

    /// The shards that have not stopped.
    pub(super) fn running(&self) -> Vec<ShardId> {
        let mut shards = self.shards();
        shards.retain(|shard| self.live[shard.index()]);
        shards
    }

    pub(super) fn shards(&self) -> Vec<ShardId> {
        let count = u16::try_from(self.live.len()).expect("shards are at most 64");
        (0..count).map(ShardId).collect()
    }

    pub(super) fn tell(&mut self, shard: ShardId, command: Command) {
        if self.live[shard.index()] {
            self.outbox.send(&mut self.fleet, shard, command);
        }
    }

    pub(super) fn tell_all(&mut self, command: impl Fn() -> Command) {
        for shard in self.shards() {
            self.tell(shard, command());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gathered::{SessionSight, Sighting};
    use super::*;
    use std::collections::VecDeque;

    use crate::auth::tests::application;
    use crate::auth::{AuthAsk, Mode};
    use crate::events::{Cursor, RingLimits};
    use crate::outbound::scripted::{Application, Reply};
    use crate::registry::{Change, Difference};
    use crate::viewing::StreamChange;

    use codecs::media::Codec;
    use dataplane::control::{
        AuthorizeRequest, CloseReason, Event, Grant, Intent, MoveOutcome, Protocol, Role,
        SessionEvent, SessionStatus, ShardSnapshot, StreamPublisher, StreamStart, StreamState,
        StreamStatus, Ticket, TrackStatus, Verdict,
    };
    use dataplane::ids::{Secret, SessionId, StreamId};

    use super::super::commands::CommandAsk;

    /// Mailboxes of two shards that the test reads and writes.
    #[derive(Default)]
    struct Boxes {
        events: VecDeque<(ShardId, Event)>,
        sent: Vec<(ShardId, Command)>,
        full: bool,
    }

    impl Fleet for Boxes {
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

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn question(epoch: u32) -> Event {
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

    fn snapshot(shard: u16, id: u64, streams: &[&str]) -> (ShardId, Event) {
        let shard = ShardId(shard);
        let track = TrackStatus {
            id: 0,
            kind: Codec::H264.kind(),
            codec: Codec::H264,
            config: None,
            bps: 0,
        };
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
            logs: Vec::new(),
            bytes_in: 0,
            units_in: 0,
            timestamps_repaired: 0,
        };
        let streams = streams.iter().map(status).collect();
        let snapshot = ShardSnapshot { streams, ..super::super::snapshots::empty(shard, id) };
        (shard, Event::Snapshot(Box::new(snapshot)))
    }

    fn exchange(now: Instant) -> Exchange<Boxes> {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        Exchange::new(Boxes::default(), Rules::default(), bus, now)
    }

    #[test]
    fn every_question_gets_its_verdict_even_through_a_full_mailbox() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        exchange.fleet.full = true;
        for epoch in 0..3 {
            exchange.fleet.events.push_back((ShardId(1), question(epoch)));
        }
        assert!(!exchange.pump(now));
        assert!(exchange.fleet.sent.is_empty());
        assert_eq!(exchange.deadline(now), Some(now), "the directory is due before the retry");
        exchange.fleet.full = false;
        exchange.pump(now);
        let epochs: Vec<_> = exchange
            .fleet
            .sent
            .iter()
            .map(|(shard, command)| match command {
                Command::Verdict { ticket, verdict: Verdict::Allow(grant) } => {
                    assert_eq!((shard.0, grant), (1, &Grant::to(name("one"))));
                    ticket.epoch
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(epochs, [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_late_answer_comes_after_the_doubt_and_counts_for_who_asked_alone() {
        let scripted = Application::start(|_| Reply::status(200, "", ""));
        let rules = Rules {
            play: Mode::Callback.into(),
            application: Some(application(&scripted.url("/"))),
            calls_max: 8,
            cache_entries_max: 8,
            ..Rules::default()
        };
        let (now, bus) = (Instant::now(), Bus::new("edge-1".into(), RingLimits::default()));
        let mut exchange = Exchange::new(Boxes::default(), rules, bus, now);
        let ask = |exchange: &mut Exchange<Boxes>, epoch| {
            exchange.fleet.sent.clear();
            exchange.fleet.events.push_back((ShardId(1), question(epoch)));
            exchange.pump(now);
            exchange.fleet.sent.len()
        };
        assert_eq!(ask(&mut exchange, 0), 0, "the application is asked");
        let (reply, _answer) = oneshot::channel();
        exchange.ask(Ask::Auth(AuthAsk::Forget { reply }), now);
        let landing = exchange.landed().await.unwrap();
        exchange.settle(landing, now);
        let sent = std::mem::take(&mut exchange.fleet.sent);
        // Shards read in this order, and know what they asked before the doubt.
        let [doubts @ .., (ShardId(1), Command::Verdict { ticket, verdict })] = &*sent else {
            panic!("{sent:?}");
        };
        assert!(matches!(verdict, Verdict::Allow(_)) && ticket.epoch == 0, "{verdict:?}");
        let doubted = |(_, command): &(ShardId, Command)| matches!(command, Command::DoubtVerdicts);
        assert!(doubts.len() == 2 && doubts.iter().all(doubted), "{doubts:?}");
        // It is not remembered: who asks next is asked about anew, and that is.
        assert_eq!(ask(&mut exchange, 1), 0);
        let landing = exchange.landed().await.unwrap();
        exchange.settle(landing, now);
        assert_eq!(scripted.seen().len(), 2);
        assert_eq!(ask(&mut exchange, 2), 1, "from memory");
        assert_eq!(scripted.seen().len(), 2);
    }

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
    fn an_encoder_without_room_takes_no_further_publication() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        let section = crate::config::CoordinatorSection {
            enabled: crate::config::Auto::Set(true),
            encoder_capacity: crate::config::Capacity(Some(1)),
            ..crate::config::CoordinatorSection::default()
        };
        let here = crate::coordinator::StreamingServer {
            ip: "192.0.2.1".parse().unwrap(),
            port: 1935,
            ssl: false,
        };
        exchange.coordinator().set_up(&section, here);
        let mut ask = |stream: &str, now| {
            let mut question = question(0);
            if let Event::Authorize { request, .. } = &mut question {
                (request.intent, request.stream) = (Intent::Publish, name(stream));
            }
            exchange.fleet.events.push_back((ShardId(0), question));
            exchange.pump(now);
            match exchange.fleet.sent.pop() {
                Some((_, Command::Verdict { verdict: Verdict::Allow(_), .. })) => "allowed",
                Some((_, Command::Verdict { verdict: Verdict::Deny(denial), .. })) => denial.name(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            (ask("one", now), ask("two", now), ask("one", now)),
            ("allowed", "full", "allowed")
        );
        // Nobody came of those who were let in.
        assert_eq!(ask("two", now + Duration::from_secs(11)), "allowed");
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
        exchange.tick(now + super::super::GATHER_DEADLINE);
        let gathered = answer.try_recv().unwrap();
        assert_eq!(gathered.snapshots.len(), 1);
        assert_eq!(gathered.missing, [ShardId(0)]);
    }

    #[test]
    fn the_directory_goes_out_when_it_changes_and_only_then() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        let refresh = |exchange: &mut Exchange<Boxes>, now, streams: &[&str]| {
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
        assert_eq!(refresh(&mut exchange, now, &[]), [r#"{"streams":[]}"#; 2]);
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
            r#"{{"streams":[{{"name":"a","tracks":{track}}},{{"name":"b","tracks":{track}}}]}}"#
        );
        assert_eq!(refresh(&mut exchange, soon, &["b", "a"]), [listing.as_str(); 2]);
    }

    #[test]
    fn what_shards_tell_is_published() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        let told = |exchange: &Exchange<Boxes>| {
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
            [
                ("stream.lost", 1),
                ("shard.started", 2),
                ("shard.overloaded", 1),
                ("shard.stopped", 1),
            ]
        );
    }

    /// Each event with its stream and the word that tells it from others of its kind.
    fn words(cursor: &mut Cursor) -> Vec<String> {
        let text = |event: &Arc<crate::events::Event>| {
            let json: serde_json::Value = serde_json::from_str(event.json()).unwrap();
            let word =
                ["origin", "url", "reason"].iter().find_map(|key| json["data"][*key].as_str());
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
        let (stream, protocol, peer) =
            (name("cam"), Protocol::Rtmp, "192.0.2.1:5".parse().unwrap());
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
    fn answer_survey(exchange: &mut Exchange<Boxes>, now: Instant, told: [&[&str]; 2]) {
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

    fn start(exchange: &mut Exchange<Boxes>, stream: &str, now: Instant) {
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
        exchange: &mut Exchange<Boxes>,
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

    fn session_word(stream: &str, ended: bool) -> (ShardId, Event) {
        let (session, peer) = (SessionId(7), "192.0.2.1:5".parse().unwrap());
        let (role, protocol) = (Role::Play, Protocol::Rtmp);
        let (stream, agent) = (name(stream), "test".into());
        let word = match ended {
            false => SessionEvent::Started {
                session,
                shard: ShardId(0),
                role,
                protocol,
                tls: false,
                stream,
                peer,
                agent,
                at_ms: 0,
            },
            true => SessionEvent::Ended {
                session,
                role,
                protocol,
                stream,
                peer,
                agent,
                bytes_in: 30,
                bytes_out: 0,
                age_ms: 0,
                reason: CloseReason::PeerClosed,
            },
        };
        (ShardId(0), Event::Session(Box::new(word)))
    }

    fn session_status(id: u64, stream: Option<&str>, bytes_in: u64) -> SessionStatus {
        SessionStatus {
            id: SessionId(id),
            shard: ShardId(0),
            protocol: Protocol::Rtmp,
            role: stream.map(|_| Role::Play),
            stream: stream.map(name),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "test".into(),
            tls: None,
            state: "playing",
            age_ms: 0,
            started: None,
            bytes_in,
            bytes_out: 0,
            jumps: 0,
        }
    }

    /// What is told of session `id` at once: a word, and the bytes of figures.
    fn sight(exchange: &mut Exchange<Boxes>, id: u64, now: Instant) -> Option<(&'static str, u64)> {
        let (reply, mut answer) = oneshot::channel();
        exchange.ask(Ask::Session { id: SessionId(id), reply }, now);
        answer.try_recv().ok().map(word)
    }

    fn word(sight: SessionSight) -> (&'static str, u64) {
        match sight {
            SessionSight::Told { id, gathered } => ("told", gathered.session(id).unwrap().bytes_in),
            SessionSight::Began { .. } => ("began", 0),
            SessionSight::Closed(closed) => ("closed", closed.bytes_in),
            SessionSight::Unknown => ("unknown", 0),
        }
    }

    #[test]
    fn one_session_is_told_from_what_is_known_unless_a_look_is_cheap() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        exchange.fleet.events.push_back(session_word("a", false));
        // Shards may be asked: that is waited for.
        let (reply, mut answer) = oneshot::channel();
        exchange.ask(Ask::Session { id: SessionId(7), reply }, now);
        assert!(answer.try_recv().is_err());
        let told = |exchange: &mut Exchange<Boxes>, sessions: Vec<SessionStatus>, shards, now| {
            let asked = exchange.fleet.sent.drain(..).find_map(|(_, command)| match command {
                Command::Snapshot { id, detail: Detail::SESSIONS } => Some(id),
                _ => None,
            });
            let id = asked.expect("they are asked");
            for shard in shards {
                let (shard, mut event) = snapshot(shard, id, &[]);
                if let Event::Snapshot(snapshot) = &mut event
                    && shard == ShardId(0)
                {
                    snapshot.sessions.clone_from(&sessions);
                }
                exchange.fleet.events.push_back((shard, event));
            }
            exchange.pump(now);
        };
        let sessions = vec![session_status(7, Some("a"), 10), session_status(8, None, 3)];
        told(&mut exchange, sessions, vec![0, 1], now);
        assert_eq!(answer.try_recv().map(word), Ok(("told", 10)));
        // It does another thing now, and no shard may be asked so soon.
        for event in [session_word("a", true), session_word("b", false)] {
            exchange.fleet.events.push_back(event);
        }
        let soon = now + Duration::from_millis(100);
        assert_eq!(sight(&mut exchange, 7, soon), Some(("began", 0)));
        exchange.fleet.events.push_back(session_word("b", true));
        assert_eq!(sight(&mut exchange, 7, soon), Some(("closed", 30)));
        assert!(exchange.fleet.sent.is_empty(), "nobody was asked");
        // Of one that only waits no shard tells by itself.
        assert_eq!(sight(&mut exchange, 8, soon), None);
        // A shard that is silent holds up nobody who plays.
        exchange.fleet.events.push_back(session_word("a", false));
        let later = now + Duration::from_millis(300);
        exchange.tick(later);
        told(&mut exchange, Vec::new(), vec![1], later);
        let (reply, mut answer) = oneshot::channel();
        exchange.ask(Ask::Session { id: SessionId(7), reply }, later);
        assert_eq!(answer.try_recv().map(word), Ok(("told", 10)), "as it was seen last");
        let late = later + super::super::GATHER_DEADLINE;
        exchange.tick(late);
        let (reply, mut answer) = oneshot::channel();
        exchange.ask(Ask::Session { id: SessionId(7), reply }, late);
        exchange.tick(late + super::super::GATHER_DEADLINE);
        assert_eq!(answer.try_recv().map(word), Ok(("began", 0)), "it is there all the same");
    }

    #[test]
    fn a_stream_that_moves_while_shards_are_asked_is_told_of_once() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        let list = |exchange: &mut Exchange<Boxes>, now, told| {
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
}
