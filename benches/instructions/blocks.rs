//! Memory for this program, handed out in the same way on every machine.
//!
//! Shape: blocks of powers of two; a freed one is the first to be handed out again. What the C
//! library does instead differs from version to version, and would be counted.
//!
//! Limits: nothing is ever given back to the system, for the program ends soon.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(not(test))]
#[global_allocator]
static BLOCKS: Blocks = Blocks::new();

/// No block is smaller: it must hold a link.
const SMALLEST: usize = 16;
/// Blocks are aligned to their size up to here; who wants more gets it from the system.
const ALIGN_MAX: usize = 4_096;

/// Free blocks by size.
pub(crate) struct Blocks {
    taken: AtomicBool,
    free: UnsafeCell<[*mut Link; usize::BITS as usize]>,
}

struct Link {
    next: *mut Self,
}

// SAFETY: `free` is touched only while `taken` is held.
unsafe impl Sync for Blocks {}

impl Blocks {
    /// Nothing is free yet.
    pub(crate) const fn new() -> Self {
        let free = UnsafeCell::new([std::ptr::null_mut(); usize::BITS as usize]);
        Self { taken: AtomicBool::new(false), free }
    }

    /// The list of free blocks of this layout, for `act` alone.
    fn with<T>(&self, class: usize, act: impl FnOnce(&mut *mut Link) -> T) -> T {
        while self.taken.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: `taken` is held, so this is the one reference.
        let done = act(unsafe { &mut (*self.free.get())[class] });
        self.taken.store(false, Ordering::Release);
        done
    }
}

/// The exponent of the block for this layout; `None` is the system's.
fn class_of(layout: &Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align()).max(SMALLEST).checked_next_power_of_two()?;
    (layout.align() <= ALIGN_MAX).then_some(bytes.trailing_zeros() as usize)
}

// SAFETY: a block is at least as large and as aligned as the layout that chose it; it is on a list
// or handed out, never both.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(&layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        let block = self.with(class, |first| {
            let block = *first;
            if !block.is_null() {
                // SAFETY: a block on the list was freed, and begins with its link.
                *first = unsafe { (*block).next };
            }
            block
        });
        if !block.is_null() {
            return block.cast();
        }
        let bytes = 1 << class;
        match Layout::from_size_align(bytes, bytes.min(ALIGN_MAX)) {
            // SAFETY: the layout has a size.
            Ok(whole) => unsafe { System.alloc(whole) },
            Err(_) => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class_of(&layout) else {
            // SAFETY: it came from there by the same layout.
            return unsafe { System.dealloc(block, layout) };
        };
        let link = block.cast::<Link>();
        self.with(class, |first| {
            // SAFETY: the block is ours again, aligned and large enough for a link.
            unsafe { link.write(Link { next: *first }) };
            *first = link;
        });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, is no overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if class_of(&wanted).is_some_and(|class| class_of(&layout) == Some(class)) {
            return block;
        }
        // SAFETY: `wanted` has a size, by the caller's promise.
        let larger = unsafe { self.alloc(wanted) };
        if !larger.is_null() {
            // SAFETY: both blocks hold so many bytes and are not the same.
            unsafe { std::ptr::copy_nonoverlapping(block, larger, bytes.min(layout.size())) };
            // SAFETY: the caller gave it up.
            unsafe { self.dealloc(block, layout) };
        }
        larger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_block_is_the_next_one() {
        let blocks = Blocks::new();
        for (size, align) in [(1, 1), (24, 8), (4_000, 64), (1 << 20, 4_096)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: every block is used within its layout and freed once.
            unsafe {
                let first = blocks.alloc(layout);
                first.write_bytes(7, size);
                let second = blocks.alloc(layout);
                assert_ne!(first, second);
                assert_eq!(first as usize % align, 0);
                blocks.dealloc(first, layout);
                assert_eq!(blocks.alloc(layout), first);
            }
        }
    }

    #[test]
    fn bytes_move_with_a_block_that_grows() {
        let blocks = Blocks::new();
        let layout = Layout::from_size_align(20, 4).unwrap();
        // SAFETY: every block is used within its layout.
        unsafe {
            let block = blocks.alloc(layout);
            block.write_bytes(9, 20);
            assert_eq!(blocks.realloc(block, layout, 32), block, "there is room");
            let layout = Layout::from_size_align(32, 4).unwrap();
            let larger = blocks.realloc(block, layout, 33);
            assert_ne!(larger, block);
            assert_eq!(std::slice::from_raw_parts(larger, 20), [9; 20]);
        }
    }
}
