//! The ring of receive buffers that the kernel takes from.

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::super::buffers::{Buffers, Mapping};
use crate::error::Error;

/// Entries that name the buffers which are not lent. The kernel moves the head, we move the tail.
#[derive(Debug)]
pub(super) struct BufferRing {
    entries: Mapping,
    mask: u16,
    tail: u16,
}

impl BufferRing {
    /// A ring with room for every buffer of `buffers`, still empty.
    pub(super) fn new(buffers: &Buffers) -> Result<Self, Error> {
        let entries = Mapping::new(usize::from(buffers.count()) * size_of::<BufRingEntry>())?;
        Ok(Self { entries, mask: buffers.count() - 1, tail: 0 })
    }

    /// Where the ring starts, for its registration.
    pub(super) fn address(&self) -> u64 {
        self.entries.base().as_ptr() as u64
    }

    /// Gives buffer `id` to the kernel.
    pub(super) fn give(&mut self, buffers: &Buffers, id: u16) {
        let base = self.entries.base().cast::<BufRingEntry>().as_ptr();
        let address = buffers.at(id) as u64;
        // SAFETY: the index is masked to the ring. The kernel reads an entry only once the tail has
        // passed it, and no more buffers exist than entries, so this one is ours to write.
        let entry = unsafe { &mut *base.add(usize::from(self.tail & self.mask)) };
        entry.set_addr(address);
        entry.set_len(buffers.each());
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the mapping starts with an initialised (zeroed) entry, in which the tail lives.
        let tail = unsafe { BufRingEntry::tail(base) }.cast_mut();
        // SAFETY: the tail is an aligned u16 that the kernel only reads, for as long as we live.
        unsafe { AtomicU16::from_ptr(tail) }.store(self.tail, Ordering::Release);
    }

    /// Gives the memory up for the rest of the process' life.
    pub(super) const fn leak(&mut self) {
        self.entries.leak();
    }
}
