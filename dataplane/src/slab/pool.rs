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
        PoolUsage { in_use: shelf.in_use.get(), peak: shelf.peak.get(), total }
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
            in_use: Cell::new(0),
            peak: Cell::new(0),
            pages: (0..pages).map(|_| state()).collect(),
        }
    }

    /// A raw page with one holder, and whether it was in use before.
    fn take(&self) -> Option<(u32, bool)> {
        let freed = self.freed.get();
        let (raw, reused) = if freed == NO_PAGE {
            let local = self.fresh.get();
            if local as usize >= self.pages.len() {
                return None;
            }
            self.fresh.set(local + 1);
            (raw_page(self.class, self.first + local), false)
        } else {
            (freed, true)
        };
        let state = &self.pages[(index_of(raw) - self.first) as usize];
        if reused {
            self.freed.set(state.next.get());
        }
        state.next.set(NO_PAGE);
        state.refs.set(1);
        self.in_use.set(self.in_use.get() + 1);
        self.peak.set(self.peak.get().max(self.in_use.get()));
        Some((raw, reused))
    }

    fn put(&self, raw: u32) {
        self.pages[(index_of(raw) - self.first) as usize].next.set(self.freed.get());
        self.freed.set(raw);
        self.in_use.set(self.in_use.get() - 1);
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
                assert_eq!(pool.usage(class), PoolUsage { in_use: total, peak: total, total });
                pages.drain(..).for_each(|p| pool.free(p));
                assert_eq!(pool.usage(class), PoolUsage { in_use: 0, peak: total, total });
                assert!(pool.alloc(class).is_some());
            }
        }
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
