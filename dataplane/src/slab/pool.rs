//! The free pages of one shard.

use std::cell::Cell;
use std::sync::Arc;

use super::page::{NO_PAGE, PageClass, PageId, class_of, index_of, raw_page};
use super::poison::{self, POISON};
use super::region::Region;
use crate::ids::ShardId;

/// A pool is low when less than one page in so many is free.
const FREE_SHARE_MIN: u32 = 16;

/// How many pages of a class a pool has given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Pages in use.
    pub in_use: u32,
    /// Most pages in use at any time.
    pub peak: u32,
    /// Pages of the pool.
    pub total: u32,
    /// Pages that take memory of the machine: in use, or free since a short time.
    pub resident: u32,
}

/// The pages of one shard.
///
/// Methods take `&self`, so that the bytes of one unit can be read while another page is taken.
/// Lives on: its shard. Crosses by: never (moved to its thread once, at start).
/// Limits: the counts of its [`super::RegionConfig`].
#[derive(Debug)]
pub struct Pool {
    region: Arc<Region>,
    shard: ShardId,
    large: Shelf,
    small: Shelf,
}

/// The pages of one class.
#[derive(Debug)]
struct Shelf {
    class: PageClass,
    /// Index, among all shards' pages of this class, of the first page.
    first: u32,
    /// Pages that were never used: taken last, so that memory follows the peak.
    fresh: Cell<u32>,
    /// The first freed page, linked by `PageState::next`.
    freed: Cell<u32>,
    /// Freed pages.
    free: Cell<u32>,
    /// The fewest freed pages since the last look.
    free_min: Cell<u32>,
    /// Freed pages that nobody needed between two looks.
    spare: Cell<u32>,
    /// The first page that was given back to the machine, linked likewise.
    clean: Cell<u32>,
    in_use: Cell<u32>,
    peak: Cell<u32>,
    pages: Box<[PageState]>,
}

#[derive(Debug)]
struct PageState {
    /// The next page of an access unit, or of the free list.
    next: Cell<u32>,
    /// Holders; 0 is free.
    refs: Cell<u32>,
}

impl Pool {
    pub(super) fn new(region: Arc<Region>, shard: ShardId) -> Self {
        let shelf = |class| Shelf::new(class, region.pages_per_shard(class), shard);
        Self { large: shelf(PageClass::Large), small: shelf(PageClass::Small), region, shard }
    }

    /// Takes a page; `None` if the pool is empty.
    pub fn alloc(&self, class: PageClass) -> Option<PageId> {
        let (raw, reused) = self.shelf(class).take()?;
        let (address, bytes) = (self.region.address(raw), class.bytes() as usize);
        poison::permit(address, bytes);
        if reused && self.region.config().poison {
            // SAFETY: the page was free, so this thread alone has access to its bytes.
            let page = unsafe { std::slice::from_raw_parts(address, bytes) };
            assert!(page.iter().all(|&b| b == POISON), "page {raw:#x} was written while free");
        }
        Some(PageId::from_raw(raw))
    }

    /// Gives a page back, at once: nobody may still read it.
    pub fn free(&self, page: PageId) {
        self.release_page(page.into_raw());
    }

    /// Pages of `class` in use.
    #[must_use]
    pub fn usage(&self, class: PageClass) -> PoolUsage {
        let shelf = self.shelf(class);
        let total = self.region.pages_per_shard(class);
        let (in_use, peak) = (shelf.in_use.get(), shelf.peak.get());
        PoolUsage { in_use, peak, total, resident: in_use + shelf.free.get() }
    }

    /// Looks which freed pages nobody needed since the last look: they may be given back.
    pub fn look(&self) {
        for shelf in [&self.large, &self.small] {
            shelf.spare.set(shelf.free_min.get());
            shelf.free_min.set(shelf.free.get());
        }
    }

    /// Gives spare pages of at most `bytes_max` back to the machine; returns their bytes.
    pub fn give_back(&self, bytes_max: u64) -> u64 {
        let mut given = 0;
        for shelf in [&self.large, &self.small] {
            let bytes = u64::from(shelf.class.bytes());
            while given + bytes <= bytes_max
                && let Some(raw) = shelf.take_spare()
            {
                self.region.give_back(raw);
                shelf.put_clean(raw);
                given += bytes;
            }
        }
        given
    }

    /// True if less than 1/16 of the pages of a class is free.
    #[must_use]
    pub fn is_low(&self) -> bool {
        [PageClass::Large, PageClass::Small].into_iter().any(|class| {
            let usage = self.usage(class);
            (usage.total - usage.in_use).saturating_mul(FREE_SHARE_MIN) < usage.total
        })
    }

