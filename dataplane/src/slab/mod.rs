//! Slab memory: page pools mapped at start, and access units in chains of their pages.
//!
//! Shape: one [`Region`] of address space holds, per shard, `large_pages_per_shard` pages of 64 KiB
//! and `small_pages_per_shard` pages of 8 KiB. Every shard owns the free lists of its own pages in
//! a [`Pool`]; every shard may read every page through the region.
//!
//! ```text
//!   region: | large: shard 0 | shard 1 | ... | small: shard 0 | shard 1 | ... |
//!   access unit: first page, offset --next--> page --next--> page, len
//! ```
//!
//! In/Out: a page has one owner at a time: the pool, an access unit (counted per page, because the
//! units of one [`AuWriter`] share pages) or a log, which gives it back through its epochs.
//! Errors: [`Exhausted`] when a pool is empty; the caller drops its unit, never a live one.
//! Limits: the pools are the ceiling of media memory; nothing here grows after the start.
//! Not here: when a page of a log may be used again is decided in `log/`.
//!
//! Tests: a region with `poison` fills freed pages with [`POISON`] and checks at the next use that
//! nobody wrote to them. Under AddressSanitizer a free page is also unreadable, so that a stale
//! reader is reported at the very load (the sanitizer alone does not see reuse of mapped pages):
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg asan" \
//!   cargo test --target x86_64-unknown-linux-gnu -p grandstand-dataplane \
//!   --lib --test poison -- slab log poison
//! ```

mod access_unit;
mod heap;
mod page;
mod poison;
mod pool;
mod region;

pub use access_unit::{AuBytes, AuWriter, Chunks};
pub use heap::{HeapUse, trim_heap};
pub use page::{Exhausted, PageClass, PageId};
pub use poison::POISON;
pub use pool::{Pool, PoolUsage};
pub use region::{Region, RegionConfig};
