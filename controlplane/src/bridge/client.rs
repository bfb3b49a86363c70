//! Client: what follows from this node being a streaming server of another coordinator.

use std::time::Instant;

use dataplane::control::PublishRefusal;
use dataplane::ids::{SessionId, StreamName};
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::coordinator::attached::Link;
use crate::coordinator::client::{Client, LinkState, Publisher, Standing, Terms};
use crate::coordinator::wire::Message;
use crate::events::Kind;

/// What the link to the coordinator, or whoever asks for it, wants.
#[derive(Debug)]
pub enum ClientAsk {
    /// It is there.
    Connected {
        /// Where messages go.
        link: Link,
    },
    /// The coordinator says something.
    Heard {
        /// What.
        message: Message,
    },
    /// It is over, or could not be had.
    Lost {
        /// Why, in a word.
        reason: &'static str,
    },
    /// How is it?
    Standing {
        /// Takes it; nothing of a node that is no client.
        reply: oneshot::Sender<Option<Standing>>,
    },
}

impl<F: Fleet> Exchange<F> {
    /// This node is a server of another coordinator from now on.
    pub fn be_client(&mut self, base: String, terms: Terms, now: Instant) {
        self.client = Some(Client::new(base, terms, now));
    }

    /// The coordinator hears no more of this node, once all that was said is sent.
    pub fn leave_coordinator(&mut self, now: Instant) {
        if let Some(client) = &mut self.client {
            client.leave(now);
        }
    }

    pub(super) fn ask_of_client(&mut self, ask: ClientAsk, now: Instant) {
        if let ClientAsk::Standing { reply } = ask {
            // The request may be gone: then nobody misses the answer.
            let standing = self.client.as_ref().map(|client| client.standing(now));
            return drop(reply.send(standing));
        }
        let Some(client) = &mut self.client else { return };
        match ask {
            ClientAsk::Connected { link } => {
                tracing::info!("the coordinator is there");
                client.connected(link, now);
            }
            ClientAsk::Heard { message } => client.hear(message, now),
            ClientAsk::Lost { reason } => client.lost(reason, now),
            ClientAsk::Standing { .. } => {}
        }
        self.obey_coordinator();
    }

    /// Asks the coordinator about a publisher.
    pub(super) fn run_errand(&mut self, publisher: Publisher, now: Instant) {
        // Without a coordinator the answer is that it is away.
        let Some(client) = &mut self.client else { return };
        client.ask(publisher, now);
        self.obey_coordinator();
    }

    /// `session` publishes a stream from now on.
    pub(super) fn tell_began(&mut self, stream: &StreamName, session: SessionId, now: Instant) {
        if let Some(client) = &mut self.client {
            client.began(stream, session, now);
            self.obey_coordinator();
        }
    }

    /// A stream is over.
    pub(super) fn tell_over(&mut self, stream: &StreamName, now: Instant) {
        if let Some(client) = &mut self.client {
            client.over(stream, now);
            self.obey_coordinator();
        }
    }

    /// Who wanted to publish was refused.
    pub(super) fn tell_refused(&mut self, refusal: &PublishRefusal, now: Instant) {
        if let Some(client) = &mut self.client {
            client.refused(&refusal.stream, refusal.publisher.session, now);
            self.obey_coordinator();
        }
    }

    pub(super) fn tick_client(&mut self, now: Instant) {
        if let Some(client) = &mut self.client {
            client.tick(now);
            self.obey_coordinator();
        }
    }

