//! Attached: what streaming servers and encoders want that have this node as their coordinator.
//!
//! A publisher of a server is judged on the one way to a verdict, as one of this node is; there is
//! no shard that waits for the answer, so it goes by a number that no shard has.

use std::net::SocketAddr;
use std::time::Instant;

use dataplane::config::ListenerNumber;
use dataplane::control::{
    AuthorizeRequest, CloseReason, Command, Intent, Protocol, ProtocolSet, Role as Direction,
    Ticket, Verdict,
};
use dataplane::ids::{Secret, SessionId, ShardId, StreamId, StreamName};
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::coordinator::Order;
use crate::coordinator::attached::{Link, PeerId, PeerReport, Question};
use crate::coordinator::wire::{Message, Role, Whereabouts};
use crate::events::Kind;
use crate::viewing::SessionsAsk;

/// Who asks for a publisher of an attached server.
pub(super) const ATTACHED: ShardId = ShardId(u16::MAX);

/// What a peer, or whoever asks for them, wants.
#[derive(Debug)]
pub enum AttachedAsk {
    /// One comes.
    Attach {
        /// What it is.
        role: Role,
        /// Where it is.
        at: Whereabouts,
        /// Where its messages go.
        link: Link,
        /// Takes its number, unless there are too many.
        reply: oneshot::Sender<Option<PeerId>>,
    },
    /// It says something.
    Heard {
        /// Who.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// It is gone.
    Left {
        /// Who.
        peer: PeerId,
        /// Why, in a word.
        reason: &'static str,
    },
    /// Who is attached?
    List {
        /// Takes them, by number.
        reply: oneshot::Sender<Vec<PeerReport>>,
    },
}

impl<F: Fleet> Exchange<F> {
    /// Does what a peer wants.
    pub(super) fn ask_of_attached(&mut self, ask: AttachedAsk, now: Instant) {
        match ask {
            AttachedAsk::Attach { role, at, link, reply } => {
                let number = self.coordinator.attach(role, at, link, now);
                if let Some(peer) = number {
                    tracing::info!(%peer, role = role.name(), "a peer of the coordinator came");
                    let address = SocketAddr::new(at.ip, at.port).to_string();
                    let (peer, role) = (peer.0, role.name());
                    self.bus.publish(None, None, Kind::CoordinatorAttached { peer, role, address });
                }
                // Who does not wait any more has dropped his end of the link, which is noticed.
                let _ = reply.send(number);
            }
            AttachedAsk::Heard { peer, message } => {
                if let Some(question) = self.coordinator.hear(peer, message, now) {
                    self.judge_publisher(&question, now);
                }
            }
            AttachedAsk::Left { peer, reason } => self.coordinator.lost(peer, reason, now),
            AttachedAsk::List { reply } => drop(reply.send(self.coordinator.peers(now))),
        }
        self.obey(now);
    }

    /// The verdict on a publisher of an attached server.
    pub(super) fn publisher_judged(&mut self, ticket: Ticket, verdict: Verdict, now: Instant) {
        let granted = match verdict {
            Verdict::Allow(grant) => grant.id.map(|id| {
                let policies = self.gate.policies_mut();
                // What was granted is taken at once: no shard tells of this publication.
                policies.published(&grant.stream, SessionId::new(ATTACHED, ticket.epoch.into()));
                let policy = policies.of(&grant.stream).map(|policy| policy.as_ref().clone());
                if !self.coordinator.channels().is_live(&grant.stream) {
                    policies.ended(&grant.stream);
                }
                (grant.stream, id, policy.unwrap_or_default())
            }),
            Verdict::Deny(_) | Verdict::Elsewhere(_) => None,
        };
        self.coordinator.answered(ticket.epoch, granted, now);
        self.obey(now);
    }

    /// Does what time makes due for peers.
    pub(super) fn tick_attached(&mut self, now: Instant) {
        self.coordinator.tick(now);
        self.obey(now);
    }

