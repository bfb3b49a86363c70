//! The bytes of access units, in chains of pages.

use super::page::{Exhausted, NO_PAGE, PageClass, class_of};
use super::pool::Pool;

/// The bytes of one access unit.
///
/// Shape: `first page, offset` and onwards along the pages' links, the first `skipped` bytes left
/// out. It holds every page it touches; it must be given back with [`Pool::release`].
/// Lives on: the shard whose pool it came from. Crosses by: never.
#[derive(Debug)]
#[must_use = "an access unit that is dropped keeps its pages for ever"]
pub struct AuBytes {
    first: u32,
    offset: u32,
    skipped: u32,
    len: u32,
}

impl AuBytes {
    /// No bytes, no page.
    pub const EMPTY: Self = Self { first: NO_PAGE, offset: 0, skipped: 0, len: 0 };

    /// Bytes left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// True if no byte is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops up to `n` bytes from the front, a header that was read; their pages are kept.
    pub fn skip(&mut self, n: usize) {
        let n = u32::try_from(n).unwrap_or(u32::MAX).min(self.len);
        self.skipped += n;
        self.len -= n;
    }
}

/// The contiguous pieces of an access unit, in order.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    pool: &'a Pool,
    page: u32,
    offset: u32,
    left: u32,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let n = self.left.min(class_of(self.page).bytes() - self.offset);
        // SAFETY: `offset + n` lies within the page. The unit, borrowed for 'a, holds the page until
        // it is released, which takes it by value; its writer only appends behind its end.
        let chunk = unsafe {
            let start = self.pool.region().address(self.page).add(self.offset as usize);
            std::slice::from_raw_parts(start, n as usize)
        };
        self.left -= n;
        if self.left > 0 {
            self.page = self.pool.next_page(self.page);
            self.offset = 0;
        }
        Some(chunk)
    }
}

impl Pool {
    /// The bytes of `unit`, page by page.
    #[must_use]
    pub fn chunks<'a>(&'a self, unit: &'a AuBytes) -> Chunks<'a> {
        self.chunks_from(unit, 0, unit.len())
    }

    /// At most `len` bytes of `unit` from its byte `start` on, page by page.
    #[must_use]
    pub fn chunks_from<'a>(&'a self, unit: &'a AuBytes, start: usize, len: usize) -> Chunks<'a> {
        let start = u32::try_from(start).unwrap_or(u32::MAX).min(unit.len);
        let left = u32::try_from(len).unwrap_or(u32::MAX).min(unit.len - start);
        let (mut page, mut offset) = (unit.first, u64::from(unit.offset));
        if left > 0 {
            offset += u64::from(unit.skipped) + u64::from(start);
            while offset >= u64::from(class_of(page).bytes()) {
                offset -= u64::from(class_of(page).bytes());
                page = self.next_page(page);
            }
        }
        let offset = u32::try_from(offset).expect("an offset within a page");
        Chunks { pool: self, page, offset, left }
    }

    /// Copies the first bytes of `unit` to `out` and returns how many there were.
    pub fn prefix(&self, unit: &AuBytes, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for chunk in self.chunks_from(unit, 0, out.len()) {
            out[filled..filled + chunk.len()].copy_from_slice(chunk);
            filled += chunk.len();
        }
        filled
    }

    /// A second holder of the same bytes.
    pub fn retain(&self, unit: &AuBytes) -> AuBytes {
        self.each_page(unit, |page| self.retain_page(page));
        AuBytes { first: unit.first, offset: unit.offset, skipped: unit.skipped, len: unit.len }
    }

    /// Gives the bytes back; pages without another holder are free.
    #[expect(clippy::needless_pass_by_value, reason = "the unit is used up")]
    pub fn release(&self, unit: AuBytes) {
        self.each_page(&unit, |page| self.release_page(page));
    }