    /// The region of all shards' pages.
    #[must_use]
    pub const fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// The shard that owns the pages.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// One more holder of a page in use.
    pub(super) fn retain_page(&self, raw: u32) {
        let refs = &self.state(raw).refs;
        assert!(refs.get() > 0, "page {raw:#x} is free");
        refs.set(refs.get().checked_add(1).expect("holders of a page are fewer than its bytes"));
    }

    /// One holder less; the last one frees the page.
    pub(super) fn release_page(&self, raw: u32) {
        let state = self.state(raw);
        let refs = state.refs.get().checked_sub(1).expect("a page is freed once");
        state.refs.set(refs);
        if refs == 0 {
            let shelf = self.shelf(class_of(raw));
            let (address, bytes) = (self.region.address(raw), shelf.class.bytes() as usize);
            if self.region.config().poison {
                // SAFETY: the last holder let go, so this thread alone has access to the bytes.
                unsafe { std::ptr::write_bytes(address, POISON, bytes) };
            }
            poison::forbid(address, bytes);
            shelf.put(raw);
        }
    }

    /// The page that follows `raw` in its access unit.
    pub(super) fn next_page(&self, raw: u32) -> u32 {
        self.state(raw).next.get()
    }

    /// Lets `next` follow `raw`.
    pub(super) fn link_page(&self, raw: u32, next: u32) {
        self.state(raw).next.set(next);
    }

    const fn shelf(&self, class: PageClass) -> &Shelf {
        match class {
            PageClass::Large => &self.large,
            PageClass::Small => &self.small,
        }
    }

    fn state(&self, raw: u32) -> &PageState {
        let shelf = self.shelf(class_of(raw));
        let local = index_of(raw).wrapping_sub(shelf.first) as usize;
        shelf.pages.get(local).expect("a page comes back to the pool of its own shard")
    }
}

impl Shelf {
    fn new(class: PageClass, pages: u32, shard: ShardId) -> Self {
        let state = || PageState { next: Cell::new(NO_PAGE), refs: Cell::new(0) };
        Self {
            class,
            first: pages * u32::from(shard.0),
            fresh: Cell::new(0),
            freed: Cell::new(NO_PAGE),
            free: Cell::new(0),
            free_min: Cell::new(0),
            spare: Cell::new(0),
            clean: Cell::new(NO_PAGE),
            in_use: Cell::new(0),
            peak: Cell::new(0),
            pages: (0..pages).map(|_| state()).collect(),
        }
    }

    /// A raw page with one holder, and whether it has bytes of its former use.
    fn take(&self) -> Option<(u32, bool)> {
        let (raw, reused) = if let Some(raw) = self.take_freed() {
            (raw, true)
        } else if let Some(raw) = self.pop(&self.clean) {
            (raw, false)
        } else {
            let local = self.fresh.get();
            if local as usize >= self.pages.len() {
                return None;
            }
            self.fresh.set(local + 1);
            (raw_page(self.class, self.first + local), false)
        };
        let state = self.state(raw);
        state.next.set(NO_PAGE);
        state.refs.set(1);
        self.in_use.set(self.in_use.get() + 1);
        self.peak.set(self.peak.get().max(self.in_use.get()));
        Some((raw, reused))
    }

    fn put(&self, raw: u32) {
        self.push(&self.freed, raw);
        self.free.set(self.free.get() + 1);
        self.in_use.set(self.in_use.get() - 1);
    }

    fn take_freed(&self) -> Option<u32> {
        let raw = self.pop(&self.freed)?;
        self.free.set(self.free.get() - 1);
        self.free_min.set(self.free_min.get().min(self.free.get()));
        Some(raw)
    }

    /// A freed page that nobody needed for a while.
    fn take_spare(&self) -> Option<u32> {
        let spare = self.spare.get().checked_sub(1)?;
        self.spare.set(spare);
        self.take_freed()
    }

    fn put_clean(&self, raw: u32) {
        self.push(&self.clean, raw);
    }

    fn push(&self, list: &Cell<u32>, raw: u32) {
        self.state(raw).next.set(list.get());
        list.set(raw);
    }

    fn pop(&self, list: &Cell<u32>) -> Option<u32> {
        let raw = list.get();
        if raw == NO_PAGE {
            return None;
        }
        list.set(self.state(raw).next.get());
        Some(raw)
    }

