//! A player of SRT: its connection, and its place in the log of its stream, until it has shown all
//! of it.

use std::time::{Duration, Instant};

use super::connection::Connection;
use crate::package::DatagramCursor;

/// How far behind a player is thought to be at most.
const AHEAD_MAX: Duration = Duration::from_secs(30);
/// Frames are gathered for this part of a player's latency: it shows each of them that long after
/// it was made, however early it came, and what is lost finds time enough in the rest. The first
/// frame after that takes the others with it; they wait no longer than twice that for one.
const GATHER_SHARE: u32 = 8;
/// Longer than this is not gathered: it would be a burst.
const GATHER_MAX: Duration = Duration::from_millis(50);
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
    /// Until then frames are gathered for it.
    gathers_until: Option<Instant>,
    /// They were gathered for long enough, and are to be sent.
    has_gathered: bool,
    /// When its player has shown what was acknowledged last, after which nothing follows.
    pub(super) over_at: Option<Instant>,
}

impl Playing {
    pub(super) const fn new(connection: Connection, cursor: DatagramCursor) -> Self {
        Self {
            connection,
            cursor,
            ends: false,
            gathers_until: None,
            has_gathered: false,
            over_at: None,
        }
    }

    /// True if there may be something to send now, or nothing ever again.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let connection = &self.connection;
        let is_over = match self.over_at {
            Some(at) => at <= now,
            None => self.ends && connection.is_sent(),
        };
        is_over || self.has_gathered || connection.poll_timeout().is_some_and(|at| at <= now)
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.waits_until().is_some_and(|at| at <= now) {
            self.gathers_until = None;
            self.has_gathered = true;
        }
    }

    /// True if new frames wait for others.
    #[must_use]
    pub fn gathers(&self, now: Instant) -> bool {
        self.gathers_until.is_some_and(|at| at > now)
    }

    /// When frames that wait are sent, if no other comes.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.gathers_until.map(|at| at + self.gathering())
    }

    /// It was sent what there was: `any` if that was something. The rest follows at once.
    pub fn was_served(&mut self, now: Instant, any: bool) {
        self.has_gathered = false;
        if !self.gathers(now) {
            self.gathers_until = any.then(|| now + self.gathering());
        }
    }

    fn gathering(&self) -> Duration {
        (self.connection.send_latency / GATHER_SHARE).min(GATHER_MAX)
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

#[cfg(test)]
mod tests {
    use codecs::srt::{SeqNumber, SocketId};

    use super::super::negotiation::Agreement;
    use super::super::settings::Settings;
    use super::*;
    use crate::session::clock::epoch;

    const MS: Duration = Duration::from_millis(1);

    fn playing(latency: Duration, now: Instant) -> Playing {
        let agreement = Agreement {
            socket: SocketId(1),
            peer_socket: SocketId(2),
            initial: SeqNumber::new(100),
            send_initial: SeqNumber::new(100),
            mtu: 1_500,
            peer_window: 100,
            receive_latency: latency,
            send_latency: latency,
            peer_asks_again: true,
            heard: (now, 0),
            began: now,
            keys: None,
            greeting: None,
        };
        let connection = Connection::new(&Settings::default(), agreement, now);
        Playing::new(connection, DatagramCursor::new())
    }

    #[test]
    fn frames_are_gathered_for_a_part_of_the_latency() {
        let start = epoch();
        for (latency, gathered) in [(120, 15), (400, 50), (8_000, 50)] {
            let mut playing = playing(MS * latency, start);
            assert!(!playing.gathers(start), "what comes first is sent at once");
            playing.was_served(start, true);
            let end = start + MS * gathered;
            assert!(playing.gathers(end - MS), "{latency} ms");
            // The next frame takes with it what waits.
            assert!(!playing.gathers(end));
            // None comes.
            let last = start + MS * gathered * 2;
            assert_eq!(playing.waits_until(), Some(last));
            playing.handle_timeout(last - MS);
            assert!(!playing.is_due(last - MS));
            playing.handle_timeout(last);
            assert!(playing.is_due(last));
            assert_eq!(playing.waits_until(), None);
            // There was nothing: the next frame is sent at once.
            playing.was_served(last, false);
            assert!(!playing.is_due(last) && !playing.gathers(last));
        }
    }

    #[test]
    fn what_is_sent_again_meanwhile_makes_no_frame_wait_longer() {
        let start = epoch();
        let mut playing = playing(MS * 400, start);
        playing.was_served(start, true);
        playing.was_served(start + MS * 30, true);
        assert!(playing.gathers(start + MS * 49) && !playing.gathers(start + MS * 50));
    }
}
