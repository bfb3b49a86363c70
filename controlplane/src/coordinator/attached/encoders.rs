//! Encoders: which of them has what, and what they say of it.

use std::collections::BTreeSet;
use std::time::Instant;

use dataplane::ids::{Secret, SessionId, StreamId, StreamName};
use subtle::ConstantTimeEq;

use super::peer::{Peer, PeerId, Room};
use super::publication::{Publication, State};
use super::servers::Question;
use super::table::{Attached, News};
use crate::coordinator::policy::Policy;
use crate::coordinator::teller::Pictures;
use crate::coordinator::wire::{Message, Output, Role, Source, Whereabouts};

/// Random bytes of what an encoder shows to play a stream of this node.
const PASS_BYTES: usize = 16;

impl Attached {
    /// A peer says something; a question if somebody has to be asked about it. What it may not say
    /// is ignored.
    pub fn hear(
        &mut self,
        peer: PeerId,
        message: Message,
        id_bytes_max: usize,
        now: Instant,
    ) -> Option<Question> {
        let role = self.peers.get(&peer)?.role;
        let question = match (role.is_server(), message) {
            (true, Message::PublishRequest { request, channel, key, user_ip }) => {
                self.publish_request(peer, (request, channel), (key, &user_ip), id_bytes_max, now)
            }
            (true, Message::PublishEnd { channel, id }) => {
                self.publish_end(peer, &channel, &id, now);
                None
            }
            (false, Message::Register { capacity }) => {
                let encoder = self.peers.get_mut(&peer).expect("it was there above");
                encoder.room = capacity.map_or(Room::Any, Room::Places);
                tracing::info!(%peer, ?capacity, "an encoder takes streams");
                None
            }
            (false, Message::StreamAvailable { channel, id, output }) => {
                self.available(peer, &channel, &id, output);
                None
            }
            (false, Message::StreamClosed { channel, id }) => {
                self.closed(peer, &channel, &id, now);
                None
            }
            (_, Message::Error { code, message }) => {
                self.complains(peer, &code, &message, now);
                None
            }
            _ => None,
        };
        self.settle(now);
        question
    }

    /// A publication of this node begins; an attached encoder has it if one has room.
    pub fn published_here(
        &mut self,
        (channel, id): (&StreamName, StreamId),
        policy: Policy,
        at: Whereabouts,
        now: Instant,
    ) {
        if self.begins_at_home(id) {
            return;
        }
        if let Some(&other) = self.open.get(channel) {
            // Both were let in at the same moment: what is here stays, with the encoder that is.
            self.kill(other, now);
            return self.settle(now);
        }
        // One that is named as another one was is left to the encoder of this node.
        if self.publications.contains_key(&id) {
            return;
        }
        let Some(encoder) = self.next_encoder() else { return };
        let publication = Publication {
            channel: channel.clone(),
            server: PeerId::SELF,
            encoder: None,
            source: Source::Rtmp,
            uri: at.uri(Role::Rtmp, channel.as_str(), ""),
            policy,
            state: State::Live,
            pictures: None,
            pass: Secret::default(),
            pulls: Vec::new(),
            begun: false,
            lease: None,
        };
        self.publications.insert(id, publication);
        self.open.insert(channel.clone(), id);
        self.encode(id, encoder, now);
        self.settle(now);
    }

    /// A stream of this node is over, which was a publication.
    pub fn ended_here(&mut self, id: StreamId, now: Instant) {
        if self.publications.get(&id).is_some_and(Publication::is_pulled) {
            return self.gave_up(id, now);
        }
        self.end(id, now);
        self.settle(now);
    }

    /// The encoder of this node has made something of a publication; true if that is for nobody
    /// to know, because another one has it.
    pub fn made_here(&mut self, id: StreamId, pictures: Pictures) -> bool {
        if self.is_made_here(id) {
            return false;
        }
        let Some(publication) = self.publications.get_mut(&id) else { return false };
        publication.pictures = Some(pictures);
        true
    }

    /// True if `key` is what the encoder of a stream of this node was given to play it; `session`
    /// does so then, for as long as the encoder has the task.
    pub fn pulls(&mut self, channel: &StreamName, key: &Secret, session: SessionId) -> bool {
        let its = self.is_pass(channel, key);
        let id = self.open.get(channel).filter(|_| its);
        if let Some(publication) = id.and_then(|id| self.publications.get_mut(id)) {
            publication.pulled_by(session);
        }
        its
    }

    /// True if `key` is what the encoder of a stream of this node was given to play it.
    #[must_use]
    pub fn is_pass(&self, channel: &StreamName, key: &Secret) -> bool {
        let publication = self.open.get(channel).and_then(|id| self.publications.get(id));
        publication.is_some_and(|publication| {
            let same: bool = publication.pass.0.as_bytes().ct_eq(key.0.as_bytes()).into();
            let shown = !key.0.is_empty() && publication.encoder.is_some();
            publication.is_of_this_node() && shown && same
        })
    }

    /// True if the channel is published to an attached server.
    #[must_use]
    pub fn is_elsewhere(&self, channel: &StreamName) -> bool {
        let publication = self.open.get(channel).and_then(|id| self.publications.get(id));
        publication.is_some_and(|publication| !publication.is_of_this_node())
    }