    fn state(&self, raw: u32) -> &PageState {
        &self.pages[(index_of(raw) - self.first) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::RegionConfig;

    fn pools(shards: u16, large: u32, small: u32) -> Vec<Pool> {
        let config = RegionConfig {
            shards,
            large_pages_per_shard: large,
            small_pages_per_shard: small,
            poison: true,
        };
        Region::map(&config).unwrap().1
    }

    #[test]
    fn a_pool_gives_each_of_its_pages_once_and_no_more() {
        let pools = pools(2, 3, 2);
        for pool in &pools {
            for (class, count) in [(PageClass::Large, 3), (PageClass::Small, 2)] {
                let mut pages: Vec<_> = std::iter::from_fn(|| pool.alloc(class)).collect();
                assert_eq!(pages.len(), count);
                assert!(pages.iter().all(|p| pool.region().owner(p) == pool.shard()));
                let mut numbers: Vec<_> = pages.iter().map(PageId::raw).collect();
                numbers.dedup();
                assert_eq!(numbers.len(), count);
                let total = u32::try_from(count).unwrap();
                let used = PoolUsage { in_use: total, peak: total, total, resident: total };
                assert_eq!(pool.usage(class), used);
                pages.drain(..).for_each(|p| pool.free(p));
                assert_eq!(pool.usage(class), PoolUsage { in_use: 0, ..used });
                assert!(pool.alloc(class).is_some());
            }
        }
    }

    #[test]
    fn pages_that_nobody_needs_go_back_to_the_machine_and_come_again() {
        let pool = pools(1, 8, 0).remove(0);
        let resident = || pool.usage(PageClass::Large).resident;
        let take = |n| (0..n).filter_map(|_| pool.alloc(PageClass::Large)).collect::<Vec<_>>();
        let free = |pages: Vec<PageId>| pages.into_iter().for_each(|page| pool.free(page));
        free(take(6));
        pool.look();
        assert_eq!(pool.give_back(u64::MAX), 0, "they were needed just now");
        // Two are needed now and then, so four are not.
        free(take(2));
        pool.look();
        let page = u64::from(PageClass::Large.bytes());
        assert_eq!(pool.give_back(3 * page + 1), 3 * page, "so much at one time");
        assert_eq!((pool.give_back(u64::MAX), resident()), (page, 2));
        let pages = take(9);
        assert_eq!((pages.len(), resident()), (8, 8), "every page is still there, once");
        for page in &pages {
            let address = pool.region().address(page.raw());
            // SAFETY: the page is taken, and this test alone uses its region.
            unsafe { address.write_bytes(1, PageClass::Large.bytes() as usize) };
        }
        free(pages);
        assert_eq!(take(8).len(), 8);
    }

    #[test]
    #[cfg(not(asan))]
    fn a_page_that_went_back_takes_no_memory() {
        let pool = pools(1, 1, 0).remove(0);
        let page = pool.alloc(PageClass::Large).unwrap();
        let address = pool.region().address(page.raw());
        // SAFETY: the page is taken, and this test alone uses its region.
        unsafe { address.write(1) };
        pool.free(page);
        for _ in 0..2 {
            pool.look();
        }
        assert_eq!(pool.give_back(u64::MAX), u64::from(PageClass::Large.bytes()));
        // SAFETY: the page is mapped; it has no bytes of its own any more, so zeroes are read.
        assert_eq!(unsafe { address.read_volatile() }, 0);
    }

    #[test]
    fn a_pool_is_low_when_a_class_is_nearly_gone() {
        let pool = pools(1, 32, 1).remove(0);
        let mut pages: Vec<_> = (0..30).filter_map(|_| pool.alloc(PageClass::Large)).collect();
        assert!(!pool.is_low());
        pages.extend(pool.alloc(PageClass::Large));
        assert!(pool.is_low());
        pages.drain(..).for_each(|page| pool.free(page));
        assert!(!pool.is_low());
    }

    #[test]
    #[should_panic(expected = "pool of its own shard")]
    fn a_page_does_not_go_to_another_shard() {
        let pools = pools(2, 1, 1);
        let page = pools[1].alloc(PageClass::Small).unwrap();
        pools[0].free(page);
    }

    #[test]
    #[cfg(not(asan))]
    #[should_panic(expected = "was written while free")]
    fn a_write_to_a_free_page_is_noticed() {
        let pools = pools(1, 0, 1);
        let page = pools[0].alloc(PageClass::Small).unwrap();
        let address = pools[0].region().address(page.raw());
        pools[0].free(page);
        // SAFETY: the page is mapped and this test alone uses its region.
        unsafe { address.add(77).write(1) };
        let _ = pools[0].alloc(PageClass::Small);
    }

    #[test]
    fn a_region_that_cannot_be_named_is_refused() {
        let config = RegionConfig {
            shards: 64,
            large_pages_per_shard: u32::MAX,
            small_pages_per_shard: 1,
            poison: false,
        };
        assert!(Region::map(&config).is_err());
        assert!(Region::map(&RegionConfig { shards: 0, ..config }).is_err());
    }
}
