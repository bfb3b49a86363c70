//! Makes use after free visible: a pattern in tests, unreadable memory under AddressSanitizer.

/// What a freed page is filled with when a region is mapped with `poison`.
pub const POISON: u8 = 0xDB;

#[cfg(asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(address: *const core::ffi::c_void, bytes: usize);
    fn __asan_unpoison_memory_region(address: *const core::ffi::c_void, bytes: usize);
}

/// Forbids every access to `bytes` bytes from `address` on, where a sanitizer is there to see it.
#[cfg(asan)]
pub(super) fn forbid(address: *const u8, bytes: usize) {
    // SAFETY: the sanitizer's run time is linked in this build and only notes the address range.
    unsafe { __asan_poison_memory_region(address.cast(), bytes) }
}

/// Takes [`forbid`] back.
#[cfg(asan)]
pub(super) fn permit(address: *const u8, bytes: usize) {
    // SAFETY: the sanitizer's run time is linked in this build and only notes the address range.
    unsafe { __asan_unpoison_memory_region(address.cast(), bytes) }
}

/// Forbids every access to `bytes` bytes from `address` on, where a sanitizer is there to see it.
#[cfg(not(asan))]
pub(super) const fn forbid(_address: *const u8, _bytes: usize) {}

/// Takes [`forbid`] back.
#[cfg(not(asan))]
pub(super) const fn permit(_address: *const u8, _bytes: usize) {}
