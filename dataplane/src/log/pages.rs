//! The pages of one window, as its writer takes them from the pool and gives them back.

use super::epoch::{Gc, Retired};
use super::page_ring::PageRing;
use crate::slab::{Exhausted, PageClass, PageId, Pool};

/// The numbers of the pages that a ring holds now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pages {
    first: u64,
    end: u64,
}

impl Pages {
    /// None yet; the first is to be number `first`.
    pub(super) const fn from_number(first: u64) -> Self {
        Self { first, end: first }
    }

    /// How many.
    pub(super) const fn len(&self) -> u64 {
        self.end - self.first
    }

    /// Makes sure that page `number` is there, and those before it.
    pub(super) fn reach(
        &mut self,
        number: u64,
        ring: &PageRing,
        pool: &Pool,
        class: PageClass,
    ) -> Result<(), Exhausted> {
        while self.end <= number {
            if self.len() >= ring.slots() {
                return Err(Exhausted(class));
            }
            let page = pool.alloc(class).ok_or(Exhausted(class))?;
            ring.install(self.end, page.into_raw());
            self.end += 1;
        }
        Ok(())
    }

    /// Frees the pages that begin at `position` or behind it, which no reader knows of.
    pub(super) fn give_up(&mut self, position: u64, ring: &PageRing, pool: &Pool) {
        while self.len() > 0 && ring.page_start(self.end - 1) >= position {
            self.end -= 1;
            pool.free(PageId::from_raw(ring.slot(self.end)));
        }
    }

    /// Retires the pages below `first`, which were cut off.
    pub(super) fn retire_below(&mut self, first: u64, ring: &PageRing, gc: &mut Gc) {
        while self.first < first.min(self.end) {
            gc.retire(Retired::Page(PageId::from_raw(ring.slot(self.first))));
            self.first += 1;
        }
    }
}
