//! The receive buffers of a reactor: one mapping, lent out buffer by buffer.

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::error::Error;

/// One received run of bytes, lent by the reactor that completed it.
///
/// Lives on: its shard. Crosses by: never. In/Out: give it back with
/// [`super::Reactor::release`]; a dropped one is lost to the group.
#[derive(Debug)]
#[must_use = "a buffer that is not released is lost to the group"]
pub struct RecvBuf {
    pub(super) id: u16,
    len: u32,
    /// Neither `Send` nor `Sync`: the bytes belong to one thread's reactor.
    local: PhantomData<*const ()>,
}

impl RecvBuf {
    /// How many bytes were received, never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty receive is an end, not a buffer")]
    pub const fn len(&self) -> usize {
        self.len as usize
    }
}

/// Zeroed, page-aligned, anonymous memory.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    /// Never unmapped: the kernel may still write to it.
    leaked: bool,
}

impl Mapping {
    pub(super) fn new(len: usize) -> Result<Self, Error> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Error::last_os_error("mmap"));
        }
        let base = NonNull::new(base.cast()).expect("a mapping is never at address zero");
        Ok(Self { base, len, leaked: false })
    }

    /// Gives the memory up for the rest of the process' life.
    pub(super) const fn leak(&mut self) {
        self.leaked = true;
    }

    pub(super) const fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: the range was mapped by `new` and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// The buffers and how many of them are lent. Which ones are free is the backend's knowledge.
#[derive(Debug)]
pub(super) struct Buffers {
    memory: Mapping,
    count: u16,
    each: u32,
    lent: u16,
}

impl Buffers {
    /// `count` buffers of `each` bytes; neither is zero.
    pub(super) fn new(count: u16, each: u32) -> Result<Self, Error> {
        let memory = Mapping::new(usize::from(count) * each as usize)?;
        Ok(Self { memory, count, each, lent: 0 })
    }

    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// Bytes of one buffer.
    pub(super) const fn each(&self) -> u32 {
        self.each
    }

    /// Buffers that are not lent.
    pub(super) const fn free(&self) -> u16 {
        self.count - self.lent
    }

    /// Where buffer `id` starts.
    pub(super) fn at(&self, id: u16) -> *mut u8 {
        assert!(id < self.count, "buffer {id} is not of this group");
        // SAFETY: `id` is below the count, so the offset stays inside the mapping.
        unsafe { self.memory.base.as_ptr().add(usize::from(id) * self.each as usize) }
    }

    /// Lends buffer `id`, which the kernel filled with `len` bytes.
    pub(super) fn lend(&mut self, id: u16, len: u32) -> RecvBuf {
        assert!(id < self.count && len <= self.each && self.lent < self.count);
        self.lent += 1;
        RecvBuf { id, len, local: PhantomData }
    }

    /// Takes a buffer back; the backend then makes it available.
    pub(super) fn take_back(&mut self, buf: &RecvBuf) {
        assert!(self.lent > 0 && buf.id < self.count, "the buffer is of another reactor");
        self.lent -= 1;
    }

    pub(super) fn bytes(&self, buf: &RecvBuf) -> &[u8] {
        assert!(buf.len <= self.each, "the buffer is of another reactor");
        // SAFETY: the range is inside the mapping; the kernel writes to a buffer only while it is
        // not lent, and the shared borrow of `buf` keeps it lent.
        unsafe { std::slice::from_raw_parts(self.at(buf.id), buf.len as usize) }
    }

    pub(super) fn bytes_mut(&mut self, buf: &RecvBuf) -> &mut [u8] {
        assert!(buf.len <= self.each, "the buffer is of another reactor");
        // SAFETY: as in `bytes`; nobody else borrows from the group while it is borrowed
        // exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.at(buf.id), buf.len as usize) }
    }

    /// Gives the memory up for the rest of the process' life.
    pub(super) const fn leak(&mut self) {
        self.memory.leak();
    }
}