    /// Sends away who publishes `stream`: the publication, or whichever there is.
    pub(super) fn kick_publisher(&mut self, stream: &StreamName, publication: Option<StreamId>) {
        self.tell_all(|| Command::KickStream {
            stream: stream.clone(),
            publication,
            role: Some(Direction::Publish),
            protocols: ProtocolSet::ALL,
            reason: CloseReason::Kicked,
        });
    }

    /// Does what is left to be done for what peers did.
    pub(super) fn obey(&mut self, now: Instant) {
        for order in self.coordinator.orders() {
            match order {
                Order::Kick(stream, id) => {
                    tracing::info!(%stream, %id, "its encoder is done: the publisher has to go");
                    self.kick_publisher(&stream, Some(id));
                }
                Order::Pull(pulled) => {
                    let (stream, id) = (&pulled.channel, pulled.id);
                    tracing::info!(%stream, %id, "the encoder of this node pulls it");
                    self.pull_publication(pulled, now);
                }
                Order::Unpull(stream, id) => self.leave_publication(&stream, id, now),
                Order::Sever(session) => {
                    // Nobody waits for the outcome: whoever is gone already is.
                    let (reply, _) = oneshot::channel();
                    self.ask_of_sessions(SessionsAsk::Kick { session, reply }, now);
                }
                Order::Lost(peer, role, reason) => {
                    let (peer, role) = (peer.0, role.name());
                    self.bus.publish(None, None, Kind::CoordinatorLost { peer, role, reason });
                }
            }
        }
    }

