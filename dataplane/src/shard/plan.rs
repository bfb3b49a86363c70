//! What a player is sent next: a join, a range of its log, or nothing.
//!
//! Not here: who is served when (`egress.rs`), where a cursor may go (`cursor.rs`).

use std::time::Instant;

use super::connection::{Connection, Establish, InFlight, Playing};
use super::cursor::{Cursor, Filter, Restraint, SEND_BYTES_MAX, Step};
use super::lateness::LateMark;
use crate::config::EgressConfig;
use crate::error::Error;
use crate::log::{RangeList, Succession};
use crate::metrics::ShardCounters;
use crate::package::Packager;
use crate::session::Join;

/// What a connection needs after its turn in the queue.
pub(super) enum Outcome {
    /// Nothing to send.
    Idle,
    /// A send of so many bytes was queued.
    Sent(usize),
    /// The join burst budget of this turn is spent.
    Later,
    /// The stream ended and everything was sent.
    StreamEnded,
    /// The last words are sent.
    Farewell,
    /// The play is over and its last entry finished.
    Left,
    /// The player cannot keep up.
    TooSlow,
    /// The segment was lost before it was sent.
    Overtaken,
    /// Nothing can be encrypted for it any more.
    Broken(Error),
}

/// What planning a send looks at.
pub(super) struct Context<'a> {
    pub logs: &'a Succession,
    pub packager: Packager,
    pub egress: &'a EgressConfig,
    pub late: LateMark,
    pub now: Instant,
}

/// What joins take and cause.
pub(super) struct Joins<'a> {
    /// Bytes of join bursts that are left to this turn.
    pub budget: &'a mut u32,
    /// The readers of those who joined and asked that nobody else does so there.
    pub clears: &'a mut Vec<u32>,
}

impl Context<'_> {
    /// Decides what of the log a player is sent next.
    pub(super) fn plan(
        &self,
        connection: &mut Connection,
        counters: &mut ShardCounters,
        joins: Joins<'_>,
        ranges: &mut RangeList,
    ) -> Result<InFlight, Outcome> {
        let closing = connection.closing.is_some();
        if connection.playing().is_some_and(Playing::has_left) {
            return Err(Outcome::Left);
        }
        let Connection { role: Some(Establish::Play(playing)), out, .. } = connection else {
            return Err(Outcome::Idle);
        };
        self.resume(playing);
        if playing.cursor.is_none() {
            if closing || playing.paused {
                let paused = self.ended_or_idle(playing);
                return Err(if closing { Outcome::Farewell } else { paused });
            }
            if *joins.budget == 0 {
                return Err(Outcome::Later);
            }
            if !self.join(playing, &mut out.bytes, counters) {
                return Err(self.ended_or_idle(playing));
            }
            if playing.options.join == Join::ClearKeyframe {
                playing.options.join = Join::NewestKeyframe;
                joins.clears.push(playing.reader);
            }
        }
        let cursor = playing.cursor.as_mut().ok_or(Outcome::Idle)?;
        let waits = closing
            || playing.paused
            || playing.leaving
            || (!out.is_empty() && !cursor.at_boundary);
        let frame = playing.frame.as_deref_mut();
        let open = frame.as_ref().and_then(|frame| frame.open());
        let filter = &mut playing.filter;
        let late = self.late;
        let hold = Restraint { stop_at_boundary: waits, filter, frame: open, late };
        match cursor.step(self.logs, self.egress, hold) {
            Step::Send { mut to, boundary } => {
                let from = cursor.offset;
                let log = self.logs.at(from);
                // Where a log was sealed a send ends, whatever the next one holds by now.
                let seam = log.next().is_some();
                let cut = open.is_some() || !boundary || to - from >= SEND_BYTES_MAX || seam;
                if let Some(frame) = frame.filter(|_| open.is_none()) {
                    to = frame.begin(log, from, to, boundary).ok_or(Outcome::Later)?;
                }
                let covered = log.ranges(from, to, ranges).map_err(|_| Outcome::Idle)?;
                if playing.filter != Filter::ALL {
                    counters.entries_filtered += 1;
                }
                let len = u32::try_from(covered).expect("a step is SEND_BYTES_MAX at most");
                if covered > SEND_BYTES_MAX / 2 {
                    *joins.budget = joins.budget.saturating_sub(len);
                }
                let boundary = boundary && from + covered == to;
                Ok(InFlight { own: 0, head: 0, from, len, boundary, cut })
            }
            Step::CaughtUp if playing.leaving => Err(Outcome::Left),
            Step::CaughtUp if closing => Err(Outcome::Farewell),
            Step::CaughtUp if playing.paused => Err(self.ended_or_idle(playing)),
            Step::CaughtUp => Err(Outcome::Idle),
            Step::Ended if playing.over.is_some() => Err(Outcome::Idle),
            Step::Ended => Err(Outcome::StreamEnded),
            Step::Lost => Err(Outcome::TooSlow),
            Step::Jump => {
                counters.player_jumps += 1;
                let (max, window) = (self.egress.jumps_max, self.egress.jump_window);
                playing.cursor = None;
                let allowed = playing.jumps.allow(self.now, max, window);
                Err(if allowed { Outcome::Later } else { Outcome::TooSlow })
            }
        }
    }

    /// Drops the cursor of a player that was paused, if it can join ahead of where it stopped.
    fn resume(&self, playing: &mut Playing) {
        if !playing.resumed || playing.cursor.is_some_and(|cursor| !cursor.at_boundary) {
            return;
        }
        playing.resumed = false;
        let join = self.logs.newest_join();
        playing.cursor =
            playing.cursor.filter(|at| join.is_none_or(|join| join.offset <= at.offset));
    }

    /// Starts the cursor at the join point, the preamble in force there first.
    fn join(&self, playing: &mut Playing, out: &mut Vec<u8>, counters: &mut ShardCounters) -> bool {
        let found = Cursor::join(self.logs, playing.options.join, playing.not_before);
        let preamble = found.and_then(|(at, _)| self.logs.at(at.offset).preamble(at.version));
        let (Some((cursor, entry)), Some(preamble)) = (found, preamble) else {
            if !playing.waiting {
                playing.waiting = true;
                counters.joins_waiting += 1;
            }
            return false;
        };
        let start = out.len();
        self.packager.splice(&entry, &preamble, playing.told.is_some(), out);
        if playing.told != Some(cursor.version) {
            self.packager.greet(&preamble, entry.dts, playing.told.is_none(), out);
            playing.told = Some(cursor.version);
        }
        if playing.frame.is_some() {
            super::frame::enclose(out, start);
        }
        playing.cursor = Some(cursor);
        true
    }

    fn ended_or_idle(&self, playing: &Playing) -> Outcome {
        let ended = self.logs.ended().is_some() && playing.over.is_none();
        if ended { Outcome::StreamEnded } else { Outcome::Idle }
    }
}
