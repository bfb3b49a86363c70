//! Table: who is attached, and what is published and encoded by them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dataplane::ids::{SessionId, StreamId, StreamName};

use super::home::Pulled;
use super::peer::{Link, Peer, PeerId, Room};
use super::publication::{Publication, State};
use super::servers::Asked;
use crate::coordinator::complaints::Complaints;
use crate::coordinator::teller::Pictures;
use crate::coordinator::wire::{Message, Output, Role, Whereabouts};

/// A server that does not end a publication within this of the order is taken to have ended it:
/// one whose publisher left before he was let in has nothing to end.
pub(super) const KILL_MAX: Duration = Duration::from_secs(10);
/// An encoder that does not say within this of the end that it is done is taken to be.
pub(super) const STOP_MAX: Duration = Duration::from_secs(60);

/// How many may be attached, and how long it is waited for what comes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Streaming servers of each role.
    pub servers_max: u32,
    /// Encoders.
    pub encoders_max: u32,
    /// A publication of a server of which nothing can be played within this has no publisher: the
    /// server gave him up, or lost him, and did not say so.
    pub lease: Duration,
}

/// What follows from what peers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something of a publication can be played.
    Output(StreamName, StreamId, Output),
    /// The encoder of this node has a publication from now on, of which it has made this.
    Home(StreamName, StreamId, Option<Pictures>),
    /// This node pulls a publication from now on.
    Pull(Pulled),
    /// And no longer.
    Unpull(StreamName, StreamId),
    /// A publication is over.
    Over(StreamId),
    /// A publisher of this node has to go.
    Kick(StreamName, StreamId),
    /// A session of this node by which an encoder pulled is no longer for anything.
    Sever(SessionId),
    /// A peer is gone: why, in a word.
    Lost(PeerId, Role, &'static str),
}

/// Who is attached. Lives on: the control thread.
#[derive(Debug, Default)]
pub struct Attached {
    pub(super) bounds: Bounds,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) publications: BTreeMap<StreamId, Publication>,
    /// The publication of each channel that has a publisher.
    pub(super) open: BTreeMap<StreamName, StreamId>,
    /// Publishers about whom somebody is asked.
    pub(super) asked: BTreeMap<u32, Asked>,
    pub(super) questions: u32,
    /// Peers that do not take their messages.
    pub(super) stuck: Vec<PeerId>,
    pub(super) news: Vec<News>,
    /// Publications of which an encoder is told when it hears again.
    pub(super) waiting: BTreeSet<StreamId>,
    /// When it is looked whether it does.
    pub(super) look_again: Option<Instant>,
    /// Publications of servers that the encoder of this node takes; `None` for any number.
    pub(super) places: Option<usize>,
    numbers: u64,
}

