//! How far behind is too far, as an offset: a place in a log that moves with it.
//!
//! The lag of a cursor is a difference of decode times, and finding the entry of an offset is a
//! search. Thousands of players read one log, so the search is done once for all of them, as the
//! log moves: whose offset is not below the mark is not late, and only the others are looked at.

use codecs::time::MediaTime;

use crate::log::Succession;

/// Entries that one advance passes at most; a mark that is behind catches up in a few turns.
const ENTRIES_PER_ADVANCE_MAX: usize = 64;

/// The first place in a log that is not too far behind its end. Lives on: the reading shard.
/// Crosses by: never.
///
/// It may be behind the truth, never ahead of it as long as decode times grow: a late player is
/// found at the next advance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LateMark {
    entry: u64,
    offset: u64,
}

impl LateMark {
    /// Follows the log: passes entries that are more than `lag_max` older than the newest.
    pub(super) fn advance(&mut self, logs: &Succession, lag_max: MediaTime) {
        let Some(newest) = logs.newest_entry() else { return };
        self.entry = self.entry.max(logs.entries_tail());
        for _ in 0..ENTRIES_PER_ADVANCE_MAX {
            match logs.entry(self.entry) {
                Some(entry) if newest.dts - entry.dts > lag_max => {
                    self.entry += 1;
                    self.offset = entry.end();
                }
                _ => return,
            }
        }
    }

    /// True if a cursor at `offset` has to be looked at.
    pub(super) const fn suspects(&self, offset: u64) -> bool {
        offset < self.offset
    }
}
