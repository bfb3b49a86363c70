//! The heap: what the allocator took of the machine, and what of that nobody holds.
//!
//! Thousands of connections that leave at one time leave holes: glibc keeps them for the next ones,
//! and gives back only what lies at the end. Here it is asked for the rest.
//!
//! Not here: when that is worth its time, which the control plane knows.

/// What the allocator has of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapUse {
    /// Bytes that somebody holds.
    pub used: u64,
    /// Bytes that are kept for the next who asks; they may have no memory behind them.
    pub kept: u64,
}

impl HeapUse {
    /// Asks the allocator; `None` where it does not tell. Each arena is locked while what is free
    /// in it is counted, and who allocates of it meanwhile waits.
    #[must_use]
    pub fn now() -> Option<Self> {
        #[cfg(target_env = "gnu")]
        {
            // SAFETY: the call takes no argument and locks what it reads.
            let told = unsafe { libc::mallinfo2() };
            let used = (told.uordblks + told.hblkhd) as u64;
            Some(Self { used, kept: told.fordblks as u64 })
        }
        #[cfg(not(target_env = "gnu"))]
        None
    }
}

/// Gives whole pages that nobody holds back to the machine. Each arena is locked while its pages
/// go: a shard that allocates of it meanwhile stands still, up to some milliseconds after thousands
/// of connections.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call locks what it changes, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
