//! Room: what the control thread keeps for the contract.

use std::time::Instant;

use dataplane::control::{Denial, StreamStart};
use dataplane::ids::{Secret, SessionId, StreamId, StreamName};

use super::attached::{
    ActiveReport, Attached, Bounds, Link, News, PeerId, PeerReport, Pulled, Question, Report,
};
use super::channels::Channels;
use super::encoder::{Elsewhere, Encoder};
use super::policy::Policy;
use super::server::StreamingServer;
use super::teller::{Pictures, Teller, resolution};
use super::wire::{Message, Role, Whereabouts};
use crate::config::CoordinatorSection;
use crate::counts::Counts;

/// The channels on the air, who is told of them, and who is attached.
///
/// Lives on: the control thread. Crosses by: never.
#[derive(Debug, Default)]
pub struct Coordinator {
    channels: Channels,
    encoder: Encoder,
    teller: Option<Teller>,
    attached: Attached,
    /// Where attached encoders pull from, once this node listens.
    here: Option<Whereabouts>,
    id_bytes_max: usize,
    orders: Vec<Order>,
}

/// What is left to be done for what peers did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A publisher of this node has to go.
    Kick(StreamName, StreamId),
    /// This node pulls a publication of a server from now on.
    Pull(Pulled),
    /// And no longer: what came of it is over.
    Unpull(StreamName, StreamId),
    /// A session of this node by which an encoder pulled has to go.
    Sever(SessionId),
    /// Everybody is told that a peer is gone: why, in a word.
    Lost(PeerId, Role, &'static str),
}

impl Coordinator {
    /// A stream began, which may do what `policy` says.
    pub fn started(&mut self, start: &StreamStart, policy: Option<&Policy>, now: Instant) {
        let Some(id) = start.id else { return };
        self.encoder.begun(&start.stream);
        self.channels.started(start.stream.clone(), id);
        if let Some(here) = self.here {
            let policy = policy.cloned().unwrap_or_default();
            self.attached.published_here((&start.stream, id), policy, here, now);
            self.follow();
        }
    }

    /// A stream has a publisher again.
    pub fn returned(&mut self, stream: &StreamName) {
        self.encoder.begun(stream);
    }

    /// Whether a publication of `stream` may begin at this node besides those that there are.
    ///
    /// Errors: somebody has the channel elsewhere, or no encoder takes it.
    pub fn admits(&self, stream: &StreamName) -> Result<(), Denial> {
        if self.attached.is_elsewhere(stream) {
            return Err(Denial::Busy);
        }
        let elsewhere = self.elsewhere();
        if self.encoder.has_room(stream, &self.channels, elsewhere) {
            Ok(())
        } else {
            Err(Denial::Full)
        }
    }

    /// Whether one may begin at an attached server.
    ///
    /// Errors: as [`Self::admits`].
    pub fn admits_elsewhere(&self, stream: &StreamName) -> Result<(), Denial> {
        if self.channels.is_live(stream) || self.attached.is_elsewhere(stream) {
            Err(Denial::Busy)
        } else if self.attached.has_room_for(stream) {
            Ok(())
        } else {
            Err(Denial::Full)
        }
    }

    /// A publication of `stream` was let in.
    pub fn granted(&mut self, stream: &StreamName, now: Instant) {
        self.encoder.granted(stream, now);
    }

    /// Forgets those who were let in and never began.
    pub fn expire(&mut self, now: Instant) {
        self.encoder.expire(now);
    }

    /// A stream is over, grace included.
    pub fn ended(&mut self, stream: &StreamName, id: Option<StreamId>, now: Instant) {
        let Some(id) = id else { return };
        self.channels.ended(stream, id);
        if self.attached.has(id) {
            // Its encoder finishes first.
            self.attached.ended_here(id, now);
            self.follow();
        } else if let Some(teller) = &self.teller {
            teller.ended(id);
        }
    }

    /// The first playlist of a publication can be served: its application is told, unless an
    /// attached encoder has it.
    pub fn playable(&mut self, stream: &StreamName, id: Option<StreamId>, pictures: Pictures) {
        let Some(id) = id else { return };
        if self.attached.made_here(id, pictures) {
            return;
        }
        if let Some(teller) = &self.teller {
            teller.ready(stream, id, resolution(pictures));
        }
    }

    /// Ends what was announced and is not on the air, as a comparison with the shards found: both
    /// its beginning and its end were lost.
    pub fn end_unknown(&self, is_on_air: impl Fn(&StreamName, StreamId) -> bool) {
        let Some(teller) = &self.teller else { return };
        for (stream, id) in teller.running() {
            if !is_on_air(&stream, id) && !self.attached.has(id) {
                tracing::warn!(%stream, %id, "announced, and on no shard: over");
                teller.ended(id);
            }
        }
    }

    /// What is configured, for a node that is found as `here`.
    pub fn set_up(&mut self, section: &CoordinatorSection, here: StreamingServer) {
        let on = section.is_on();
        self.encoder = Encoder::new(section.encoder_capacity.0.filter(|_| on));
        let (servers_max, encoders_max) = (section.servers_max, section.encoders_max);
        let lease = section.lease;
        self.attached = Attached::new(Bounds { servers_max, encoders_max, lease });
        self.id_bytes_max = section.id_bytes_max as usize;
        let StreamingServer { ip, port, ssl } = here;
        self.here = on.then_some(Whereabouts { ip, port, ssl });
    }

