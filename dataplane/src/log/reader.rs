//! The reading side of a log, the same for every shard.

use std::sync::{Arc, OnceLock};

use codecs::time::MediaTime;
use core::sync::atomic::AtomicU64 as EntryWord;

use super::board::{Board, TurnRef};
use super::entry::{ENTRIES_PER_PAGE_SHIFT, ENTRY_SLOT_BYTES, Entry};
use super::groups::{GROUP_BYTES_MAX, GROUP_SLOT_BYTES, GROUPS_PER_PAGE_SHIFT, Group};
use super::page_ring::{Lapped, PageRing};
use super::preamble::{PreambleRef, PreambleRing};
use super::writer::LogLimits;
use crate::ids::ShardId;
use crate::segment::Window;
use crate::slab::{PageClass, Region};
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Contiguous pieces of a [`RangeList`] at most.
pub const RANGES_MAX: usize = 8;
/// What stands for the newest join point where one was given up.
const JOIN_LOST: u64 = u64::MAX;
/// What stands for the first held offset where nothing is held.
const NOTHING_HELD: u64 = u64::MAX;
pub(super) const DATA_PAGE_SHIFT: u32 = PageClass::Large.bytes().trailing_zeros();

/// Why a log got its last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SealReason {
    /// The stream ended.
    Ended = 1,
    /// The stream goes on in another log.
    Moved = 2,
    /// Nobody read it for a while.
    Idle = 3,
}

/// Where the first byte, entry and group of a log are on those of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    pub offset: u64,
    pub entry: u64,
    pub group: u64,
}

/// Contiguous bytes of one page of a log, valid until this shard's epoch advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRange {
    /// The first byte.
    pub ptr: *const u8,
    /// How many.
    pub len: u32,
}

impl RawRange {
    /// The bytes.
    ///
    /// # Safety
    /// The range came from [`Log::ranges`] in this turn of this shard, the shard is awake in its
    /// epochs, and the result is not used beyond the turn.
    #[must_use]
    pub const unsafe fn as_slice<'a>(self) -> &'a [u8] {
        // SAFETY: `ranges` gave out committed bytes of one page, which the epochs keep for this
        // turn.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len as usize) }
    }
}

/// Up to [`RANGES_MAX`] contiguous pieces of a log, in order.
#[derive(Clone, Copy, Debug)]
pub struct RangeList {
    ranges: [RawRange; RANGES_MAX],
    count: usize,
}

impl Default for RangeList {
    fn default() -> Self {
        Self::new()
    }
}

impl RangeList {
    /// No range.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: [RawRange { ptr: std::ptr::null(), len: 0 }; RANGES_MAX], count: 0 }
    }

    /// The ranges.
    #[must_use]
    pub fn as_slice(&self) -> &[RawRange] {
        &self.ranges[..self.count]
    }

    /// Forgets all ranges.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds a range; false if there is no room.
    pub const fn push(&mut self, range: RawRange) -> bool {
        if self.count == RANGES_MAX {
            return false;
        }
        self.ranges[self.count] = range;
        self.count += 1;
        true
    }
}

/// A packaged log, as its readers see it.
///
/// Every method is for a shard that is awake in its [`super::Epochs`], inside a turn.
/// Lives on: every shard. Crosses by: cloning an `Arc` when a subscriber starts.
#[derive(Debug)]
pub struct Log {
    region: Arc<Region>,
    pub(super) data: PageRing,
    pub(super) index: PageRing,
    /// The groups of a log of packets.
    pub(super) groups: Option<PageRing>,
    /// The offset of its first byte, which is where the log before it ended.
    start: u64,
    /// The number of the newest join point plus 1; 0 is none yet.
    newest_join: AtomicU64,
    /// The first offset of the stream that its segments need.
    held_from: AtomicU64,
    /// The shard that writes it and answers for it.
    home: AtomicU32,
    pub(super) preambles: PreambleRing,
    pub(super) window: Board<Window>,
    sealed: AtomicU8,
    next: OnceLock<Arc<Self>>,
}

