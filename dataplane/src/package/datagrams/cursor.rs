//! A player's place in a log of packets, and what its connection is offered next.
//!
//! ```text
//!   waiting --(join point)--> reading --(the log let go of its place)--> waiting
//!                               |  ^                                       |
//!                               +--+ too late: jump, a splice first  <-----+ a join point ahead
//! ```
//!
//! What was offered keeps its number, its bytes and its time, so little is offered at once: who
//! jumps leaves behind what was not. A connection that is offered what is too late drops it piece
//! by piece, and its player decodes what is left; one that jumps before begins at a keyframe.

use std::time::{Duration, Instant};

use codecs::time::MediaTime;

use super::clock::MediaClock;
use super::index::{Payload, PlayerIndex};
use super::spans::{Head, Span, Spans};
use crate::log::{Entry, Group, Succession, Trail};
use crate::session::Join;
use crate::session::srt::{Connection, DataTransmit};

/// Groups that are offered at once at most.
const OFFERED_MAX: u64 = 32;
/// So much time a group must have left, before it is too late, to be worth an offer.
const MARGIN: Duration = Duration::from_millis(120);

/// What a player was promised, and how far behind it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayTerms {
    /// Where it begins.
    pub join: Join,
    /// Where it begins at the earliest, if it waits for the next keyframe.
    pub not_before: u64,
    /// Beyond this it jumps.
    pub lag_max: MediaTime,
}

/// What is to be done for a player.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// This is to be sent: the header, then the payload.
    Datagram(DataTransmit, Payload),
    /// It was too far behind and goes on at the newest join point.
    Jumped,
    /// Nothing, until the log grows, the peer says something or the connection's time comes.
    Nothing,
    /// The stream ended, and everything was acknowledged or given up.
    Ended,
}

/// What came of looking for more to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more.
    Offered,
    /// There is nothing yet.
    CaughtUp,
    /// It goes on elsewhere.
    Jumped,
    /// Nothing will follow.
    Ended,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It waits for a join point, one behind this offset if it was ahead of others before.
    Waiting { behind: Option<u64> },
    /// The next group to offer, and its offset.
    Reading { group: u64, offset: u64 },
}

/// The present of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now_us: i64,
    /// What is older is not worth an offer.
    pub(super) oldest_us: i64,
    /// When the newest group came.
    pub(super) came_us: i64,
    /// What lies before this group was looked at, and may be offered.
    pub(super) seen: u64,
    /// Where it jumps to counts as made now, as the first join point does.
    pub(super) anew: bool,
}

impl Moment {
    /// Everything that there is came now.
    pub(super) const fn at(now_us: i64) -> Self {
        Self { now_us, oldest_us: i64::MIN, came_us: now_us, seen: u64::MAX, anew: false }
    }
}

/// The whole of a player's media state. Lives on: the player's shard. Crosses by: never.
#[derive(Debug)]
pub struct DatagramCursor {
    pub(super) place: Place,
    /// Numbers that were offered.
    pub(super) end: u64,
    /// The time of the last of them.
    last_us: i64,
    clock: Option<MediaClock>,
    spans: Spans,
}

impl Default for DatagramCursor {
    fn default() -> Self {
        Self::new()
    }
}

