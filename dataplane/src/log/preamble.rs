//! Preambles: what a player gets before its first entry.

use codecs::mpegts::relay::{Entrance, RelayCounters, RelayTables};

use super::board::{Board, TurnRef};
use super::entry::Entry;

/// Versions of the preamble that a log keeps at hand for cursors that are behind.
pub const PREAMBLES_MAX: usize = 8;

/// What an item of a preamble is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PreambleKind {
    /// Stream metadata.
    Metadata,
    /// The decoder configuration of a video track.
    Video,
    /// The decoder configuration of an audio track.
    Audio,
}

/// One framed message of a preamble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreambleItem {
    /// What it is for, so that a player of one kind of track gets only its own.
    pub kind: PreambleKind,
    /// The bytes, framed for the wire.
    pub body: Vec<u8>,
}

/// Everything that a decoder must have before the first entry of a configuration version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Preamble {
    /// The configuration version of the entries that it belongs to.
    pub version: u32,
    /// The messages, in order.
    pub items: Vec<PreambleItem>,
    /// Pictures follow, even if no message says so.
    pub video: bool,
    /// Sound follows, likewise.
    pub audio: bool,
    /// The packets are those that came.
    pub relayed: Option<Box<RelayPreamble>>,
}

/// What a player gets who begins among packets that came as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayPreamble {
    /// The tables in force.
    pub tables: RelayTables,
    /// The newest clock reference before the join point, if that has none itself.
    pub clock: Option<i64>,
}

impl RelayPreamble {
    /// What comes before the join point `entry`; `after_gap` for who read something else before.
    #[must_use]
    pub fn entrance(&self, entry: &Entry, after_gap: bool) -> Entrance<'_> {
        let counters = RelayCounters::from_bits(entry.continuity.to_bits());
        Entrance { tables: &self.tables, counters, clock: self.clock, after_gap }
    }
}

/// A preamble, valid for this turn: it cannot leave the thread.
pub type PreambleRef<'a> = TurnRef<'a, Preamble>;

/// The recent preambles of a log.
#[derive(Debug)]
pub(super) struct PreambleRing {
    slots: [Board<Preamble>; PREAMBLES_MAX],
}

impl PreambleRing {
    pub(super) fn new() -> Self {
        Self { slots: std::array::from_fn(|_| Board::nothing()) }
    }

    /// Shows `preamble` and returns the one that it replaces, to be retired.
    pub(super) fn replace(&self, preamble: Preamble) -> Option<Box<Preamble>> {
        self.slot(preamble.version).replace(Some(preamble))
    }

    pub(super) fn get(&self, version: u32) -> Option<PreambleRef<'_>> {
        self.slot(version).get().filter(|preamble| preamble.version == version)
    }

    const fn slot(&self, version: u32) -> &Board<Preamble> {
        &self.slots[version as usize % PREAMBLES_MAX]
    }
}
