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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use codecs::srt::{SeqNumber, SocketId};
    use codecs::time::MediaTime;

    use super::super::negotiation::Agreement;
    use super::super::settings::Settings;
    use super::*;
    use crate::log::{EntryKind, EntryMeta, Gc, LogLimits, LogWriter};
    use crate::package::{Due, PlayTerms};
    use crate::session::Join;
    use crate::session::clock::epoch;
    use crate::slab::{Pool, Region, RegionConfig};

    const MS: Duration = Duration::from_millis(1);
    /// From one frame to the next.
    const FRAME: Duration = Duration::from_millis(33);

    /// A player of a stream, and what of it came when.
    struct Show {
        pool: Pool,
        writer: Option<LogWriter>,
        logs: Succession,
        trail: Trail,
        playing: Playing,
        now: Instant,
        frames: i64,
    }

    impl Show {
        /// A player that was sent all there is, over a line of this round trip, if it is known.
        fn begin(latency: Duration, round_trip: Option<Duration>) -> Self {
            let now = epoch();
            let config = RegionConfig {
                shards: 1,
                large_pages_per_shard: 8,
                small_pages_per_shard: 8,
                poison: true,
            };
            let pool = Region::map(&config).unwrap().1.remove(0);
            let limits = LogLimits {
                bytes_max: 192 << 10,
                retain: MediaTime::from_millis(2_000),
                gop_bytes_max: 128 << 10,
                held_bytes_max: 0,
            };
            let writer = LogWriter::of_packets(&pool, limits);
            let logs = Succession::new(Arc::clone(writer.log()));
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
            let mut connection = Connection::new(&Settings::default(), agreement, now);
            for _ in 0..100 {
                round_trip.into_iter().for_each(|trip| connection.trip.sample(trip));
            }
            let playing = Playing::new(connection, DatagramCursor::new());
            let trail = Trail::new(now);
            let writer = Some(writer);
            let mut show = Self { pool, writer, logs, trail, playing, now, frames: 0 };
            show.frame(Duration::ZERO);
            assert!(show.serve() > 0);
            show
        }

        /// The next frame comes, so much later than it should.
        fn frame(&mut self, late: Duration) {
            let ms = i64::try_from(FRAME.as_millis()).unwrap() * self.frames;
            let plain = EntryMeta::plain(EntryKind::Video, MediaTime::from_millis(ms), 0);
            let meta = EntryMeta { join: self.frames == 0, ..plain };
            let writer = self.writer.as_mut().unwrap();
            writer.begin();
            writer.put(&self.pool, &[0x47; 188 * 9]).unwrap();
            writer.end(&self.pool, meta).unwrap();
            writer.publish();
            self.now = epoch() + Duration::from_millis(ms.unsigned_abs()) + late;
            self.frames += 1;
            let log = self.logs.newest();
            assert!(self.trail.step(log.committed(), log.groups_committed(), self.now));
        }

        fn waits_until(&self) -> Option<Instant> {
            self.playing.gathers_until((&self.logs, &self.trail), FRAME, self.now)
        }

        /// Sends what there is; how many datagrams.
        fn serve(&mut self) -> usize {
            let Self { playing: Playing { connection, cursor, .. }, logs, trail, now, .. } = self;
            let (join, not_before) = (Join::NewestKeyframe, 0);
            let terms = PlayTerms { join, not_before, lag_max: MediaTime::from_millis(5_000) };
            let mut due = || cursor.poll(connection, (logs, trail), &terms, *now);
            std::iter::from_fn(|| Some(due()))
                .take_while(|due| matches!(due, Due::Datagram(..)))
                .count()
        }
    }

    impl Drop for Show {
        fn drop(&mut self) {
            let Self { writer, pool, .. } = self;
            writer.take().into_iter().for_each(|writer| writer.close(pool, &mut Gc::new(pool)));
        }
    }

    #[test]
    fn a_frame_waits_for_one_that_comes_within_an_eighth_of_the_latency() {
        let ms = |micros: u64| Some(Duration::from_micros(micros));
        for (ms, most) in
            [(120, None), (270, None), (290, ms(34_250)), (400, ms(48_000)), (8_000, ms(48_000))]
        {
            let mut show = Show::begin(MS * ms, Some(MS));
            assert_eq!(show.waits_until(), None, "there is nothing");
            show.frame(Duration::ZERO);
            let came = show.now;
            assert_eq!(show.waits_until(), most.map(|most| came + most), "{ms} ms");
            if most.is_some() {
                // A third would come too late.
                show.frame(Duration::ZERO);
                assert_eq!(show.waits_until(), None, "{ms} ms");
                assert_eq!(show.serve(), 4);
                show.frame(Duration::ZERO);
                assert!(show.waits_until().is_some(), "{ms} ms");
            }
        }
    }

    #[test]
    fn nothing_waits_that_could_not_be_sent_again_in_time() {
        let waits = |round_trip, late: Duration| {
            let mut show = Show::begin(MS * 400, round_trip);
            show.frame(late);
            show.waits_until().map(|until| until - show.now)
        };
        assert_eq!(waits(None, Duration::ZERO), None, "nobody knows how far it is");
        assert_eq!(waits(Some(MS * 20), Duration::ZERO), Some(MS * 48));
        assert_eq!(waits(Some(MS * 200), Duration::ZERO), None);
        // What says an older time has less time left.
        let far = waits(Some(MS * 150), Duration::ZERO).unwrap();
        let late = waits(Some(MS * 150), MS * 10).unwrap();
        assert!(far <= MS * 48 && late < far, "{far:?} {late:?}");
    }

    #[test]
    fn nothing_waits_behind_what_did_not_leave() {
        let mut show = Show::begin(MS * 400, Some(MS));
        show.frame(Duration::ZERO);
        show.playing.connection.block(true);
        assert_eq!(show.serve(), 0);
        show.frame(Duration::ZERO);
        assert_eq!(show.waits_until(), None);
    }
}
