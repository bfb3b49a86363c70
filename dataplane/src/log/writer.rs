//! The writing side of a log, on the stream's home shard.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use codecs::time::MediaTime;

use super::entry::{ENTRIES_PER_PAGE_SHIFT, Entry, EntryMeta};
use super::epoch::{Gc, Retired};
use super::groups::GroupWriter;
use super::pages::Pages;
use super::preamble::Preamble;
use super::reader::{DATA_PAGE_SHIFT, Log, SealReason, Start};
use crate::segment::Window;
use crate::slab::{Exhausted, PageClass, Pool};

/// Bytes of one entry at most: the largest message of any protocol, and its framing.
pub const ENTRY_BYTES_MAX: u64 = 16 << 20;
/// Entries of one log at most.
pub const ENTRIES_MAX: u64 = 65_536;
const ENTRIES_MIN: u64 = 1_024;
/// A log of small entries keeps one per so many bytes of its `bytes_max`.
const BYTES_PER_ENTRY: u64 = 512;

/// How much a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes, the open entry not counted.
    pub bytes_max: u64,
    /// Decode time between the oldest entry and the newest, unless the GOP is longer.
    pub retain: MediaTime,
    /// Bytes from the newest join point on; beyond, players wait for the next join point.
    pub gop_bytes_max: u64,
    /// Bytes while something is held, if that is more than `bytes_max`.
    pub held_bytes_max: u64,
}

impl LogLimits {
    /// Bytes that a log with these limits keeps at most.
    #[must_use]
    pub const fn room(&self) -> u64 {
        if self.held_bytes_max > self.bytes_max { self.held_bytes_max } else { self.bytes_max }
    }

    /// Entries that a log with these limits keeps at most.
    #[must_use]
    pub const fn entries_max(&self) -> u64 {
        let by_bytes = self.room() / BYTES_PER_ENTRY;
        if by_bytes < ENTRIES_MIN {
            ENTRIES_MIN
        } else if by_bytes > ENTRIES_MAX {
            ENTRIES_MAX
        } else {
            by_bytes
        }
    }
}

/// What a writer has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    /// Entries dropped for their age or for room.
    pub entries_evicted: u64,
    /// Join points given up because the GOP became too large.
    pub joins_lost: u64,
    /// Entries abandoned before they ended.
    pub entries_abandoned: u64,
}

#[derive(Clone, Copy, Debug)]
struct Join {
    number: u64,
    offset: u64,
}

/// The end of what was written, by which the age of an entry is told.
#[derive(Clone, Copy, Debug)]
struct Edge {
    committed: u64,
    entries: u64,
    newest_dts: MediaTime,
}

/// The one writer of a log.
///
/// Per entry: `begin`, `put` as often as needed, `end`; then, for all entries of a turn, `publish`
/// and `evict`. It must be closed, or its pages are lost to their pool.
/// Lives on: the home shard. Crosses by: never.
#[derive(Debug)]
pub struct LogWriter {
    log: Arc<Log>,
    limits: LogLimits,
    /// The offset behind the last byte written.
    head: u64,
    /// Where the open entry began.
    open: Option<u64>,
    /// Entries that ended.
    entries: u64,
    /// The newest join point that ended but is not yet published.
    join_ended: Option<Join>,
    /// The newest join point that readers may begin at.
    join: Option<Join>,
    newest_dts: MediaTime,
    newest_offset: u64,
    /// What lies behind this offset is held, however old it is.
    held: Option<u64>,
    data: Pages,
    index: Pages,
    groups: Option<GroupWriter>,
    counters: LogCounters,
    closed: bool,
    of_one_thread: PhantomData<Cell<()>>,
}

impl LogWriter {
    /// A log without a page, in the region of `pool`.
    #[must_use]
    pub fn new(pool: &Pool, limits: LogLimits) -> Self {
        Self::with(pool, limits, None)
    }

    /// A log of packets, which has a table of groups: its entries are whole packets.
    #[must_use]
    pub fn of_packets(pool: &Pool, limits: LogLimits) -> Self {
        Self::with(pool, limits, Some(GroupWriter::new()))
    }

    fn with(pool: &Pool, limits: LogLimits, groups: Option<GroupWriter>) -> Self {
        let place = (Arc::clone(pool.region()), pool.shard());
        Self {
            log: Arc::new(Log::new(place, &limits, groups.is_some(), Start::default())),
            limits,
            head: 0,
            open: None,
            entries: 0,
            join_ended: None,
            join: None,
            newest_dts: MediaTime::ZERO,
            newest_offset: 0,
            held: None,
            data: Pages::default(),
            index: Pages::default(),
            groups,
            counters: LogCounters::default(),
            closed: false,
            of_one_thread: PhantomData,
        }
    }

