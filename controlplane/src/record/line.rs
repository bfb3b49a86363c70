//! Line: streams that wait for their turn.

use std::collections::{BTreeMap, BTreeSet};

use dataplane::ids::StreamName;

/// Streams, each once, by their `turn`.
#[derive(Debug)]
pub(super) struct Line<T> {
    turns: BTreeMap<StreamName, T>,
    order: BTreeSet<(T, StreamName)>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { turns: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<T: Copy + Ord> Line<T> {
    /// Has a stream wait; one that waits already has this turn instead.
    pub(super) fn wait(&mut self, stream: &StreamName, turn: T) {
        self.leave(stream);
        self.turns.insert(stream.clone(), turn);
        self.order.insert((turn, stream.clone()));
    }

    /// A stream waits no more.
    pub(super) fn leave(&mut self, stream: &StreamName) {
        if let Some((stream, turn)) = self.turns.remove_entry(stream) {
            self.order.remove(&(turn, stream));
        }
    }

    /// True if it waits.
    pub(super) fn has(&self, stream: &StreamName) -> bool {
        self.turns.contains_key(stream)
    }

    /// The next turn.
    pub(super) fn first(&self) -> Option<T> {
        self.order.first().map(|(turn, _)| *turn)
    }

    /// Takes the next stream, if its turn is no later than `until`.
    pub(super) fn take(&mut self, until: T) -> Option<StreamName> {
        if self.first()? > until {
            return None;
        }
        let (_, stream) = self.order.pop_first()?;
        self.turns.remove(&stream);
        Some(stream)
    }

    /// Nobody waits any more.
    pub(super) fn clear(&mut self) {
        self.turns.clear();
        self.order.clear();
    }
}
