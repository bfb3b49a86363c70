//! The address space of all page pools.

use std::ptr::NonNull;
use std::sync::Arc;

use super::page::{PAGES_MAX, PageClass, PageId, class_of, index_of};
use super::poison;
use super::pool::Pool;
use crate::Error;
use crate::ids::{SHARDS_MAX, ShardId};

/// How large a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionConfig {
    /// Shards, each with a pool of its own.
    pub shards: u16,
    /// Pages of 64 KiB per shard.
    pub large_pages_per_shard: u32,
    /// Pages of 8 KiB per shard.
    pub small_pages_per_shard: u32,
    /// Fills freed pages with [`super::POISON`] and checks the pattern at the next use.
    pub poison: bool,
}

/// The mapped pages of all shards.
///
/// Memory is reserved at start and taken from the machine at the first use of each page.
/// Lives on: every shard. Crosses by: cloning an `Arc`.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    bytes: usize,
    config: RegionConfig,
}

// SAFETY: the region itself is an address range that does not change until it is dropped. Which
// thread may touch which byte is decided by the owners of pages: a pool and its access units on one
// thread, a log by its commit offset and epochs.
unsafe impl Send for Region {}
// SAFETY: as above; no method writes to the region through a shared reference by itself.
unsafe impl Sync for Region {}

impl Region {
    /// Maps the pages of all shards and gives each shard its pool, in order of the shards.
    ///
    /// # Errors
    /// [`Error::Io`] if the address space is refused, [`Error::Exhausted`] if it cannot be named.
    pub fn map(config: &RegionConfig) -> Result<(Arc<Self>, Vec<Pool>), Error> {
        let bytes = Self::mapped_bytes(config)?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no other
        // memory.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(Error::last_os_error("mmap"));
        }
        let base = NonNull::new(address.cast::<u8>()).expect("the kernel maps nothing at 0");
        poison::forbid(base.as_ptr(), bytes);
        let region = Arc::new(Self { base, bytes, config: *config });
        let pools = (0..config.shards).map(|s| Pool::new(Arc::clone(&region), ShardId(s)));
        let pools = pools.collect();
        Ok((region, pools))
    }

    /// What it was mapped with.
    #[must_use]
    pub const fn config(&self) -> &RegionConfig {
        &self.config
    }

    /// Bytes of address space of all pages.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The shard whose pool a page belongs to.
    #[must_use]
    pub fn owner(&self, page: &PageId) -> ShardId {
        let raw = page.raw();
        let owner = index_of(raw) / self.pages_per_shard(class_of(raw)).max(1);
        ShardId(u16::try_from(owner).expect("a page index lies below shards * pages_per_shard"))
    }

    /// The first byte of a raw page.
    #[must_use]
    pub(crate) fn address(&self, raw: u32) -> *mut u8 {
        let (class, index) = (class_of(raw), index_of(raw));
        let count = u32::from(self.config.shards) * self.pages_per_shard(class);
        assert!(index < count, "page {raw:#x} is not of this region");
        let start = match class {
            PageClass::Large => 0,
            PageClass::Small => self.class_bytes(PageClass::Large),
        };
        let offset = start + index as usize * class.bytes() as usize;
        // SAFETY: `offset` lies inside the mapping, because the index was just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Gives the memory of a free page back to the machine; its bytes are zero at its next use.
    pub(super) fn give_back(&self, raw: u32) {
        let bytes = class_of(raw).bytes() as usize;
        // SAFETY: the range is one page of this mapping, and the page is free: nobody reads it.
        let given = unsafe { libc::madvise(self.address(raw).cast(), bytes, libc::MADV_DONTNEED) };
        debug_assert_eq!(given, 0, "the range is mapped");
    }

    pub(crate) const fn pages_per_shard(&self, class: PageClass) -> u32 {
        match class {
            PageClass::Large => self.config.large_pages_per_shard,
            PageClass::Small => self.config.small_pages_per_shard,
        }
    }

    const fn class_bytes(&self, class: PageClass) -> usize {
        self.config.shards as usize * self.pages_per_shard(class) as usize * class.bytes() as usize
    }

    fn mapped_bytes(config: &RegionConfig) -> Result<usize, Error> {
        let shards = u32::from(config.shards);
        if config.shards == 0 || usize::from(config.shards) > SHARDS_MAX {
            return Err(Error::Exhausted { pool: "shards" });
        }
        let counts = [
            (PageClass::Large, config.large_pages_per_shard),
            (PageClass::Small, config.small_pages_per_shard),
        ];
        let mut bytes = 0_usize;
        for (class, per_shard) in counts {
            let pages = shards.checked_mul(per_shard).filter(|&pages| pages <= PAGES_MAX);
            bytes = pages
                .and_then(|pages| (pages as usize).checked_mul(class.bytes() as usize))
                .and_then(|of_class| bytes.checked_add(of_class))
                .ok_or(Error::Exhausted { pool: class.pool() })?;
        }
        Ok(bytes.max(PageClass::Small.bytes() as usize))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        poison::permit(self.base.as_ptr(), self.bytes);
        // SAFETY: the mapping was made by `map` with these bounds, and whoever reads pages holds
        // the region by an `Arc`, so nobody is left.
        let result = unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(result, 0, "unmapping what was mapped cannot fail");
    }
}