    /// The writer of the log that goes on where this one is to be sealed: it has no page yet, and
    /// every offset, number and time goes on in it.
    ///
    /// What has ended is published. Whoever gets the writer calls [`Self::settle_at`].
    #[must_use]
    pub fn successor(&mut self, pool: &Pool) -> Self {
        assert!(self.open.is_none(), "a log is sealed at the border of an entry");
        self.publish();
        let groups = self.groups.as_ref().map(GroupWriter::go_on);
        let group = groups.as_ref().map_or(0, GroupWriter::next_number);
        let start = Start { offset: self.head, entry: self.entries, group };
        let place = (Arc::clone(pool.region()), pool.shard());
        let log = Log::new(place, &self.limits, groups.is_some(), start);
        log.hold(self.held);
        Self {
            log: Arc::new(log),
            limits: self.limits,
            head: self.head,
            open: None,
            entries: self.entries,
            join_ended: None,
            // What follows a join point stays, whichever log the join point is in.
            join: self.join,
            newest_dts: self.newest_dts,
            newest_offset: self.newest_offset,
            held: self.held,
            data: Pages::from_number(self.head >> DATA_PAGE_SHIFT),
            index: Pages::from_number(self.entries >> ENTRIES_PER_PAGE_SHIFT),
            groups,
            counters: LogCounters::default(),
            closed: false,
            of_one_thread: PhantomData,
        }
    }

    /// The shard of `pool` writes from now on.
    pub fn settle_at(&self, pool: &Pool) {
        self.log.settle_at(pool.shard());
    }

    /// The log, for its readers.
    #[must_use]
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The offset behind the last byte that was written, published or not.
    #[must_use]
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// The first byte of the newest entry that ended, or of the next one.
    #[must_use]
    pub const fn newest_offset(&self) -> u64 {
        self.newest_offset
    }

