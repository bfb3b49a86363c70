//! Hints to the processor: what is looked at a few steps from now is fetched meanwhile.
//!
//! A turn walks over thousands of connections that lie all over memory, and the kernel works
//! between any two of them: without hints nearly every first look at one waits for memory.

/// Steps ahead at which a connection is fetched.
pub(super) const CONNECTION_AHEAD: usize = 6;
/// Steps ahead at which what it points to is fetched: its own bytes have come by then.
pub(super) const PLAYING_AHEAD: usize = 3;

#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Fetches all of `value`, not what it points to. A processor without such a hint does nothing.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "there is no hint"))]
pub(super) fn fetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for at in (0..size_of::<T>()).step_by(LINE_BYTES) {
            // SAFETY: a prefetch has no effect that a program could see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(at)) };
        }
    }
}
