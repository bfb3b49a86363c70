//! Kicks: the control plane closes a session, or the sessions of streams.
//!
//! A change of a template may close the sessions of thousands of streams. They come in one order,
//! which looks at each connection once, for its share of each turn:
//!
//! ```text
//!   order --> connections --> views of HLS --> publications --letters--> publications of others
//! ```
//!
//! A publication that is kicked ends at once, without grace. A publisher may be on its way to the
//! stream's home while the order is read there, so every shard sends the order after it when it has
//! looked at its own connections.
//!
//! Who connects after the order is judged by what is in force then, and stays.
//!
//! Limits: [`EVICTIONS_MAX`] orders are under way; one more lets the oldest be done at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Establish};
use super::message::Message;
use super::shard::Shard;
use super::turn::Round;
use super::withdrawal::Withdrawal;
use crate::control::{CloseReason, Event, Role, StreamKick};
use crate::hub::{Hub, Publisher};
use crate::ids::{SHARDS_MAX, SessionId, ShardId, StreamId, StreamName};
use crate::session::Command;

/// Orders under way at most.
const EVICTIONS_MAX: usize = 64;

/// The orders under way. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Evictions(VecDeque<Eviction>);

/// One order, and how far it is.
#[derive(Debug)]
struct Eviction {
    /// By the name of the stream.
    kicks: Arc<[StreamKick]>,
    reason: CloseReason,
    began: Instant,
    step: Step,
    at: usize,
    /// The views that there were.
    views: Vec<SessionId>,
    /// The homes of publications, one bit each; `None` of an order that a shard sent.
    homes: Option<u64>,
}

const _: () = assert!(SHARDS_MAX <= u64::BITS as usize, "homes are bits of a word");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connections,
    Views,
    Publications,
}

/// What is to become of the sessions of `stream`, if anything is.
fn kick_of<'a>(kicks: &'a [StreamKick], stream: &StreamName) -> Option<&'a StreamKick> {
    kicks.binary_search_by(|kick| kick.stream.cmp(stream)).ok().and_then(|at| kicks.get(at))
}

impl Shard {
    /// Closes one session, and says whether it was here.
    pub(super) fn kick(&mut self, session: SessionId, reason: CloseReason) {
        let is = |connection: &Connection| connection.id == session;
        let mut slots = self.connections.slots().into_iter();
        let found = slots.find(|&slot| self.connections.get(slot).is_some_and(is));
        let stream = found.and_then(|slot| self.stream_of(slot).cloned());
        match found {
            Some(slot) => {
                if let Some(whose) = self.viewer_of(slot) {
                    self.withdraw_everywhere(whose);
                }
                self.evict(slot, reason);
            }
            None => {
                if let Some(view) = self.views.roll.get(session) {
                    let stream = view.stream.clone();
                    self.withdraw_everywhere(Withdrawal { stream });
                }
                self.kick_view(session, reason);
            }
        }
        self.report(Event::Kicked { session, found: found.is_some(), stream });
    }

    /// Closes the sessions of streams on this shard, and ends the publications that are here or on
    /// their way; `kicks` are sorted by stream.
    pub(super) fn kick_streams(&mut self, kicks: Arc<[StreamKick]>, reason: CloseReason) {
        debug_assert!(kicks.is_sorted_by(|one, other| one.stream < other.stream), "one per stream");
        self.verdicts
            .withdraw(|leave| kick_of(&kicks, &leave.stream).is_some_and(StreamKick::kicks_views));
        let of_views = kicks.iter().any(StreamKick::kicks_views);
        let mut views = Vec::new();
        if of_views {
            self.shared.revoked.doubt_given(self.wall);
            views.extend(self.views.roll.iter().map(|view| view.seat.id));
        }
        let step = Step::Connections;
        let (began, homes) = (self.now, Some(0));
        self.begin_eviction(Eviction { kicks, reason, began, step, at: 0, views, homes });
    }

    /// Ends the publications that came here before the order of another shard.
    pub(super) fn kick_publications(&mut self, kicks: Arc<[StreamKick]>, reason: CloseReason) {
        let (began, step, views) = (self.now, Step::Publications, Vec::new());
        self.begin_eviction(Eviction { kicks, reason, began, step, at: 0, views, homes: None });
    }

    fn begin_eviction(&mut self, eviction: Eviction) {
        if self.evictions.0.len() >= EVICTIONS_MAX
            && let Some(mut oldest) = self.evictions.0.pop_front()
        {
            while self.evict_next(&mut oldest) {}
        }
        self.evictions.0.push_back(eviction);
    }

    /// Goes on with the oldest order for its share of a turn; true if more is to be done.
    pub(super) fn evict_some(&mut self) -> bool {
        let mut round = Round::default();
        while let Some(mut eviction) = self.evictions.0.pop_front() {
            while self.evict_next(&mut eviction) {
                if round.is_over() {
                    self.evictions.0.push_front(eviction);
                    return true;
                }
            }
        }
        false
    }

