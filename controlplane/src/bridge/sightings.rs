//! Sightings: what the API is told of shards, from a survey or from what is known without one.
//!
//! Which streams are on the air, and who publishes them, the shards tell by themselves
//! ([`crate::registry::Running`]). A survey adds what they count.

use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{Detail, Event, Protocol, Role, SessionStatus};
use dataplane::ids::{SessionId, StreamName};
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::gather::Asker;
use super::gathered::{Gathered, SessionSight, Sighting};
use super::survey::{Askers, Waiter};

impl<F: Fleet> Exchange<F> {
    /// Answers from the last survey if nothing happened since, else lets `asker` wait for the next
    /// one.
    pub(super) fn inquire(&mut self, detail: Detail, asker: Waiter, now: Instant) {
        // What happened before the question is known before the answer.
        self.pump(now);
        if let Some(latest) = self.surveys.fresh(detail, now).map(Arc::clone) {
            self.show(asker, &latest);
            return;
        }
        match self.surveys.wait(detail, asker, now) {
            Ok(()) => self.survey(now),
            Err(asker) => {
                let missing = self.shards();
                self.show(asker, &Arc::new(Gathered { missing, ..Gathered::default() }));
            }
        }
    }

    /// Answers at once if no shard has to do with the stream, or it was seen lately.
    pub(super) fn look_at(
        &mut self,
        name: StreamName,
        reply: oneshot::Sender<Sighting>,
        now: Instant,
    ) {
        self.pump(now);
        let known = match self.is_on_air(&name) {
            true => self.surveys.sighted(&name, now).map(Arc::clone),
            false if self.is_fetched(&name) => {
                self.surveys.fresh(Detail::STREAMS, now).map(Arc::clone)
            }
            false => Some(Arc::clone(&self.nothing)),
        };
        match known {
            Some(gathered) => self.show(Waiter::One(name, reply), &gathered),
            None => self.inquire(Detail::STREAMS, Waiter::One(name, reply), now),
        }
    }

    /// Answers from what is known if nothing newer is to be had at once: with the figures of the
    /// last survey, and without any of a session that began since.
    pub(super) fn look_for(
        &mut self,
        id: SessionId,
        reply: oneshot::Sender<SessionSight>,
        now: Instant,
    ) {
        self.pump(now);
        let detail = Detail::SESSIONS;
        let id = self.sessions.numbered(id);
        let lives = self.sessions.get(id).is_some();
        let known = match (self.surveys.fresh(detail, now), self.surveys.latest(detail)) {
            (Some(fresh), _) => Some(self.sight(id, Some(&Arc::clone(fresh)))),
            // What lives is in the last survey, or began since.
            (None, latest) if lives && !self.surveys.is_due(detail, now) => {
                Some(self.sight(id, latest.map(Arc::clone).as_ref()))
            }
            (None, _) if lives => None,
            // It may do something that no shard tells by itself, as wait for its stream.
            (None, _) => self.sessions.ended(id).map(SessionSight::Closed),
        };
        match known {
            // The request may be gone: then nobody misses the answer.
            Some(sight) => drop(reply.send(sight)),
            None => self.inquire(detail, Waiter::Session(id, reply), now),
        }
    }

    /// A session as the shards told of it, else as the table knows it.
    fn sight(&self, id: SessionId, gathered: Option<&Arc<Gathered>>) -> SessionSight {
        let id = self.sessions.numbered(id);
        let live = self.sessions.get(id);
        // A connection that does one thing after the other has one number for all.
        let is_it = |status: &SessionStatus| {
            live.is_none_or(|live| {
                (status.role, status.stream.as_ref()) == (Some(live.role), Some(&live.stream))
            })
        };
        let told = gathered.filter(|gathered| gathered.session(id).is_some_and(is_it));
        match (told, live) {
            (Some(gathered), _) => SessionSight::Told { id, gathered: Arc::clone(gathered) },
            (None, Some(live)) => {
                let publishes = live.role == Role::Publish;
                let policy = publishes.then(|| self.gate.policies().of(&live.stream)).flatten();
                let policy = policy.map(Arc::clone);
                // CONTROL: of one session, for who asked for it.
                SessionSight::Began { id, live: live.clone(), policy }
            }
            (None, None) => {
                self.sessions.ended(id).map_or(SessionSight::Unknown, SessionSight::Closed)
            }
        }
    }

    /// Begins the surveys that are due.
    pub(super) fn survey(&mut self, now: Instant) {
        while let Some((detail, askers)) = self.surveys.begin(now) {
            self.gather(Asker::Api(detail, askers), detail, now);
        }
    }

    /// Tells everybody who waited for a survey what it found.
    pub(super) fn surveyed(&mut self, detail: Detail, askers: Askers, mut gathered: Gathered) {
        gathered.policies = self.policies_of(&gathered);
        gathered.tenants = self.tenants_of(&gathered);
        gathered.clip.clone_from(&self.clip);
        if self.moved_at.is_some_and(|at| gathered.asked_at.is_none_or(|asked| asked <= at))
            || self.moves.deadline().is_some()
        {
            // No shard may have told of a stream that was on its way.
            if let Some(before) = self.surveys.latest(detail) {
                gathered.carry(before, |name| self.is_on_air(name));
            }
        }
        let gathered = Arc::new(gathered);
        self.surveys.took(detail, &gathered);
        for asker in askers {
            self.show(asker, &gathered);
        }
    }

    /// What shards tell by themselves makes older answers stale.
    pub(super) fn note_change(&mut self, event: &Event, now: Instant) {
        match event {
            Event::StreamStarted(start) => {
                let of_clip = start.publisher.is_none() && start.protocol == Protocol::Demo;
                if of_clip {
                    self.clip = Some(start.stream.clone());
                } else if self.clip.as_ref() == Some(&start.stream) {
                    self.clip = None;
                }
            }
            Event::StreamEnded { stream, .. } => {
                if self.clip.as_ref() == Some(stream) {
                    self.clip = None;
                }
            }
            Event::Moved { .. } | Event::StreamMoved(_) => self.moved_at = Some(now),
            Event::StreamLost { .. } | Event::StreamReturned { .. } => {}
            // Whoever had a session closed is told of its end before its shard tells of that.
            Event::Session(_) | Event::SessionsOverflowed { .. } | Event::Kicked { .. } => {
                self.surveys.changed(Detail::SESSIONS, now);
                return;
            }
            _ => return,
        }
        self.surveys.changed(Detail::STREAMS, now);
    }

    fn is_fetched(&self, name: &StreamName) -> bool {
        self.registry.resolve(name).is_some_and(|resolved| resolved.is_fetched())
    }

    fn is_on_air(&self, name: &StreamName) -> bool {
        let slot = self.registry.running.lookup(name);
        slot.is_some_and(|slot| slot.is_on_air()) || self.clip.as_ref() == Some(name)
    }

    fn show(&self, asker: Waiter, gathered: &Arc<Gathered>) {
        let gathered = Arc::clone(gathered);
        // The request may be gone: then nobody misses the answer.
        match asker {
            Waiter::All(reply) => drop(reply.send(gathered)),
            Waiter::One(name, reply) => {
                let item = self.registry.stream(&name);
                let peers = self.peers_of(&name);
                let recording = self.recorder.state(&name);
                drop(reply.send(Sighting { item, gathered, peers, recording }));
            }
            Waiter::Session(id, reply) => drop(reply.send(self.sight(id, Some(&gathered)))),
        }
    }
}