    /// The application is told by `teller` from now on.
    pub fn tell_by(&mut self, teller: Teller) {
        self.teller = Some(teller);
    }

    /// A server or an encoder comes; its number, unless there are too many.
    pub fn attach(
        &mut self,
        role: Role,
        at: Whereabouts,
        link: Link,
        now: Instant,
    ) -> Option<PeerId> {
        self.attached.attach(role, at, link, now)
    }

    /// A peer says something; a question if somebody has to be asked about it.
    pub fn hear(&mut self, peer: PeerId, message: Message, now: Instant) -> Option<Question> {
        self.lend();
        let question = self.attached.hear(peer, message, self.id_bytes_max, now);
        self.follow();
        question
    }

    /// The answer to a question.
    pub fn answered(
        &mut self,
        number: u32,
        granted: Option<(StreamName, StreamId, Policy)>,
        now: Instant,
    ) {
        self.lend();
        self.attached.answered(number, granted, now);
        self.follow();
    }

    /// A peer is gone.
    pub fn lost(&mut self, peer: PeerId, reason: &'static str, now: Instant) {
        self.lend();
        self.attached.lost(peer, reason, now);
        self.follow();
    }

    /// Ends a publication of an attached server; true if that is meant.
    pub fn close(&mut self, channel: &str, id: &str, now: Instant) -> bool {
        let closed = self.attached.close(channel, id, now);
        self.follow();
        closed
    }

    /// Does what time alone makes due.
    pub fn tick(&mut self, now: Instant) {
        self.lend();
        self.attached.tick(now);
        self.follow();
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.attached.due()
    }

    /// Nothing comes of a publication that this node pulls.
    pub fn gave_up(&mut self, id: StreamId, now: Instant) {
        self.attached.gave_up(id, now);
        self.follow();
    }

    /// What is left to be done.
    pub fn orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// True if `session` plays a stream with what its encoder was given for that.
    pub fn pulls(&mut self, stream: &StreamName, key: &Secret, session: SessionId) -> bool {
        self.attached.pulls(stream, key, session)
    }

    /// Who is attached.
    #[must_use]
    pub fn peers(&self, now: Instant) -> Vec<PeerReport> {
        self.attached.peers(now)
    }

