//! Waiting for events, reading and writing.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::super::buffers::Buffers;
use super::super::completion::{Completion, RecvMode, SEND_PARTS_MAX, SendPart};
use super::super::core::Core;
use super::super::counters::OpKind;
use super::super::socket::{self, last_errno};
use super::super::token::Token;
use super::super::waker::Waker;
use super::interest::{Interests, Read, Write};
use crate::error::Error;

/// Events taken by one wait at most.
const EVENTS_PER_WAIT_MAX: usize = 512;
/// The key of the waker's event; no token packs to it.
const WAKE_KEY: u64 = u64::MAX;
/// What a registration always asks for.
pub(super) const READ_EVENTS: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
/// Events after which a read tells the end or an error.
const HANGUP_EVENTS: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// Readiness and plain system calls.
#[derive(Debug)]
pub(in super::super) struct Epoll {
    pub(super) fd: OwnedFd,
    pub(super) interests: Interests,
    /// Tokens that are readable and want to read, in turn.
    pub(super) runnable: VecDeque<Token>,
    /// Buffers that are not lent.
    pub(super) free: Vec<u16>,
    /// Buffers for datagrams that are not lent.
    pub(super) free_datagrams: Vec<u16>,
    /// A socket was left with datagrams of which no edge will tell.
    pub(super) unfinished: bool,
    events: Box<[libc::epoll_event]>,
    /// epoll_pwait2 is available: timeouts finer than a millisecond.
    fine_timeouts: bool,
}

