//! Requests of the shard as ring entries.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::super::completion::{Completion, RecvMode, SendPart};
use super::super::core::Core;
use super::super::counters::OpKind;
use super::super::socket;
use super::super::token::{Token, user_data};
use super::super::waker::Waker;
use super::operation::{Operation, Side, State};
use super::ring::{AfterSubmit, BUFFER_GROUP, Uring};

/// Sends neither wait nor raise a signal.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

impl Uring {
    pub(in super::super) fn accept_start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
    ) {
        self.start(core, fd, token, OpKind::Accept, false);
    }

    pub(in super::super) fn accept_stop(&mut self, core: &mut Core, token: Token) {
        if let Some(index) = self.slots.get(token, Side::Read)
            && self.operations.get(index).kind == OpKind::Accept
        {
            self.stop(core, index);
        }
    }

    pub(in super::super) fn recv_start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        mode: RecvMode,
    ) {
        self.start(core, fd, token, OpKind::Recv, mode == RecvMode::Once);
    }

    pub(in super::super) fn recv_stop(&mut self, core: &mut Core, token: Token) {
        let Some(index) = self.slots.get(token, Side::Read) else {
            core.ready.push_back(Completion::RecvEnded { token });
            return;
        };
        if self.operations.get(index).state == State::Starved {
            self.unstarve(index);
            core.ready.push_back(Completion::RecvEnded { token });
        } else {
            self.stop(core, index);
        }
    }

    /// # Safety
    /// The bytes of every part stay valid until the next submit returns.
    pub(in super::super) unsafe fn send(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        parts: &[SendPart],
    ) {
        let fd = Fd(fd.as_raw_fd());
        let (kind, entry) = match parts {
            [part] => {
                let entry = opcode::Send::new(fd, part.ptr, part.len).flags(SEND_FLAGS);
                (OpKind::Send, entry.build())
            }
            parts => {
                if self.ring.0.submission().is_full() {
                    // The message must be written for the submit that its entry is part of.
                    self.submit(core);
                }
                let message = self.messages.put(parts);
                let entry = opcode::SendMsg::new(fd, message).flags(SEND_FLAGS as u32);
                (OpKind::SendMsg, entry.build())
            }
        };
        let entry = entry.user_data(user_data(kind, token.pack()));
        // SAFETY: the bytes are the caller's promise; the message stays until the submit.
        unsafe { self.push(core, kind, &entry) };
    }

    pub(in super::super) fn poll_writable(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
    ) {
        if self.slots.get(token, Side::Write).is_none() {
            self.start(core, fd, token, OpKind::Poll, true);
        }
    }

    pub(in super::super) fn poll_cancel(&mut self, core: &mut Core, token: Token) {
        if let Some(index) = self.slots.get(token, Side::Write)
            && self.operations.get(index).kind == OpKind::Poll
        {
            self.stop(core, index);
            // The token may poll anew while the old operation ends.
            self.slots.clear(token, Side::Write, index);
        }
    }

    pub(in super::super) fn connect(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        peer: &SocketAddr,
    ) {
        match socket::connect(fd, peer) {
            Ok(false) => self.start(core, fd, token, OpKind::Connect, true),
            done => {
                core.counters.submitted(OpKind::Connect);
                core.connected(token, done.err().unwrap_or(0));
            }
        }
    }

    pub(in super::super) fn shutdown_write(&mut self, fd: BorrowedFd<'_>) {
        if self.ring.0.submission().is_empty() {
            socket::shutdown_write(fd);
        } else {
            self.after_submit.push(AfterSubmit::ShutdownWrite(fd.as_raw_fd()));
        }
    }

    pub(in super::super) fn close(&mut self, core: &mut Core, fd: OwnedFd, token: Token) {
        let sides = [Side::Read, Side::Write].map(|side| self.slots.get(token, side));
        let mut armed = [None; 2];
        for (at, index) in sides.into_iter().enumerate() {
            let Some(index) = index else { continue };
            if self.operations.get(index).state == State::Starved {
                self.unstarve(index);
            } else {
                armed[at] = Some(index);
            }
        }
        let count = armed.iter().flatten().count();
        if count == 0 {
            self.close_after_submit(fd);
            return;
        }
        let closing = self.closings.add(fd, if count == 1 { 1 } else { 2 });
        for index in armed.into_iter().flatten() {
            self.stop(core, index);
            let operation = self.operations.get(index);
            operation.state = State::Closing(closing);
            let (token, side) = (operation.token, Side::of(operation.kind));
            self.slots.clear(token, side, index);
        }
    }

    /// Closes `fd` as soon as no queued entry can name it.
    pub(super) fn close_after_submit(&mut self, fd: OwnedFd) {
        if self.ring.0.submission().is_empty() {
            drop(fd);
        } else {
            self.after_submit.push(AfterSubmit::Close(fd));
        }
    }

    pub(in super::super) fn give_back(&mut self, core: &mut Core, id: u16) {
        self.buffer_ring.give(&core.buffers, id);
    }

    pub(in super::super) fn wake_peer(&mut self, core: &mut Core, peer: &Waker) {
        let Some(ring) = peer.ring_fd().filter(|_| !peer.same(&core.waker)) else {
            peer.wake();
            return;
        };
        let known = self.peers.iter().position(|known| known.same(peer));
        let index = known.unwrap_or_else(|| {
            self.peers.push(peer.clone());
            self.peers.len() - 1
        });
        let woken = user_data(OpKind::Woken, 0);
        let entry = opcode::MsgRingData::new(Fd(ring), 0, woken, None).build();
        let entry = entry
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(OpKind::Message, index as u64));
        // SAFETY: the entry points to nothing; a ring that is gone is an error, answered below.
        unsafe { self.push(core, OpKind::Message, &entry) };
    }

    /// Starts an operation of a token that has none on that side.
    pub(super) fn start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
        kind: OpKind,
        once: bool,
    ) {
        let side = Side::of(kind);
        assert!(self.slots.get(token, side).is_none(), "{} of a token twice", kind.name());
        let fd = fd.as_raw_fd();
        let operation = Operation { kind, token, fd, once, state: State::Armed };
        let index = self.operations.add(operation);
        self.slots.set(token, side, index);
        self.arm(core, index);
    }

    /// Queues the entry of an operation, for the first time or again.
    pub(super) fn arm(&mut self, core: &mut Core, index: u32) {
        let operation = self.operations.get(index);
        operation.state = State::Armed;
        let (kind, fd) = (operation.kind, Fd(operation.fd));
        let entry = match kind {
            OpKind::Accept => {
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                opcode::AcceptMulti::new(fd).flags(flags).build()
            }
            OpKind::Recv if operation.once => {
                let entry = opcode::Recv::new(fd, std::ptr::null_mut(), core.buffers.each());
                let entry = entry.buf_group(BUFFER_GROUP).build();
                entry.flags(squeue::Flags::BUFFER_SELECT)
            }
            OpKind::Recv => opcode::RecvMulti::new(fd, BUFFER_GROUP).build(),
            OpKind::RecvMsg => self.datagrams().receive(fd),
            _ => opcode::PollAdd::new(fd, libc::POLLOUT as u32).build(),
        };
        let entry = entry.user_data(user_data(kind, u64::from(index)));
        // SAFETY: received bytes go to the buffer ring, which outlives the ring; the descriptor
        // stays open until the operation ended, by the contract of the reactor.
        unsafe { self.push(core, kind, &entry) };
    }

    /// Cancels an operation that the kernel has, once.
    fn stop(&mut self, core: &mut Core, index: u32) {
        let operation = self.operations.get(index);
        if operation.state != State::Armed {
            return;
        }
        operation.state = State::Stopping;
        let target = user_data(operation.kind, u64::from(index));
        let entry = opcode::AsyncCancel::new(target).build();
        let entry = entry.user_data(user_data(OpKind::Cancel, 0));
        // SAFETY: the entry points to nothing.
        unsafe { self.push(core, OpKind::Cancel, &entry) };
    }

    /// Starts receives that ran out of buffers, as many as buffers are free; true if some are left
    /// although buffers are free.
    pub(in super::super) fn feed_starved(&mut self, core: &mut Core) -> bool {
        let free = usize::from(core.buffers.free());
        for _ in 0..free.min(self.starved.len()) {
            if let Some(index) = self.starved.pop_front() {
                core.counters.rearms += 1;
                self.arm(core, index);
            }
        }
        let more = free > 0 && !self.starved.is_empty();
        self.feed_starved_datagrams(core) || more
    }

    /// Ends a receive that waits for a buffer.
    fn unstarve(&mut self, index: u32) {
        self.starved.retain(|&starved| starved != index);
        if let Some(group) = &mut self.datagrams {
            group.forget(index);
        }
        self.remove(index);
    }

    /// Forgets an operation that the kernel no longer has.
    pub(super) fn remove(&mut self, index: u32) {
        let operation = self.operations.get(index);
        let (token, side) = (operation.token, Side::of(operation.kind));
        self.slots.clear(token, side, index);
        self.operations.remove(index);
    }
}