impl Log {
    pub(super) fn new(
        (region, home): (Arc<Region>, ShardId),
        limits: &LogLimits,
        of_packets: bool,
        start: Start,
    ) -> Self {
        let Start { offset, entry, group } = start;
        let data_bytes = limits.room().saturating_add(super::ENTRY_BYTES_MAX);
        let pages = |units: u64, shift: u32| usize::try_from(units >> shift).unwrap_or(usize::MAX);
        Self {
            region,
            data: PageRing::beginning_at(
                offset,
                pages(data_bytes, DATA_PAGE_SHIFT) + 2,
                DATA_PAGE_SHIFT,
            ),
            index: PageRing::beginning_at(
                entry,
                pages(limits.entries_max(), ENTRIES_PER_PAGE_SHIFT) + 2,
                ENTRIES_PER_PAGE_SHIFT,
            ),
            groups: of_packets.then(|| {
                let most = data_bytes / GROUP_BYTES_MAX + limits.entries_max();
                let pages = pages(most, GROUPS_PER_PAGE_SHIFT) + 2;
                PageRing::beginning_at(group, pages, GROUPS_PER_PAGE_SHIFT)
            }),
            start: offset,
            newest_join: AtomicU64::new(0),
            held_from: AtomicU64::new(NOTHING_HELD),
            home: AtomicU32::new(home.0.into()),
            preambles: PreambleRing::new(),
            window: Board::nothing(),
            sealed: AtomicU8::new(0),
            next: OnceLock::new(),
        }
    }

    /// The offset of the first byte that was written to it, or will be.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The shard that writes it, and that is told who reads it.
    #[must_use]
    pub fn home(&self) -> ShardId {
        ShardId(u16::try_from(self.home.load(Ordering::Acquire)).expect("a shard's number"))
    }

