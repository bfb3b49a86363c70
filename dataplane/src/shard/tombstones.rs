//! Tombstones: what the control plane must hear of sessions and streams, kept while its mailbox is
//! full.
//!
//! ```text
//!   begins, ends --> mailbox --> control plane
//!         | full        ^
//!         v             | in their order, when there is room
//!      waiting ---------+
//!         | full
//!         v
//!       lost -- room for one word --> SessionsOverflowed: the control plane compares its tables
//!                                     with a snapshot
//! ```
//!
//! Behind a session that was lost no other is told before that word, so whatever follows it is
//! whole again. No snapshot overtakes what waits.
//! A shard never waits for the control plane, and nothing of this is touched by a packet.
//!
//! Limits: [`TOMBSTONES_MAX`] events wait, and [`STREAM_TOMBSTONES_MAX`] of streams besides.

use std::collections::VecDeque;

use super::shard::Shard;
use crate::control::Event;

/// Events of one shard that wait for room at most.
const TOMBSTONES_MAX: usize = 4_096;
/// Events of streams that may wait besides.
const STREAM_TOMBSTONES_MAX: usize = 4_096;

/// What waits. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    waiting: VecDeque<Event>,
    /// Events found no room here, and the control plane was not told yet.
    lost: bool,
}

impl Tombstones {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.lost
    }
}

impl Shard {
    /// Tells the control plane of a session or a stream: at once, later, or that it was lost.
    pub(super) fn tell_control(&mut self, event: Event) {
        self.tell_tombstones();
        let refused = match self.tombstones.is_empty() {
            true => self.control.send(event).err(),
            false => Some(event),
        };
        let Some(event) = refused else { return };
        let Tombstones { waiting, lost } = &mut self.tombstones;
        // Streams are few, and no snapshot tells how one ended: sessions leave them room.
        let fits = match event {
            Event::Session(_) => !*lost && waiting.len() < TOMBSTONES_MAX,
            _ => waiting.len() < TOMBSTONES_MAX + STREAM_TOMBSTONES_MAX,
        };
        if !fits {
            *lost = true;
            self.counters.tombstones_lost += 1;
        } else {
            waiting.push_back(event);
        }
    }

    /// True while something waits to be told.
    pub(super) fn holds_back(&self) -> bool {
        !self.tombstones.is_empty()
    }

    /// Tells what waits, as far as there is room.
    pub(super) fn tell_tombstones(&mut self) {
        let Self { tombstones: Tombstones { waiting, lost }, control, id, .. } = self;
        while let Some(event) = waiting.pop_front() {
            if let Err(event) = control.send(event) {
                waiting.push_front(event);
                return;
            }
        }
        if waiting.capacity() > 0 {
            *waiting = VecDeque::new();
        }
        if *lost && control.send(Event::SessionsOverflowed { shard: *id }).is_ok() {
            *lost = false;
        }
    }
}
