//! A player of SRT: its connection, and its place in the log of its stream, until it has shown all
//! of it.

use std::time::{Duration, Instant};

use super::connection::Connection;
use crate::package::DatagramCursor;

/// How far behind a player is thought to be at most.
const AHEAD_MAX: Duration = Duration::from_secs(30);
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
