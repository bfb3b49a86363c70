//! The writing side of a log, on the stream's home shard.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use codecs::time::MediaTime;

use super::entry::{Entry, EntryMeta};
use super::epoch::{Gc, Retired};
use super::page_ring::PageRing;
use super::preamble::Preamble;
use super::reader::{Log, SealReason};
use crate::slab::{Exhausted, PageClass, PageId, Pool};
use crate::sync::Ordering;

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
}

impl LogLimits {
    /// Entries that a log with these limits keeps at most.
    #[must_use]
    pub const fn entries_max(&self) -> u64 {
        let by_bytes = self.bytes_max / BYTES_PER_ENTRY;
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

/// The one writer of a log.
///
/// Per entry: `begin`, `put` as often as needed, `end`; then, for all entries of a turn, `publish` and
/// `evict`. It must be closed, or its pages are lost to their pool.
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
    data: Pages,
    index: Pages,
    counters: LogCounters,
    closed: bool,
    of_one_thread: PhantomData<Cell<()>>,
}

/// The numbers of the pages that a ring holds now.
#[derive(Clone, Copy, Debug, Default)]
struct Pages {
    first: u64,
    end: u64,
}

impl Pages {
    /// Makes sure that page `number` is there.
    fn reach(
        &mut self,
        number: u64,
        ring: &PageRing,
        pool: &Pool,
        class: PageClass,
    ) -> Result<(), Exhausted> {
        if number < self.end {
            return Ok(());
        }
        debug_assert_eq!(number, self.end, "a sequence grows page by page");
        if self.end - self.first >= ring.slots() {
            return Err(Exhausted(class));
        }
        let page = pool.alloc(class).ok_or(Exhausted(class))?;
        ring.install(self.end, page.into_raw());
        self.end += 1;
        Ok(())
    }

    /// Retires the pages below `first`.
    fn retire_below(&mut self, first: u64, ring: &PageRing, gc: &mut Gc) {
        while self.first < first.min(self.end) {
            gc.retire(Retired::Page(PageId::from_raw(ring.slot(self.first))));
            self.first += 1;
        }
    }
}

impl LogWriter {
    /// A log without a page, in the region of `pool`.
    #[must_use]
    pub fn new(pool: &Pool, limits: LogLimits) -> Self {
        Self {
            log: Arc::new(Log::new(Arc::clone(pool.region()), &limits)),
            limits,
            head: 0,
            open: None,
            entries: 0,
            join_ended: None,
            join: None,
            newest_dts: MediaTime::ZERO,
            data: Pages::default(),
            index: Pages::default(),
            counters: LogCounters::default(),
            closed: false,
            of_one_thread: PhantomData,
        }
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

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> LogCounters {
        self.counters
    }

    /// Pages that the log holds, data and index.
    #[must_use]
    pub const fn pages(&self) -> (u64, u64) {
        (self.data.end - self.data.first, self.index.end - self.index.first)
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
        let entry = Entry {
            number,
            offset,
            len: u32::try_from(self.head - offset).expect("at most ENTRY_BYTES_MAX"),
            dts: meta.dts,
            kind: meta.kind,
            join: meta.join,
            config_version: meta.config_version,
        };
        entry.store(self.log.entry_slot(ring.slot(page), number));
        self.open = None;
        self.entries += 1;
        self.newest_dts = meta.dts;
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
        while self.data.end > self.data.first && ring.page_start(self.data.end - 1) >= begun {
            self.data.end -= 1;
            pool.free(PageId::from_raw(ring.slot(self.data.end)));
        }
        self.counters.entries_abandoned += 1;
    }

    /// Shows `preamble` to readers; it must come before the entries of its version are published.
    pub fn set_preamble(&mut self, gc: &mut Gc, preamble: Preamble) {
        if let Some(old) = self.log.preambles.replace(preamble) {
            gc.retire(Retired::Preamble(old));
        }
    }

    /// Lets readers see all ended entries; true if there are new ones.
    pub fn publish(&mut self) -> bool {
        let log = &*self.log;
        if log.index.committed() == self.entries {
            return false;
        }
        log.index.commit(self.entries);
        if let Some(join) = self.join_ended.take() {
            self.join = Some(join);
            log.newest_join.store(join.number + 1, Ordering::Release);
        }
        log.data.commit(self.open.unwrap_or(self.head));
        true
    }

    /// Drops published entries that are too old or too many, oldest first; once per turn.
    ///
    /// What follows the newest join point stays, unless it exceeds `gop_bytes_max` or the log its
    /// bounds: then there is no join point until the next one.
    pub fn evict(&mut self, gc: &mut Gc) {
        let log = Arc::clone(&self.log);
        let (committed, entries) = (log.data.committed(), log.index.committed());
        let gop_max = self.limits.gop_bytes_max.min(self.limits.bytes_max);
        if self.join.is_some_and(|join| committed - join.offset > gop_max) {
            self.lose_join();
        }
        let tail = log.index.tail();
        let mut first = tail;
        let mut offset = log.data.tail();
        while first < entries {
            let entry = log.entry(first).expect("the writer has not cut this entry off");
            offset = entry.offset;
            let full = committed - entry.offset > self.limits.bytes_max
                || entries - first > self.limits.entries_max();
            let old = self.newest_dts - entry.dts > self.limits.retain;
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
        self.publish();
        self.log.newest_join.store(0, Ordering::Release);
        self.cut(self.entries, self.head, gc);
        // The pages at the ends are not full, so the cuts alone did not retire them.
        self.data.retire_below(u64::MAX, &self.log.data, gc);
        self.index.retire_below(u64::MAX, &self.log.index, gc);
        self.closed = true;
    }

    fn lose_join(&mut self) {
        self.join = None;
        self.log.newest_join.store(0, Ordering::Release);
        self.counters.joins_lost += 1;
    }

    fn cut(&mut self, entry: u64, offset: u64, gc: &mut Gc) {
        let log = &*self.log;
        log.index.cut(entry);
        log.data.cut(offset);
        self.data.retire_below(log.data.page_number(offset), &log.data, gc);
        self.index.retire_below(log.index.page_number(entry), &log.index, gc);
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