    /// Holds what lies behind the offset `from`, whatever its age, within `held_bytes_max`.
    pub fn hold(&mut self, from: Option<u64>) {
        if self.held != from {
            self.held = from;
            self.log.hold(from);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> LogCounters {
        self.counters
    }

    /// Pages that the log holds, data and index.
    #[must_use]
    pub fn pages(&self) -> (u64, u64) {
        let groups = self.groups.as_ref().map_or(0, GroupWriter::pages);
        (self.data.len(), self.index.len() + groups)
    }

    /// Takes new limits; the slots of its rings stay as they were made, so a log only shrinks.
    pub fn set_limits(&mut self, limits: LogLimits) {
        self.limits =
            LogLimits { bytes_max: limits.bytes_max.min(self.limits.bytes_max), ..limits };
    }

    /// Opens an entry.
    pub fn begin(&mut self) {
        assert!(self.open.is_none(), "one entry is open at a time");
        self.open = Some(self.head);
    }

    /// Appends `bytes` to the open entry.
    ///
    /// # Errors
    /// [`Exhausted`] if the pool is empty or the entry too large: it is to be abandoned.
    pub fn put(&mut self, pool: &Pool, mut bytes: &[u8]) -> Result<(), Exhausted> {
        let begun = self.open.expect("bytes go to an open entry");
        if self.head - begun + bytes.len() as u64 > ENTRY_BYTES_MAX {
            return Err(Exhausted(PageClass::Large));
        }
        while !bytes.is_empty() {
            let ring = &self.log.data;
            let number = ring.page_number(self.head);
            self.data.reach(number, ring, pool, PageClass::Large)?;
            let room = ring.page_start(number + 1) - self.head;
            let room = usize::try_from(room).expect("at most a page");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let to = self.log.data_address(ring.slot(number), self.head);
            // COPY(package): an access unit into the log, once per format and not per player.
            // SAFETY: the bytes behind `head` are not committed, so no reader looks at them, and
            // this writer is the only one; `now` fits in what is left of the page.
            unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), to, now.len()) };
            self.head += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the open entry.
    ///
    /// # Errors
    /// [`Exhausted`] if the index has no room: the entry stays open and is to be abandoned.
    pub fn end(&mut self, pool: &Pool, meta: EntryMeta) -> Result<(), Exhausted> {
        let offset = self.open.expect("an open entry is ended");
        let number = self.entries;
        let ring = &self.log.index;
        let page = ring.page_number(number);
        self.index.reach(page, ring, pool, PageClass::Small)?;
        if let Some(groups) = &mut self.groups {
            groups.reserve(&self.log, pool, self.head)?;
        }
        let entry = Entry {
            number,
            offset,
            len: u32::try_from(self.head - offset).expect("at most ENTRY_BYTES_MAX"),
            dts: meta.dts,
            kind: meta.kind,
            join: meta.join,
            config_version: meta.config_version,
            continuity: meta.continuity,
        };
        entry.store(self.log.entry_slot(ring.slot(page), number));
        self.open = None;
        self.entries += 1;
        self.newest_offset = offset;
        self.newest_dts = meta.dts;
        if let Some(groups) = &mut self.groups {
            groups.entry(&self.log, &entry);
        }
        if meta.join {
            self.join_ended = Some(Join { number, offset });
        }
        Ok(())
    }

    /// Drops the open entry, if there is one, and frees the pages that only it had reached.
    pub fn abandon(&mut self, pool: &Pool) {
        let Some(begun) = self.open.take() else { return };
        let ring = &self.log.data;
        self.head = begun;
        // A page that starts at or behind `begun` was never committed, so no reader knows it.
        self.data.give_up(begun, ring, pool);
        self.counters.entries_abandoned += 1;
    }

    /// Shows `preamble` to readers; it must come before the entries of its version are published.
    pub fn set_preamble(&mut self, gc: &mut Gc, preamble: Preamble) {
        if let Some(old) = self.log.preambles.replace(preamble) {
            gc.retire(Retired::Preamble(old));
        }
    }

    /// Publishes, then shows `window`, whose segments have ended, in place of the one before.
    pub fn show_window(&mut self, gc: &mut Gc, window: Option<Window>) {
        self.publish();
        if let Some(old) = self.log.window.replace(window) {
            gc.retire(Retired::Window(old));
        }
    }

    /// Lets readers see all ended entries; true if there are new ones.
    pub fn publish(&mut self) -> bool {
        let log = &*self.log;
        if log.index.committed() == self.entries {
            return false;
        }
        log.index.commit(self.entries);
        let end = self.open.unwrap_or(self.head);
        log.data.commit(end);
        if let Some(groups) = &mut self.groups {
            groups.publish(log, end);
        }
        // Last, so that whoever sees a join point sees its bytes too.
        if let Some(join) = self.join_ended.take() {
            self.join = Some(join);
            log.show_join(join.number);
        }
        true
    }

    /// Drops published entries that are too old or too many, oldest first; once per turn.
    ///
    /// What follows the newest join point stays, unless it exceeds `gop_bytes_max` or the log its
    /// bounds: then there is no join point until the next one.
    pub fn evict(&mut self, gc: &mut Gc) {
        let (committed, entries) = (self.log.data.committed(), self.log.index.committed());
        let edge = Edge { committed, entries, newest_dts: self.newest_dts };
        self.evict_behind(edge, gc);
    }

    /// As [`Self::evict`], for a log that was sealed and goes on in others, of which `newest` is
    /// the last: what is too old or too much is so as of its end. `joined` tells that one of them
    /// has a join point, or gave one up: nobody begins in this log any more.
    pub fn evict_sealed(&mut self, newest: &Log, joined: bool, gc: &mut Gc) {
        if joined && self.join.take().is_some() {
            self.log.lose_join();
        }
        self.held = newest.held_from();
        let newest_dts = newest.newest_entry().map_or(self.newest_dts, |entry| entry.dts);
        let (committed, entries) = (newest.committed(), newest.entries_committed());
        self.evict_behind(Edge { committed, entries, newest_dts }, gc);
    }

    /// True if nothing of it is left.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.log.data.tail() == self.head
    }

    fn evict_behind(&mut self, edge: Edge, gc: &mut Gc) {
        let log = Arc::clone(&self.log);
        let Edge { committed, entries, newest_dts } = edge;
        let ended = log.index.committed();
        let gop_max = self.limits.gop_bytes_max.min(self.limits.bytes_max);
        if self.join.is_some_and(|join| committed - join.offset > gop_max) {
            self.lose_join();
        }
        let tail = log.index.tail();
        let mut first = tail;
        let mut offset = log.data.tail();
        while first < ended {
            let entry = log.entry(first).expect("the writer has not cut this entry off");
            offset = entry.offset;
            let held = self.held.is_some_and(|from| from <= entry.offset);
            let bytes_max = if held { self.limits.room() } else { self.limits.bytes_max };
            let full =
                committed - entry.offset > bytes_max || entries - first > self.limits.entries_max();
            let old = !held && newest_dts - entry.dts > self.limits.retain;
            let pinned = self.join.is_some_and(|join| join.number <= first);
            if !full && (pinned || !old) {
                break;
            }
            if pinned {
                self.lose_join();
            }
            first += 1;
            offset = entry.end();
        }
        if first > tail {
            self.counters.entries_evicted += first - tail;
            self.cut(first, offset, gc);
        }
    }

