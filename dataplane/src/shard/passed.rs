//! Logs that a stream which was moved away left here, sealed, until their readers have passed on.
//!
//! They shrink as if the stream were still here: what lies too far behind the end of the log that
//! goes on from them is dropped, unless segments hold it. They are closed when nobody can read them
//! any more, or when nothing is left. Under pressure they go as soon as joins begin in the next
//! log; who still reads there jumps to that join, as a slow player does.
//!
//! Limits: [`PASSED_MAX`] moves of a stream; the pages are those of the windows that the logs had.

use std::sync::Arc;
use std::time::Instant;

use super::connection::Connection;
use super::ended::LAST_WORDS;
use super::shard::Shard;
use crate::ids::StreamName;
use crate::log::{Gc, LogWriter, Succession};
use crate::session::Use;
use crate::slab::Pool;

/// Moves of one stream away from one shard whose logs are kept at most: the next is refused.
pub(super) const PASSED_MAX: usize = 8;

/// What one move left here. Lives on: the shard that the stream left.
#[derive(Debug)]
pub(super) struct Passed {
    pub stream: StreamName,
    logs: Vec<LogWriter>,
    /// When the stream was seen to have ended.
    ended: Option<Instant>,
}

impl Passed {
    pub(super) const fn new(stream: StreamName, logs: Vec<LogWriter>) -> Self {
        Self { stream, logs, ended: None }
    }

    /// Drops what nobody needs at `now`; pages may be `pressed` for.
    fn keep(&mut self, now: Instant, pressed: bool, pool: &Pool, gc: &mut Gc) {
        let Self { logs, ended, .. } = self;
        let over = |log: &mut LogWriter| {
            let next = log.log().next().map(|next| Succession::new(Arc::clone(next)));
            let Some(next) = next else { return true };
            let newest = next.newest();
            let joined = next.logs().any(|log| !log.awaits_join());
            log.evict_sealed(newest, joined, gc);
            if newest.home() != pool.shard() || newest.window().is_some() {
                log.show_window(gc, None);
            }
            let unread = Arc::strong_count(log.log()) == 1;
            let closed = next.ended().is_some() && newest.window().is_none() && {
                let since = *ended.get_or_insert(now);
                now.saturating_duration_since(since) >= LAST_WORDS
            };
            unread || log.is_spent() || closed || (pressed && joined)
        };
        for log in logs.extract_if(.., over).collect::<Vec<_>>() {
            log.close(pool, gc);
        }
    }
}

impl Shard {
    /// Gives back what readers have passed, or do not need so much if pages are `pressed` for.
    pub(super) fn close_passed_logs(&mut self, pressed: bool) {
        let Self { streams, pool, gc, now, .. } = self;
        for passed in &mut streams.passed {
            passed.keep(*now, pressed, pool, gc);
        }
        streams.passed.retain(|passed| !passed.logs.is_empty());
    }

    /// True if a log of a stream that left is still read.
    pub(super) fn is_passed_by_some(&self) -> bool {
        let read = |log: &LogWriter| Arc::strong_count(log.log()) > 1;
        self.streams.passed.iter().any(|passed| passed.logs.iter().any(read))
    }

    /// How many logs are kept for those who read them.
    pub(super) fn passed_logs(&self) -> u64 {
        self.streams.passed.iter().map(|passed| passed.logs.len() as u64).sum()
    }

    /// True if so many moves of `stream` left logs here that are still read that another must wait.
    pub(super) fn drains_moves_of(&self, stream: &StreamName) -> bool {
        let of_stream = self.streams.passed.iter().filter(|passed| passed.stream == *stream);
        of_stream.count() >= PASSED_MAX
    }

    /// The thread ends: nothing is kept.
    pub(super) fn forget_passed(&mut self) {
        let Self { streams, pool, gc, .. } = self;
        for log in streams.passed.drain(..).flat_map(|passed| passed.logs) {
            log.close(pool, gc);
        }
    }

    /// Lets go of the sealed logs that no player of this shard reads, and where nobody begins.
    pub(super) fn leave_sealed_logs(&mut self) {
        for slot in self.readers.of_sealed() {
            let Some((needed, behind)) = self.needed_from(slot) else { continue };
            if let Some(reader) = self.readers.get_mut(slot) {
                reader.leave_before(needed);
                reader.behind = behind;
            }
        }
    }

    /// The first offset that anybody of a reader may still be sent, or one in its first log, which
    /// is then needed, and the player for whom it is: that one is asked first the next time.
    fn needed_from(&self, reader_slot: u32) -> Option<(u64, Option<u32>)> {
        let reader = self.readers.get(reader_slot)?;
        let logs = reader.logs()?;
        let first_ends = logs.first().next()?.start();
        let mut needed = logs.newest().start();
        if !logs.joins_newest()
            && let Some(join) = logs.newest_join()
        {
            needed = needed.min(join.offset);
        }
        if reader.usage == Use::Segments {
            // What is held for segments, the one among them that is not finished.
            let held = logs.newest().held_from();
            needed = held.map_or(logs.first().start(), |from| from.min(needed));
        }
        if needed < first_ends {
            return Some((needed, None));
        }
        for &slot in reader.behind.iter().chain(reader.subscribers.iter().flatten()) {
            let playing = self.connections.get(slot).and_then(Connection::playing);
            let playing = playing.filter(|playing| playing.reader == reader_slot);
            let Some(cursor) = playing.and_then(|playing| playing.cursor) else { continue };
            needed = needed.min(cursor.offset);
            if needed < first_ends {
                return Some((needed, Some(slot)));
            }
        }
        let served = self.connections.iter().filter_map(|c| c.served_from(reader_slot));
        Some((if reader.serving > 0 { served.fold(needed, u64::min) } else { needed }, None))
    }
}