    /// Looks at one connection, view or publication; false once all is done.
    fn evict_next(&mut self, eviction: &mut Eviction) -> bool {
        let at = eviction.at;
        eviction.at += 1;
        match eviction.step {
            Step::Connections if at < self.connections.capacity() => {
                let slot = u32::try_from(at).expect("slots are counted in 32 bits");
                if self.is_concerned(slot, eviction) {
                    self.evict(slot, eviction.reason);
                }
            }
            Step::Connections => (eviction.step, eviction.at) = (Step::Views, 0),
            Step::Views => match eviction.views.get(at) {
                Some(&view) => self.evict_view(view, eviction),
                None => (eviction.step, eviction.at) = (Step::Publications, 0),
            },
            Step::Publications => {
                let Some(kick) = eviction.kicks.get(at) else {
                    self.pass_on(eviction);
                    return false;
                };
                if let Some(homes) = &mut eviction.homes
                    && kick.kicks_publishers()
                {
                    *homes |= 1 << self.whereabouts(&kick.stream).index();
                }
                self.end_publication(kick, eviction.reason);
            }
        }
        true
    }

    fn is_concerned(&self, slot: u32, eviction: &Eviction) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        if connection.opened > eviction.began {
            return false;
        }
        let (Some(role), Some(stream)) = (connection.does(), self.stream_of(slot)) else {
            return false;
        };
        let kick = kick_of(&eviction.kicks, stream);
        let unlisted = connection.is_unlisted();
        kick.is_some_and(|kick| {
            kick.means(self.publication_of(slot))
                && kick.concerns(role, connection.session.protocol())
                && (kick.spares_nobody(role) || !(self.is_dialled(slot) || unlisted))
        })
    }

    fn evict_view(&mut self, view: SessionId, eviction: &Eviction) {
        let kick = self.views.stream_of(view).and_then(|stream| kick_of(&eviction.kicks, stream));
        if kick.is_some_and(|kick| kick.kicks_views()) {
            self.kick_view(view, eviction.reason);
        }
    }

    /// Ends the publication of a stream whose home is here, also one that lost its publisher:
    /// whoever returns within the grace time would publish what was ended.
    fn end_publication(&mut self, kick: &StreamKick, reason: CloseReason) {
        let Some(hub) = self.streams.find(&kick.stream) else { return };
        let meant =
            |hub: &Hub| kick.means(hub.id()) && kick.concerns(Role::Publish, hub.protocol());
        if !self.streams.get(hub).is_some_and(meant) {
            return;
        }
        match self.streams.get(hub).map(Hub::publisher) {
            // What becomes of a peer that is called is said apart from who may come.
            Some(Publisher::Session { slot, .. })
                if !kick.spares_nobody(Role::Publish) && self.is_dialled(slot) => {}
            Some(Publisher::Session { slot, .. }) => self.evict(slot, reason),
            Some(Publisher::Lost(_)) => self.end_stream(hub, reason),
            Some(Publisher::Demo) | None => {}
        }
    }

    /// Sends the order after publishers that left this shard for their home before it.
    fn pass_on(&mut self, eviction: &Eviction) {
        let homes = eviction.homes.unwrap_or(0);
        let others = (0..SHARDS_MAX).filter(|&shard| homes & (1 << shard) != 0);
        for shard in others.filter_map(|shard| u16::try_from(shard).ok()).map(ShardId) {
            if shard != self.id {
                let (kicks, reason) = (Arc::clone(&eviction.kicks), eviction.reason);
                self.post(shard, Message::Evict { kicks, reason });
            }
        }
    }

    pub(super) fn evict(&mut self, slot: u32, reason: CloseReason) {
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
            Some(Establish::Publish { hub, .. }) => self.streams.get(*hub).map(Hub::name),
            Some(Establish::Play(playing)) => reader(playing.reader),
            Some(Establish::View(serving)) => reader(serving.reader),
            None => None,
        };
        established.or_else(|| connection.asked.as_ref().map(|asked| &asked.stream))
    }
}

impl Connection {
    /// True if the node plays to itself by it.
    pub(super) fn is_unlisted(&self) -> bool {
        self.playing().is_some_and(|playing| playing.unlisted)
            || self.asked.as_ref().is_some_and(|asked| asked.unlisted)
    }

    /// What it does, or asks to do, with media.
    pub(super) fn does(&self) -> Option<Role> {
        match self.role {
            Some(Establish::Publish { .. }) => Some(Role::Publish),
            Some(Establish::Play(_) | Establish::View(_)) => Some(Role::Play),
            None => self.asked.as_ref().and_then(|asked| asked.intent.role()),
        }
    }
}
