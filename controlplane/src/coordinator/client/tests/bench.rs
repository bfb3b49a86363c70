//! Bench: a client whose messages the test reads, and who answers for its coordinator.

use std::time::{Duration, Instant};

use dataplane::ids::{Secret, SessionId, StreamName};
use tokio::sync::{mpsc, oneshot};

use super::super::holding::link_max;
use super::super::publisher::{Answer, Publisher};
use super::super::table::Client;
use super::super::terms::Terms;
use crate::coordinator::wire::Message;

pub(super) fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

/// A client, the coordinator's end of its link, and what became of time.
pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) now: Instant,
    pub(super) link: Option<mpsc::Receiver<Message>>,
}

impl Bench {
    /// One that is not connected yet.
    pub(super) fn away(terms: Terms) -> Self {
        let now = Instant::now();
        Self { client: Client::new("ws://c.example".to_owned(), terms, now), now, link: None }
    }

    pub(super) fn new() -> Self {
        let mut bench = Self::away(Terms::default());
        bench.connects();
        bench
    }

    pub(super) fn connects(&mut self) {
        self.connects_with(link_max(256));
    }

    /// A link that takes so many messages.
    pub(super) fn connects_with(&mut self, messages: usize) {
        let (link, orders) = mpsc::channel(messages);
        self.client.connected(link, self.now);
        self.link = Some(orders);
    }

    pub(super) fn breaks(&mut self) {
        self.client.lost("connection_lost", self.now);
        self.link = None;
    }

    /// `session` asks to publish a channel with a key.
    pub(super) fn asks(
        &mut self,
        session: u64,
        channel: &str,
        key: &str,
    ) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let publisher = Publisher {
            session: SessionId(session),
            stream: name(channel),
            key: Secret(key.to_owned()),
            user: "::ffff:203.0.113.9".parse().unwrap(),
            reply,
        };
        self.client.ask(publisher, self.now);
        answer
    }

    /// The coordinator says yes to the question of that number.
    pub(super) fn accepts(&mut self, request: &str, channel: &str, id: &str) {
        let (request, channel) = (request.to_owned(), channel.to_owned());
        self.says(Message::PublishAccept { request, channel, id: id.to_owned() });
    }

    pub(super) fn denies(&mut self, request: &str, channel: &str) {
        let (request, channel) = (request.to_owned(), channel.to_owned());
        self.says(Message::PublishDeny { request, channel });
    }

    pub(super) fn kills(&mut self, channel: &str, id: &str) {
        self.says(Message::StreamKill { channel: channel.to_owned(), id: id.to_owned() });
    }

    pub(super) fn says(&mut self, message: Message) {
        self.client.hear(message, self.now);
    }

    pub(super) fn begins(&mut self, channel: &str, session: u64) {
        self.client.began(&name(channel), SessionId(session), self.now);
    }

    pub(super) fn ends(&mut self, channel: &str) {
        self.client.over(&name(channel), self.now);
    }

    /// One is asked about, let in under `id`, and on the air.
    pub(super) fn publishes(&mut self, session: u64, channel: &str, id: &str) {
        let mut answer = self.asks(session, channel, "k1");
        let request = self.hears().pop().unwrap();
        let request = request.rsplit_once(' ').unwrap().1.to_owned();
        self.accepts(&request, channel, id);
        assert_eq!(answer.try_recv(), Ok(Answer::Accepted(id.to_owned())));
        self.begins(channel, session);
    }

    /// Time passes until something is due.
    pub(super) fn passes_to_due(&mut self) {
        let due = self.client.due().expect("something is due");
        self.passes(due.saturating_duration_since(self.now));
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now += time;
        self.client.tick(self.now);
    }

    /// What the coordinator was told since the last look, each message in short.
    pub(super) fn hears(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(Ok(message)) = self.link.as_mut().map(mpsc::Receiver::try_recv) {
            heard.push(match message {
                Message::PublishRequest { request, channel, key, user_ip } => {
                    format!("request {channel} {} {user_ip} {request}", key.0)
                }
                Message::PublishEnd { channel, id } => format!("end {channel} {id}"),
                other => format!("{other:?}"),
            });
        }
        heard
    }

    /// Whose publishers had to go since the last look.
    pub(super) fn kicked(&mut self) -> Vec<String> {
        self.client.orders().iter().map(ToString::to_string).collect()
    }
}