    /// Drops the published entries before the newest join point, and before the entry at `least`
    /// if that is older; true if there were any.
    pub fn shrink(&mut self, gc: &mut Gc, least: Option<u64>) -> bool {
        let Some(mut to) = self.join else { return false };
        if let Some(entry) = least.and_then(|offset| self.log.entry_containing(offset))
            && entry.number < to.number
        {
            to = Join { number: entry.number, offset: entry.offset };
        }
        let tail = self.log.index.tail();
        if to.number <= tail {
            return false;
        }
        self.counters.entries_evicted += to.number - tail;
        self.cut(to.number, to.offset, gc);
        true
    }

    /// Nobody begins before the next join point; what is read is read on.
    pub fn give_up_join(&mut self) {
        self.join = None;
        self.log.lose_join();
    }

    /// Drops every published entry: players go on with the next join point.
    pub fn forget(&mut self, gc: &mut Gc) {
        if self.join.is_some() {
            self.lose_join();
        }
        self.log.lose_join();
        let (tail, entries) = (self.log.index.tail(), self.log.index.committed());
        self.counters.entries_evicted += entries - tail;
        self.cut(entries, self.log.data.committed(), gc);
    }

    /// Publishes what has ended and says that nothing follows, or what does.
    pub fn seal(&mut self, reason: SealReason, next: Option<Arc<Log>>) {
        self.publish();
        self.log.seal(reason, next);
    }

    /// Ends the log: nothing can be read any more and all its pages are retired.
    ///
    /// A log that was not sealed ends as [`SealReason::Ended`].
    pub fn close(mut self, pool: &Pool, gc: &mut Gc) {
        self.abandon(pool);
        if self.log.sealed().is_none() {
            self.seal(SealReason::Ended, None);
        }
        self.show_window(gc, None);
        self.log.lose_join();
        self.cut(self.entries, self.head, gc);
        // The pages at the ends are not full, so the cuts alone did not retire them.
        self.data.retire_below(u64::MAX, &self.log.data, gc);
        self.index.retire_below(u64::MAX, &self.log.index, gc);
        if let Some(groups) = &mut self.groups {
            groups.end(&self.log, gc);
        }
        self.closed = true;
    }

    fn lose_join(&mut self) {
        self.join = None;
        self.log.lose_join();
        self.counters.joins_lost += 1;
    }

    fn cut(&mut self, entry: u64, offset: u64, gc: &mut Gc) {
        let log = &*self.log;
        log.index.cut(entry);
        log.data.cut(offset);
        self.data.retire_below(log.data.page_number(offset), &log.data, gc);
        self.index.retire_below(log.index.page_number(entry), &log.index, gc);
        if let Some(groups) = &mut self.groups {
            groups.cut(log, offset, gc);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        debug_assert!(
            self.closed || self.pages() == (0, 0) || std::thread::panicking(),
            "a log is closed, or its pages are lost to their pool"
        );
    }
}

#[cfg(test)]
mod tests {
    use codecs::mpegts::Continuity;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ShardId;
    use crate::log::{
        EntryKind, Epochs, Lapped, PreambleItem, PreambleKind, RangeList, Succession,
    };
    use crate::slab::{Region, RegionConfig};

    const HOME: ShardId = ShardId(0);
    const LIMITS: LogLimits = LogLimits {
        bytes_max: 256 << 10,
        retain: MediaTime::from_millis(2_000),
        gop_bytes_max: 192 << 10,
        held_bytes_max: 0,
    };

    /// A log beside the plain truth about it.
    struct Bench {
        pool: Pool,
        gc: Gc,
        epochs: Epochs,
        writer: LogWriter,
        log: Arc<Log>,
        bytes: Vec<u8>,
        entries: Vec<Entry>,
        /// Bytes and entries that were published.
        published: (usize, usize),
        dts: MediaTime,
    }

    impl Bench {
        fn new(large: u32, small: u32, limits: LogLimits) -> Self {
            let config = RegionConfig {
                shards: 1,
                large_pages_per_shard: large,
                small_pages_per_shard: small,
                poison: true,
            };
            let pool = Region::map(&config).unwrap().1.remove(0);
            let writer = LogWriter::new(&pool, limits);
            let epochs = Epochs::new(1);
            epochs.enter(HOME);
            Self {
                gc: Gc::new(&pool),
                epochs,
                log: Arc::clone(writer.log()),
                writer,
                pool,
                bytes: Vec::new(),
                entries: Vec::new(),
                published: (0, 0),
                dts: MediaTime::ZERO,
            }
        }

