//! Waiting: what an encoder has to be told, and does not hear now because as much as may be waits
//! for it already.
//!
//! A publication whose encoder was lost waits for the next one, its publisher goes on meanwhile;
//! one that is over waits to be stopped. An encoder that takes nothing is lost within seconds, and
//! what waited for it is placed elsewhere, at last at the encoder of this node, or ends. Whoever is
//! new has no encoder before those who wait.
//!
//! Limits: each publication waits once, and for an encoder as long as for the first output of one
//! that has begun.

use std::time::{Duration, Instant};

use dataplane::ids::StreamId;

use super::publication::State;
use super::table::Attached;

/// A link does not tell when there is room: it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Attached {
    /// An encoder is told of a publication when one hears again.
    pub(super) fn wait(&mut self, id: StreamId, now: Instant) {
        if let Some(publication) = self.publications.get_mut(&id)
            && publication.state == State::Live
        {
            // Viewers see nothing meanwhile, so that its publisher begins anew rather than wait on.
            publication.lease = Some(now + self.bounds.lease);
        }
        self.waiting.insert(id);
        self.look_again.get_or_insert(now + LOOK_AGAIN);
    }

    /// Tells what waits, as far as it is heard.
    pub(super) fn catch_up(&mut self, now: Instant) {
        if self.look_again.is_none_or(|due| due > now) {
            return;
        }
        for id in std::mem::take(&mut self.waiting) {
            let Some(publication) = self.publications.get(&id) else { continue };
            let waits = match (publication.state, publication.encoder) {
                (State::Live, None) => self.place(id, now),
                (State::Ending(_), Some(encoder)) => {
                    let stop = publication.encode_stop(id);
                    let link = self.peers.get(&encoder).map(|peer| &peer.link);
                    link.is_some_and(|link| link.try_send(stop).is_err())
                }
                _ => false,
            };
            if waits {
                self.waiting.insert(id);
            }
        }
        self.look_again = (!self.waiting.is_empty()).then(|| now + LOOK_AGAIN);
    }

    /// True if a publication that is on the air has no encoder yet.
    pub(super) fn is_any_waiting(&self) -> bool {
        let state = |id: &StreamId| self.publications.get(id).map(|publication| publication.state);
        self.waiting.iter().any(|id| state(id) == Some(State::Live))
    }

    /// Gives a publication without an encoder to one; true if it has to wait for that.
    pub(super) fn place(&mut self, id: StreamId, now: Instant) -> bool {
        if let Some(encoder) = self.least_loaded() {
            self.encode(id, encoder, now);
            return false;
        }
        if self.encoders().any(|(_, peer)| peer.takes_more()) {
            return true;
        }
        if !self.pull(id, now) {
            self.kill(id, now);
        }
        false
    }
}
