//! Bench: a table with peers whose messages the test reads.

use std::time::{Duration, Instant};

use dataplane::ids::{Secret, StreamId, StreamName};
use tokio::sync::mpsc;

use super::super::peer::{LINK_MAX, PeerId};
use super::super::report::ActiveReport;
use super::super::servers::Question;
use super::super::table::{Attached, Bounds, News};
use crate::coordinator::policy::Policy;
use crate::coordinator::teller::Pictures;
use crate::coordinator::wire::{Message, Output, Role, Whereabouts};

/// What is published to a server has to be playable within this.
pub(super) const LEASE: Duration = Duration::from_secs(120);
pub(super) const PICTURES: Pictures = Pictures { width: 640, height: 360, fps_milli: 30_000 };

pub(super) fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

pub(super) const fn id(number: u8) -> StreamId {
    StreamId([number; 16])
}

/// A table with peers whose messages the test reads.
pub(super) struct Bench {
    pub(super) table: Attached,
    pub(super) now: Instant,
    pub(super) links: Vec<(PeerId, mpsc::Receiver<Message>)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let mut table = Attached::new(Bounds { servers_max: 2, encoders_max: 3, lease: LEASE });
        // The encoder of this node takes nothing, unless a case says so.
        table.set_places(Some(0));
        Self { table, now: Instant::now(), links: Vec::new() }
    }

    pub(super) fn try_attach(&mut self, role: Role, port: u16) -> Option<PeerId> {
        let (link, orders) = mpsc::channel(LINK_MAX);
        let at = Whereabouts { ip: "192.0.2.7".parse().unwrap(), port, ssl: false };
        let peer = self.table.attach(role, at, link, self.now)?;
        self.links.push((peer, orders));
        Some(peer)
    }

    pub(super) fn server(&mut self) -> PeerId {
        self.try_attach(Role::Rtmp, 1935).unwrap()
    }

    pub(super) fn encoder(&mut self, capacity: Option<u32>) -> PeerId {
        let peer = self.try_attach(Role::Hls, 80).unwrap();
        self.says(peer, Message::Register { capacity });
        peer
    }

    pub(super) fn says(&mut self, peer: PeerId, message: Message) -> Option<Question> {
        self.table.hear(peer, message, 64, self.now)
    }

    pub(super) fn asks(&mut self, server: PeerId, channel: &str) -> Option<Question> {
        let (request, user_ip) = (format!("q-{channel}"), "203.0.113.9".to_owned());
        let (channel, key) = (channel.to_owned(), Secret("k1".to_owned()));
        self.says(server, Message::PublishRequest { request, channel, key, user_ip })
    }

    /// A publication of a server, which is let in.
    pub(super) fn publishes(&mut self, server: PeerId, channel: &str, number: u8) {
        let question = self.asks(server, channel).expect("somebody is asked");
        let granted = Some((name(channel), id(number), Policy::default()));
        self.table.answered(question.number, granted, self.now);
    }

    pub(super) fn here(&mut self, channel: &str, number: u8) {
        self.here_as(channel, id(number));
    }

    pub(super) fn here_as(&mut self, channel: &str, number: StreamId) {
        let at = Whereabouts { ip: "192.0.2.1".parse().unwrap(), port: 1935, ssl: false };
        let publication = (&name(channel), number);
        self.table.published_here(publication, Policy::default(), at, self.now);
    }

    /// What a peer was sent since the last look, each message in short.
    pub(super) fn hears(&mut self, peer: PeerId) -> Vec<String> {
        let (_, orders) = self.links.iter_mut().find(|(of, _)| *of == peer).unwrap();
        let mut heard = Vec::new();
        while let Ok(message) = orders.try_recv() {
            heard.push(short(&message));
        }
        heard
    }

    /// The connection of a peer breaks.
    pub(super) fn breaks(&mut self, peer: PeerId) {
        self.table.lost(peer, "connection_lost", self.now);
        self.links.retain(|(of, _)| *of != peer);
    }

    /// Time passes until something is due.
    pub(super) fn passes_to_due(&mut self) {
        let due = self.table.due().expect("something is due");
        self.passes(due.saturating_duration_since(self.now));
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now += time;
        self.table.tick(self.now);
    }

    pub(super) fn end(&self, channel: &str, number: u8) -> Message {
        Message::PublishEnd { channel: channel.to_owned(), id: id(number).to_string() }
    }

    pub(super) fn closed(&self, channel: &str, number: u8) -> Message {
        Message::StreamClosed { channel: channel.to_owned(), id: id(number).to_string() }
    }

    pub(super) fn available(&mut self, encoder: PeerId, channel: &str, number: u8) -> Vec<News> {
        let output = Output::live(channel, id(number), "640x360-30");
        let (channel, id) = (channel.to_owned(), id(number).to_string());
        self.says(encoder, Message::StreamAvailable { channel, id, output });
        self.table.news()
    }

    pub(super) fn active(&self) -> Vec<(String, u64, u64)> {
        let row = |row: ActiveReport| (row.channel.to_string(), row.server.0, row.encoder.0);
        self.table.active().map(row).collect()
    }
}

fn short(message: &Message) -> String {
    let of = |word: &str, channel: &str, id: &str| format!("{word} {channel} {}", &id[..2]);
    match message {
        Message::PublishAccept { request, channel, id } => {
            format!("{} {request}", of("accept", channel, id))
        }
        Message::PublishDeny { request, channel } => format!("deny {channel} {request}"),
        Message::StreamKill { channel, id } => of("kill", channel, id),
        Message::EncodeStart(task) => {
            format!("{} {}", of("start", &task.channel, &task.id), task.uri.0)
        }
        Message::EncodeStop { channel, id } => of("stop", channel, id),
        other => format!("{other:?}"),
    }
}

pub(super) fn over(number: u8) -> News {
    News::Over(id(number))
}