    fn each_page(&self, unit: &AuBytes, mut visit: impl FnMut(u32)) {
        let (mut page, mut offset) = (unit.first, unit.offset);
        let mut left = unit.skipped + unit.len;
        while left > 0 {
            left -= left.min(class_of(page).bytes() - offset);
            let next = self.next_page(page);
            visit(page);
            (page, offset) = (next, 0);
        }
    }
}

/// Gathers access units, one after another, so that small ones share pages.
///
/// One per chunk stream or track that carries media; it holds no page before the first byte.
/// Lives on: the shard of its pool. Errors: after [`Exhausted`] the open unit is aborted.
#[derive(Debug)]
pub struct AuWriter {
    /// The page that is being filled, held by the writer.
    tail: u32,
    fill: u32,
    /// The unit that is being gathered.
    open: AuBytes,
}

impl Default for AuWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl AuWriter {
    /// A writer without a page.
    #[must_use]
    pub const fn new() -> Self {
        Self { tail: NO_PAGE, fill: 0, open: AuBytes::EMPTY }
    }

    /// Bytes of the open unit.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.open.len()
    }

    /// True if the open unit has no byte yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds `bytes` to the open unit; a new page, if one is needed, is of `class`.
    ///
    /// # Errors
    /// [`Exhausted`] if the pool is empty: a part of `bytes` may have been taken, so abort the unit.
    pub fn append(
        &mut self,
        pool: &Pool,
        class: PageClass,
        mut bytes: &[u8],
    ) -> Result<(), Exhausted> {
        let len = u32::try_from(bytes.len()).map_err(|_| Exhausted(class))?;
        self.open.len.checked_add(len).ok_or(Exhausted(class))?;
        while !bytes.is_empty() {
            if self.tail == NO_PAGE || self.fill == class_of(self.tail).bytes() {
                self.turn_page(pool, class)?;
            }
            let starts = self.open.len == 0;
            if starts {
                (self.open.first, self.open.offset) = (self.tail, self.fill);
            }
            if starts || self.fill == 0 {
                pool.retain_page(self.tail);
            }
            let room = (class_of(self.tail).bytes() - self.fill) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            // SAFETY: the bytes from `fill` to the end of the page belong to no unit yet, and the
            // page is held by this writer alone as writer; `now` fits in what is left of it.
            unsafe {
                let to = pool.region().address(self.tail).add(self.fill as usize);
                std::ptr::copy_nonoverlapping(now.as_ptr(), to, now.len());
            }
            let n = u32::try_from(now.len()).expect("at most a page");
            self.fill += n;
            self.open.len += n;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the open unit and hands it out; the next one begins right behind it.
    pub fn finish(&mut self, pool: &Pool) -> AuBytes {
        if self.tail != NO_PAGE && self.fill == class_of(self.tail).bytes() {
            self.leave_tail(pool);
        }
        std::mem::replace(&mut self.open, AuBytes::EMPTY)
    }

    /// Drops the open unit.
    pub fn abort(&mut self, pool: &Pool) {
        let open = std::mem::replace(&mut self.open, AuBytes::EMPTY);
        if !open.is_empty() {
            // A tail that the unit did not begin in holds nothing but the unit.
            self.fill = if open.first == self.tail { open.offset } else { 0 };
        }
        pool.release(open);
    }

    /// Drops the open unit and gives up the page that is being filled.
    pub fn close(mut self, pool: &Pool) {
        self.abort(pool);
        self.leave_tail(pool);
    }

    fn turn_page(&mut self, pool: &Pool, class: PageClass) -> Result<(), Exhausted> {
        let page = pool.alloc(class).ok_or(Exhausted(class))?.into_raw();
        if self.open.len > 0 {
            pool.link_page(self.tail, page);
        }
        self.leave_tail(pool);
        self.tail = page;
        Ok(())
    }

    fn leave_tail(&mut self, pool: &Pool) {
        if self.tail != NO_PAGE {
            pool.release_page(self.tail);
        }
        (self.tail, self.fill) = (NO_PAGE, 0);
    }
}