impl Attached {
    /// A table for so many peers.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, numbers: PeerId::SELF.0, ..Self::default() }
    }

    /// Takes a peer; `None` if there are as many of its kind as may be.
    pub fn attach(
        &mut self,
        role: Role,
        at: Whereabouts,
        link: Link,
        now: Instant,
    ) -> Option<PeerId> {
        let max = if role.is_server() { self.bounds.servers_max } else { self.bounds.encoders_max };
        let same = self.peers.values().filter(|peer| peer.role == role).count();
        if same >= max as usize {
            return None;
        }
        self.numbers += 1;
        let id = PeerId(self.numbers);
        let (room, tasks) = (Room::Untold, BTreeSet::new());
        let complaints = Complaints::default();
        self.peers.insert(id, Peer { role, at, link, since: now, room, tasks, complaints });
        Some(id)
    }

    /// A peer is gone, for that reason; one that is not there is none.
    pub fn lost(&mut self, id: PeerId, reason: &'static str, now: Instant) {
        self.remove(id, reason, now);
        self.settle(now);
    }

    /// What followed from everything so far.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Ends the publication of `channel` that `id` means, whose publisher is elsewhere; true if
    /// there is one.
    pub fn close(&mut self, channel: &str, id: &str, now: Instant) -> bool {
        let channel = StreamName::parse(channel);
        let Some(&live) = channel.and_then(|channel| self.open.get(&channel)) else { return false };
        let meant = matches!(id, "" | "*") || StreamId::parse(id) == Some(live);
        if !meant || self.publications[&live].is_of_this_node() {
            return false;
        }
        self.kill(live, now);
        self.settle(now);
        true
    }

    /// True if the end of a publication is told by its encoder.
    #[must_use]
    pub fn has(&self, id: StreamId) -> bool {
        self.publications.contains_key(&id)
    }

    /// Does what time alone makes due, and notices who is gone.
    pub fn tick(&mut self, now: Instant) {
        let gone = self.peers.iter().filter(|(_, peer)| peer.link.is_closed());
        let gone: Vec<_> = gone.map(|(&id, _)| id).collect();
        for id in gone {
            self.remove(id, "closed", now);
        }
        let due = |publication: &Publication| publication.due().is_some_and(|due| due <= now);
        let due = self.publications.iter().filter(|(_, publication)| due(publication));
        let due: Vec<_> = due.map(|(&id, publication)| (id, publication.state)).collect();
        for (id, state) in due {
            match state {
                State::Live => {
                    tracing::info!(%id, "nothing comes of a publication: its publisher has to go");
                    self.kill(id, now);
                }
                State::Killed(_) => self.end(id, now),
                State::Ending(_) => self.forget(id),
            }
        }
        self.catch_up(now);
        for (id, peer) in &mut self.peers {
            if let Some(left_out) = peer.complaints.left_out(now) {
                tracing::warn!(peer = %id, left_out, "a peer complained again and again");
            }
        }
        self.settle(now);
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let publications = self.publications.values().filter_map(Publication::due);
        let complaints = self.peers.values().filter_map(|peer| peer.complaints.due());
        publications.chain(complaints).chain(self.look_again).min()
    }

    /// The publisher is gone: its encoder finishes, if it has one.
    pub(super) fn end(&mut self, id: StreamId, now: Instant) {
        let Some(publication) = self.publications.get_mut(&id) else { return };
        if publication.is_ending() {
            return;
        }
        publication.state = State::Ending(now + STOP_MAX);
        let stop = publication.encode_stop(id);
        let (encoder, channel) = (publication.encoder, publication.channel.clone());
        if self.open.get(&channel) == Some(&id) {
            self.open.remove(&channel);
        }
        let begun = publication.begun;
        match encoder {
            Some(PeerId::SELF) if publication.is_pulled() => {
                self.news.push(News::Unpull(channel, id));
                // The end of its stream is told by its shard.
                if !begun {
                    self.forget(id);
                }
            }
            Some(encoder) => {
                let link = self.peers.get(&encoder).map(|peer| &peer.link);
                if link.is_some_and(|link| link.try_send(stop).is_err()) {
                    self.wait(id, now);
                }
            }
            None => self.forget(id),
        }
    }

    /// The publisher has to go.
    pub(super) fn kill(&mut self, id: StreamId, now: Instant) {
        let Some(publication) = self.publications.get_mut(&id) else { return };
        if publication.state != State::Live {
            return;
        }
        publication.state = State::Killed(now + KILL_MAX);
        let (server, channel) = (publication.server, publication.channel.clone());
        if publication.is_of_this_node() {
            self.news.push(News::Kick(channel, id));
        } else {
            let kill = publication.stream_kill(id);
            self.send(server, kill);
        }
    }

    /// Nothing more comes of a publication.
    pub(super) fn forget(&mut self, id: StreamId) {
        let Some(publication) = self.publications.remove(&id) else { return };
        if let Some(peer) = publication.encoder.and_then(|encoder| self.peers.get_mut(&encoder)) {
            peer.tasks.remove(&id);
        }
        if self.open.get(&publication.channel) == Some(&id) {
            self.open.remove(&publication.channel);
        }
        self.news.push(News::Over(id));
    }

    /// The task of an encoder is over: what it pulled by ends with it.
    pub(super) fn sever(&mut self, id: StreamId) {
        let Some(publication) = self.publications.get_mut(&id) else { return };
        let pulls = std::mem::take(&mut publication.pulls);
        self.news.extend(pulls.into_iter().map(News::Sever));
    }

    /// A peer says that something went wrong there.
    pub(super) fn complains(&mut self, id: PeerId, code: &str, why: &str, now: Instant) {
        if self.peers.get_mut(&id).is_some_and(|peer| peer.complaints.take(now)) {
            tracing::warn!(peer = %id, code, reason = why, "a peer complains");
        }
    }

    pub(super) fn send(&mut self, to: PeerId, message: Message) {
        let Some(peer) = self.peers.get(&to) else { return };
        if peer.link.try_send(message).is_err() {
            self.stuck.push(to);
        }
    }

    /// Lets go of those that do not take their messages.
    pub(super) fn settle(&mut self, now: Instant) {
        // Each of them is there once, so that this ends.
        while let Some(id) = self.stuck.pop() {
            self.remove(id, "stuck", now);
        }
    }

    fn remove(&mut self, id: PeerId, reason: &'static str, now: Instant) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        if let Some(left_out) = peer.complaints.rest() {
            tracing::warn!(peer = %id, left_out, "a peer complained again and again");
        }
        tracing::info!(peer = %id, role = peer.role.name(), reason, "a peer left");
        self.news.push(News::Lost(id, peer.role, reason));
        if peer.role.is_server() {
            self.server_lost(id, now);
        } else {
            self.encoder_lost(&peer.tasks, now);
        }
    }
}
