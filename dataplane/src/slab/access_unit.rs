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
        // SAFETY: `offset + n` lies within the page. The unit, borrowed for 'a, holds the page
        // until it is released, which takes it by value; its writer only appends behind its end.
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
            // COPY(prefix): the first bytes of a unit, which may span pages.
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

    /// The open unit, so far.
    pub const fn open(&self) -> &AuBytes {
        &self.open
    }

    /// Adds `bytes` to the open unit; a new page, if one is needed, is of `class`.
    ///
    /// # Errors
    /// [`Exhausted`] if the pool is empty: a part of `bytes` may have been taken, so abort the
    /// unit.
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
                // COPY(ingest): the one copy of a payload on its way in.
                std::ptr::copy_nonoverlapping(now.as_ptr(), to, now.len());
            }
            let n = u32::try_from(now.len()).expect("at most a page");
            self.fill += n;
            self.open.len += n;
            bytes = later;
        }
        Ok(())
    }

    /// Writes over four bytes of the open unit from its byte `at` on: a length that is known when
    /// what it counts has come.
    ///
    /// # Panics
    /// If the open unit does not have these bytes.
    pub fn overwrite(&mut self, pool: &Pool, at: usize, bytes: [u8; 4]) {
        let end = at.checked_add(bytes.len()).expect("a place in a unit");
        assert!(end <= self.open.len(), "byte {at} of {}", self.open.len());
        let (mut page, mut offset) = self.place(pool, at);
        let mut left = &bytes[..];
        while !left.is_empty() {
            let room = class_of(page).bytes() as usize - offset;
            let (now, later) = left.split_at(room.min(left.len()));
            // SAFETY: these bytes were written by `append` for the open unit, which no reader has
            // yet: `open` lends it by `&self`, and `finish` hands it out later. The writer holds
            // its pages, and `now` fits in what is left of this one.
            unsafe {
                let to = pool.region().address(page).add(offset);
                // CONTROL: a length field.
                std::ptr::copy_nonoverlapping(now.as_ptr(), to, now.len());
            }
            left = later;
            if !left.is_empty() {
                (page, offset) = (pool.next_page(page), 0);
            }
        }
    }

    /// Where byte `at` of the open unit is: its page, and the offset there. What was appended last
    /// is found without a walk, so that many short pieces of a long unit cost no more than it.
    fn place(&self, pool: &Pool, at: usize) -> (u32, usize) {
        let from_end = self.open.len() - at;
        if from_end <= self.fill as usize && self.tail != NO_PAGE {
            return (self.tail, self.fill as usize - from_end);
        }
        let (mut page, mut offset) = (self.open.first, self.open.offset as usize + at);
        while offset >= class_of(page).bytes() as usize {
            offset -= class_of(page).bytes() as usize;
            page = pool.next_page(page);
        }
        (page, offset)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slab::{Region, RegionConfig};

    fn pool(large: u32, small: u32) -> Pool {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: large,
            small_pages_per_shard: small,
            poison: true,
        };
        Region::map(&config).unwrap().1.remove(0)
    }

    fn in_use(pool: &Pool) -> u32 {
        pool.usage(PageClass::Large).in_use + pool.usage(PageClass::Small).in_use
    }

    fn bytes_of(pool: &Pool, unit: &AuBytes) -> Vec<u8> {
        pool.chunks(unit).flatten().copied().collect()
    }

    #[test]
    fn small_units_share_a_page_until_the_last_is_released() {
        let (pool, mut writer) = (pool(1, 0), AuWriter::new());
        assert_eq!(in_use(&pool), 0, "an idle writer holds nothing");
        let units: Vec<_> = (0..100_u8)
            .map(|n| {
                writer.append(&pool, PageClass::Large, &[n; 10]).unwrap();
                writer.finish(&pool)
            })
            .collect();
        writer.close(&pool);
        for (n, unit) in (0..).zip(units) {
            assert_eq!(bytes_of(&pool, &unit), [n; 10]);
            assert_eq!(in_use(&pool), 1);
            pool.release(unit);
        }
        assert_eq!(in_use(&pool), 0);
    }

    #[test]
    fn an_empty_pool_refuses_and_an_aborted_unit_gives_its_pages_back() {
        let (pool, mut writer) = (pool(0, 3), AuWriter::new());
        writer.append(&pool, PageClass::Small, &[1; 100]).unwrap();
        let kept = writer.finish(&pool);
        let refused = writer.append(&pool, PageClass::Small, &[2; 30_000]);
        assert_eq!(refused, Err(Exhausted(PageClass::Small)));
        writer.abort(&pool);
        assert_eq!((in_use(&pool), writer.len()), (2, 0), "the kept unit's page and the tail");
        writer.append(&pool, PageClass::Small, &[3; 16_000]).unwrap();
        let next = writer.finish(&pool);
        assert_eq!(bytes_of(&pool, &next), [3; 16_000]);
        assert_eq!(bytes_of(&pool, &kept), [1; 100]);
        pool.release(next);
        pool.release(kept);
        writer.close(&pool);
        assert_eq!(in_use(&pool), 0);
    }

    #[test]
    fn a_unit_that_fills_its_page_leaves_no_tail_behind() {
        let (pool, mut writer) = (pool(0, 1), AuWriter::new());
        writer.append(&pool, PageClass::Small, &[5; 8 << 10]).unwrap();
        let unit = writer.finish(&pool);
        pool.release(unit);
        assert_eq!(in_use(&pool), 0);
        let empty = writer.finish(&pool);
        assert!(empty.is_empty() && pool.chunks(&empty).next().is_none());
        pool.release(empty);
        writer.close(&pool);
    }

    #[test]
    fn lengths_are_written_over_across_pages() {
        let (pool, mut writer) = (pool(0, 4), AuWriter::new());
        writer.append(&pool, PageClass::Small, &[7; 8_190]).unwrap();
        let before = writer.finish(&pool);
        writer.append(&pool, PageClass::Small, &[0; 4]).unwrap();
        writer.append(&pool, PageClass::Small, &[1; 10_000]).unwrap();
        let second = writer.len();
        writer.append(&pool, PageClass::Small, &[0; 4]).unwrap();
        writer.overwrite(&pool, second, [5, 6, 7, 8]);
        writer.overwrite(&pool, 0, [1, 2, 3, 4]);
        let unit = writer.finish(&pool);
        let expected = [&[1, 2, 3, 4][..], &[1; 10_000], &[5, 6, 7, 8]].concat();
        assert_eq!(bytes_of(&pool, &unit), expected, "its first four bytes lie in two pages");
        assert_eq!(bytes_of(&pool, &before), [7; 8_190], "what was handed out stays");
        pool.release(before);
        pool.release(unit);
        writer.close(&pool);
        assert_eq!(in_use(&pool), 0);
    }

    #[test]
    #[should_panic(expected = "byte 1 of 4")]
    fn bytes_that_were_not_appended_are_not_written_over() {
        let (pool, mut writer) = (pool(0, 1), AuWriter::new());
        writer.append(&pool, PageClass::Small, &[0; 4]).unwrap();
        writer.overwrite(&pool, 1, [0; 4]);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Append(usize, bool, usize),
        Overwrite(usize, usize),
        Finish(usize),
        Abort(usize),
        Release(usize),
        Retain(usize),
        Skip(usize, usize),
        Look(usize, usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let len = || prop_oneof![0_usize..300, 0_usize..20_000, 60_000_usize..140_000];
        prop_oneof![
            5 => (0_usize..3, any::<bool>(), len()).prop_map(|(w, c, n)| Op::Append(w, c, n)),
            3 => (0_usize..3, len()).prop_map(|(w, at)| Op::Overwrite(w, at)),
            4 => (0_usize..3).prop_map(Op::Finish),
            1 => (0_usize..3).prop_map(Op::Abort),
            3 => any::<usize>().prop_map(Op::Release),
            1 => any::<usize>().prop_map(Op::Retain),
            1 => (any::<usize>(), len()).prop_map(|(u, n)| Op::Skip(u, n)),
            2 => (any::<usize>(), len(), len()).prop_map(|(u, s, n)| Op::Look(u, s, n)),
        ]
    }

    proptest! {
        #[test]
        fn units_keep_their_bytes_until_they_are_released(
            ops in prop::collection::vec(op(), 1..120),
        ) {
            let pool = pool(8, 20);
            let mut writers = [AuWriter::new(), AuWriter::new(), AuWriter::new()];
            let mut open: [Vec<u8>; 3] = Default::default();
            let mut units: Vec<(AuBytes, Vec<u8>)> = Vec::new();
            let mut seed = 0_u8;
            for op in ops {
                match op {
                    Op::Append(w, large, len) => {
                        seed = seed.wrapping_add(41);
                        let bytes: Vec<_> =
                            (0..len).map(|i| (i as u8).wrapping_mul(7) ^ seed).collect();
                        let class = if large { PageClass::Large } else { PageClass::Small };
                        if writers[w].append(&pool, class, &bytes).is_ok() {
                            open[w].extend(bytes);
                        } else {
                            writers[w].abort(&pool);
                            open[w].clear();
                        }
                        prop_assert_eq!(writers[w].len(), open[w].len());
                    }
                    Op::Overwrite(w, _) if open[w].len() < 4 => {}
                    Op::Overwrite(w, at) => {
                        seed = seed.wrapping_add(41);
                        let at = at % (open[w].len() - 3);
                        let bytes = [seed, 1, seed, 2];
                        writers[w].overwrite(&pool, at, bytes);
                        open[w][at..at + 4].copy_from_slice(&bytes);
                    }
                    Op::Finish(w) => {
                        units.push((writers[w].finish(&pool), std::mem::take(&mut open[w])));
                    }
                    Op::Abort(w) => {
                        writers[w].abort(&pool);
                        open[w].clear();
                    }
                    _ if units.is_empty() => {}
                    Op::Release(n) => {
                        let (unit, bytes) = units.swap_remove(n % units.len());
                        prop_assert_eq!(bytes_of(&pool, &unit), bytes);
                        pool.release(unit);
                    }
                    Op::Retain(n) => {
                        let (unit, bytes) = &units[n % units.len()];
                        let second = (pool.retain(unit), bytes.clone());
                        units.push(second);
                    }
                    Op::Skip(n, by) => {
                        let n = n % units.len();
                        let (unit, bytes) = &mut units[n];
                        unit.skip(by);
                        bytes.drain(..by.min(bytes.len()));
                        prop_assert_eq!(unit.len(), bytes.len());
                    }
                    Op::Look(n, start, len) => {
                        let (unit, bytes) = &units[n % units.len()];
                        let from = start.min(bytes.len());
                        let to = (from + len).min(bytes.len());
                        let seen: Vec<u8> =
                            pool.chunks_from(unit, start, len).flatten().copied().collect();
                        prop_assert_eq!(&seen, &bytes[from..to]);
                        let mut head = [0; 700];
                        let filled = pool.prefix(unit, &mut head);
                        prop_assert_eq!(&head[..filled], &bytes[..bytes.len().min(700)]);
                    }
                }
            }
            for (unit, bytes) in units {
                prop_assert_eq!(bytes_of(&pool, &unit), bytes);
                pool.release(unit);
            }
            writers.into_iter().for_each(|writer| writer.close(&pool));
            prop_assert_eq!(in_use(&pool), 0);
        }
    }
}
