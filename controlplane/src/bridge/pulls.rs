//! Pulls: the home shard of each declared stream hears where it fetches the stream by itself.
//!
//! Limits: one entry for each declared stream that is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{Command, UdpInput};
use dataplane::ids::StreamName;

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::outbox::WAITING_MAX;

/// Streams that are looked at in one go at most.
const LOOKS_MAX: usize = 256;

/// What shards were told, and what they are to be told.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    told: BTreeMap<StreamName, Vec<Arc<UdpInput>>>,
    /// Streams to look at: they changed, or there was no room to tell of them.
    unseen: BTreeSet<StreamName>,
}

impl<F: Fleet> Exchange<F> {
    /// The streams that are declared are fetched from now on.
    pub(crate) fn pull_all(&mut self) {
        let fetched = self.registry.streams_after(None);
        let fetched = fetched.filter(|item| !item.resolved.fetches().is_empty());
        self.pulls.unseen.extend(fetched.map(|item| item.name));
        self.dial_all();
    }

    /// These changed.
    pub(crate) fn pull_anew(&mut self, changed: BTreeSet<StreamName>, now: Instant) {
        self.dial_anew(&changed, now);
        self.pulls.unseen.extend(changed);
    }

    /// True if shards are still to be told something.
    pub(super) fn has_pulls_to_tell(&self) -> bool {
        !self.pulls.unseen.is_empty()
    }

    /// Tells home shards what they do not know yet, as far as there is room.
    pub(super) fn tell_pulls(&mut self) {
        if self.outbox.waiting() > WAITING_MAX / 2 {
            return;
        }
        for _ in 0..LOOKS_MAX {
            let Some(stream) = self.pulls.unseen.pop_first() else { return };
            let declared = self.registry.stream(&stream).filter(|item| item.spec.is_some());
            let inputs = declared.map(|item| item.resolved.fetches()).unwrap_or_default();
            if self.pulls.told.get(&stream).map_or(&[][..], Vec::as_slice) == inputs.as_slice() {
                continue;
            }
            let (home, dropped) = (self.fleet.home(&stream), self.outbox.dropped);
            let pull = Command::Pull { stream: stream.clone(), inputs: inputs.as_slice().into() };
            self.tell(home, pull);
            if self.outbox.dropped > dropped {
                self.pulls.unseen.insert(stream);
                return;
            }
            if inputs.is_empty() {
                self.pulls.told.remove(&stream);
            } else {
                self.pulls.told.insert(stream, inputs);
            }
        }
    }
}