impl DatagramCursor {
    /// A player that waits for its join point.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            place: Place::Waiting { behind: None },
            end: 0,
            last_us: i64::MIN,
            clock: None,
            spans: Spans::new(),
        }
    }

    /// True if it had a join point to begin at.
    #[must_use]
    pub const fn has_joined(&self) -> bool {
        self.clock.is_some()
    }

    /// The time of the newest packet that was offered, on the connection's clock: the peer plays it
    /// that much later, and its latency; `i64::MIN` before the first.
    #[must_use]
    pub const fn last_us(&self) -> i64 {
        self.last_us
    }

    /// What its connection asks, and where the bytes are.
    #[must_use]
    pub const fn index<'a>(&'a self, logs: &'a Succession) -> PlayerIndex<'a> {
        PlayerIndex { spans: &self.spans, end: self.end, logs }
    }

    /// Where the next group lies that was not offered, and its time on the connection's clock;
    /// `None` if there is none, or it waits for a join point.
    #[must_use]
    pub fn next(&self, logs: &Succession) -> Option<(u64, i64)> {
        let Place::Reading { group, offset } = self.place else { return None };
        let group = logs.at(offset).group(group)?;
        Some((group.offset, self.at_us(group.time)))
    }

    /// What is to be done now; again until it answers otherwise than with a datagram or a jump.
    /// `trail` knows when what the logs hold came.
    ///
    /// Nobody else offers anything to the connection.
    pub fn poll(
        &mut self,
        connection: &mut Connection,
        (logs, trail): (&Succession, &Trail),
        terms: &PlayTerms,
        now: Instant,
    ) -> Due {
        let now_us = connection.micros(now);
        let patience = connection.patience().saturating_sub(MARGIN).as_micros();
        let patience_us = i64::try_from(patience).unwrap_or(i64::MAX);
        let oldest_us = now_us.saturating_sub(patience_us);
        let mut moment = Moment { oldest_us, ..Moment::at(now_us) };
        loop {
            let mut ended = false;
            if connection.unsent() == 0 {
                let arrival = |group| {
                    let (groups, at) = trail.arrival(group)?;
                    Some((groups, connection.micros(at)))
                };
                self.look_back(logs, &mut moment, arrival);
                match self.step(logs, terms, moment) {
                    Step::Jumped => return Due::Jumped,
                    Step::Ended => ended = true,
                    Step::Offered | Step::CaughtUp => {}
                }
                connection.offer(self.end);
            }
            let Some(transmit) = connection.poll_data(now, &self.index(logs)) else {
                let is_over = ended && connection.is_sent();
                return if is_over { Due::Ended } else { Due::Nothing };
            };
            // Where the log's writer was faster it is as if the datagram was lost.
            if let Some(payload) = self.index(logs).payload(transmit.number) {
                return Due::Datagram(transmit, payload);
            }
        }
    }

    /// The first offset of what it may be sent, for the first time or again; `None` while it waits
    /// for a join point and nothing is under way.
    #[must_use]
    pub fn needed_from(&self, connection: &Connection, logs: &Succession) -> Option<u64> {
        let acknowledged = self.end.saturating_sub(connection.unacknowledged());
        self.needed_behind(acknowledged, logs)
    }

    pub(super) fn needed_behind(&self, acknowledged: u64, logs: &Succession) -> Option<u64> {
        let again = self.index(logs).find(acknowledged).map(|(_, group)| group.offset);
        let next = match self.place {
            Place::Reading { offset, .. } => Some(offset),
            Place::Waiting { .. } => None,
        };
        again.into_iter().chain(next).min()
    }

    /// Sets the clock if the stream's has left it with what comes next, as of when that came: what
    /// waited for others has the time that it would have had at once. `arrival` tells of a group
    /// how many there were once it had come, and when that was.
    pub(super) fn look_back(
        &mut self,
        logs: &Succession,
        moment: &mut Moment,
        arrival: impl Fn(u64) -> Option<(u64, i64)>,
    ) {
        moment.seen = u64::MAX;
        let (Some(clock), Some(newest)) = (&self.clock, logs.newest_group()) else { return };
        moment.came_us = arrival(newest.number).map_or(moment.now_us, |(_, at_us)| at_us);
        let Place::Reading { group, .. } = self.place else { return };
        moment.seen = clock.seen();
        if group < clock.seen() {
            return;
        }
        let came = arrival(group).and_then(|(groups, at_us)| {
            let last = groups.checked_sub(1).filter(|&last| last < newest.number)?;
            Some((logs.group(last)?, at_us))
        });
        let (last, at_us) = came.unwrap_or((newest, moment.came_us));
        moment.seen = last.number + 1;
        self.observe(&last, at_us, *moment);
    }

    /// Sets the clock if the stream's has left it by now.
    pub(super) fn look(&mut self, logs: &Succession, moment: Moment) {
        if let Some(newest) = logs.newest_group() {
            self.observe(&newest, moment.now_us, moment);
        }
    }

    fn observe(&mut self, newest: &Group, at_us: i64, moment: Moment) {
        let Some(clock) = &mut self.clock else { return };
        if clock.observe(newest, at_us, moment.now_us.saturating_sub(moment.oldest_us))
            && let Place::Reading { group, .. } = self.place
        {
            let (number, floor_us, shift_us) = (self.end, self.last_us, clock.shift_us());
            let head = Head::Nothing;
            self.spans.begin(Span { number, group, head, shift_us, floor_us });
        }
    }

    pub(super) fn step(&mut self, logs: &Succession, terms: &PlayTerms, moment: Moment) -> Step {
        match self.place {
            Place::Waiting { behind } => match self.join(behind, logs, terms, moment) {
                Step::Offered => self.step(logs, terms, moment),
                step => step,
            },
            Place::Reading { group, offset } => self.read((group, offset), logs, terms, moment),
        }
    }

    /// Begins at the newest join point: [`Step::Offered`] if it is the first.
    fn join(
        &mut self,
        behind: Option<u64>,
        logs: &Succession,
        terms: &PlayTerms,
        moment: Moment,
    ) -> Step {
        // Read first, so that a join point which came before the end is seen.
        let ended = logs.ended().is_some();
        let found = logs.newest_join().filter(|entry| match behind {
            Some(offset) => entry.offset > offset,
            None => terms.join != Join::NextKeyframe || entry.offset >= terms.not_before,
        });
        match found {
            Some(entry) if self.enter(&entry, logs, moment) => {
                if behind.is_some() {
                    Step::Jumped
                } else {
                    Step::Offered
                }
            }
            _ if ended => Step::Ended,
            _ => Step::CaughtUp,
        }
    }

    /// Goes on at a join point; false if it is gone.
    fn enter(&mut self, entry: &Entry, logs: &Succession, moment: Moment) -> bool {
        let group = logs.at(entry.offset).group_containing(entry.offset);
        let Some(group) = group.filter(|group| group.offset == entry.offset) else { return false };
        let newest = logs.newest_group().unwrap_or(group);
        if moment.anew {
            self.clock = None;
        }
        // Who jumps leaves behind what it would have looked at first.
        self.observe(&newest, moment.came_us, moment);
        let begin = || MediaClock::begin(group.time, &newest, moment.now_us);
        let shift_us = self.clock.get_or_insert_with(begin).shift_us();
        let (number, floor_us) = (self.end, self.last_us);
        let head = head_of(logs, entry, number > 0);
        let span = Span { number, group: group.number, head, shift_us, floor_us };
        self.spans.begin(span);
        if head != Head::Nothing {
            self.end += head.datagrams();
            self.last_us = span.at_us(group.time);
        }
        self.place = Place::Reading { group: group.number, offset: group.offset };
        true
    }

    /// Offers what follows.
    fn read(
        &mut self,
        (number, offset): (u64, u64),
        logs: &Succession,
        terms: &PlayTerms,
        moment: Moment,
    ) -> Step {
        let log = &**logs.at(offset);
        // Read before what is committed, so that a seal seen here comes with all that is before it.
        let ended = log.sealed().is_some() && log.next().is_none();
        let committed = log.groups_committed();
        if offset >= log.tail() && number >= committed {
            return if ended { Step::Ended } else { Step::CaughtUp };
        }
        let end = committed.min(number + OFFERED_MAX).min(moment.seen.max(number + 1));
        let ends = log.group(number).zip(log.group(end.saturating_sub(1)));
        let Some((first, last)) = ends else {
            // The log has let go of it.
            self.place = Place::Waiting { behind: Some(offset) };
            return self.join(Some(offset), logs, terms, moment);
        };
        if self.is_late(&first, logs, terms, moment)
            && let Some(entry) = logs.newest_join().filter(|join| join.offset > offset)
            && self.enter(&entry, logs, moment)
        {
            return Step::Jumped;
        }
        self.end += end - number;
        self.last_us = self.at_us(last.time);
        self.place = Place::Reading { group: end, offset: last.end() };
        Step::Offered
    }

    fn is_late(&self, next: &Group, logs: &Succession, terms: &PlayTerms, moment: Moment) -> bool {
        let lag = logs.newest_group().map(|newest| newest.time - next.time);
        lag.is_some_and(|lag| lag > terms.lag_max) || self.at_us(next.time) < moment.oldest_us
    }

    /// A time of the stream for what is offered now.
    pub(super) fn at_us(&self, time: MediaTime) -> i64 {
        self.spans.last().map_or(self.last_us, |span| span.at_us(time))
    }
}

