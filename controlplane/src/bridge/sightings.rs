//! Sightings: what the API is told of shards, from a survey or from what is known without one.
//!
//! Which streams are on the air, and who publishes them, the shards tell by themselves
//! ([`crate::registry::Running`]). A survey adds what they count.

use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{Detail, Event, Protocol};
use dataplane::ids::StreamName;
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::gather::Asker;
use super::gathered::{Gathered, Sighting};
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

    /// Answers at once if the stream is not on the air, or was seen lately.
    pub(super) fn look_at(
        &mut self,
        name: StreamName,
        reply: oneshot::Sender<Sighting>,
        now: Instant,
    ) {
        self.pump(now);
        let known = match self.is_on_air(&name) {
            true => self.surveys.sighted(&name, now).map(Arc::clone),
            false => Some(Arc::clone(&self.nothing)),
        };
        match known {
            Some(gathered) => self.show(Waiter::One(name, reply), &gathered),
            None => self.inquire(Detail::STREAMS, Waiter::One(name, reply), now),
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
                drop(reply.send(Sighting { item, gathered }));
            }
        }
    }
}
