//! Successions: the logs of one stream and format, one going on where the other was sealed.
//!
//! A log is never re-homed. When its stream moves, its writer seals it at the border of an entry
//! and names the log that goes on there, which the new home writes. Offsets, entry numbers, group
//! numbers and times go on as if nothing had happened, so that a reader's offset names a byte of
//! the stream, whichever log holds it: a cursor needs no generation and takes no jump.
//!
//! ```text
//!             sealed here, next is --+
//!   first  tail=======|==============|
//!   newest                           |=========|=====committed
//!                                    start
//! ```
//!
//! Not here: who holds which log and until when (`shard/relocation.rs`).

use std::sync::Arc;

use codecs::time::MediaTime;

use super::board::TurnRef;
use super::entry::Entry;
use super::groups::Group;
use super::reader::{Log, SealReason};
use crate::segment::Window;

/// A log and those that go on from it. Lives on: each of its readers' shards, and its home.
/// Crosses by: cloning an `Arc` when a subscriber starts.
#[derive(Clone, Debug)]
pub struct Succession {
    first: Arc<Log>,
}

impl Succession {
    /// `first`, and what goes on from it.
    #[must_use]
    pub const fn new(first: Arc<Log>) -> Self {
        Self { first }
    }

    /// The oldest log.
    #[must_use]
    pub const fn first(&self) -> &Arc<Log> {
        &self.first
    }

    /// The logs, oldest first.
    pub fn logs(&self) -> impl Iterator<Item = &Arc<Log>> {
        std::iter::successors(Some(&self.first), |log| log.next())
    }

    /// The log that is written now, or that the stream ended in.
    #[must_use]
    pub fn newest(&self) -> &Arc<Log> {
        let mut log = &self.first;
        while let Some(next) = log.next() {
            log = next;
        }
        log
    }

    /// The log that holds the byte at `offset`, or that will.
    #[must_use]
    pub fn at(&self, offset: u64) -> &Arc<Log> {
        let mut log = &self.first;
        while let Some(next) = log.next().filter(|next| next.start() <= offset) {
            log = next;
        }
        log
    }

    /// True if a log was sealed whose bytes may still be read.
    #[must_use]
    pub fn has_sealed(&self) -> bool {
        self.first.next().is_some()
    }

    /// Why nothing will follow; `None` if the stream goes on, here or in a log that is not yet
    /// known.
    #[must_use]
    pub fn ended(&self) -> Option<SealReason> {
        let newest = self.newest();
        // A log that is sealed and named its next since is not the end.
        newest.sealed().filter(|_| newest.next().is_none())
    }

    /// The newest entry that a player may begin at.
    ///
    /// A log that has had no join point yet goes on within the group of pictures that the one
    /// before it ended in, so what is there leads into it.
    #[must_use]
    pub fn newest_join(&self) -> Option<Entry> {
        self.logs().fold(
            None,
            |before, log| {
                if log.awaits_join() { before } else { log.newest_join() }
            },
        )
    }

    /// How far, in decode time, `offset` is behind the newest entry; `None` if it was lapped.
    #[must_use]
    pub fn lag(&self, offset: u64) -> Option<MediaTime> {
        let log = self.at(offset);
        if log.next().is_none() {
            return log.lag(offset);
        }
        let at = log.entry_containing(offset)?;
        Some(self.newest_entry()?.dts - at.dts)
    }

    /// The first entry that is still kept, in whichever log.
    #[must_use]
    pub fn oldest_entry(&self) -> Option<Entry> {
        self.logs().find_map(|log| log.oldest_entry())
    }

    /// The last published entry.
    #[must_use]
    pub fn newest_entry(&self) -> Option<Entry> {
        self.logs().filter_map(|log| log.newest_entry()).last()
    }

    /// The entry with this number; `None` if it is not yet published or no longer kept.
    #[must_use]
    pub fn entry(&self, number: u64) -> Option<Entry> {
        self.logs().find_map(|log| log.entry(number))
    }

    /// The group with this number, in whichever log; `None` if it is not yet published or no longer
    /// kept.
    #[must_use]
    pub fn group(&self, number: u64) -> Option<Group> {
        self.logs().find_map(|log| log.group(number))
    }

    /// The last published group that is kept.
    #[must_use]
    pub fn newest_group(&self) -> Option<Group> {
        let newest = |log: &Arc<Log>| log.group(log.groups_committed().checked_sub(1)?);
        self.logs().filter_map(newest).last()
    }

    /// The number of the entry from which on nothing is missing.
    #[must_use]
    pub fn entries_tail(&self) -> u64 {
        let cut = self.logs().filter(|log| log.tail() > log.start());
        cut.map(|log| log.entries_tail()).fold(self.first.entries_tail(), u64::max)
    }

    /// The offset from which on nothing is missing.
    #[must_use]
    pub fn tail(&self) -> u64 {
        let cut = self.logs().filter(|log| log.tail() > log.start()).map(|log| log.tail());
        cut.fold(self.first.start(), u64::max)
    }

    /// The segments and playlists that were shown last.
    #[must_use]
    pub fn window(&self) -> Option<TurnRef<'_, Window>> {
        self.logs().filter_map(|log| log.window()).last()
    }

    /// True if players who join now begin in the newest log, or wait for its next join point.
    #[must_use]
    pub fn joins_newest(&self) -> bool {
        !self.newest().awaits_join()
    }

    /// Lets go of the logs that hold nothing from `offset` on, or nothing at all; true if there
    /// were any.
    pub fn leave_before(&mut self, offset: u64) -> bool {
        let mut any = false;
        while let Some(next) = self.first.next()
            && next.start() <= offset.max(self.first.tail())
        {
            self.first = Arc::clone(next);
            any = true;
        }
        any
    }
}