        fn entry(&mut self, len: usize, join: bool, step_ms: i64) -> Result<(), Exhausted> {
            let seed = self.entries.len() as u8;
            let bytes: Vec<u8> = (0..len).map(|i| (i / 7) as u8 ^ seed).collect();
            self.dts += MediaTime::from_millis(step_ms);
            let kind = if join { EntryKind::Video } else { EntryKind::Audio };
            let continuity = Continuity::from_bits(u64::from(seed) << 40);
            let meta = EntryMeta {
                dts: self.dts,
                kind,
                join,
                config_version: u32::from(seed),
                segment: false,
                continuity,
            };
            self.writer.begin();
            let (head, body) = bytes.split_at(len.min(11));
            let put = self.writer.put(&self.pool, head);
            let put = put.and_then(|()| self.writer.put(&self.pool, body));
            if let Err(e) = put.and_then(|()| self.writer.end(&self.pool, meta)) {
                self.writer.abandon(&self.pool);
                return Err(e);
            }
            self.entries.push(Entry {
                number: self.entries.len() as u64,
                offset: self.bytes.len() as u64,
                len: u32::try_from(len).unwrap(),
                dts: self.dts,
                kind,
                join,
                config_version: u32::from(seed),
                continuity,
            });
            self.bytes.extend(bytes);
            Ok(())
        }

        fn publish(&mut self) {
            let moved = self.writer.publish();
            assert_eq!(moved, self.published.1 < self.entries.len());
            self.published = (self.bytes.len(), self.entries.len());
        }

        fn turn(&mut self) {
            self.epochs.advance(HOME);
            self.gc.collect(&self.epochs, &self.pool);
        }

        /// Everything that a reader can ask, against the truth.
        fn check(&self, probe: u64) -> Result<(), TestCaseError> {
            let (log, tail, committed) = (&self.log, self.log.tail(), self.published.0 as u64);
            prop_assert_eq!(log.committed(), committed);
            prop_assert_eq!(log.entries_committed(), self.published.1 as u64);
            let published = &self.entries[..self.published.1];
            let kept = published.partition_point(|e| e.offset < tail || e.end() < tail);
            for number in kept.saturating_sub(2)..published.len() + 2 {
                let entry = log.entry(number as u64);
                if let Some(entry) = entry {
                    prop_assert_eq!(&entry, &self.entries[number]);
                }
                prop_assert!(entry.is_some() || number <= kept || number >= published.len());
            }
            let from = probe % (committed + 2);
            let mut out = vec![0; 1 + (probe % 90_000) as usize];
            match log.read(from, &mut out) {
                Ok(n) => {
                    prop_assert!(from >= tail);
                    let left = self.published.0.saturating_sub(from as usize);
                    prop_assert_eq!(n, out.len().min(left));
                    let from = self.bytes.len().min(from as usize);
                    prop_assert_eq!(&out[..n], &self.bytes[from..][..n]);
                }
                Err(Lapped) => prop_assert!(from < tail),
            }
            let holder = published.iter().find(|e| e.offset <= from && from < e.end());
            let holder = holder.filter(|_| from >= tail).copied();
            prop_assert_eq!(log.entry_containing(from), holder);
            let newest = published.last();
            let lag = holder.zip(newest).map(|(e, newest)| newest.dts - e.dts);
            let caught_up = (from >= committed).then_some(MediaTime::ZERO);
            prop_assert_eq!(log.lag(from), lag.or(caught_up));
            if let Some(join) = log.newest_join() {
                let newest = published.iter().rev().find(|e| e.join);
                prop_assert_eq!(Some(&join), newest);
                prop_assert!(join.offset >= tail);
            }
            Ok(())
        }

        /// What holds after each eviction.
        fn check_bounds(&self) -> Result<(), TestCaseError> {
            let (tail, committed) = (self.log.tail(), self.log.committed());
            prop_assert!(committed - tail <= LIMITS.bytes_max);
            let published = &self.entries[..self.published.1];
            let oldest = self.log.entry_containing(tail);
            let join = self.log.newest_join();
            if let (Some(oldest), Some(newest)) = (oldest, published.last()) {
                let pinned = join.is_some_and(|join| join.number <= oldest.number);
                prop_assert!(pinned || newest.dts - oldest.dts <= LIMITS.retain);
            }
            let last_join = published.iter().rev().find(|e| e.join);
            let small_gop = last_join.filter(|e| committed - e.offset <= LIMITS.gop_bytes_max);
            prop_assert_eq!(join, small_gop.copied());
            Ok(())
        }

