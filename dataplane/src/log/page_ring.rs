//! A window of an endless sequence, kept in pages.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// The position was given up before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log no longer holds this position")]
pub struct Lapped;

/// The window `tail..committed` of a sequence of units, and the pages that hold it.
///
/// One thread writes, any number read; the argument is in the documentation of [`super`].
/// Units: positions count bytes for the data of a log, entries for its index; a page holds
/// `1 << shift` of them. Page `n` of the sequence is in slot `n % slots`.
#[derive(Debug)]
pub struct PageRing {
    committed: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    shift: u32,
    slots: Box<[AtomicU32]>,
}

impl PageRing {
    /// An empty window with room for at least `pages` pages of `1 << shift` units.
    #[must_use]
    pub fn new(pages: usize, shift: u32) -> Self {
        Self::beginning_at(0, pages, shift)
    }

    /// As [`Self::new`], with `position` as the first one.
    #[must_use]
    pub fn beginning_at(position: u64, pages: usize, shift: u32) -> Self {
        let slots = pages.max(1).next_power_of_two();
        Self {
            committed: CachePadded::new(AtomicU64::new(position)),
            tail: CachePadded::new(AtomicU64::new(position)),
            shift,
            slots: (0..slots).map(|_| AtomicU32::new(u32::MAX)).collect(),
        }
    }

    /// The first position that is not yet readable.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The first position that is still readable.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// The number of the page that holds `position`.
    #[must_use]
    pub const fn page_number(&self, position: u64) -> u64 {
        position >> self.shift
    }

    /// The first position of page `number`.
    #[must_use]
    pub const fn page_start(&self, number: u64) -> u64 {
        number << self.shift
    }

    /// Pages that the ring has slots for.
    #[must_use]
    pub const fn slots(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The page in the slot of page `number`: of this lap only if [`Self::still_holds`] says so,
    /// which also orders this load.
    #[must_use]
    pub fn slot(&self, number: u64) -> u32 {
        self.slots[self.slot_index(number)].load(Ordering::Relaxed)
    }

    /// Checks, after slots were read, that they belong to `position` and what follows it.
    ///
    /// # Errors
    /// [`Lapped`] if the position was cut off; what was read is to be forgotten.
    pub fn still_holds(&self, position: u64) -> Result<(), Lapped> {
        fence(Ordering::Acquire);
        if self.tail.load(Ordering::Relaxed) <= position { Ok(()) } else { Err(Lapped) }
    }

    /// The page that holds `position`, which is below a `committed` that the caller has seen.
    ///
    /// # Errors
    /// [`Lapped`] if the position was cut off.
    pub fn page(&self, position: u64) -> Result<u32, Lapped> {
        let page = self.slot(self.page_number(position));
        self.still_holds(position)?;
        Ok(page)
    }

    /// The writer puts `page` in the slot of page `number`, whose former page was cut off.
    pub fn install(&self, number: u64, page: u32) {
        self.slots[self.slot_index(number)].store(page, Ordering::Release);
    }

    /// The writer lets everything below `position` be read.
    pub fn commit(&self, position: u64) {
        self.committed.store(position, Ordering::Release);
    }

    /// The writer cuts off everything below `position`; only then may pages be retired.
    pub fn cut(&self, position: u64) {
        self.tail.store(position, Ordering::Release);
    }

    fn slot_index(&self, number: u64) -> usize {
        let index = number & (self.slots.len() as u64 - 1);
        usize::try_from(index).expect("an index below a slice's length")
    }
}
