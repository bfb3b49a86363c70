//! Publication: one that is published to an attached server, or encoded by an attached encoder.

use std::time::Instant;

use dataplane::ids::{Secret, SessionId, StreamId, StreamName};

use super::peer::PeerId;
use crate::coordinator::policy::Policy;
use crate::coordinator::teller::Pictures;
use crate::coordinator::wire::{Message, Source, Task};

/// Sessions of one encoder that pull one publication and end with its task at most; it probes, then
/// it pulls. Of more the first ones are forgotten.
const PULLS_MAX: usize = 8;

/// Where a publication is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is on the air.
    Live,
    /// Its publisher was told to go, and is taken for gone then.
    Killed(Instant),
    /// Its publisher is gone; its encoder is taken for done then.
    Ending(Instant),
}

/// One publication.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) channel: StreamName,
    /// The server that is published to; this node is one.
    pub(super) server: PeerId,
    /// The encoder that has it; `None` after its task has ended.
    pub(super) encoder: Option<PeerId>,
    pub(super) source: Source,
    pub(super) uri: Secret,
    pub(super) policy: Policy,
    pub(super) state: State,
    /// Of one of this node: what its encoder here has made of it meanwhile.
    pub(super) pictures: Option<Pictures>,
    /// Of one of this node: what its encoder shows to play it.
    pub(super) pass: Secret,
    /// Of one of this node: the sessions that its encoder pulls by.
    pub(super) pulls: Vec<SessionId>,
    /// Of one of a server that this node pulls: its stream began here.
    pub(super) begun: bool,
    /// Of one of a server: until when its encoder has to tell that something can be played.
    pub(super) lease: Option<Instant>,
}

impl Publication {
    pub(super) fn is_of_this_node(&self) -> bool {
        self.server == PeerId::SELF
    }

    /// True if it is one of a server that the encoder of this node has.
    pub(super) fn is_pulled(&self) -> bool {
        !self.is_of_this_node() && self.encoder == Some(PeerId::SELF)
    }

    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending(_))
    }

    /// Has its encoder show `pass`, the last part of where it pulls.
    pub(super) fn show(&mut self, pass: Secret) {
        let uri = self.uri.0.rsplit_once('/').map_or("", |(before, _)| before);
        self.uri = Secret(format!("{uri}/{}", pass.0));
        self.pass = pass;
    }

    /// A session pulls with the pass.
    pub(super) fn pulled_by(&mut self, session: SessionId) {
        if self.pulls.len() >= PULLS_MAX {
            self.pulls.remove(0);
        }
        self.pulls.push(session);
    }

    /// When its state ends by itself.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Live => self.lease,
            State::Killed(due) | State::Ending(due) => Some(due),
        }
    }

    pub(super) fn encode_start(&self, id: StreamId) -> Message {
        Message::EncodeStart(Task {
            channel: self.channel.to_string(),
            id: id.to_string(),
            source: self.source,
            uri: self.uri.clone(),
            policy: self.policy.clone(),
        })
    }

    pub(super) fn encode_stop(&self, id: StreamId) -> Message {
        Message::EncodeStop { channel: self.channel.to_string(), id: id.to_string() }
    }

    pub(super) fn stream_kill(&self, id: StreamId) -> Message {
        Message::StreamKill { channel: self.channel.to_string(), id: id.to_string() }
    }
}