    /// Does what the client wants done, and tells what became of its link.
    fn obey_coordinator(&mut self) {
        let Some(client) = &mut self.client else { return };
        let (changes, orders) = (client.changes(), client.orders());
        for change in changes {
            let kind = match change {
                LinkState::Connected => Kind::CoordinatorConnected {},
                LinkState::Away(reason) => Kind::CoordinatorDisconnected { reason },
            };
            self.bus.publish(None, None, kind);
        }
        for stream in orders {
            self.kick_publisher(&stream, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use dataplane::config::ListenerNumber;
    use dataplane::control::{
        AuthorizeRequest, CloseReason, Command, Event, Intent, Protocol, StreamPublisher,
        StreamStart, Ticket, Verdict,
    };
    use dataplane::ids::{Secret, StreamId};
    use tokio::sync::mpsc;

    use super::super::one_shard::OneShard;
    use super::*;
    use crate::auth::{Mode, Modes, Rules};
    use crate::bridge::{Ask, AttachedAsk};
    use crate::config::CoordinatorSection;
    use crate::coordinator::StreamingServer;
    use crate::coordinator::attached::{LINK_MAX, PeerId};
    use crate::coordinator::wire::{Role, Whereabouts};
    use crate::events::{Bus, Cursor, RingLimits};

    /// A node that is a server of another node, and a link between both that carries texts.
    struct Pair {
        edge: Exchange<OneShard>,
        events: Cursor,
        coordinator: Exchange<OneShard>,
        link: Option<Wire>,
        tasks: mpsc::Receiver<Message>,
        encoder: PeerId,
        now: Instant,
    }

    /// Both ends of the link.
    struct Wire {
        peer: PeerId,
        from_edge: mpsc::Receiver<Message>,
        from_coordinator: mpsc::Receiver<Message>,
    }

    fn exchange(rules: Rules, now: Instant) -> (Exchange<OneShard>, Cursor) {
        let bus = Bus::new("node".into(), RingLimits::default());
        let events = bus.cursor();
        (Exchange::new(OneShard::default(), rules, bus, now), events)
    }

    fn attach(
        coordinator: &mut Exchange<OneShard>,
        role: Role,
        now: Instant,
    ) -> (PeerId, mpsc::Receiver<Message>) {
        let (link, orders) = mpsc::channel(LINK_MAX);
        let at = Whereabouts { ip: "192.0.2.7".parse().unwrap(), port: 1936, ssl: false };
        let (reply, mut answer) = oneshot::channel();
        let attach = AttachedAsk::Attach { role, at, link, reply };
        coordinator.ask(Ask::Attached(attach), now);
        (answer.try_recv().unwrap().unwrap(), orders)
    }

    impl Pair {
        fn new() -> Self {
            let now = Instant::now();
            let only = Modes::only(Mode::Coordinator);
            let rules = Rules {
                publish: only,
                play: only,
                follows: true,
                id_bytes_max: 64,
                calls_max: 16,
                key_request: std::time::Duration::from_secs(60),
                ..Rules::default()
            };
            let (mut edge, events) = exchange(rules, now);
            edge.be_client("ws://c.example".to_owned(), Terms::default(), now);
            let rules = Rules { id_bytes_max: 64, ..Rules::default() };
            let (mut coordinator, _) = exchange(rules, now);
            let section = CoordinatorSection {
                control_secret: Secret("hush".to_owned()),
                ..CoordinatorSection::default()
            };
            let here = StreamingServer { ip: "192.0.2.1".parse().unwrap(), port: 1935, ssl: false };
            coordinator.coordinator().set_up(&section, here);
            let (encoder, tasks) = attach(&mut coordinator, Role::Hls, now);
            let message = Message::Register { capacity: None };
            let register = AttachedAsk::Heard { peer: encoder, message };
            coordinator.ask(Ask::Attached(register), now);
            let mut pair = Self { edge, events, coordinator, link: None, tasks, encoder, now };
            pair.connects();
            pair
        }

        fn connects(&mut self) {
            let (peer, from_coordinator) = attach(&mut self.coordinator, Role::Rtmp, self.now);
            let (link, from_edge) = mpsc::channel(LINK_MAX);
            self.edge.ask(Ask::Client(ClientAsk::Connected { link }), self.now);
            self.link = Some(Wire { peer, from_edge, from_coordinator });
            self.talk();
        }

        fn breaks(&mut self) {
            let peer = self.link.take().unwrap().peer;
            let left = AttachedAsk::Left { peer, reason: "connection_lost" };
            self.coordinator.ask(Ask::Attached(left), self.now);
            let lost = ClientAsk::Lost { reason: "connection_lost" };
            self.edge.ask(Ask::Client(lost), self.now);
        }

        /// Carries what both sides say until neither says any more.
        fn talk(&mut self) {
            let again = |message: &Message| Message::parse(&message.to_text()).unwrap();
            while let Some(link) = &mut self.link {
                if let Ok(message) = link.from_edge.try_recv() {
                    let heard = AttachedAsk::Heard { peer: link.peer, message: again(&message) };
                    self.coordinator.ask(Ask::Attached(heard), self.now);
                } else if let Ok(message) = link.from_coordinator.try_recv() {
                    let heard = ClientAsk::Heard { message: again(&message) };
                    self.edge.ask(Ask::Client(heard), self.now);
                } else {
                    return;
                }
            }
        }

        fn told(&mut self, event: Event) -> Vec<Command> {
            self.edge.fleet.events.push_back(event);
            self.edge.pump(self.now);
            self.talk();
            self.commands()
        }

        fn commands(&mut self) -> Vec<Command> {
            self.edge.pump(self.now);
            std::mem::take(&mut self.edge.fleet.heard)
        }

        /// A publisher asks; the verdict.
        async fn asks(&mut self, session: u64, channel: &str) -> Verdict {
            let request = AuthorizeRequest {
                session: SessionId(session),
                intent: Intent::Publish,
                protocol: Protocol::Rtmp,
                tls: false,
                stream: name(channel),
                key: Secret("k1".to_owned()),
                login: Secret::default(),
                query: Secret::default(),
                url: "rtmp://h/".into(),
                referer: None,
                peer: "203.0.113.9:5".parse().unwrap(),
                local: "192.0.2.7:1936".parse().unwrap(),
                listener: ListenerNumber(0),
                agent: "test".into(),
                since: None,
            };
            let ticket = Ticket { slot: 1, generation: 1, epoch: 1 };
            self.told(Event::Authorize { ticket, request: Box::new(request) });
            let landing = self.edge.landed().await.unwrap();
            self.edge.settle(landing, self.now);
            match self.commands().pop() {
                Some(Command::Verdict { verdict, .. }) => verdict,
                other => panic!("{other:?}"),
            }
        }

        /// He asks, may, and begins; his number.
        async fn publishes(&mut self, session: u64, channel: &str) -> StreamId {
            let Verdict::Allow(grant) = self.asks(session, channel).await else {
                panic!("he may");
            };
            let publisher = StreamPublisher {
                session: SessionId(session),
                peer: "203.0.113.9:5".parse().unwrap(),
                agent: "test".into(),
            };
            let (stream, id, protocol) = (grant.stream, grant.id, Protocol::Rtmp);
            let start = StreamStart { stream, id, protocol, publisher: Some(publisher) };
            self.told(Event::StreamStarted(Box::new(start)));
            id.unwrap()
        }

        fn ends(&mut self, channel: &str, id: StreamId) {
            let (stream, reason) = (name(channel), CloseReason::PeerClosed);
            self.told(Event::StreamEnded { stream, id: Some(id), reason });
        }

        /// What the encoder was told since the last look.
        fn tasks(&mut self) -> Vec<String> {
            let mut tasks = Vec::new();
            while let Ok(task) = self.tasks.try_recv() {
                tasks.push(match task {
                    Message::EncodeStart(task) => format!("start {}", task.uri.0),
                    Message::EncodeStop { channel, .. } => format!("stop {channel}"),
                    other => format!("{other:?}"),
                });
            }
            tasks
        }

        fn encoder_says(&mut self, message: Message) {
            let heard = AttachedAsk::Heard { peer: self.encoder, message };
            self.coordinator.ask(Ask::Attached(heard), self.now);
            self.talk();
        }
    }

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn is_kick(command: &Command, channel: &str) -> bool {
        matches!(command, Command::KickStream { stream, role: Some(_), .. }
            if *stream == name(channel))
    }

    #[tokio::test]
    async fn another_node_lets_in_numbers_and_ends_what_is_published_here() {
        let mut pair = Pair::new();
        let id = pair.publishes(7, "cam7").await;
        let Message::EncodeStart(task) = pair.tasks.try_recv().unwrap() else { panic!("a task") };
        assert_eq!(
            (task.id, task.uri.0.as_str()),
            (id.to_string(), "rtmp://192.0.2.7:1936/cam7/k1")
        );
        // The task ends by itself: the publisher has to go, and the channel is free again.
        let (channel, id_text) = ("cam7".to_owned(), id.to_string());
        pair.encoder_says(Message::StreamClosed { channel, id: id_text });
        assert!(pair.commands().iter().any(|command| is_kick(command, "cam7")));
        pair.ends("cam7", id);
        let again = pair.publishes(8, "cam7").await;
        assert_ne!(again, id);
        pair.ends("cam7", again);
        assert_eq!(pair.tasks(), ["start rtmp://192.0.2.7:1936/cam7/k1", "stop cam7"]);
    }

    /// Who notices first does not matter: the loop, somebody who is asked about, or the link's
    /// task.
    #[tokio::test]
    async fn a_loss_is_told_whoever_notices_it() {
        let reasons = |pair: &mut Pair| {
            let events = pair.events.read(99).events;
            let told = events.iter().filter_map(|event| match event.kind() {
                Kind::CoordinatorConnected {} => Some("connected"),
                Kind::CoordinatorDisconnected { reason } => Some(*reason),
                _ => None,
            });
            told.collect::<Vec<_>>()
        };
        let mut pair = Pair::new();
        assert_eq!(reasons(&mut pair), ["connected"]);
        let lost = |pair: &mut Pair, reason| {
            pair.edge.ask(Ask::Client(ClientAsk::Lost { reason }), pair.now);
        };
        // The loop finds the link closed before its task says so.
        drop(pair.link.take());
        pair.edge.tick_client(pair.now);
        lost(&mut pair, "connection_lost");
        assert_eq!(reasons(&mut pair), ["closed"]);
        // There is no room for the end of one that is over.
        let (link, _full) = mpsc::channel(1);
        link.try_send(Message::Heartbeat).unwrap();
        pair.edge.ask(Ask::Client(ClientAsk::Connected { link }), pair.now);
        let kill = Message::StreamKill { channel: "cam9".to_owned(), id: String::new() };
        pair.edge.ask(Ask::Client(ClientAsk::Heard { message: kill }), pair.now);
        lost(&mut pair, "dismissed");
        assert_eq!(reasons(&mut pair), ["connected", "stuck"]);
        pair.connects();
        pair.edge.leave_coordinator(pair.now);
        pair.edge.tick_client(pair.now);
        assert_eq!(reasons(&mut pair), ["connected"], "a farewell is no loss");
    }

    #[tokio::test]
    async fn a_lost_link_ends_nothing_here_and_everything_there() {
        let mut pair = Pair::new();
        let id = pair.publishes(7, "cam7").await;
        pair.tasks();
        pair.breaks();
        assert_eq!(pair.tasks(), ["stop cam7"]);
        let away = pair.asks(8, "cam8").await;
        assert!(matches!(away, Verdict::Deny(dataplane::control::Denial::Unavailable)), "{away:?}");
        pair.connects();
        assert_eq!(pair.tasks(), ["start rtmp://192.0.2.7:1936/cam7/k1"]);
        assert!(pair.commands().is_empty(), "he goes on");
        pair.ends("cam7", id);
        assert_eq!(pair.tasks(), ["stop cam7"]);
        let events = pair.events.read(99).events;
        let told = |kind: &str| events.iter().filter(|event| event.kind().name() == kind).count();
        assert_eq!((told("coordinator.connected"), told("coordinator.disconnected")), (2, 1));
        assert_eq!((told("authorisation.failed"), told("authorisation.allowed")), (1, 1));
    }
}