    fn judge_publisher(&mut self, question: &Question, now: Instant) {
        let Question { number, server, role, at, channel, key, user } = question;
        let ticket = Ticket { slot: 0, generation: 0, epoch: *number };
        let request = AuthorizeRequest {
            session: SessionId::new(ATTACHED, u64::from(*number)),
            intent: Intent::Publish,
            protocol: Protocol::Rtmp,
            tls: at.ssl,
            stream: channel.clone(),
            key: key.clone(),
            login: Secret::default(),
            query: Secret::default(),
            url: at.uri(*role, channel.as_str(), "").0.into(),
            referer: None,
            peer: SocketAddr::new(*user, 0),
            local: SocketAddr::new(at.ip, at.port),
            listener: ListenerNumber(u8::MAX),
            agent: format!("streaming server {server}").into(),
            since: None,
        };
        self.authorize(ATTACHED, ticket, Box::new(request), now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dataplane::control::{Event, StreamStart};
    use dataplane::rates::address_of;
    use tokio::sync::mpsc;

    use super::super::one_shard::OneShard;
    use super::*;
    use crate::auth::{Mode, Modes, Rules};
    use crate::bridge::Ask;
    use crate::config::{CoordinatorSection, load};
    use crate::coordinator::StreamingServer;
    use crate::events::{Bus, Cursor, RingLimits};
    use crate::penalties::{PenaltyRules, Warden};

    struct Bench {
        exchange: Exchange<OneShard>,
        cursor: Cursor,
        now: Instant,
    }

    type Orders = mpsc::Receiver<Message>;

    impl Bench {
        /// A node whose players show the key of their publisher, and which lets everybody publish.
        fn new() -> Self {
            Self::of(CoordinatorSection::default())
        }

        /// The same, with what a section says of peers.
        fn of(section: CoordinatorSection) -> Self {
            let bus = Bus::new("edge-1".into(), RingLimits::default());
            let (cursor, now) = (bus.cursor(), Instant::now());
            let rules = Rules {
                play: Modes::only(Mode::Coordinator),
                id_bytes_max: 64,
                ..Rules::default()
            };
            let mut exchange = Exchange::new(OneShard::default(), rules, bus, now);
            let control_secret = Secret("hush".to_owned());
            let section = CoordinatorSection { control_secret, ..section };
            let here = StreamingServer { ip: "192.0.2.1".parse().unwrap(), port: 1935, ssl: false };
            exchange.coordinator().set_up(&section, here);
            Self { exchange, cursor, now }
        }

        fn attach(&mut self, role: Role) -> (PeerId, Orders) {
            let (link, orders) = mpsc::channel(8);
            let at = Whereabouts { ip: "192.0.2.7".parse().unwrap(), port: 1936, ssl: false };
            let (reply, mut answer) = oneshot::channel();
            self.ask(AttachedAsk::Attach { role, at, link, reply });
            (answer.try_recv().unwrap().unwrap(), orders)
        }

        fn encoder(&mut self) -> (PeerId, Orders) {
            let (peer, orders) = self.attach(Role::Hls);
            self.says(peer, Message::Register { capacity: None });
            (peer, orders)
        }

        fn says(&mut self, peer: PeerId, message: Message) {
            self.ask(AttachedAsk::Heard { peer, message });
        }

        fn publishes(&mut self, server: PeerId, channel: &str) {
            self.publishes_for(server, channel, ("k1", "203.0.113.9"));
        }

        fn publishes_for(&mut self, server: PeerId, channel: &str, (key, user): (&str, &str)) {
            let (request, channel) = ("1".to_owned(), channel.to_owned());
            let (key, user_ip) = (Secret(key.to_owned()), user.to_owned());
            self.says(server, Message::PublishRequest { request, channel, key, user_ip });
        }

        fn ask(&mut self, ask: AttachedAsk) {
            self.exchange.ask(Ask::Attached(ask), self.now);
        }

        fn told(&mut self, event: Event) -> Vec<Command> {
            self.exchange.fleet.events.push_back(event);
            self.exchange.pump(self.now);
            std::mem::take(&mut self.exchange.fleet.heard)
        }

        /// A publisher of this node begins.
        fn begins(&mut self, channel: &str, id: StreamId) {
            let (stream, id) = (name(channel), Some(id));
            let start = StreamStart { stream, id, protocol: Protocol::Rtmp, publisher: None };
            self.told(Event::StreamStarted(Box::new(start)));
        }

        /// A publisher or player of this node asks; the verdict.
        fn judged(&mut self, intent: Intent, channel: &str, key: &str) -> Verdict {
            let request = AuthorizeRequest {
                session: SessionId(7),
                intent,
                protocol: Protocol::Rtmp,
                tls: false,
                stream: name(channel),
                key: Secret(key.to_owned()),
                login: Secret::default(),
                query: Secret::default(),
                url: "rtmp://h/".into(),
                referer: None,
                peer: "192.0.2.9:5".parse().unwrap(),
                local: "192.0.2.1:1935".parse().unwrap(),
                listener: ListenerNumber(0),
                agent: "test".into(),
                since: None,
            };
            let ticket = Ticket { slot: 1, generation: 1, epoch: 1 };
            let heard = self.told(Event::Authorize { ticket, request: Box::new(request) });
            match heard.into_iter().next_back() {
                Some(Command::Verdict { verdict, .. }) => verdict,
                other => panic!("{other:?}"),
            }
        }

        /// Each event since the last look, with its data.
        fn events(&mut self) -> Vec<(String, serde_json::Value)> {
            let read = self.cursor.read(99).events;
            let event = |event: &std::sync::Arc<crate::events::Event>| {
                let json: serde_json::Value = serde_json::from_str(event.json()).unwrap();
                (event.kind().name().to_owned(), json["data"].clone())
            };
            read.iter().map(event).collect()
        }
    }

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    #[test]
    fn who_comes_and_goes_is_told() {
        let mut bench = Bench::new();
        bench.events();
        let (peer, _orders) = bench.attach(Role::Wss);
        bench.ask(AttachedAsk::Left { peer, reason: "silent" });
        bench.ask(AttachedAsk::Left { peer, reason: "closed" });
        let told = bench.events();
        assert_eq!(
            told,
            [
                (
                    "coordinator.attached".to_owned(),
                    serde_json::json!({ "peer": 2, "role": "wss", "address": "192.0.2.7:1936" }),
                ),
                (
                    "coordinator.lost".to_owned(),
                    serde_json::json!({ "peer": 2, "role": "wss", "reason": "silent" }),
                ),
            ]
        );
        // Who did not wait for his number has nobody behind his link.
        let (_, orders) = bench.attach(Role::Rtmp);
        drop(orders);
        bench.events();
        bench.exchange.tick(bench.now);
        let told = bench.events();
        assert_eq!((told.len(), told[0].1["reason"].as_str()), (1, Some("closed")));
    }

    #[test]
    fn a_publisher_of_a_server_is_judged_on_the_one_way_and_has_his_channel_alone() {
        let mut bench = Bench::new();
        let (server, mut answers) = bench.attach(Role::Rtmp);
        let denied = |answer| matches!(answer, Ok(Message::PublishDeny { .. }));
        let (by_websocket, mut refusals) = bench.attach(Role::Wss);
        bench.publishes(by_websocket, "cam7");
        assert!(denied(refusals.try_recv()), "there is no encoder");
        let (encoder, mut tasks) = bench.encoder();
        bench.begins("cam8", StreamId([8; 16]));
        assert!(matches!(tasks.try_recv(), Ok(Message::EncodeStart(_))));
        bench.publishes(server, "cam8");
        assert!(denied(answers.try_recv()), "it is on the air here");
        bench.events();
        bench.publishes(server, "cam7");
        let Ok(Message::PublishAccept { id, .. }) = answers.try_recv() else { panic!("he may") };
        let Ok(Message::EncodeStart(task)) = tasks.try_recv() else { panic!("it is encoded") };
        assert_eq!((task.id, task.uri.0.as_str()), (id.clone(), "rtmp://192.0.2.7:1936/cam7/k1"));
        let (kind, asked) = bench.events().remove(0);
        assert_eq!(
            (kind.as_str(), asked["asked"]["peer"].as_str()),
            ("authorisation.allowed", Some("203.0.113.9:0"))
        );
        assert!(matches!(bench.judged(Intent::Publish, "cam7", "k1"), Verdict::Deny(_)));
        // Its server ends it, and the channel is free for everybody.
        let channel = "cam7".to_owned();
        bench.says(server, Message::PublishEnd { channel, id });
        assert!(matches!(bench.judged(Intent::Publish, "cam7", "k1"), Verdict::Allow(_)));
        bench.ask(AttachedAsk::Left { peer: encoder, reason: "closed" });
        let (reply, mut list) = oneshot::channel();
        bench.ask(AttachedAsk::List { reply });
        assert_eq!(list.try_recv().unwrap().len(), 2);
    }

    #[test]
    fn what_nobody_can_play_is_ended_after_the_lease_that_is_configured() {
        let env = [("GRANDSTAND_COORDINATOR__LEASE_MS".to_owned(), "7000".to_owned())];
        let mut bench = Bench::of(load(None, env).unwrap().settings.coordinator);
        let (server, mut answers) = bench.attach(Role::Rtmp);
        let (_encoder, _tasks) = bench.encoder();
        bench.publishes(server, "cam7");
        assert!(matches!(answers.try_recv(), Ok(Message::PublishAccept { .. })));
        for (passes_ms, killed) in [(6_999, false), (1, true)] {
            bench.now += Duration::from_millis(passes_ms);
            bench.exchange.tick(bench.now);
            let told = answers.try_recv();
            assert_eq!(matches!(told, Ok(Message::StreamKill { .. })), killed, "{told:?}");
        }
    }

    #[test]
    fn a_publisher_of_a_server_who_has_a_penalty_is_denied_until_it_ends() {
        let mut bench = Bench::new();
        let (server, mut answers) = bench.attach(Role::Rtmp);
        let (_encoder, _tasks) = bench.encoder();
        let (warden, user) = (Warden::default(), [203, 0, 113, 9].into());
        bench.exchange.watch_by(warden.clone());
        for guess in 0..PenaltyRules::default().guesses_max {
            warden.api_failed(user, (guess, "api_token"), "control", bench.now);
        }
        bench.publishes(server, "cam7");
        assert!(matches!(answers.try_recv(), Ok(Message::PublishDeny { .. })));
        // It is a verdict like any other one, and no call of the API.
        let verdicts = bench.exchange.gate.standing().verdicts;
        assert!(verdicts.contains(&(Intent::Publish, "denied", 1)), "{verdicts:?}");
        let told = bench.events();
        assert!(told.iter().any(|(name, _)| name == "authorisation.denied"), "{told:?}");
        assert!(warden.lift(&address_of(user), bench.now));
        bench.publishes(server, "cam7");
        assert!(matches!(answers.try_recv(), Ok(Message::PublishAccept { .. })));
    }

    #[test]
    fn a_user_whom_his_server_does_not_name_shuts_out_nobody() {
        let mut bench = Bench::new();
        let (server, mut answers) = bench.attach(Role::Rtmp);
        let rules =
            Rules { publish: Modes::only(Mode::Keys), id_bytes_max: 64, ..Rules::default() };
        bench.exchange.set_rules(rules, bench.now);
        let (_encoder, _tasks) = bench.encoder();
        let warden = Warden::default();
        bench.exchange.watch_by(warden.clone());
        // Two that are taken for one are forgiven, which half of their bits make likely.
        let guesses = PenaltyRules::default().guesses_max + 20;
        for (user, penalties) in [("", 0), ("unknown", 0), ("203.0.113.9", 1)] {
            for guess in 0..guesses {
                bench.publishes_for(server, "cam7", (&format!("guess{guess}"), user));
                assert!(matches!(answers.try_recv(), Ok(Message::PublishDeny { .. })));
            }
            assert_eq!(warden.penalties(bench.now).len(), penalties, "{user}");
        }
    }

    #[test]
    fn an_encoder_plays_what_it_was_given_and_its_end_is_that_of_the_publisher() {
        let mut bench = Bench::new();
        let (encoder, mut tasks) = bench.encoder();
        let (one, two) = (StreamId([1; 16]), StreamId([2; 16]));
        bench.begins("cam7", one);
        bench.begins("cam8", two);
        let Ok(Message::EncodeStart(task)) = tasks.try_recv() else { panic!("it is encoded") };
        let pass = task.uri.0.rsplit_once('/').unwrap().1.to_owned();
        for (channel, key, same_key) in
            [("cam7", pass.as_str(), false), ("cam8", &pass, true), ("cam7", "guess", true)]
        {
            let verdict = bench.judged(Intent::Play, channel, key);
            let Verdict::Allow(grant) = verdict else { panic!("{verdict:?}") };
            // An encoder is no player of its stream.
            let known = (grant.same_key, grant.internal);
            assert_eq!(known, (same_key, !same_key), "{channel} {key}");
        }
        let channel = "cam7".to_owned();
        bench.says(encoder, Message::StreamClosed { channel, id: one.to_string() });
        bench.exchange.pump(bench.now);
        let heard = std::mem::take(&mut bench.exchange.fleet.heard);
        let kicked = heard.iter().filter_map(|command| match command {
            Command::KickStream { stream, publication, .. } => Some((stream.clone(), *publication)),
            _ => None,
        });
        assert_eq!(kicked.collect::<Vec<_>>(), [(name("cam7"), Some(one))]);
        let its = |command: &Command| {
            matches!(command, Command::Kick { session: SessionId(7), reason: CloseReason::Kicked })
        };
        assert!(heard.iter().any(its), "what it pulled by ends with its task");
    }
}
