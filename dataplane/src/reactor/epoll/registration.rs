//! Which descriptors are in the epoll set, and for what.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::super::core::Core;
use super::super::socket::last_errno;
use super::super::token::Token;
use super::driver::{Epoll, READ_EVENTS};
use super::interest::Read;

impl Epoll {
    /// Starts reading for `token`, whose descriptor may be registered already.
    pub(super) fn read_start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        read: Read,
    ) -> Result<(), i32> {
        let interest = self.interests.of(token);
        assert!(interest.read == Read::Off, "one receive of a token runs at a time");
        interest.read = read;
        if interest.fd == Some(fd.as_raw_fd()) {
            // Edges are noted while nobody reads, so nothing has to be asked again.
            self.run_if_readable(token);
            return Ok(());
        }
        // Room for all of them to be readable at once, so that no burst takes memory.
        let room = self.interests.len().saturating_sub(self.runnable.len());
        self.runnable.reserve(room);
        let registered = self.register(core, fd.as_raw_fd(), token, false);
        if registered.is_err() {
            self.interests.of(token).read = Read::Off;
        }
        registered
    }

    /// Registers the descriptor, or asks again, which reports what is ready now.
    pub(super) fn register(
        &mut self,
        core: &mut Core,
        fd: RawFd,
        token: Token,
        out: bool,
    ) -> Result<(), i32> {
        let interest = self.interests.of(token);
        let known = interest.fd == Some(fd);
        let asks_out = out || (known && interest.asks_out);
        let events = READ_EVENTS | if asks_out { libc::EPOLLOUT as u32 } else { 0 };
        let (first, second) = if known {
            (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD)
        } else {
            (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD)
        };
        // An earlier user of the descriptor's number may have left or lost a registration.
        let errno = match self.control(core, first, fd, token, events) {
            libc::EEXIST | libc::ENOENT => self.control(core, second, fd, token, events),
            errno => errno,
        };
        if errno != 0 {
            return Err(errno);
        }
        let interest = self.interests.of(token);
        interest.fd = Some(fd);
        interest.asks_out = asks_out;
        Ok(())
    }

    /// One epoll_ctl call; 0 or an errno.
    fn control(&self, core: &mut Core, op: i32, fd: RawFd, token: Token, events: u32) -> i32 {
        core.counters.epoll_ctl_calls += 1;
        let mut event = libc::epoll_event { events, u64: token.pack() };
        // SAFETY: the event is readable; a wrong descriptor is an error, not a hazard.
        let code = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd, &raw mut event) };
        if code < 0 { last_errno() } else { 0 }
    }

    /// Takes a descriptor that nobody waits for out of the set, so that it may move to another
    /// shard without edges being reported here.
    pub(super) fn unregister_idle(&mut self, core: &mut Core, token: Token) {
        if self.interests.of(token).idle() {
            self.unregister(core, token);
        }
    }

    pub(super) fn unregister(&mut self, core: &mut Core, token: Token) {
        let Some(fd) = self.interests.current(token).and_then(|interest| interest.fd.take()) else {
            return;
        };
        // A descriptor that is gone already has left the set by itself.
        let _ = self.control(core, libc::EPOLL_CTL_DEL, fd, token, 0);
    }

    pub(super) fn run_if_readable(&mut self, token: Token) {
        let interest = self.interests.of(token);
        if interest.readable && interest.read != Read::Off && !interest.queued {
            interest.queued = true;
            self.runnable.push_back(token);
        }
    }
}
