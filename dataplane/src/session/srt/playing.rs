//! A player of SRT: its connection, and its place in the log of its stream, until it has shown all
//! of it.

use std::time::{Duration, Instant};

use super::connection::Connection;
use crate::log::{Succession, Trail};
use crate::package::DatagramCursor;

/// How far behind a player is thought to be at most.
const AHEAD_MAX: Duration = Duration::from_secs(30);
/// Frames wait for others for this part of a player's latency: it shows each of them that long
/// after it was made, however early it came, and what is lost finds time enough in the rest.
const GATHER_SHARE: u32 = 8;
/// Longer than this nothing waits: it would be a burst.
const GATHER_MAX: Duration = Duration::from_millis(50);
/// What a timer and the turn after it may take of that.
const GATHER_MARGIN: Duration = Duration::from_millis(2);
/// What a player is given beyond its latency to show the end of a stream.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A player: its connection, and its place in the log of its stream.
#[derive(Debug)]
pub struct Playing {
    /// The connection.
    pub connection: Connection,
    /// The place.
    pub cursor: DatagramCursor,
    /// Nothing follows in its log.
    pub ends: bool,
    /// When its player has shown what was acknowledged last, after which nothing follows.
    pub(super) over_at: Option<Instant>,
}

impl Playing {
    pub(super) const fn new(connection: Connection, cursor: DatagramCursor) -> Self {
        Self { connection, cursor, ends: false, over_at: None }
    }

    /// True if there may be something to send now, or nothing ever again.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let connection = &self.connection;
        let is_over = match self.over_at {
            Some(at) => at <= now,
            None => self.ends && connection.is_sent(),
        };
        is_over || connection.poll_timeout().is_some_and(|at| at <= now)
    }

    /// How long a frame waits for others at most; nothing if it never does.
    #[must_use]
    pub fn gathering(&self) -> Duration {
        let share = (self.connection.send_latency / GATHER_SHARE).min(GATHER_MAX);
        share.saturating_sub(GATHER_MARGIN)
    }

    /// Until when what there is for it waits for what comes next, if that is `expected` within so
    /// much time; `None` if it is to be sent now, or if there is nothing.
    ///
    /// It waits no longer than its share of the latency since it came, and only while it can still
    /// be lost, missed and sent again before the player shows it.
    #[must_use]
    pub fn gathers_until(
        &self,
        (logs, trail): (&Succession, &Trail),
        expected: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let Self { connection, cursor, .. } = self;
        let gathering = self.gathering();
        // Who has something under way that is late has waited long enough.
        if expected > gathering || connection.unsent() > 0 {
            return None;
        }
        let (offset, at_us) = cursor.next(logs)?;
        let came = now.checked_sub(trail.age(offset, now)?)?;
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        // Its loss shows with what is sent next.
        let again = connection.again_takes() + gathering;
        let shown_us = at_us.saturating_add(micros(connection.send_latency));
        let left_us = shown_us.saturating_sub(micros(again));
        let left = Duration::from_micros(u64::try_from(left_us).ok()?);
        let until = (came + gathering).min(connection.began.checked_add(left)?);
        (now + expected <= until).then_some(until)
    }

    /// Everything was acknowledged, and nothing follows: true once the player has had the time to
    /// show it. libsrt forgets what it has not given out when its peer says goodbye.
    pub fn is_shown(&mut self, now: Instant) -> bool {
        let Self { connection, cursor, over_at, .. } = self;
        let latency = Duration::from_millis(connection.gauges().ms_snd_tsb_pd_delay.into());
        // Who joined in the past is as far behind.
        let ahead_us = cursor.last_us().saturating_sub(connection.micros(now));
        let ahead = Duration::from_micros(u64::try_from(ahead_us).unwrap_or(0)).min(AHEAD_MAX);
        now >= *over_at.get_or_insert(now + ahead + latency + LAST_WORDS)
    }
}