/// What comes before a join point; `after_gap` if something else was sent before.
fn head_of(logs: &Succession, entry: &Entry, after_gap: bool) -> Head {
    let preamble = logs.at(entry.offset).preamble(entry.config_version);
    match preamble.as_ref().and_then(|preamble| preamble.relayed.as_ref()) {
        Some(relayed) => {
            let packets = relayed.entrance(entry, after_gap).count();
            let packets = u8::try_from(packets).expect("an entrance is short");
            Head::Entrance { packets, after_gap }
        }
        None if after_gap => Head::Splice(entry.continuity),
        None => Head::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use codecs::mpegts::{Continuity, PACKET_LEN, Splice};
    use proptest::prelude::*;

    use super::super::paced::Paced;
    use super::*;
    use crate::ids::ShardId;
    use crate::log::{
        EntryKind, EntryMeta, Epochs, GROUP_BYTES_MAX, Gc, LogLimits, LogWriter, SealReason,
    };
    use crate::session::srt::{PacketIndex, PacketMeta};
    use crate::slab::{PageClass, Pool, Region, RegionConfig};

    const HOME: ShardId = ShardId(0);
    const LIMITS: LogLimits = LogLimits {
        bytes_max: 192 << 10,
        retain: MediaTime::from_millis(2_000),
        gop_bytes_max: 128 << 10,
        held_bytes_max: 0,
    };
    const TERMS: PlayTerms = PlayTerms {
        join: Join::NewestKeyframe,
        not_before: 0,
        lag_max: MediaTime::from_millis(600),
    };

    /// Logs that go on from each other, beside the plain truth about them.
    struct Bench {
        pool: Pool,
        gc: Gc,
        epochs: Epochs,
        writer: LogWriter,
        sealed: Vec<LogWriter>,
        logs: Succession,
        /// Every byte that there ever was.
        bytes: Vec<u8>,
        /// (offset, join) of every entry; its counters tell its number.
        entries: Vec<(usize, bool)>,
        published: usize,
        /// How many groups there were, and when.
        came: Vec<(u64, i64)>,
    }

    impl Bench {
        fn new() -> Self {
            let config = RegionConfig {
                shards: 1,
                large_pages_per_shard: 64,
                small_pages_per_shard: 64,
                poison: true,
            };
            let pool = Region::map(&config).unwrap().1.remove(0);
            let writer = LogWriter::of_packets(&pool, LIMITS);
            let epochs = Epochs::new(1);
            epochs.enter(HOME);
            Self {
                gc: Gc::new(&pool),
                epochs,
                logs: Succession::new(Arc::clone(writer.log())),
                writer,
                pool,
                sealed: Vec::new(),
                bytes: Vec::new(),
                entries: Vec::new(),
                published: 0,
                came: Vec::new(),
            }
        }

        /// An entry whose every packet is another.
        fn entry(&mut self, packets: usize, join: bool, ms: i64) {
            let begun = self.bytes.len();
            for number in 0..packets {
                let word = (begun + number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                self.bytes.extend(word.iter().cycle().take(PACKET_LEN));
            }
            let continuity = Continuity::from_bits(self.entries.len() as u64);
            let plain = EntryMeta::plain(EntryKind::Video, MediaTime::from_millis(ms), 0);
            self.writer.begin();
            self.writer.put(&self.pool, &self.bytes[begun..]).unwrap();
            self.writer.end(&self.pool, EntryMeta { join, continuity, ..plain }).unwrap();
            self.entries.push((begun, join));
        }

        fn publish(&mut self) {
            self.writer.publish();
            self.published = self.entries.len();
        }

        /// A frame of `packets` packets, published.
        fn frame(&mut self, packets: usize, join: bool, ms: i64) {
            self.entry(packets, join, ms);
            self.publish();
        }

        /// The same, seen at `us`.
        fn frame_at(&mut self, (packets, join, ms): (usize, bool, i64), us: i64) {
            self.frame(packets, join, ms);
            self.came.push((self.logs.newest().groups_committed(), us));
        }

        fn moves(&mut self) {
            let next = self.writer.successor(&self.pool);
            self.writer.seal(SealReason::Moved, Some(Arc::clone(next.log())));
            self.sealed.push(std::mem::replace(&mut self.writer, next));
            self.published = self.entries.len();
        }

        fn turn(&mut self) {
            let newest = Arc::clone(self.writer.log());
            for sealed in &mut self.sealed {
                sealed.evict_sealed(&newest, !newest.awaits_join(), &mut self.gc);
            }
            self.writer.evict(&mut self.gc);
            self.epochs.advance(HOME);
            self.gc.collect(&self.epochs, &self.pool);
        }

        fn end(self) {
            let Self { pool, mut gc, epochs, writer, sealed, .. } = self;
            sealed.into_iter().chain([writer]).for_each(|writer| writer.close(&pool, &mut gc));
            epochs.sleep(HOME);
            gc.collect(&epochs, &pool);
            for class in [PageClass::Large, PageClass::Small] {
                assert_eq!(pool.usage(class).in_use, 0, "{class:?}");
            }
        }
    }

    /// A player whose connection sends at once what it is offered, and what it got.
    struct Player {
        cursor: DatagramCursor,
        terms: PlayTerms,
        /// What is older is not asked for again.
        patience_us: i64,
        got: Vec<Got>,
        /// Where in the stream it is.
        at: Option<usize>,
        splices: usize,
    }

    struct Got {
        offset: usize,
        meta: PacketMeta,
        bytes: Vec<u8>,
        is_gone: bool,
    }

    impl Player {
        fn new() -> Self {
            let cursor = DatagramCursor::new();
            let patience_us = 900_000;
            Self { cursor, terms: TERMS, patience_us, got: Vec::new(), at: None, splices: 0 }
        }

        /// One look for more, of which everything is sent.
        fn step(&mut self, bench: &Bench, now_us: i64) -> Step {
            let oldest_us = now_us - self.patience_us;
            let mut moment = Moment { oldest_us, ..Moment::at(now_us) };
            let arrival = |group| bench.came.iter().find(|(groups, _)| *groups > group).copied();
            self.cursor.look_back(&bench.logs, &mut moment, arrival);
            let step = self.cursor.step(&bench.logs, &self.terms, moment);
            while (self.got.len() as u64) < self.cursor.end {
                self.send_next(bench);
            }
            step
        }

        /// Everything that there is.
        fn take(&mut self, bench: &Bench, now_us: i64) -> Step {
            loop {
                let step = self.step(bench, now_us);
                if matches!(step, Step::CaughtUp | Step::Ended) {
                    return step;
                }
            }
        }

        /// The times of what it got.
        fn times(&self) -> Vec<i64> {
            self.got.iter().map(|got| got.meta.at_us).collect()
        }

        fn send_next(&mut self, bench: &Bench) {
            let number = self.got.len() as u64;
            let index = self.cursor.index(&bench.logs);
            let meta = index.meta(number).expect("it was offered just now");
            let bytes = read(&index, number);
            assert_eq!(bytes.len(), meta.len);
            assert!(self.got.last().is_none_or(|last| last.meta.at_us <= meta.at_us), "time");
            let offset = match index.payload(number).expect("it is there") {
                Payload::Splice(splice) => {
                    let mut expected = vec![0; splice.encoded_len()];
                    splice.encode(&mut codecs::writer::Writer::new(&mut expected));
                    assert_eq!(bytes, expected);
                    let Splice(continuity) = splice;
                    let entry = usize::try_from(continuity.to_bits()).unwrap();
                    let (offset, is_join) = bench.entries[entry];
                    assert!(is_join && self.at.is_some_and(|at| at < offset), "never back");
                    self.at = Some(offset);
                    self.splices += 1;
                    offset
                }
                Payload::Entrance(_) => unreachable!("these packets are made here"),
                payload @ Payload::Log(_) => {
                    let newest = bench.entries[..bench.published].iter().rfind(|(_, join)| *join);
                    let at = self.at.unwrap_or_else(|| newest.unwrap().0);
                    let end = at + meta.len;
                    assert_eq!(payload.len(), meta.len);
                    assert!(meta.len as u64 <= GROUP_BYTES_MAX && meta.len > 0);
                    assert_eq!(bytes, bench.bytes[at..end], "number {number}");
                    let inside =
                        |(offset, join): &&(usize, bool)| *join && (at + 1..end).contains(offset);
                    assert_eq!(bench.entries.iter().filter(inside).count(), 0);
                    self.at = Some(end);
                    at
                }
            };
            self.got.push(Got { offset, meta, bytes, is_gone: false });
        }

        /// Everything that was sent is asked for again; how many are there.
        fn ask_again(&mut self, bench: &Bench) -> usize {
            let index = self.cursor.index(&bench.logs);
            let tail = usize::try_from(bench.logs.tail()).unwrap();
            for (number, got) in (0..).zip(&mut self.got) {
                if let Some(meta) = index.meta(number) {
                    assert!(!got.is_gone, "what is gone does not return");
                    assert_eq!((meta, read(&index, number)), (got.meta, got.bytes.clone()));
                } else {
                    got.is_gone = true;
                    let is_old = self.cursor.spans.find(number).is_none();
                    assert!(is_old || got.offset < tail, "{number} is kept");
                    assert!(index.payload(number).is_none());
                    assert_eq!(index.read(number, &mut [0; 1_316]), None);
                }
            }
            let end = self.got.len() as u64;
            assert_eq!((index.meta(end), index.meta(u64::MAX)), (None, None));
            self.got.iter().filter(|got| !got.is_gone).count()
        }
    }

    fn read(index: &PlayerIndex<'_>, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; 1_316];
        let len = index.read(number, &mut bytes).expect("it is there");
        assert_eq!(index.read(number, &mut vec![0; len - 1]), None, "it does not fit");
        bytes.truncate(len);
        bytes
    }

    /// A peer that says nothing, and what it was sent.
    struct Silent {
        cursor: DatagramCursor,
        sent: u64,
        got: Vec<Vec<u8>>,
        jumps: usize,
    }

    impl Silent {
        fn new() -> Self {
            Self { cursor: DatagramCursor::new(), sent: 0, got: Vec::new(), jumps: 0 }
        }

        /// Everything whose time has come; what then is to be done.
        fn take(&mut self, bench: &Bench, now_us: i64) -> Paced {
            let Self { cursor, sent, got, jumps } = self;
            loop {
                match cursor.poll_paced(*sent, &bench.logs, &TERMS, now_us) {
                    Paced::Due => {
                        let waiting = cursor.waiting_paced(*sent, &bench.logs, now_us);
                        let (number, payload) = cursor.take_paced(sent, &bench.logs).unwrap();
                        assert_eq!((number, *sent), (got.len() as u64, number + 1));
                        let after = cursor.waiting_paced(*sent, &bench.logs, now_us);
                        assert_eq!((waiting > 0, after), (true, waiting - 1));
                        got.push(read(&cursor.index(&bench.logs), number));
                        assert_eq!(payload.len(), got.last().unwrap().len());
                    }
                    Paced::Jumped => *jumps += 1,
                    paced => {
                        assert_eq!(cursor.waiting_paced(*sent, &bench.logs, now_us), 0);
                        return paced;
                    }
                }
            }
        }
    }

    const MS: i64 = 1_000;

    #[test]
    fn a_silent_peer_is_sent_nothing_before_its_time() {
        let (mut bench, mut peer) = (Bench::new(), Silent::new());
        assert_eq!(peer.take(&bench, 0), Paced::Nothing, "there is nowhere to begin");
        // More groups than are offered at once have one time.
        for (ms, packets) in [(5_000, 400), (5_040, 10), (5_080, 3)] {
            bench.frame(packets, ms == 5_000, ms);
        }
        for (now_ms, datagrams, next_ms) in
            [(1_000, 58, Some(1_040)), (1_039, 58, Some(1_040)), (1_040, 60, Some(1_080))]
        {
            let next = next_ms.map_or(Paced::Nothing, |ms| Paced::Later(ms * MS));
            assert_eq!(peer.take(&bench, now_ms * MS), next, "at {now_ms}");
            assert_eq!(peer.got.len(), datagrams, "at {now_ms}");
        }
        assert_eq!(peer.take(&bench, 1_081 * MS), Paced::Nothing);
        assert_eq!((peer.got.concat(), peer.jumps), (bench.bytes.clone(), 0), "each once");
        bench.writer.seal(SealReason::Ended, None);
        assert_eq!(peer.take(&bench, 1_082 * MS), Paced::Ended);
        bench.end();
    }

    #[test]
    fn a_silent_peer_that_is_behind_goes_on_at_once() {
        let (mut bench, mut peer) = (Bench::new(), Silent::new());
        bench.frame(7, true, 0);
        bench.frame(7, false, 40);
        assert_eq!(peer.take(&bench, 0), Paced::Later(40 * MS));
        bench.frame(7, false, 80);
        let begun = bench.bytes.len();
        for ms in (1_000..1_200).step_by(40) {
            bench.frame(7, ms == 1_000, ms);
        }
        assert_eq!(peer.take(&bench, 40 * MS), Paced::Later(80 * MS));
        assert_eq!(peer.jumps, 1, "it was more behind than it may be");
        let [_, _, splice, keyframe] = &peer.got[..] else { panic!("{}", peer.got.len()) };
        let mut told = vec![0; splice.len()];
        // The third entry begins there.
        let continuity = Continuity::from_bits(3);
        Splice(continuity).encode(&mut codecs::writer::Writer::new(&mut told));
        assert_eq!((splice, &keyframe[..]), (&told, &bench.bytes[begun..begun + 7 * PACKET_LEN]));
        bench.end();
    }

    #[test]
    fn a_player_gets_whole_groups_from_the_newest_join_point_on() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        assert_eq!(player.take(&bench, 0), Step::CaughtUp);
        assert!(!player.cursor.has_joined());
        bench.frame(3, false, 0);
        assert_eq!(player.take(&bench, 0), Step::CaughtUp);
        bench.frame(20, true, 40);
        bench.frame(9, true, 80);
        bench.frame(2, false, 120);
        assert_eq!(player.take(&bench, 7 * MS), Step::CaughtUp);
        assert!(player.cursor.has_joined());
        bench.frame(1, false, 160);
        player.take(&bench, 47 * MS);
        let got: Vec<_> =
            player.got.iter().map(|got| (got.meta.len / PACKET_LEN, got.meta.at_us)).collect();
        let expected = [(7, 7 * MS), (2, 7 * MS), (2, 47 * MS), (1, 87 * MS)];
        assert_eq!(got, expected, "the join counts as made now");
        assert_eq!((player.ask_again(&bench), player.splices), (4, 0));
        bench.end();
    }

    #[test]
    fn what_may_be_asked_for_is_known_however_often_its_source_stalls() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        player.patience_us = 8_000 * MS;
        bench.frame(3, true, 0);
        player.take(&bench, 0);
        for step in 1..=16 {
            // A fifth of the time that it takes: its clock is set again and again.
            bench.frame(1, false, step * 100);
            player.take(&bench, step * 500 * MS);
        }
        assert_eq!((player.ask_again(&bench), player.got.len()), (17, 17));
        bench.end();
    }

    #[test]
    fn who_wants_the_next_keyframe_waits_for_it() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        bench.frame(20, true, 0);
        let not_before = bench.bytes.len() as u64;
        player.terms = PlayTerms { join: Join::NextKeyframe, not_before, ..TERMS };
        assert_eq!(player.take(&bench, 0), Step::CaughtUp);
        assert_eq!(player.got.len(), 0);
        bench.frame(2, true, 40);
        player.take(&bench, 40 * MS);
        assert_eq!(player.got.len(), 1);
        bench.end();
    }

    #[test]
    fn what_was_sent_is_sent_again_until_the_log_lets_go_of_it() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        for number in 0..40 {
            bench.frame(10, number % 10 == 0, number * 40);
            player.take(&bench, number * 40 * MS);
            bench.turn();
        }
        assert_eq!(player.got.len(), 80, "two of each frame");
        assert_eq!(player.ask_again(&bench), 80);
        for number in 40..120 {
            bench.frame(10, number % 10 == 0, number * 40);
            player.take(&bench, number * 40 * MS);
            bench.turn();
            player.ask_again(&bench);
        }
        assert_eq!((player.got.len(), player.splices), (240, 0));
        let kept = player.ask_again(&bench);
        assert!((80..=140).contains(&kept), "two seconds of 25 frames each: {kept}");
        bench.end();
    }

    #[test]
    fn a_group_may_lie_on_two_pages() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        bench.frame(800, true, 0);
        player.take(&bench, 0);
        let index = player.cursor.index(&bench.logs);
        let pieces = |number| match index.payload(number) {
            Some(Payload::Log(ranges)) => ranges.as_slice().len(),
            _ => 0,
        };
        let on_two = (0..player.cursor.end).filter(|&number| pieces(number) == 2).count();
        let page = PageClass::Large.bytes() as usize;
        assert!(on_two > 0);
        assert_eq!(on_two, (800 * PACKET_LEN - 1) / page, "at each border of a page");
        assert_eq!(player.ask_again(&bench), 115);
        bench.end();
    }

    #[test]
    fn little_is_offered_at_once() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        bench.frame(800, true, 0);
        assert_eq!(player.step(&bench, 0), Step::Offered);
        assert_eq!(player.got.len() as u64, OFFERED_MAX);
        bench.end();
    }

    #[test]
    fn a_stream_that_moves_goes_on_without_a_gap() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        bench.frame(20, true, 0);
        player.take(&bench, 0);
        bench.entry(4, false, 40);
        bench.moves();
        bench.frame(4, false, 80);
        assert_eq!(player.take(&bench, 80 * MS), Step::CaughtUp);
        bench.moves();
        bench.frame(4, true, 120);
        player.take(&bench, 120 * MS);
        assert_eq!((player.at, player.splices), (Some(bench.bytes.len()), 0));
        assert_eq!(player.ask_again(&bench), 6);
        let needed = |player: &Player, number| player.cursor.needed_behind(number, &bench.logs);
        assert_eq!(needed(&player, 0), Some(0));
        assert_eq!(needed(&player, 3), Some(20 * PACKET_LEN as u64));
        assert_eq!(needed(&player, 6), Some(bench.bytes.len() as u64));
        let from = needed(&player, 4).unwrap();
        assert!(bench.logs.leave_before(from));
        assert_eq!(player.ask_again(&bench), 2, "what is needed stays");
        bench.writer.seal(SealReason::Ended, None);
        assert_eq!(player.take(&bench, 160 * MS), Step::Ended);
        bench.end();
    }

    #[test]
    fn who_is_too_far_behind_goes_on_at_a_join_point_behind_a_splice() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        bench.frame(3, true, 0);
        player.take(&bench, 0);
        for number in 1..25 {
            bench.frame(3, number % 10 == 0, number * 40);
        }
        assert_eq!(player.step(&bench, 960 * MS), Step::Jumped, "960 ms are more than 600");
        assert_eq!(player.splices, 1);
        player.take(&bench, 960 * MS);
        assert_eq!((player.at, player.splices), (Some(bench.bytes.len()), 1));
        assert_eq!(player.got.len(), 1 + 1 + 5);
        assert_eq!(player.got[1].meta.at_us, 800 * MS);
        // Less is not too far, and there is no way but on if there is no join point ahead.
        for number in 25..30 {
            bench.frame(3, false, number * 40);
        }
        player.take(&bench, 1_160 * MS);
        for number in 30..60 {
            bench.frame(3, false, number * 40);
        }
        player.take(&bench, 2_360 * MS);
        assert_eq!((player.at, player.splices), (Some(bench.bytes.len()), 1));
        player.ask_again(&bench);
        bench.end();
    }

    #[test]
    fn what_would_be_too_late_is_not_offered() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        player.terms.lag_max = MediaTime::from_millis(10_000);
        bench.frame(3, true, 0);
        player.take(&bench, 0);
        for number in 1..40 {
            bench.frame(3, number == 30, number * 40);
            let now_us = number * 40 * MS;
            let oldest_us = now_us - 900 * MS;
            player.cursor.look(&bench.logs, Moment { oldest_us, ..Moment::at(now_us) });
        }
        assert_eq!(player.step(&bench, 1_560 * MS), Step::Jumped);
        assert_eq!(player.got[1].meta.at_us, 1_200 * MS);
        bench.end();
    }

    #[test]
    fn a_place_that_is_gone_is_left_for_the_next_join_point() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        bench.frame(20, true, 0);
        player.take(&bench, 0);
        bench.frame(20, false, 40);
        bench.writer.forget(&mut bench.gc);
        bench.frame(2, false, 80);
        assert_eq!(player.take(&bench, 80 * MS), Step::CaughtUp, "within a group of pictures");
        assert_eq!(player.cursor.needed_behind(player.cursor.end, &bench.logs), None);
        bench.frame(2, true, 120);
        assert_eq!(player.step(&bench, 120 * MS), Step::Jumped);
        player.take(&bench, 120 * MS);
        assert_eq!((player.at, player.splices), (Some(bench.bytes.len()), 1));
        bench.writer.seal(SealReason::Ended, None);
        assert_eq!(player.take(&bench, 120 * MS), Step::Ended);
        assert_eq!(player.ask_again(&bench), 2, "the splice and what follows it");
        bench.end();
    }

    #[test]
    fn a_stream_that_stalls_is_told_as_late_as_it_is() {
        let (mut bench, mut player) = (Bench::new(), Player::new());
        bench.frame(2, true, 0);
        player.take(&bench, 0);
        bench.frame(2, false, 40);
        player.take(&bench, 3_000 * MS);
        bench.frame(2, false, 80);
        player.take(&bench, 3_040 * MS);
        let times: Vec<_> = player.got.iter().map(|got| got.meta.at_us).collect();
        assert_eq!(times, [0, 3_000 * MS, 3_040 * MS]);
        assert_eq!(player.ask_again(&bench), 3, "times stay what they were");
        bench.end();
    }

    #[test]
    fn what_waited_for_others_has_the_time_that_it_had_come_at() {
        let (mut bench, mut gathers, mut at_once) = (Bench::new(), Player::new(), Player::new());
        // In time, late within bounds, late beyond them and in time again.
        let late = [0, 0, 15, 0, 60, 0, 0, 0, 400, 380, 0, 0].map(|late| late * MS);
        for (nth, late_us) in (0..).zip(late) {
            let us = nth * 500 * MS + late_us;
            bench.frame_at((9, nth == 0, nth * 500), us);
            at_once.take(&bench, us);
            if nth % 3 == 0 {
                gathers.take(&bench, us);
            }
        }
        gathers.take(&bench, 6_400 * MS);
        assert_eq!(gathers.times(), at_once.times());
        let shifts: std::collections::BTreeSet<_> = (0..)
            .zip(at_once.times().iter().step_by(2))
            .map(|(nth, at_us)| at_us - nth * 500 * MS)
            .collect();
        assert_eq!(shifts.into_iter().collect::<Vec<_>>(), [0, 60 * MS, 400 * MS]);
        bench.end();
    }

    #[test]
    fn a_player_takes_little_memory() {
        assert!(size_of::<DatagramCursor>() <= 512, "{}", size_of::<DatagramCursor>());
        assert!(size_of::<Due>() <= 256, "{}", size_of::<Due>());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Entry { packets: usize, join: bool, step_ms: i64 },
        Publish,
        Step,
        Take,
        Ask,
        Pass { ms: i64 },
        Move,
        Leave { behind: u64 },
        Shrink,
        Forget,
    }

    fn op() -> impl Strategy<Value = Op> {
        let packets = prop_oneof![8 => 1_usize..4, 3 => 1_usize..40, 1 => 40_usize..500];
        prop_oneof![
            12 => (packets, prop::bool::weighted(0.15), -40_i64..80)
                .prop_map(|(packets, join, step_ms)| Op::Entry { packets, join, step_ms }),
            6 => Just(Op::Publish),
            3 => Just(Op::Step),
            3 => Just(Op::Take),
            2 => Just(Op::Ask),
            6 => (0_i64..80).prop_map(|ms| Op::Pass { ms }),
            1 => (500_i64..4_000).prop_map(|ms| Op::Pass { ms }),
            1 => Just(Op::Move),
            1 => (0_u64..60).prop_map(|behind| Op::Leave { behind }),
            1 => Just(Op::Shrink),
            1 => Just(Op::Forget),
        ]
    }

    proptest! {
        #[test]
        fn who_gathers_shows_the_times_of_who_does_not(
            frames in prop::collection::vec(
                (
                    1_usize..30,
                    -20_i64..300,
                    prop_oneof![4 => 0_i64..60, 1 => 0_i64..4_000],
                    any::<bool>(),
                ),
                1..60,
            ),
        ) {
            let terms = PlayTerms { lag_max: MediaTime::from_millis(1_000_000), ..TERMS };
            let player = || Player { terms, patience_us: 1_000_000 * MS, ..Player::new() };
            let (mut bench, mut gathers, mut at_once) = (Bench::new(), player(), player());
            bench.frame_at((3, true, 0), 0);
            gathers.take(&bench, 0);
            at_once.take(&bench, 0);
            let (mut ms, mut now_us) = (0, 0);
            for (packets, media_ms, passed_ms, waits) in frames {
                (ms, now_us) = (ms + media_ms, now_us + passed_ms * MS);
                bench.frame_at((packets, false, ms), now_us);
                at_once.take(&bench, now_us);
                if !waits {
                    gathers.take(&bench, now_us + 3 * MS);
                }
            }
            gathers.take(&bench, now_us + 70 * MS);
            prop_assert_eq!(gathers.times(), at_once.times());
            bench.end();
        }

        #[test]
        fn a_player_gets_the_stream_whatever_happens_to_it(
            ops in prop::collection::vec(op(), 1..300),
        ) {
            let (mut bench, mut player) = (Bench::new(), Player::new());
            let (mut ms, mut now_us) = (0, 0);
            for op in ops {
                match op {
                    Op::Entry { packets, join, step_ms } => {
                        ms += step_ms;
                        bench.entry(packets, join, ms);
                    }
                    Op::Publish => {
                        bench.publish();
                        bench.turn();
                    }
                    Op::Step => _ = player.step(&bench, now_us),
                    Op::Take => _ = player.take(&bench, now_us),
                    Op::Ask => _ = player.ask_again(&bench),
                    Op::Pass { ms } => now_us += ms * MS,
                    Op::Move => bench.moves(),
                    Op::Leave { behind } => {
                        let number = player.cursor.end.saturating_sub(behind);
                        if let Some(from) = player.cursor.needed_behind(number, &bench.logs) {
                            bench.logs.leave_before(from);
                        }
                    }
                    Op::Shrink => _ = bench.writer.shrink(&mut bench.gc, None),
                    Op::Forget => bench.writer.forget(&mut bench.gc),
                }
            }
            bench.publish();
            bench.writer.seal(SealReason::Ended, None);
            prop_assert_eq!(player.take(&bench, now_us), Step::Ended);
            player.ask_again(&bench);
            bench.end();
        }
    }
}