    /// The offset behind the last published byte.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.data.committed()
    }

    /// The number behind the last published entry; it may run ahead of [`Self::committed`].
    #[must_use]
    pub fn entries_committed(&self) -> u64 {
        self.index.committed()
    }

    /// The number of the first entry that is still kept.
    #[must_use]
    pub fn entries_tail(&self) -> u64 {
        self.index.tail()
    }

    /// The first offset that can still be read.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.data.tail()
    }

    /// The newest entry that a player may begin at; `None` if its GOP became too large to keep.
    #[must_use]
    pub fn newest_join(&self) -> Option<Entry> {
        self.entry(self.newest_join.load(Ordering::Acquire).checked_sub(1)?)
    }

    /// True if there was no join point in it so far.
    #[must_use]
    pub fn awaits_join(&self) -> bool {
        self.newest_join.load(Ordering::Acquire) == 0
    }

    /// The writer lets players begin at the entry `number`.
    pub(super) fn show_join(&self, number: u64) {
        self.newest_join.store(number + 1, Ordering::Release);
    }

    /// The writer lets nobody begin before the next join point.
    pub(super) fn lose_join(&self) {
        self.newest_join.store(JOIN_LOST, Ordering::Release);
    }

    /// The first offset, in this log or in one before it, that the stream's segments need.
    #[must_use]
    pub fn held_from(&self) -> Option<u64> {
        let from = self.held_from.load(Ordering::Acquire);
        (from != NOTHING_HELD).then_some(from)
    }

    pub(super) fn hold(&self, from: Option<u64>) {
        self.held_from.store(from.unwrap_or(NOTHING_HELD), Ordering::Release);
    }

    /// `shard` writes it from now on.
    pub(super) fn settle_at(&self, shard: ShardId) {
        self.home.store(shard.0.into(), Ordering::Release);
    }

    /// The last published entry.
    #[must_use]
    pub fn newest_entry(&self) -> Option<Entry> {
        self.entry(self.entries_committed().checked_sub(1)?)
    }

    /// The first entry that is still kept.
    #[must_use]
    pub fn oldest_entry(&self) -> Option<Entry> {
        self.entry(self.index.tail())
    }

    /// The entry with this number; `None` if it is not yet published or no longer kept.
    #[must_use]
    pub fn entry(&self, number: u64) -> Option<Entry> {
        if number >= self.index.committed() {
            return None;
        }
        let page = self.index.page(number).ok()?;
        Entry::load(number, self.entry_slot(page, number))
    }

    /// The published entry that holds the byte at `offset`; `None` if there is none (any more).
    #[must_use]
    pub fn entry_containing(&self, offset: u64) -> Option<Entry> {
        if offset >= self.committed() {
            return None;
        }
        let (mut low, mut high) = (self.index.tail(), self.index.committed());
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle) {
                Some(entry) if entry.offset <= offset => {
                    found = Some(entry);
                    low = middle + 1;
                }
                Some(_) => high = middle,
                // Cut off since the search began: what is left lies higher.
                None => low = middle + 1,
            }
        }
        found.filter(|entry| offset < entry.end())
    }

    /// The number behind the last published group; 0 in a log without groups.
    #[must_use]
    pub fn groups_committed(&self) -> u64 {
        self.groups.as_ref().map_or(0, PageRing::committed)
    }

    /// The number of the first group that is still kept as a whole.
    #[must_use]
    pub fn groups_tail(&self) -> u64 {
        self.groups.as_ref().map_or(0, PageRing::tail)
    }

    /// The group with this number; `None` if it is not yet published or no longer kept.
    #[must_use]
    pub fn group(&self, number: u64) -> Option<Group> {
        let ring = self.groups.as_ref().filter(|ring| number < ring.committed())?;
        let page = ring.page(number).ok()?;
        Some(Group::load(number, self.group_slot(ring, page, number)))
    }

    /// The published group that holds the byte at `offset`; `None` if there is none (any more).
    ///
    /// A join point is the first byte of its group.
    #[must_use]
    pub fn group_containing(&self, offset: u64) -> Option<Group> {
        let (mut low, mut high) = (self.groups_tail(), self.groups_committed());
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.group(middle) {
                Some(group) if group.offset > offset => high = middle,
                group => {
                    // Cut off since the search began, or before the byte: what is left lies higher.
                    found = group.or(found);
                    low = middle + 1;
                }
            }
        }
        found.filter(|group| group.offset <= offset && offset < group.end())
    }

    /// How far, in decode time, `offset` is behind the newest entry; `None` if it was lapped.
    ///
    /// A cursor that has read everything is not behind.
    #[must_use]
    pub fn lag(&self, offset: u64) -> Option<MediaTime> {
        if offset >= self.committed() {
            return Some(MediaTime::ZERO);
        }
        let at = self.entry_containing(offset)?;
        Some(self.newest_entry()?.dts - at.dts)
    }

    /// The preamble of this configuration version, if it is among the recent ones.
    #[must_use]
    pub fn preamble(&self, version: u32) -> Option<PreambleRef<'_>> {
        self.preambles.get(version)
    }

    /// The segments and playlists, if somebody uses them and one is finished.
    ///
    /// Every byte of its segments is published; a segment that was lost since is [`Lapped`].
    #[must_use]
    pub fn window(&self) -> Option<TurnRef<'_, Window>> {
        self.window.get()
    }

    /// Why there will be no more entries; a reader that sees it reads `committed` once more.
    #[must_use]
    pub fn sealed(&self) -> Option<SealReason> {
        let reasons = [SealReason::Ended, SealReason::Moved, SealReason::Idle];
        let sealed = self.sealed.load(Ordering::Acquire);
        reasons.into_iter().find(|&reason| reason as u8 == sealed)
    }

    /// The log that goes on where this one was sealed.
    #[must_use]
    pub fn next(&self) -> Option<&Arc<Self>> {
        if self.sealed.load(Ordering::Acquire) == 0 { None } else { self.next.get() }
    }

    /// Fills `out` with the published bytes from `from` up to `to`, page by page.
    ///
    /// Returns how many bytes that are: fewer than asked for if they are not published, or if they
    /// lie in more than [`RANGES_MAX`] pages. The ranges are valid until this shard's epoch
    /// advances.
    ///
    /// # Errors
    /// [`Lapped`] if `from` is no longer kept; `out` is empty then.
    pub fn ranges(&self, from: u64, to: u64, out: &mut RangeList) -> Result<u64, Lapped> {
        out.clear();
        let to = to.min(self.committed());
        let mut at = from;
        while at < to && out.count < RANGES_MAX {
            let number = self.data.page_number(at);
            let start = self.data.page_start(number);
            let end = self.data.page_start(number + 1).min(to);
            let page = self.data.slot(number);
            let base = self.region.address(page).cast_const();
            let ptr = base.wrapping_add(usize::try_from(at - start).expect("below a page"));
            let len = u32::try_from(end - at).expect("at most a page");
            out.push(RawRange { ptr, len });
            at = end;
        }
        self.data.still_holds(from).inspect_err(|_| out.clear())?;
        Ok(at.saturating_sub(from))
    }

    /// Copies published bytes from `from` on to `out`; returns how many there were.
    ///
    /// # Errors
    /// [`Lapped`] if `from` is no longer kept.
    pub fn read(&self, from: u64, out: &mut [u8]) -> Result<usize, Lapped> {
        let mut ranges = RangeList::new();
        let mut filled = 0;
        while filled < out.len() {
            let at = from + filled as u64;
            if self.ranges(at, at + (out.len() - filled) as u64, &mut ranges)? == 0 {
                break;
            }
            for range in ranges.as_slice() {
                // SAFETY: the range is of this turn, which lasts at least as long as this call.
                let bytes = unsafe { range.as_slice() };
                // COPY(encrypt): for one player; the others are sent the pages themselves.
                out[filled..filled + bytes.len()].copy_from_slice(bytes);
                filled += bytes.len();
            }
        }
        Ok(filled)
    }

    pub(super) fn seal(&self, reason: SealReason, next: Option<Arc<Self>>) {
        if let Some(next) = next {
            assert!(self.next.set(next).is_ok(), "a log is sealed once");
        }
        self.sealed.store(reason as u8, Ordering::Release);
    }

    /// The address of the byte at `offset` in a raw data page.
    pub(super) fn data_address(&self, page: u32, offset: u64) -> *mut u8 {
        let start = self.data.page_start(self.data.page_number(offset));
        let within = usize::try_from(offset - start).expect("below a page");
        self.region.address(page).wrapping_add(within)
    }

    /// The slot of group `number` in a raw page of the table.
    pub(super) fn group_slot(&self, ring: &PageRing, page: u32, number: u64) -> &[EntryWord; 2] {
        let start = ring.page_start(ring.page_number(number));
        let nth = usize::try_from(number - start).expect("below a page");
        let address = self.region.address(page).wrapping_add(nth * GROUP_SLOT_BYTES);
        // SAFETY: the slot lies within its page and is aligned to its 16 bytes; pages of the table
        // are accessed as atomic words alone, and the region is mapped as long as the log lives.
        unsafe { &*address.cast::<[EntryWord; 2]>() }
    }

    /// The slot of entry `number` in a raw index page.
    pub(super) fn entry_slot(&self, page: u32, number: u64) -> &[EntryWord; 4] {
        let start = self.index.page_start(self.index.page_number(number));
        let nth = usize::try_from(number - start).expect("below a page");
        let address = self.region.address(page).wrapping_add(nth * ENTRY_SLOT_BYTES as usize);
        // SAFETY: the slot lies within its page and is aligned to its 32 bytes; index pages are
        // accessed as atomic words alone, and the region is mapped as long as the log lives.
        unsafe { &*address.cast::<[EntryWord; 4]>() }
    }
}