    /// Publications of this node that an attached encoder has.
    #[must_use]
    pub fn handed_out(&self) -> usize {
        let here = |id: &&StreamId| self.publications[*id].is_of_this_node();
        self.open.values().filter(here).count()
    }

    /// Streams that attached encoders would be given now besides those that they have; `None` for
    /// any number. While others wait for an encoder it is none.
    #[must_use]
    pub fn spare(&self) -> Option<usize> {
        let ready = self.encoders().filter(|(_, peer)| peer.has_room() && !self.is_any_waiting());
        ready.map(|(_, peer)| peer.spare()).sum()
    }

    /// True if an encoder has room for one that is new at the server that asks for it.
    #[must_use]
    pub fn has_room_for(&self, channel: &StreamName) -> bool {
        let asked = self.asked.values().filter(|asked| asked.channel == *channel);
        let mut servers = asked.filter_map(|asked| self.peers.get(&asked.peer));
        servers.any(|server| self.encoder_for(server.role).is_some())
    }

    /// The encoder of one that is new: none while others wait for theirs.
    pub(super) fn next_encoder(&self) -> Option<PeerId> {
        self.least_loaded().filter(|_| !self.is_any_waiting())
    }

    /// The encoder with room that has the least to do; the oldest one of several.
    pub(super) fn least_loaded(&self) -> Option<PeerId> {
        let free = self.encoders().filter(|(_, peer)| peer.has_room());
        free.min_by_key(|&(id, peer)| (peer.tasks.len(), id)).map(|(id, _)| id)
    }

    /// Those that said what they take.
    pub(super) fn encoders(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.room != Room::Untold)
            .map(|(&id, peer)| (id, peer))
    }

    /// Gives a publication to an encoder. Of one of this node each has a pass of its own, which is
    /// good for as long as it has the task.
    pub(super) fn encode(&mut self, id: StreamId, encoder: PeerId, now: Instant) {
        let Some(publication) = self.publications.get_mut(&id) else { return };
        publication.encoder = Some(encoder);
        if publication.is_of_this_node() {
            publication.show(pass().unwrap_or_default());
        } else {
            publication.lease = Some(now + self.bounds.lease);
        }
        let start = publication.encode_start(id);
        if let Some(peer) = self.peers.get_mut(&encoder) {
            peer.tasks.insert(id);
        }
        self.send(encoder, start);
    }

    /// An encoder is gone: what it had goes to another one.
    pub(super) fn encoder_lost(&mut self, tasks: &BTreeSet<StreamId>, now: Instant) {
        for &id in tasks {
            self.sever(id);
            let Some(publication) = self.publications.get_mut(&id) else { continue };
            publication.encoder = None;
            if publication.state != State::Live {
                // Nobody finishes what was ending, and what was killed ends with its publisher.
                if publication.is_ending() {
                    self.forget(id);
                }
                continue;
            }
            let is_here = publication.is_of_this_node();
            match self.least_loaded() {
                Some(encoder) => self.encode(id, encoder, now),
                None if is_here => self.take_home(id),
                None if self.place(id, now) => self.wait(id, now),
                None => {}
            }
        }
    }

    /// The encoder of this node has a publication of this node from now on.
    fn take_home(&mut self, id: StreamId) {
        let Some(publication) = self.publications.remove(&id) else { return };
        self.open.remove(&publication.channel);
        self.news.push(News::Home(publication.channel, id, publication.pictures));
    }

    fn available(&mut self, peer: PeerId, channel: &str, id: &str, output: Output) {
        let Some(id) = self.task(peer, channel, id) else { return };
        let publication = self.publications.get_mut(&id).expect("it was found above");
        publication.lease = None;
        let channel = publication.channel.clone();
        self.news.push(News::Output(channel, id, output));
    }

    /// The task of an encoder has ended, because its source has, or by itself.
    fn closed(&mut self, peer: PeerId, channel: &str, id: &str, now: Instant) {
        let Some(id) = self.task(peer, channel, id) else { return };
        let publication = self.publications.get_mut(&id).expect("it was found above");
        if publication.is_ending() {
            self.forget(id);
            return;
        }
        publication.encoder = None;
        if let Some(encoder) = self.peers.get_mut(&peer) {
            encoder.tasks.remove(&id);
        }
        self.sever(id);
        self.news.push(News::Over(id));
        self.kill(id, now);
    }

    /// The publication that an encoder means, if it is one of its tasks.
    fn task(&self, peer: PeerId, channel: &str, id: &str) -> Option<StreamId> {
        let named = StreamId::parse(id);
        let tasks = &self.peers.get(&peer)?.tasks;
        let same = |id: &&StreamId| self.publications[*id].channel.as_str() == channel;
        // Without a number it is the one of the channel that is on the air.
        let found = match named {
            Some(id) => tasks.get(&id).filter(same),
            None if id.is_empty() => tasks.iter().rfind(same),
            None => None,
        };
        found.copied()
    }
}

/// What nobody guesses; `None` without a source of chance.
fn pass() -> Option<Secret> {
    let mut random = [0; PASS_BYTES];
    getrandom::fill(&mut random).ok()?;
    Some(Secret(random.iter().map(|byte| format!("{byte:02x}")).collect()))
}
