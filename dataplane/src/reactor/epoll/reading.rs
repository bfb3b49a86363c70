//! Reading from what is readable, in turn.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::super::completion::{Completion, RecvMode};
use super::super::core::{Core, concerns_one_connection};
use super::super::counters::OpKind;
use super::super::socket::last_errno;
use super::super::token::Token;
use super::driver::Epoll;
use super::interest::Read;

/// Connections accepted from one listener before others get their turn.
const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Buffers filled from one connection before others get their turn.
const RECVS_PER_TURN_MAX: usize = 4;

/// What one attempt to read came to.
pub(super) enum Progress {
    /// There may be more.
    More,
    /// The descriptor would block, or the operation is over.
    Done,
    /// Every buffer is lent.
    NoBuffer,
}

impl Epoll {
    /// Gives every readable token one turn.
    pub(super) fn read_runnable(&mut self, core: &mut Core) {
        self.unfinished = false;
        for _ in 0..self.runnable.len() {
            let Some(token) = self.runnable.pop_front() else { return };
            let Some(interest) = self.interests.current(token) else { continue };
            interest.queued = false;
            let (Some(fd), read) = (interest.fd, interest.read) else { continue };
            // SAFETY: the descriptor is open while its token waits for it.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let progress = match read {
                Read::Off => continue,
                Read::Accept => self.accept_some(core, fd, token),
                Read::Datagrams => self.recv_runs(core, fd, token),
                Read::Bytes(mode) => self.recv_some(core, fd, token, mode),
            };
            let interest = self.interests.of(token);
            let starved = matches!(progress, Progress::NoBuffer);
            core.counters.no_buffers += u64::from(starved && !interest.starved);
            interest.starved = starved;
            if !matches!(progress, Progress::Done) {
                self.run_if_readable(token);
            }
        }
    }

    fn accept_some(&mut self, core: &mut Core, fd: BorrowedFd<'_>, token: Token) -> Progress {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            core.counters.accept_calls += 1;
            let (no_address, no_len) = (std::ptr::null_mut(), std::ptr::null_mut());
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: accept4 writes no address through null pointers.
            let code = unsafe { libc::accept4(fd.as_raw_fd(), no_address, no_len, flags) };
            if code >= 0 {
                core.counters.completed(OpKind::Accept, false);
                // SAFETY: the descriptor is new and nobody else owns it.
                core.accepted(token, unsafe { OwnedFd::from_raw_fd(code) });
                continue;
            }
            let errno = last_errno();
            match errno {
                libc::EINTR => {}
                libc::EAGAIN => {
                    self.interests.of(token).readable = false;
                    return Progress::Done;
                }
                _ => {
                    let ended = !concerns_one_connection(errno);
                    core.counters.completed(OpKind::Accept, true);
                    core.ready.push_back(Completion::AcceptFailed { token, errno, ended });
                    if ended {
                        self.interests.of(token).read = Read::Off;
                        return Progress::Done;
                    }
                }
            }
        }
        Progress::More
    }

    fn recv_some(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        mode: RecvMode,
    ) -> Progress {
        for _ in 0..RECVS_PER_TURN_MAX {
            let Some(id) = self.free.pop() else { return Progress::NoBuffer };
            let (buffer, room) = (core.buffers.at(id), core.buffers.each());
            core.counters.recv_calls += 1;
            let (raw, flags) = (fd.as_raw_fd(), libc::MSG_DONTWAIT);
            // SAFETY: the buffer is writable for its length and lent to nobody.
            let code = unsafe { libc::recv(raw, buffer.cast(), room as usize, flags) };
            let errno = if code < 0 { last_errno() } else { 0 };
            let interest = self.interests.of(token);
            if let (Ok(len), true) = (u32::try_from(code), code > 0) {
                core.counters.completed(OpKind::Recv, false);
                core.received(token, id, len);
                // A short read emptied the socket, unless its end is in it as well.
                interest.readable = len == room || interest.hangup;
                if mode == RecvMode::Once {
                    interest.read = Read::Off;
                    return Progress::Done;
                }
                if !interest.readable {
                    return Progress::Done;
                }
                continue;
            }
            self.free.push(id);
            match errno {
                libc::EINTR => continue,
                libc::EAGAIN => {
                    interest.readable = false;
                    return Progress::Done;
                }
                _ => {}
            }
            interest.read = Read::Off;
            core.counters.completed(OpKind::Recv, errno != 0);
            core.ready.push_back(if errno == 0 {
                Completion::Eof { token }
            } else {
                Completion::RecvFailed { token, errno }
            });
            return Progress::Done;
        }
        Progress::More
    }
}
