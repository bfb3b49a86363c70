//! What a peer is sent that says nothing: everything once, none before its time.
//!
//! A join counts as made now, and so does a jump: whoever is too far behind goes on at once. What
//! follows is sent at its time on the line that began there, so that a peer is never sent a whole
//! group of pictures at a blow because it joined behind its first one.

use super::cursor::{DatagramCursor, Moment, Place, PlayTerms, Step};
use super::index::Payload;
use crate::log::Succession;
use crate::session::srt::PacketIndex;

/// What is so late is not sent.
const LATE_US: i64 = 1_000_000;

/// What is to be done for a peer that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paced {
    /// The time of the next one has come: [`DatagramCursor::take_paced`].
    Due,
    /// It comes at that time of the connection, in microseconds.
    Later(i64),
    /// It was too far behind and goes on at the newest join point.
    Jumped,
    /// Nothing until the log grows.
    Nothing,
    /// The stream ended, and everything was sent.
    Ended,
}

impl DatagramCursor {
    /// What is to be done next, of those whose number is not below `sent`.
    pub fn poll_paced(
        &mut self,
        sent: u64,
        logs: &Succession,
        terms: &PlayTerms,
        now_us: i64,
    ) -> Paced {
        let oldest_us = now_us.saturating_sub(LATE_US);
        let moment = Moment { oldest_us, anew: true, ..Moment::at(now_us) };
        self.look(logs, moment);
        if sent == self.end {
            match self.step(logs, terms, moment) {
                Step::Jumped => return Paced::Jumped,
                Step::Ended => return Paced::Ended,
                Step::Offered | Step::CaughtUp => {}
            }
        }
        if sent == self.end {
            return Paced::Nothing;
        }
        match self.index(logs).meta(sent) {
            Some(meta) if meta.at_us > now_us => Paced::Later(meta.at_us),
            _ => Paced::Due,
        }
    }

    /// Takes the next one, which is due: its number, and the bytes.
    ///
    /// `None` where the log's writer was faster, as if the datagram was lost.
    pub fn take_paced(&self, sent: &mut u64, logs: &Succession) -> Option<(u64, Payload)> {
        let number = *sent;
        *sent = self.end.min(number + 1);
        Some((number, self.index(logs).payload(number)?))
    }

    /// How many datagrams wait whose time has come, of those whose number is not below `sent`.
    #[must_use]
    pub fn waiting_paced(&self, sent: u64, logs: &Succession, now_us: i64) -> u64 {
        let index = self.index(logs);
        // What is gone was due before.
        let is_due = |number| index.meta(number).is_none_or(|meta| meta.at_us <= now_us);
        let offered = count(self.end.saturating_sub(sent), |nth| is_due(sent + nth));
        let Place::Reading { group, .. } = self.place else { return offered };
        let Some(newest) = logs.newest_group().filter(|_| sent + offered == self.end) else {
            return offered;
        };
        let is_due =
            |number| logs.group(number).is_none_or(|group| self.at_us(group.time) <= now_us);
        offered + count((newest.number + 1).saturating_sub(group), |nth| is_due(group + nth))
    }

    /// The first offset of what was not sent yet; `None` while it waits for a join point and
    /// everything was.
    #[must_use]
    pub fn needed_paced(&self, sent: u64, logs: &Succession) -> Option<u64> {
        self.needed_behind(sent, logs)
    }
}

/// How many of `len` come before the first that is not due.
fn count(len: u64, is_due: impl Fn(u64) -> bool) -> u64 {
    let (mut from, mut to) = (0, len);
    while from < to {
        let middle = from + (to - from) / 2;
        if is_due(middle) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}
