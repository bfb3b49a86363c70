//! A player's place in a packaged log, and what it may be sent next.
//!
//! A cursor is the whole of a player's media state: no queue, no copy, no reference per frame.
//! Units: offsets are bytes since the log began.

use std::time::{Duration, Instant};

use super::lateness::LateMark;
use crate::config::EgressConfig;
use crate::log::{Entry, EntryKind, Log, Succession};
use crate::session::Join;

/// Bytes of one send at most.
pub(super) const SEND_BYTES_MAX: u64 = 64 << 10;

/// A place in a log. Lives on: the player's shard. Crosses by: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The next byte to send.
    pub offset: u64,
    /// The configuration that the player was told.
    pub version: u32,
    /// `offset` is where an entry begins: other bytes may come in between, and a jump is harmless.
    pub at_boundary: bool,
}

/// What a player wants of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub audio: bool,
    pub video: bool,
    /// Pictures were switched on again: they begin at the next join point.
    pub video_from_join: bool,
}

impl Filter {
    pub(super) const ALL: Self = Self { audio: true, video: true, video_from_join: false };

    /// What a player that had `self` has when it asks for `audio` and `video`.
    pub(super) const fn asked(self, audio: bool, video: bool) -> Self {
        let had = self.video;
        Self { audio, video: video && had, video_from_join: video && !had }
    }

    const fn passes(&mut self, entry: &Entry) -> bool {
        match entry.kind {
            EntryKind::Audio => self.audio,
            EntryKind::Video => {
                if self.video_from_join && entry.join {
                    (self.video, self.video_from_join) = (true, false);
                }
                self.video
            }
            EntryKind::Data | EntryKind::Config | EntryKind::Notice => true,
        }
    }
}

/// What comes next for a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send up to `to`, which is where an entry begins if `boundary`.
    Send { to: u64, boundary: bool },
    /// Nothing is there yet.
    CaughtUp,
    /// The cursor is too far behind: it goes on at the newest join point.
    Jump,
    /// The log ended and everything was sent.
    Ended,
    /// The tail overtook the cursor inside an entry.
    Lost,
}

/// What holds a cursor back.
#[derive(Debug)]
pub(crate) struct Restraint<'a> {
    /// Other bytes wait for the next boundary, or the player pauses or leaves there.
    pub stop_at_boundary: bool,
    /// What the player wants.
    pub filter: &'a mut Filter,
    /// Where a frame ends that was begun and must be finished first.
    pub frame: Option<u64>,
    /// What is too far behind.
    pub late: LateMark,
}

impl Cursor {
    /// A cursor at the place where a player joins; `None` while there is none.
    pub(super) fn join(logs: &Succession, join: Join, not_before: u64) -> Option<(Self, Entry)> {
        let entry = logs.newest_join()?;
        if join == Join::NextKeyframe && entry.offset < not_before {
            return None;
        }
        let cursor =
            Self { offset: entry.offset, version: entry.config_version, at_boundary: true };
        Some((cursor, entry))
    }

    /// What comes next, skipping entries that the player does not want.
    pub(super) fn step(
        &mut self,
        logs: &Succession,
        config: &EgressConfig,
        hold: Restraint<'_>,
    ) -> Step {
        let log = &**logs.at(self.offset);
        if self.offset < log.tail() {
            return self.lapped(logs);
        }
        if let Some(end) = hold.frame {
            return self.up_to(end);
        }
        if hold.stop_at_boundary {
            return self.finish_entry(log);
        }
        // Read before `committed`, so that a seal seen here comes with all bytes before it.
        let ended = log.sealed().is_some() && log.next().is_none();
        let committed = log.committed();
        let Some(behind) = committed.checked_sub(self.offset) else { return Step::CaughtUp };
        if hold.late.suspects(self.offset) && self.should_jump(logs, config) {
            return if self.at_boundary { Step::Jump } else { self.finish_entry(log) };
        }
        if *hold.filter != Filter::ALL {
            let step = self.filtered(log, hold.filter, committed, ended);
            let sealed = |at| log.next().is_some_and(|next| next.start() <= at);
            if step == Step::Lost {
                return self.lapped(logs);
            }
            if step == Step::CaughtUp && sealed(self.offset) {
                // Nothing was left in this log that the player wants.
                return self.step(logs, config, hold);
            }
            return step;
        }
        match behind {
            0 if ended => Step::Ended,
            0 => Step::CaughtUp,
            n if n <= SEND_BYTES_MAX => Step::Send { to: committed, boundary: true },
            _ => Step::Send { to: self.offset + SEND_BYTES_MAX, boundary: false },
        }
    }

    /// The bytes up to `offset` are in the kernel.
    pub(super) fn sent(&mut self, offset: u64, boundary: bool, log: &Log) {
        self.offset = offset;
        self.at_boundary = boundary
            || offset == log.committed()
            || log.entry_containing(offset).is_some_and(|entry| entry.offset == offset);
    }

    /// What is at the cursor is gone: it goes on at a join point ahead of it, never back in time,
    /// and waits for one if there is none.
    fn lapped(self, logs: &Succession) -> Step {
        // Read first, so that a join point which came before the end is seen.
        let ended = logs.ended().is_some();
        let join = logs.newest_join();
        match () {
            () if !self.at_boundary => Step::Lost,
            () if join.is_none_or(|join| join.offset > self.offset) => Step::Jump,
            () if ended => Step::Ended,
            () => Step::CaughtUp,
        }
    }

    /// True if the cursor is too far behind and there is a join point ahead of it.
    ///
    /// Without one, as in a GOP longer than the lag that is allowed, a jump would go back in time:
    /// the player reads on as fast as it can, and the log's tail is its limit.
    fn should_jump(self, logs: &Succession, config: &EgressConfig) -> bool {
        logs.lag(self.offset).is_some_and(|lag| lag > config.player_lag_max)
            && logs.newest_join().is_some_and(|join| join.offset > self.offset)
    }

    /// The rest of the entry that the cursor is inside.
    fn finish_entry(self, log: &Log) -> Step {
        if self.at_boundary {
            return Step::CaughtUp;
        }
        match log.entry_containing(self.offset) {
            Some(entry) => self.up_to(entry.end()),
            None => Step::Lost,
        }
    }

    /// As much up to `end`, the border of an entry, as one send takes.
    fn up_to(self, end: u64) -> Step {
        let to = end.min(self.offset + SEND_BYTES_MAX);
        Step::Send { to, boundary: to == end }
    }

    fn filtered(&mut self, log: &Log, filter: &mut Filter, committed: u64, ended: bool) -> Step {
        if !self.at_boundary {
            return self.finish_entry(log);
        }
        while self.offset < committed {
            let Some(entry) = log.entry_containing(self.offset) else { return Step::Lost };
            if filter.passes(&entry) {
                return self.up_to(entry.end());
            }
            self.offset = entry.end();
        }
        if ended { Step::Ended } else { Step::CaughtUp }
    }
}

/// Counts the jumps of a player: one that keeps jumping cannot keep up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jumps {
    pub total: u32,
    in_window: u8,
    window_began: Instant,
}

impl Jumps {
    pub(super) const fn new(now: Instant) -> Self {
        Self { total: 0, in_window: 0, window_began: now }
    }

    /// Counts one; false if it was one too many.
    pub(super) fn allow(&mut self, now: Instant, max: u8, window: Duration) -> bool {
        if now.saturating_duration_since(self.window_began) > window {
            self.window_began = now;
            self.in_window = 0;
        }
        self.total += 1;
        self.in_window = self.in_window.saturating_add(1);
        self.in_window <= max
    }
}
