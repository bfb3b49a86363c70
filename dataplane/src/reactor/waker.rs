//! Waking a reactor that sleeps.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::error::Error;

/// Wakes one reactor from any thread.
///
/// Lives on: every shard and the control plane. Crosses by: cloning a reference.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Target>);

#[derive(Debug)]
struct Target {
    event: OwnedFd,
    /// The ring, or [`NO_RING`]. The number is not owned: the reactor takes it back when it is
    /// dropped. A message that is queued at that very moment fails, and becomes an event, or wakes
    /// a ring that got the number once for nothing.
    ring: AtomicI32,
}

/// Not a descriptor.
const NO_RING: RawFd = -1;

impl Waker {
    pub(super) fn new(ring: Option<RawFd>) -> Result<Self, Error> {
        // SAFETY: eventfd takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last_os_error("eventfd"));
        }
        // SAFETY: the descriptor is new and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(Target { event, ring: AtomicI32::new(ring.unwrap_or(NO_RING)) })))
    }

    /// One that wakes whoever polls [`Self::event_fd`]: a thread without a reactor of ours.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn standalone() -> Result<Self, Error> {
        Self::new(None)
    }

    /// Readable from a [`Self::wake`] until [`Self::clear`].
    #[must_use]
    pub fn event_fd(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }

    /// Takes the wake-ups so far; what was written before them is seen afterwards.
    pub fn clear(&self) {
        let mut count = [0_u8; 8];
        // An empty counter answers EAGAIN, which is as good.
        // SAFETY: the buffer is eight writable bytes, the descriptor is open while `self` lives.
        let _ =
            unsafe { libc::read(self.0.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// Makes the reactor return from its wait with [`super::Completion::Woken`].
    ///
    /// Writes made by this thread before the call are seen by the woken one.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // The count is never read back: each write is an edge, which is all that a poll needs, and
        // 2^64 of them do not happen. So the only failure would be a closed descriptor, and this
        // value owns it.
        // SAFETY: the buffer is eight readable bytes, the descriptor is open while `self` lives.
        let _ = unsafe { libc::write(self.0.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// The ring of the reactor; `None` on epoll, and once the reactor is gone.
    #[must_use]
    pub fn ring_fd(&self) -> Option<RawFd> {
        Some(self.0.ring.load(Ordering::Relaxed)).filter(|&ring| ring != NO_RING)
    }

    /// The ring is about to be closed.
    pub(super) fn forget_ring(&self) {
        self.0.ring.store(NO_RING, Ordering::Relaxed);
    }

    /// The event that [`Self::wake`] raises.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    /// True if both wake the same reactor.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