impl Epoll {
    pub(in super::super) fn new(
        buffers: &Buffers,
        datagrams: Option<&Buffers>,
        waker: &Waker,
    ) -> Result<Self, Error> {
        // SAFETY: epoll_create1 takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last_os_error("epoll_create1"));
        }
        // SAFETY: the descriptor is new and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut event = libc::epoll_event { events: READ_EVENTS, u64: WAKE_KEY };
        let wake = waker.event().as_raw_fd();
        // SAFETY: the event is readable, both descriptors are open.
        let code =
            unsafe { libc::epoll_ctl(fd.as_raw_fd(), libc::EPOLL_CTL_ADD, wake, &raw mut event) };
        if code < 0 {
            return Err(Error::last_os_error("epoll_ctl"));
        }
        let none = libc::epoll_event { events: 0, u64: 0 };
        Ok(Self {
            fd,
            interests: Interests::default(),
            runnable: VecDeque::new(),
            free: (0..buffers.count()).rev().collect(),
            free_datagrams: (0..datagrams.map_or(0, Buffers::count)).rev().collect(),
            unfinished: false,
            events: vec![none; EVENTS_PER_WAIT_MAX].into_boxed_slice(),
            fine_timeouts: true,
        })
    }

    pub(in super::super) fn accept_start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
    ) {
        core.counters.submitted(OpKind::Accept);
        if let Err(errno) = self.read_start(core, fd, token, Read::Accept) {
            core.counters.completed(OpKind::Accept, true);
            core.ready.push_back(Completion::AcceptFailed { token, errno, ended: true });
        }
    }

    pub(in super::super) fn accept_stop(&mut self, core: &mut Core, token: Token) {
        let Some(interest) = self.interests.current(token) else { return };
        if interest.read != Read::Accept {
            return;
        }
        interest.read = Read::Off;
        self.unregister_idle(core, token);
        let errno = libc::ECANCELED;
        core.ready.push_back(Completion::AcceptFailed { token, errno, ended: true });
    }

    pub(in super::super) fn recv_start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        mode: RecvMode,
    ) {
        core.counters.submitted(OpKind::Recv);
        if let Err(errno) = self.read_start(core, fd, token, Read::Bytes(mode)) {
            core.counters.completed(OpKind::Recv, true);
            core.ready.push_back(Completion::RecvFailed { token, errno });
        }
    }

    pub(in super::super) fn recv_stop(&mut self, core: &mut Core, token: Token) {
        if let Some(interest) = self.interests.current(token) {
            interest.read = Read::Off;
            self.unregister_idle(core, token);
        }
        core.ready.push_back(Completion::RecvEnded { token });
    }

    /// # Safety
    /// The bytes of every part are readable during the call.
    pub(in super::super) unsafe fn send(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        parts: &[SendPart],
    ) {
        let kind = if parts.len() == 1 { OpKind::Send } else { OpKind::SendMsg };
        core.counters.submitted(kind);
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut vector = [empty; SEND_PARTS_MAX];
        for (slot, part) in vector.iter_mut().zip(parts) {
            slot.iov_base = part.ptr.cast_mut().cast();
            slot.iov_len = part.len as usize;
        }
        // SAFETY: all zero bytes are a valid message without address and control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = vector.as_mut_ptr();
        message.msg_iovlen = parts.len();
        let result = loop {
            core.counters.send_calls += 1;
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the message and its vector live on this frame, the bytes by the contract.
            let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) };
            match last_errno() {
                libc::EINTR if sent < 0 => {}
                errno if sent < 0 => break -errno,
                _ => break i32::try_from(sent).unwrap_or(i32::MAX),
            }
        };
        core.sent(kind, token, result);
    }

    pub(in super::super) fn poll_writable(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
    ) {
        if self.interests.of(token).write != Write::Off {
            return;
        }
        core.counters.submitted(OpKind::Poll);
        self.interests.of(token).write = Write::Poll;
        if self.register(core, fd.as_raw_fd(), token, true).is_err() {
            // The next send tells what is wrong.
            self.interests.of(token).write = Write::Off;
            core.counters.completed(OpKind::Poll, true);
            core.ready.push_back(Completion::Writable { token });
        }
    }

    pub(in super::super) fn poll_cancel(&mut self, core: &mut Core, token: Token) {
        if let Some(interest) = self.interests.current(token)
            && interest.write == Write::Poll
        {
            interest.write = Write::Off;
            core.counters.submitted(OpKind::Cancel);
            self.unregister_idle(core, token);
        }
    }

    pub(in super::super) fn connect(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        peer: &SocketAddr,
    ) {
        core.counters.submitted(OpKind::Connect);
        match socket::connect(fd, peer) {
            Ok(true) => core.connected(token, 0),
            Ok(false) => {
                self.interests.of(token).write = Write::Connect;
                if let Err(errno) = self.register(core, fd.as_raw_fd(), token, true) {
                    self.interests.of(token).write = Write::Off;
                    core.connected(token, errno);
                }
            }
            Err(errno) => core.connected(token, errno),
        }
    }

    pub(in super::super) fn close(&mut self, core: &mut Core, fd: OwnedFd, token: Token) {
        self.unregister(core, token);
        self.interests.forget(token);
        drop(fd);
    }

    pub(in super::super) fn give_back(&mut self, _core: &mut Core, id: u16) {
        self.free.push(id);
    }

    pub(in super::super) fn submit_and_wait(&mut self, core: &mut Core, timeout: Option<Duration>) {
        self.read_runnable(core);
        let idle = core.ready.is_empty() && !self.unfinished;
        let timeout = if idle { timeout } else { Some(Duration::ZERO) };
        let count = self.wait(core, timeout);
        for at in 0..count {
            let event = self.events[at];
            self.take_event(core, event.u64, event.events);
        }
        self.read_runnable(core);
    }

    /// Takes what arrived, without waiting, unless much of it is still to be taken by the shard.
    pub(in super::super) fn look(&mut self, core: &mut Core) {
        if core.has_room() {
            self.submit_and_wait(core, Some(Duration::ZERO));
        }
    }

    /// Waits for events and gives their number; an interrupted wait has none.
    fn wait(&mut self, core: &mut Core, timeout: Option<Duration>) -> usize {
        core.counters.epoll_wait_calls += 1;
        let (epoll, events, max) =
            (self.fd.as_raw_fd(), self.events.as_mut_ptr(), EVENTS_PER_WAIT_MAX as i32);
        if self.fine_timeouts {
            let spec = timeout.map(|timeout| libc::timespec {
                tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
            });
            let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the events are writable for their number, the timeout is readable or null.
            let count = unsafe { libc::epoll_pwait2(epoll, events, max, spec, std::ptr::null()) };
            match (usize::try_from(count), last_errno()) {
                (Ok(count), _) => return count,
                // Older container filters do not know the call.
                (Err(_), libc::ENOSYS | libc::EPERM) => self.fine_timeouts = false,
                (Err(_), _) => return 0,
            }
        }
        // Rounded up, so that a deadline is past when the wait for it ends.
        let timeout = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the events are writable for their number.
        let count = unsafe { libc::epoll_wait(epoll, events, max, timeout) };
        usize::try_from(count).unwrap_or(0)
    }

    fn take_event(&mut self, core: &mut Core, key: u64, events: u32) {
        if key == WAKE_KEY {
            core.counters.completed(OpKind::Wake, false);
            core.ready.push_back(Completion::Woken);
            return;
        }
        let token = Token::unpack(key);
        let Some(interest) = self.interests.current(token) else {
            core.counters.stale += 1;
            return;
        };
        interest.hangup |= events & HANGUP_EVENTS != 0;
        if events & (libc::EPOLLIN as u32 | HANGUP_EVENTS) != 0 {
            interest.readable = true;
        }
        let (fd, write) = (interest.fd, interest.write);
        let broken = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
        if write != Write::Off && events & (libc::EPOLLOUT as u32 | broken) != 0 {
            interest.write = Write::Off;
            if let (Write::Connect, Some(fd)) = (write, fd) {
                // SAFETY: the descriptor is open while its token waits for it.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                core.connected(token, socket::take_error(fd));
            } else {
                core.counters.completed(OpKind::Poll, false);
                core.ready.push_back(Completion::Writable { token });
            }
            self.unregister_idle(core, token);
        }
        self.run_if_readable(token);
    }
}
