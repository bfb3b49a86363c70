//! An allocator that counts what the threads of shards take, or all of them, under a whole node.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Counts while it is armed.
pub(crate) struct Counting;

pub(crate) static ARMED: AtomicBool = AtomicBool::new(false);
/// Counts the control plane's thread, too: questions and snapshots are taken by shards and given
/// back there.
pub(crate) static WITH_CONTROL: AtomicBool = AtomicBool::new(false);
/// Counts every thread of the process, the test's own included.
pub(crate) static EVERYWHERE: AtomicBool = AtomicBool::new(false);
/// Bytes that shards took and did not give back, the allocator's own header of each included.
pub(crate) static HELD: AtomicI64 = AtomicI64::new(0);
/// Allocations of shards.
pub(crate) static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Bytes of those, as the allocator gave them.
pub(crate) static TAKEN_BYTES: AtomicU64 = AtomicU64::new(0);

/// What glibc puts before each allocation.
const HEADER_BYTES: i64 = 8;

/// True on a thread that counts. It asks the kernel, because the library's answer may allocate.
fn counts_here() -> bool {
    if EVERYWHERE.load(Ordering::Relaxed) {
        return true;
    }
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes at most 16 bytes, the end included.
    let asked = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let control = || WITH_CONTROL.load(Ordering::Relaxed) && name.starts_with(b"control\0");
    asked == 0 && (name.starts_with(b"shard-") || control())
}

fn count(memory: *mut u8, sign: i64) {
    if ARMED.load(Ordering::Relaxed) && !memory.is_null() && counts_here() {
        // SAFETY: the memory is of the system's allocator and not yet freed.
        let usable = unsafe { libc::malloc_usable_size(memory.cast()) };
        HELD.fetch_add(sign * (usable as i64 + HEADER_BYTES), Ordering::Relaxed);
        if sign > 0 {
            TAKEN.fetch_add(1, Ordering::Relaxed);
            TAKEN_BYTES.fetch_add(usable as u64, Ordering::Relaxed);
        }
    }
}

// SAFETY: everything is the system's allocator's work; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(layout) };
        count(memory, 1);
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc_zeroed(layout) };
        count(memory, 1);
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(memory, -1);
        // SAFETY: the caller's promise.
        let memory = unsafe { System.realloc(memory, layout, size) };
        count(memory, 1);
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(memory, -1);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}
