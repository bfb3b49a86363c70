//! Receiving datagrams, by plain system calls into the buffers that the ring would use.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::super::completion::Completion;
use super::super::core::{Core, concerns_one_peer};
use super::super::counters::OpKind;
use super::super::datagrams::{
    ADDRESS_AT, ADDRESS_BYTES, CONTROL_AT, CONTROL_BYTES, PAYLOAD_AT, PAYLOAD_BYTES, head,
};
use super::super::socket::last_errno;
use super::super::token::Token;
use super::driver::Epoll;
use super::interest::Read;
use super::reading::Progress;

/// Runs taken from one socket before others get their turn.
const RUNS_PER_TURN_MAX: usize = 32;

impl Epoll {
    pub(in super::super) fn recv_datagrams_start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
    ) {
        core.counters.submitted(OpKind::RecvMsg);
        if let Err(errno) = self.read_start(core, fd, token, Read::Datagrams) {
            core.counters.completed(OpKind::RecvMsg, true);
            core.ready.push_back(Completion::RecvFailed { token, errno });
        }
    }

    pub(in super::super) fn give_back_datagrams(&mut self, _core: &mut Core, id: u16) {
        self.free_datagrams.push(id);
    }

    pub(super) fn recv_runs(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
    ) -> Progress {
        for _ in 0..RUNS_PER_TURN_MAX {
            let Some(id) = self.free_datagrams.pop() else { return Progress::NoBuffer };
            core.counters.recv_calls += 1;
            let buffer = core.datagrams().at(id);
            // SAFETY: the buffer has the bytes of its group and is lent to nobody.
            let errno = match unsafe { receive(fd, buffer) } {
                Ok(written) => {
                    core.counters.completed(OpKind::RecvMsg, false);
                    if !core.arrived(token, id, written) {
                        self.free_datagrams.push(id);
                    }
                    continue;
                }
                Err(errno) => errno,
            };
            self.free_datagrams.push(id);
            match errno {
                libc::EINTR => {}
                libc::EAGAIN => {
                    self.interests.of(token).readable = false;
                    return Progress::Done;
                }
                errno => {
                    core.counters.completed(OpKind::RecvMsg, true);
                    if !concerns_one_peer(errno) {
                        self.interests.of(token).read = Read::Off;
                        core.ready.push_back(Completion::RecvFailed { token, errno });
                        return Progress::Done;
                    }
                }
            }
        }
        // What was taken may all have been empty, and no edge tells of the rest.
        self.unfinished = true;
        Progress::More
    }
}

/// Receives one run into `buffer` as the ring lays it out; gives the bytes up to its end, or an
/// errno.
///
/// # Safety
/// The buffer is writable for `PAYLOAD_AT + PAYLOAD_BYTES`.
unsafe fn receive(fd: BorrowedFd<'_>, buffer: *mut u8) -> Result<u32, i32> {
    let at = |offset: usize| buffer.wrapping_add(offset).cast::<libc::c_void>();
    let mut range = libc::iovec { iov_base: at(PAYLOAD_AT), iov_len: PAYLOAD_BYTES };
    // SAFETY: all zero bytes are a valid message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = at(ADDRESS_AT);
    message.msg_namelen = ADDRESS_BYTES as libc::socklen_t;
    message.msg_control = at(CONTROL_AT);
    message.msg_controllen = CONTROL_BYTES as _;
    message.msg_iov = &raw mut range;
    message.msg_iovlen = 1;
    // SAFETY: the message points into the buffer, each part within its room.
    let code = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(len) = u32::try_from(code) else { return Err(last_errno()) };
    let control = message.msg_controllen as u32;
    let head = head(message.msg_namelen, control, len, message.msg_flags);
    // CONTROL: the head of a run.
    // SAFETY: the buffer starts with room for the head.
    unsafe { std::ptr::copy_nonoverlapping(head.as_ptr(), buffer, head.len()) };
    Ok(PAYLOAD_AT as u32 + len)
}
