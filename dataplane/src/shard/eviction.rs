//! Kicks: the control plane closes a session, or the sessions of a stream.
//!
//! A publication that is kicked ends at once, without grace. A publisher may be on its way to the
//! stream's home while the order is read there, so every shard sends the order after it.

use super::connection::{Connection, Establish};
use super::message::Message;
use super::shard::Shard;
use crate::control::{CloseReason, Event, Protocol, ProtocolSet, Role};
use crate::hub::Publisher;
use crate::ids::{SessionId, StreamId, StreamName};
use crate::session::Command;

/// Whose sessions of a stream are to be closed. Crosses by: mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Eviction {
    pub stream: StreamName,
    /// Only this publication of it, and who publishes that.
    pub publication: Option<StreamId>,
    pub role: Option<Role>,
    pub protocols: ProtocolSet,
    pub reason: CloseReason,
}

impl Eviction {
    fn concerns(&self, role: Option<Role>, protocol: Protocol) -> bool {
        self.protocols.contains(protocol) && self.role.is_none_or(|asked| Some(asked) == role)
    }

    /// True if it is about the publication `id`, or about whichever there is.
    fn means(&self, id: Option<StreamId>) -> bool {
        self.publication.is_none() || self.publication == id
    }
}

impl Shard {
    /// Closes one session, and says whether it was here.
    pub(super) fn kick(&mut self, session: SessionId, reason: CloseReason) {
        let is = |connection: &Connection| connection.id == session;
        let mut slots = self.connections.slots().into_iter();
        let found = slots.find(|&slot| self.connections.get(slot).is_some_and(is));
        self.verdicts.forget();
        let stream = found.and_then(|slot| self.stream_of(slot).cloned());
        match found {
            Some(slot) => self.evict(slot, reason),
            None => self.kick_view(session, reason),
        }
        self.report(Event::Kicked { session, found: found.is_some(), stream });
    }

    /// Closes the sessions of a stream on this shard, and ends its publication if it is here.
    pub(super) fn kick_stream(&mut self, eviction: &Eviction) {
        if eviction.role != Some(Role::Play) {
            let home = self.whereabouts(&eviction.stream);
            if home != self.id {
                self.post(home, Message::Evict(Box::new(eviction.clone())));
            }
        }
        self.evict_here(eviction);
    }

    /// Closes the sessions of a stream on this shard.
    pub(super) fn evict_here(&mut self, eviction: &Eviction) {
        self.verdicts.forget();
        for slot in self.connections.slots() {
            let Some(connection) = self.connections.get(slot) else { continue };
            let concerned = eviction.concerns(connection.does(), connection.session.protocol());
            let means = eviction.means(self.publication_of(slot));
            if concerned && means && self.stream_of(slot) == Some(&eviction.stream) {
                self.evict(slot, eviction.reason);
            }
        }
        if eviction.publication.is_none() && eviction.concerns(Some(Role::Play), Protocol::Hls) {
            self.kick_views_of(&eviction.stream, eviction.reason);
        }
        let Some(hub) = self.streams.find(&eviction.stream) else { return };
        let of_hub = |hub: &crate::hub::Hub| {
            // Whoever returns within the grace time would publish what was ended.
            matches!(hub.publisher(), Publisher::Lost(_))
                && eviction.means(hub.id())
                && eviction.concerns(Some(Role::Publish), hub.protocol())
        };
        if self.streams.get(hub).is_some_and(of_hub) {
            self.end_stream(hub, eviction.reason);
        }
    }

    fn evict(&mut self, slot: u32, reason: CloseReason) {
        if self.connections.get(slot).is_some_and(|c| c.publishing().is_some()) {
            self.publish_ended(slot, reason);
        }
        self.tell(slot, Command::Shutdown { reason: reason.name() });
    }

    /// The publication that the connection in `slot` feeds, or was granted and is yet to begin.
    fn publication_of(&self, slot: u32) -> Option<StreamId> {
        let connection = self.connections.get(slot)?;
        match connection.publishing() {
            Some(hub) => self.streams.get(hub)?.id(),
            None => connection.asked.as_ref()?.id,
        }
    }

    /// The stream that the connection in `slot` publishes, plays or asks for, by the name that
    /// counts.
    pub(super) fn stream_of(&self, slot: u32) -> Option<&StreamName> {
        let connection = self.connections.get(slot)?;
        let reader = |slot| self.readers.get(slot).map(|reader| &reader.stream);
        let established = match &connection.role {
            Some(Establish::Publish { hub, .. }) => {
                self.streams.get(*hub).map(crate::hub::Hub::name)
            }
            Some(Establish::Play(playing)) => reader(playing.reader),
            Some(Establish::View(serving)) => reader(serving.reader),
            None => None,
        };
        established.or_else(|| connection.asked.as_ref().map(|asked| &asked.stream))
    }
}

impl Connection {
    /// What it does, or asks to do, with media.
    pub(super) fn does(&self) -> Option<Role> {
        match self.role {
            Some(Establish::Publish { .. }) => Some(Role::Publish),
            Some(Establish::Play(_) | Establish::View(_)) => Some(Role::Play),
            None => self.asked.as_ref().and_then(|asked| asked.intent.role()),
        }
    }
}