    /// Servers, encoders and what is on the air.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut active: Vec<_> = self.attached.active().collect();
        let known: std::collections::BTreeSet<_> = active.iter().map(|active| active.id).collect();
        let own = self.channels.active().filter(|(_, id)| !known.contains(id));
        let before = active.len();
        active.extend(own.map(|(channel, id)| {
            let (server, encoder) = (PeerId::SELF, PeerId::SELF);
            ActiveReport { channel: channel.clone(), id, server, encoder }
        }));
        // One that is over keeps its place until its stream is, and is among those of this node.
        let own_load = active.len() - before + self.attached.pulled_open();
        active.sort_by(|one, other| one.channel.cmp(&other.channel));
        Report {
            servers: self.attached.server_reports(),
            encoders: self.attached.encoder_reports(),
            active,
            own_load,
        }
    }

    /// Writes what was counted.
    pub fn count(&self, into: &mut Counts) {
        let publications = self.channels.len() as f64;
        into.gauge("publications", "Publications with a number that are on the air.", publications);
        into.gauge_by(
            "coordinator_peers",
            "Streaming servers and encoders that are attached.",
            "role",
            self.attached.counts().map(|(role, count)| (role.name(), count as f64)),
        );
        into.gauge(
            "coordinator_encoder_load",
            "Publications that attached encoders have.",
            self.attached.load() as f64,
        );
    }

    /// The channels on the air at this node.
    #[must_use]
    pub const fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The places of encoders, as far as those of this node are concerned.
    fn elsewhere(&self) -> Elsewhere {
        let (taken, spare) = (self.attached.handed_out(), self.attached.spare());
        let (pulled, begun) = self.attached.pulled();
        Elsewhere { taken, spare, coming: pulled.saturating_sub(begun) }
    }

    /// How many publications of servers the encoder of this node takes.
    fn lend(&mut self) {
        let begun = self.attached.pulled().1;
        let taken = self.attached.handed_out() + begun;
        self.attached.set_places(self.encoder.places(&self.channels, taken));
    }

    /// Tells the application what follows from what peers did; keeps the rest.
    fn follow(&mut self) {
        for news in self.attached.news() {
            match (news, &self.teller) {
                (News::Output(channel, id, output), Some(teller)) => {
                    teller.output(&channel, id, output);
                }
                (News::Home(channel, id, Some(pictures)), Some(teller)) => {
                    teller.ready(&channel, id, resolution(pictures));
                }
                (News::Over(id), Some(teller)) => teller.ended(id),
                (News::Pull(pulled), _) => self.orders.push(Order::Pull(pulled)),
                (News::Unpull(channel, id), _) => self.orders.push(Order::Unpull(channel, id)),
                (News::Sever(session), _) => self.orders.push(Order::Sever(session)),
                (News::Kick(channel, id), _) => self.orders.push(Order::Kick(channel, id)),
                (News::Lost(peer, role, why), _) => self.orders.push(Order::Lost(peer, role, why)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dataplane::control::Protocol;
    use tokio::sync::mpsc;

    use super::*;
    use crate::config::Capacity;

    /// A node whose encoder has three places, and a server that is attached to it.
    struct Bench {
        room: Coordinator,
        server: PeerId,
        answers: mpsc::Receiver<Message>,
        now: Instant,
    }

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    impl Bench {
        fn new() -> Self {
            let (mut room, now) = (Coordinator::default(), Instant::now());
            let section = CoordinatorSection {
                control_secret: Secret("hush".to_owned()),
                encoder_capacity: Capacity(Some(3)),
                ..CoordinatorSection::default()
            };
            let ip = "192.0.2.1".parse().unwrap();
            room.set_up(&section, StreamingServer { ip, port: 1935, ssl: false });
            let (link, answers) = mpsc::channel(8);
            let ip = "192.0.2.7".parse().unwrap();
            let at = Whereabouts { ip, port: 1935, ssl: false };
            let server = room.attach(Role::Rtmp, at, link, now).unwrap();
            Self { room, server, answers, now }
        }

        /// Somebody publishes to the server; true if he is let in.
        fn comes(&mut self, channel: &str, id: u8) -> bool {
            let (request, user_ip) = ("1".to_owned(), "203.0.113.9".to_owned());
            let (key, channel_name) = (Secret("k1".to_owned()), channel.to_owned());
            let asks = Message::PublishRequest { request, channel: channel_name, key, user_ip };
            if let Some(question) = self.room.hear(self.server, asks, self.now) {
                let granted = (name(channel), StreamId([id; 16]), Policy::default());
                self.room.answered(question.number, Some(granted), self.now);
            }
            matches!(self.answers.try_recv(), Ok(Message::PublishAccept { .. }))
        }

        /// A stream begins at this node.
        fn begins(&mut self, channel: &str, id: u8) {
            let (stream, id) = (name(channel), Some(StreamId([id; 16])));
            let start = StreamStart { stream, id, protocol: Protocol::Rtmp, publisher: None };
            self.room.started(&start, None, self.now);
        }

        /// A publication that is pulled, and the encoder's load.
        fn pulled_and_load(&self) -> ((usize, usize), usize) {
            (self.room.attached.pulled(), self.room.report().own_load)
        }
    }

    #[test]
    fn pulls_and_publishers_of_this_node_share_the_places_of_its_encoder() {
        let mut bench = Bench::new();
        assert!(bench.comes("cam1", 1));
        assert_eq!(bench.pulled_and_load(), ((1, 0), 1), "it keeps a place from its grant on");
        bench.begins("cam1", 1);
        assert_eq!(bench.pulled_and_load(), ((1, 1), 1), "and has one alone when it has begun");
        assert!(bench.room.admits(&name("own1")).is_ok());
        bench.room.granted(&name("own1"), bench.now);
        bench.begins("own1", 11);
        assert_eq!(bench.pulled_and_load(), ((1, 1), 2));
        bench.room.granted(&name("own2"), bench.now);
        assert_eq!(bench.room.admits(&name("own3")), Err(Denial::Full));
        assert!(!bench.comes("cam2", 2), "the last place is kept for one who was let in");
        bench.room.expire(bench.now + Duration::from_secs(60));
        assert!(bench.comes("cam2", 2), "he never came");
        assert_eq!(bench.pulled_and_load(), ((2, 1), 3));
        assert_eq!(bench.room.admits(&name("own3")), Err(Denial::Full));
        assert!(!bench.comes("cam3", 3));
    }

    #[test]
    fn what_ends_has_its_place_once_until_its_stream_is_over() {
        let mut bench = Bench::new();
        assert!(bench.comes("cam1", 1) && bench.comes("cam2", 2));
        bench.begins("cam1", 1);
        bench.begins("own1", 11);
        assert_eq!(bench.pulled_and_load(), ((2, 1), 3));
        let end = |channel: &str, id: u8| Message::PublishEnd {
            channel: channel.to_owned(),
            id: StreamId([id; 16]).to_string(),
        };
        bench.room.hear(bench.server, end("cam1", 1), bench.now);
        assert_eq!(bench.pulled_and_load(), ((2, 1), 3));
        assert!(!bench.comes("cam3", 3) && bench.room.admits(&name("own2")).is_err());
        bench.room.ended(&name("cam1"), Some(StreamId([1; 16])), bench.now);
        assert_eq!(bench.pulled_and_load(), ((1, 0), 2));
        bench.room.hear(bench.server, end("cam2", 2), bench.now);
        assert_eq!(bench.pulled_and_load(), ((0, 0), 1), "it never began");
        assert!(bench.comes("cam3", 3) && bench.room.admits(&name("own2")).is_ok());
    }
}
