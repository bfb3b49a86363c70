//! Store: what must survive a restart, in one file of the data directory.
//!
//! ```text
//!   rooms --commit, get, scan--> bounded queue --> thread "store" --one fsync per group--> file
//!     ^                                                |
//!     +---------------- answers, after the fsync ------+
//! ```
//!
//! A commit is acknowledged when it is on the disk, whole; commits that wait together share one
//! fsync. What was not acknowledged is there whole or not at all after a crash: `crash` (tests)
//! cuts the power at every operation on the file, and `killed` kills a process in mid-commit.
//!
//! A disk that fails is no end: orders are answered by [`StoreError::Failed`] at once while
//! `mending` opens the file again and again, with a wait that doubles. What was acknowledged is
//! there afterwards, and what was refused is not, even if it had reached the disk (`undo`).
//!
//! Lives on: a thread of its own, because an fsync takes as long as the disk likes.
//! Crosses by: [`Store`], a handle that every room of the control plane may clone.
//! Limits: [`ORDERS_MAX`] orders and [`QUEUED_BYTES_MAX`] bytes wait; beyond that an order is
//! refused as [`StoreError::Busy`] and its caller tries later or says so.
//! Not here: what the values mean. Each room writes JSON with a version field of its own.

mod database;
mod file;
mod mending;
mod order;
mod thread;
mod undo;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod killed;

pub(crate) use database::CACHE_BYTES;
#[cfg(test)]
pub(crate) use disk::Disk;
pub use file::FILE;
pub use order::{
    COMMIT_BYTES_MAX, KEY_BYTES_MAX, Rows, StoreError, Table, VALUE_BYTES_MAX, WRITES_MAX, Write,
};
pub use thread::{ORDERS_MAX, QUEUED_BYTES_MAX, Store};
pub(crate) use undo::UNDO_BYTES_MAX;
