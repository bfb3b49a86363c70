//! The kernel's answers as completions.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use io_uring::cqueue;

use super::super::completion::Completion;
use super::super::core::{Core, concerns_one_connection};
use super::super::counters::OpKind;
use super::super::socket;
use super::super::token::{Token, split_user_data};
use super::operation::{Operation, State};
use super::ring::Uring;

impl Uring {
    /// Takes one answer; false if there is none.
    pub(in super::super) fn reap_one(&mut self, core: &mut Core) -> bool {
        let answer = self.next_answer().or_else(|| {
            // Answers that did not fit wait in the kernel for an enter.
            if self.ring.0.submission().cq_overflow() {
                self.submit(core);
            }
            self.next_answer()
        });
        let Some(answer) = answer else { return false };
        let (kind, key) = split_user_data(answer.user_data());
        let (result, last) = (answer.result(), !cqueue::more(answer.flags()));
        let Some(kind) = kind else {
            core.counters.stale += 1;
            return true;
        };
        match kind {
            OpKind::Send | OpKind::SendMsg => {
                self.in_flight -= 1;
                core.sent(kind, Token::unpack(key), result);
            }
            OpKind::Cancel => {
                self.in_flight -= 1;
                // An operation that had ended by itself is not there to be cancelled.
                core.counters.completed(kind, false);
            }
            OpKind::Wake => {
                core.counters.completed(kind, result < 0);
                core.ready.push_back(Completion::Woken);
                if last {
                    self.in_flight -= 1;
                    core.counters.rearms += 1;
                    self.watch_waker(core);
                }
            }
            OpKind::Woken => {
                core.counters.completed(kind, false);
                core.ready.push_back(Completion::Woken);
            }
            OpKind::Message => {
                // Only failures answer: the ring is gone or cannot take more.
                core.counters.completed(kind, true);
                self.peers[key as usize].wake();
            }
            // Its submit gave it up, and counted it then.
            OpKind::Train => core.counters.stale += 1,
            OpKind::Accept | OpKind::Recv | OpKind::RecvMsg | OpKind::Poll | OpKind::Connect => {
                self.in_flight -= usize::from(last);
                let index = u32::try_from(key).expect("keys of operations are their indexes");
                self.take(core, index, &answer, last);
            }
        }
        true
    }

    /// Takes the answer of an operation of the table.
    fn take(&mut self, core: &mut Core, index: u32, answer: &cqueue::Entry, last: bool) {
        let operation = *self.operations.get(index);
        match operation.kind {
            OpKind::Accept => self.take_accept(core, index, &operation, answer.result(), last),
            OpKind::Recv => self.take_recv(core, index, &operation, answer, last),
            OpKind::RecvMsg => self.take_datagrams(core, index, &operation, answer, last),
            _ => self.take_writable(core, index, &operation, answer.result()),
        }
        if last && let State::Closing(closing) = operation.state {
            self.remove(index);
            if let Some(fd) = self.closings.ended(closing) {
                self.close_after_submit(fd);
            }
        }
    }

    fn take_accept(
        &mut self,
        core: &mut Core,
        index: u32,
        operation: &Operation,
        result: i32,
        last: bool,
    ) {
        let (token, closing) = (operation.token, matches!(operation.state, State::Closing(_)));
        let stopped = operation.state == State::Stopping;
        let cancelled = result == -libc::ECANCELED && (closing || stopped);
        core.counters.completed(OpKind::Accept, result < 0 && !cancelled);
        if result >= 0 {
            // SAFETY: the descriptor is new and nobody else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            if !closing {
                core.accepted(token, fd);
            }
        }
        if closing || !last {
            return;
        }
        let errno = if result < 0 { -result } else { 0 };
        let goes_on = errno == 0 || concerns_one_connection(errno);
        if goes_on && errno != 0 && !matches!(errno, libc::EAGAIN | libc::EINTR) {
            core.ready.push_back(Completion::AcceptFailed { token, errno, ended: false });
        }
        if goes_on && !stopped {
            core.counters.rearms += 1;
            self.arm(core, index);
            return;
        }
        self.remove(index);
        let errno = if stopped { libc::ECANCELED } else { errno };
        core.ready.push_back(Completion::AcceptFailed { token, errno, ended: true });
    }

    fn take_recv(
        &mut self,
        core: &mut Core,
        index: u32,
        operation: &Operation,
        answer: &cqueue::Entry,
        last: bool,
    ) {
        let (token, result) = (operation.token, answer.result());
        let closing = matches!(operation.state, State::Closing(_));
        let stopped = operation.state == State::Stopping;
        let cancelled = result == -libc::ECANCELED && (closing || stopped);
        let starved = result == -libc::ENOBUFS;
        core.counters.completed(OpKind::Recv, result < 0 && !cancelled && !starved);
        core.counters.no_buffers += u64::from(starved);
        match (cqueue::buffer_select(answer.flags()), u32::try_from(result)) {
            (Some(id), Ok(len)) if len > 0 && !closing => core.received(token, id, len),
            // A buffer that was taken for nothing goes straight back.
            (Some(id), _) => self.buffer_ring.give(&core.buffers, id),
            (None, _) => {}
        }
        if closing || !last {
            return;
        }
        let errno = if result < 0 { -result } else { 0 };
        let interrupted = matches!(errno, libc::EINTR | libc::EAGAIN);
        let goes_on = (result > 0 && !operation.once) || interrupted;
        if !stopped && starved {
            self.operations.get(index).state = State::Starved;
            self.starved.push_back(index);
            return;
        }
        if !stopped && goes_on {
            core.counters.rearms += 1;
            self.arm(core, index);
            return;
        }
        self.remove(index);
        if result == 0 {
            core.ready.push_back(Completion::Eof { token });
        } else if errno != 0 && !(cancelled || starved || interrupted) {
            core.ready.push_back(Completion::RecvFailed { token, errno });
        }
        if stopped {
            core.ready.push_back(Completion::RecvEnded { token });
        }
    }

    /// Takes the answer of a poll, the shard's own or the one of a connect.
    fn take_writable(&mut self, core: &mut Core, index: u32, operation: &Operation, result: i32) {
        let (token, live) = (operation.token, operation.state == State::Armed);
        match operation.kind {
            OpKind::Connect if live => {
                // SAFETY: the descriptor is open until the operation of its token ended.
                let fd = unsafe { BorrowedFd::borrow_raw(operation.fd) };
                let errno = if result < 0 { -result } else { socket::take_error(fd) };
                core.connected(token, errno);
            }
            kind => core.counters.completed(kind, result < 0 && live),
        }
        if operation.kind == OpKind::Poll && live {
            core.ready.push_back(Completion::Writable { token });
        }
        if !matches!(operation.state, State::Closing(_)) {
            self.remove(index);
        }
    }

    /// Takes an answer that nobody waits for any more.
    pub(super) fn forget_answer(&mut self, answer: &cqueue::Entry) {
        let (kind, last) = (split_user_data(answer.user_data()).0, !cqueue::more(answer.flags()));
        match kind {
            Some(OpKind::Woken | OpKind::Message | OpKind::Train) | None => return,
            Some(OpKind::Accept) if answer.result() >= 0 => {
                // SAFETY: the descriptor is new and nobody else owns it.
                drop(unsafe { OwnedFd::from_raw_fd(answer.result()) });
            }
            Some(_) => {}
        }
        self.in_flight -= usize::from(last);
    }
}