        fn close(mut self) {
            self.writer.close(&self.pool, &mut self.gc);
            self.epochs.sleep(HOME);
            self.gc.collect(&self.epochs, &self.pool);
            assert_eq!(self.log.tail(), self.log.committed());
            let in_use = |class| self.pool.usage(class).in_use;
            assert_eq!((in_use(PageClass::Large), in_use(PageClass::Small)), (0, 0));
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Entry { len: usize, join: bool, step_ms: i64 },
        Abandon(usize),
        Publish,
        Evict,
        Turn,
        Check(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let len = prop_oneof![0_usize..200, 0_usize..9_000, 60_000_usize..150_000];
        let entry = (len, prop::bool::weighted(0.2), -20_i64..120);
        prop_oneof![
            6 => entry.prop_map(|(len, join, step_ms)| Op::Entry { len, join, step_ms }),
            1 => (0_usize..100_000).prop_map(Op::Abandon),
            4 => Just(Op::Publish),
            2 => Just(Op::Evict),
            2 => Just(Op::Turn),
            4 => any::<u64>().prop_map(Op::Check),
        ]
    }

    proptest! {
        #[test]
        fn readers_see_exactly_what_was_written_or_that_they_were_lapped(
            ops in prop::collection::vec(op(), 1..300),
        ) {
            let mut bench = Bench::new(9, 3, LIMITS);
            for op in ops {
                match op {
                    Op::Entry { len, join, step_ms } => {
                        let _ = bench.entry(len, join, step_ms);
                    }
                    Op::Abandon(len) => {
                        bench.writer.begin();
                        let _ = bench.writer.put(&bench.pool, &vec![9; len]);
                        bench.writer.abandon(&bench.pool);
                    }
                    Op::Publish => bench.publish(),
                    Op::Evict => {
                        // Published entries alone are judged, so publish what the truth counts.
                        bench.publish();
                        bench.writer.evict(&mut bench.gc);
                        bench.check_bounds()?;
                    }
                    Op::Turn => bench.turn(),
                    Op::Check(probe) => bench.check(probe)?,
                }
                let (data, index) = bench.writer.pages();
                let used = |class| u64::from(bench.pool.usage(class).in_use);
                let pages = used(PageClass::Large) + used(PageClass::Small);
                prop_assert_eq!(pages, data + index + bench.gc.waiting() as u64);
            }
            bench.close();
        }
    }

    #[test]
    fn an_idle_log_holds_no_page_and_a_quiet_one_two() {
        let mut bench = Bench::new(2, 2, LIMITS);
        assert_eq!(bench.writer.pages(), (0, 0));
        assert_eq!((bench.log.newest_entry(), bench.log.newest_join()), (None, None));
        bench.entry(100, true, 0).unwrap();
        assert_eq!(bench.log.newest_entry(), None, "not published");
        bench.publish();
        assert_eq!(bench.writer.pages(), (1, 1));
        assert_eq!(bench.log.newest_join(), Some(bench.entries[0]));
        bench.close();
    }

    #[test]
    fn a_join_point_that_is_seen_has_its_bytes() {
        let mut bench = Bench::new(9, 9, LIMITS);
        let log = Arc::clone(&bench.log);
        let reader = std::thread::spawn(move || {
            while log.sealed().is_none() {
                let Some(join) = log.newest_join() else { continue };
                assert!(log.committed() >= join.end(), "entry {}", join.number);
            }
        });
        for _ in 0..2_000 {
            bench.entry(100, true, 1).unwrap();
            bench.publish();
        }
        bench.writer.seal(SealReason::Ended, None);
        reader.join().unwrap();
        bench.close();
    }

    #[test]
    fn a_gop_that_grows_too_large_is_no_join_point_until_the_next() {
        let mut bench = Bench::new(9, 2, LIMITS);
        bench.entry(1_000, true, 0).unwrap();
        for _ in 0..20 {
            bench.entry(10_000, false, 40).unwrap();
            bench.publish();
            bench.writer.evict(&mut bench.gc);
        }
        assert_eq!(bench.log.newest_join(), None);
        assert_eq!(bench.writer.counters().joins_lost, 1);
        bench.entry(1_000, true, 40).unwrap();
        bench.publish();
        assert_eq!(bench.log.newest_join().map(|e| e.number), Some(21));
        bench.close();
    }

    #[test]
    fn a_log_shrinks_to_its_newest_join_point_and_to_nothing() {
        let mut bench = Bench::new(9, 2, LIMITS);
        for join in [true, false, true, false] {
            bench.entry(40_000, join, 40).unwrap();
        }
        bench.publish();
        assert!(bench.writer.shrink(&mut bench.gc, None));
        assert!(!bench.writer.shrink(&mut bench.gc, None), "it is as small as it gets");
        assert_eq!(bench.log.tail(), 80_000);
        assert_eq!(bench.log.newest_join(), Some(bench.entries[2]));
        bench.writer.forget(&mut bench.gc);
        assert_eq!((bench.log.tail(), bench.log.newest_join()), (160_000, None));
        bench.entry(10, true, 40).unwrap();
        bench.publish();
        assert_eq!(bench.log.newest_join(), Some(bench.entries[4]));
        bench.close();
    }

    #[test]
    fn a_flood_of_tiny_entries_is_bounded_by_their_number() {
        let mut bench =
            Bench::new(2, 20, LogLimits { retain: MediaTime::from_millis(1 << 40), ..LIMITS });
        for _ in 0..3 * ENTRIES_MIN {
            bench.entry(1, false, 0).unwrap();
            bench.publish();
            bench.writer.evict(&mut bench.gc);
            bench.turn();
        }
        let kept = bench.log.entries_committed() - bench.writer.counters().entries_evicted;
        assert_eq!(kept, ENTRIES_MIN);
        assert!(bench.writer.pages().1 <= ENTRIES_MIN / 256 + 1);
        bench.close();
    }

    #[test]
    fn an_entry_beyond_its_bound_is_refused_and_leaves_nothing() {
        let limits = LogLimits { bytes_max: 64 << 20, gop_bytes_max: 64 << 20, ..LIMITS };
        let mut bench = Bench::new(4, 2, limits);
        bench.entry(70_000, true, 0).unwrap();
        bench.writer.begin();
        let too_large = vec![0; usize::try_from(ENTRY_BYTES_MAX).unwrap() + 1];
        assert!(bench.writer.put(&bench.pool, &too_large).is_err());
        assert!(bench.writer.put(&bench.pool, &[0; 300_000]).is_err(), "the pool is empty");
        assert_eq!(bench.writer.pages().0, 4);
        bench.writer.abandon(&bench.pool);
        assert_eq!(bench.writer.pages().0, 2);
        assert_eq!(bench.writer.counters().entries_abandoned, 1);
        bench.entry(10, false, 1).unwrap();
        bench.publish();
        bench.check(69_999).unwrap();
        bench.close();
    }

    #[test]
    fn a_range_list_takes_eight_pages_at_once() {
        let limits = LogLimits { bytes_max: 4 << 20, gop_bytes_max: 4 << 20, ..LIMITS };
        let mut bench = Bench::new(16, 1, limits);
        bench.entry(900_000, true, 0).unwrap();
        bench.publish();
        let mut list = RangeList::new();
        assert_eq!(bench.log.ranges(10, 900_000, &mut list), Ok(8 * 65_536 - 10));
        assert_eq!(list.as_slice().len(), 8);
        assert_eq!(bench.log.ranges(600_000, u64::MAX, &mut list), Ok(300_000));
        assert_eq!(bench.log.ranges(900_000, u64::MAX, &mut list), Ok(0));
        assert!(list.as_slice().is_empty());
        bench.close();
    }

    #[test]
    fn preambles_are_kept_by_version_and_freed_by_epoch() {
        let mut bench = Bench::new(1, 1, LIMITS);
        let preamble = |version: u32| Preamble {
            version,
            items: vec![PreambleItem { kind: PreambleKind::Video, body: vec![version as u8; 3] }],
            ..Preamble::default()
        };
        for version in 0..10 {
            bench.writer.set_preamble(&mut bench.gc, preamble(version));
        }
        assert!(bench.log.preamble(1).is_none() && bench.log.preamble(10).is_none());
        for version in 2..10 {
            assert_eq!(*bench.log.preamble(version).unwrap(), preamble(version));
        }
        assert_eq!(bench.gc.waiting(), 2);
        bench.turn();
        bench.turn();
        assert_eq!(bench.gc.waiting(), 0);
        bench.close();
    }

    #[test]
    fn a_sealed_log_is_read_to_its_end_and_leads_to_the_next() {
        let mut bench = Bench::new(2, 2, LIMITS);
        bench.entry(500, true, 0).unwrap();
        let next = LogWriter::new(&bench.pool, LIMITS);
        assert!(bench.log.sealed().is_none() && bench.log.next().is_none());
        bench.writer.seal(SealReason::Moved, Some(Arc::clone(next.log())));
        assert_eq!(bench.log.sealed(), Some(SealReason::Moved));
        assert_eq!(bench.log.committed(), 500, "sealing publishes");
        assert!(Arc::ptr_eq(bench.log.next().unwrap(), next.log()));
        next.close(&bench.pool, &mut bench.gc);
        let log = Arc::clone(&bench.log);
        bench.close();
        assert_eq!(log.read(0, &mut [0; 4]), Err(Lapped));
    }

    #[test]
    fn a_log_goes_on_in_the_next_one_at_the_same_offset() {
        let mut bench = Bench::new(4, 4, LIMITS);
        bench.entry(500, true, 0).unwrap();
        bench.entry(70_000, false, 40).unwrap();
        let logs = Succession::new(Arc::clone(&bench.log));
        let next = bench.writer.successor(&bench.pool);
        assert_eq!((logs.newest().committed(), logs.newest_join().unwrap().number), (70_500, 0));
        bench.writer.seal(SealReason::Moved, Some(Arc::clone(next.log())));
        assert_eq!((logs.ended(), logs.has_sealed()), (None, true));
        let sealed = std::mem::replace(&mut bench.writer, next);
        let old = std::mem::replace(&mut bench.log, Arc::clone(logs.newest()));
        assert_eq!(
            (bench.log.start(), bench.log.tail(), bench.log.committed()),
            (70_500, 70_500, 70_500)
        );
        assert!(Arc::ptr_eq(logs.at(70_499), &old) && Arc::ptr_eq(logs.at(70_500), &bench.log));
        assert_eq!(logs.newest_join().unwrap().offset, 0, "joins begin in the sealed log");
        assert_eq!(logs.lag(0), Some(MediaTime::from_millis(40)));
        bench.entry(100, false, 40).unwrap();
        bench.publish();
        let entry = bench.log.entry_containing(70_500).unwrap();
        assert_eq!((entry.number, entry.offset), (2, 70_500));
        assert_eq!(logs.lag(0), Some(MediaTime::from_millis(80)));
        let kept = [logs.oldest_entry(), logs.newest_entry()].map(|entry| entry.unwrap().number);
        assert_eq!(kept, [0, 2], "a second of the stream is told by what both hold");
        bench.entry(100, true, 40).unwrap();
        bench.publish();
        assert_eq!(logs.newest_join().unwrap().number, 3);
        assert!(logs.joins_newest());
        let mut behind = logs.clone();
        assert!(behind.leave_before(70_500) && Arc::ptr_eq(behind.first(), &bench.log));
        sealed.close(&bench.pool, &mut bench.gc);
        assert_eq!(logs.tail(), 70_500);
        let mut stalled = logs.clone();
        assert!(stalled.leave_before(0), "nothing is left for who has not passed it");
        assert!(Arc::ptr_eq(stalled.first(), &bench.log));
        assert_eq!(old.read(0, &mut [0; 4]), Err(Lapped));
        bench.close();
    }

    #[test]
    fn what_follows_a_join_point_stays_across_the_seam() {
        let mut bench = Bench::new(9, 4, LIMITS);
        bench.entry(500, true, 0).unwrap();
        let logs = Succession::new(Arc::clone(&bench.log));
        let next = bench.writer.successor(&bench.pool);
        bench.writer.seal(SealReason::Moved, Some(Arc::clone(next.log())));
        let mut sealed = std::mem::replace(&mut bench.writer, next);
        bench.log = Arc::clone(bench.writer.log());
        let mut published = |len| {
            bench.entry(len, false, 1_000).unwrap();
            bench.publish();
            bench.writer.evict(&mut bench.gc);
            sealed.evict_sealed(&bench.log, !bench.log.awaits_join(), &mut bench.gc);
            (logs.newest_join().map(|join| join.number), logs.tail())
        };
        for _ in 0..4 {
            assert_eq!(published(100), (Some(0), 0), "it is too old, and still it leads on");
        }
        let (join, tail) = published(usize::try_from(LIMITS.gop_bytes_max).unwrap());
        assert_eq!(join, None, "the group of pictures became too large");
        assert!(tail > 500, "nothing pins it any more");
        sealed.close(&bench.pool, &mut bench.gc);
        bench.close();
    }

    #[test]
    fn a_sealed_log_shrinks_as_of_the_end_of_the_next() {
        let mut bench = Bench::new(4, 4, LIMITS);
        for nth in 0..4 {
            bench.entry(500, nth == 0, if nth == 0 { 0 } else { 1_000 }).unwrap();
        }
        let next = bench.writer.successor(&bench.pool);
        bench.writer.seal(SealReason::Moved, Some(Arc::clone(next.log())));
        let mut sealed = std::mem::replace(&mut bench.writer, next);
        bench.log = Arc::clone(bench.writer.log());
        sealed.evict_sealed(&bench.log, false, &mut bench.gc);
        assert_eq!(sealed.log().tail(), 0, "its join point is the newest");
        bench.entry(500, true, 1_500).unwrap();
        bench.publish();
        sealed.evict_sealed(&bench.log, true, &mut bench.gc);
        assert_eq!(sealed.log().tail(), 1_500, "three entries are too old");
        assert!(!sealed.is_spent());
        bench.writer.hold(Some(1_500));
        bench.entry(500, false, 60_000).unwrap();
        bench.publish();
        sealed.evict_sealed(&bench.log, true, &mut bench.gc);
        assert!(!sealed.is_spent(), "segments hold it");
        bench.writer.hold(None);
        sealed.evict_sealed(&bench.log, true, &mut bench.gc);
        assert!(sealed.is_spent());
        sealed.close(&bench.pool, &mut bench.gc);
        bench.close();
    }
}
