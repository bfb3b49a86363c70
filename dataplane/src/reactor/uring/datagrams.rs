//! Datagrams on the ring: multishot receives from a group of their own, and trains.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::super::buffers::Buffers;
use super::super::completion::{Completion, SendPart};
use super::super::core::{Core, concerns_one_peer};
use super::super::counters::OpKind;
use super::super::datagrams::{ADDRESS_BYTES, CONTROL_BYTES};
use super::super::token::{Token, user_data};
use super::super::train::{SEND_FLAGS, Ticket};
use super::buffer_ring::BufferRing;
use super::operation::{Operation, State};
use super::ring::{Uring, assert_transient, register};
use crate::error::Error;

/// The group of the buffers for runs of datagrams.
const DATAGRAM_GROUP: u16 = 1;
/// Enters for the answers to trains that overflowed the completion queue.
const SETTLE_ROUNDS_MAX: u32 = 4;

/// What receives of datagrams share.
pub(super) struct DatagramRing {
    pub(super) buffers: BufferRing,
    /// How much room there is for addresses and control messages.
    layout: Box<libc::msghdr>,
    /// Receives without a buffer, in the order in which they ran out.
    starved: VecDeque<u32>,
}

impl std::fmt::Debug for DatagramRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatagramRing").field("starved", &self.starved).finish_non_exhaustive()
    }
}

impl DatagramRing {
    /// A group of all `buffers`, known to `ring`.
    pub(super) fn new(ring: &IoUring, buffers: &Buffers) -> Result<Self, Error> {
        // SAFETY: all zero bytes are a valid message.
        let mut layout: libc::msghdr = unsafe { std::mem::zeroed() };
        layout.msg_namelen = ADDRESS_BYTES as libc::socklen_t;
        layout.msg_controllen = CONTROL_BYTES as _;
        Ok(Self {
            buffers: register(ring, buffers, DATAGRAM_GROUP)?,
            layout: Box::new(layout),
            starved: VecDeque::new(),
        })
    }

    /// The entry of a receive.
    pub(super) fn receive(&self, fd: Fd) -> squeue::Entry {
        opcode::RecvMsgMulti::new(fd, &raw const *self.layout, DATAGRAM_GROUP).build()
    }

    /// A receive that is stopped waits for no buffer.
    pub(super) fn forget(&mut self, index: u32) {
        self.starved.retain(|&starved| starved != index);
    }
}

impl Uring {
    pub(in super::super) fn recv_datagrams_start(
        &mut self,
        core: &mut Core,
        fd: BorrowedFd<'_>,
        token: Token,
    ) {
        self.start(core, fd, token, OpKind::RecvMsg, false);
    }

    /// The group of datagrams.
    pub(super) const fn datagrams(&mut self) -> &mut DatagramRing {
        self.datagrams.as_mut().expect("datagrams are received where there are buffers for them")
    }

    pub(in super::super) fn give_back_datagrams(&mut self, core: &mut Core, id: u16) {
        let buffers = core.datagrams();
        self.datagrams().buffers.give(buffers, id);
    }

    /// Takes the answer of a receive of datagrams.
    pub(super) fn take_datagrams(
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
        core.counters.completed(OpKind::RecvMsg, result < 0 && !cancelled && !starved);
        core.counters.no_buffers += u64::from(starved);
        if let Some(id) = cqueue::buffer_select(answer.flags()) {
            let written = u32::try_from(result).ok().filter(|_| !closing);
            if !written.is_some_and(|written| core.arrived(token, id, written)) {
                self.give_back_datagrams(core, id);
            }
        }
        if closing || !last {
            return;
        }
        if !stopped && starved {
            self.operations.get(index).state = State::Starved;
            self.datagrams().starved.push_back(index);
            return;
        }
        // An empty datagram ends a multishot receive as well.
        let passes = result >= 0 || concerns_one_peer(-result);
        if !stopped && passes {
            core.counters.rearms += 1;
            self.arm(core, index);
            return;
        }
        self.remove(index);
        if !(cancelled || starved || passes) {
            core.ready.push_back(Completion::RecvFailed { token, errno: -result });
        }
        if stopped {
            core.ready.push_back(Completion::RecvEnded { token });
        }
    }

    /// As [`Self::feed_starved`], for datagrams.
    pub(super) fn feed_starved_datagrams(&mut self, core: &mut Core) -> bool {
        let Some(group) = &mut self.datagrams else { return false };
        let free = usize::from(core.datagrams().free());
        for _ in 0..free.min(group.starved.len()) {
            let Some(index) = self.datagrams().starved.pop_front() else { break };
            core.counters.rearms += 1;
            self.arm(core, index);
        }
        free > 0 && !self.datagrams().starved.is_empty()
    }

    /// # Safety
    /// The bytes of every part stay valid until the next submit returns.
    pub(in super::super) unsafe fn send_datagrams(
        &mut self,
        core: &mut Core,
        ticket: Ticket,
        parts: &[SendPart],
    ) {
        if !self.trains.fit(parts.len()) || self.ring.0.submission().is_full() {
            // The message must be written for the submit that its entry is part of.
            self.submit(core);
        }
        let fd = Fd(ticket.fd);
        let (message, key) = self.trains.put(ticket, parts);
        let entry = opcode::SendMsg::new(fd, message).flags(SEND_FLAGS as u32).build();
        let entry = entry.user_data(user_data(OpKind::Train, key.pack()));
        // SAFETY: the bytes are the caller's promise; the message stays until the submit.
        unsafe { self.push(core, OpKind::Train, &entry) };
    }

    /// Files the answers to all trains of a submit, while their bytes are there.
    pub(super) fn settle_trains(&mut self, core: &mut Core) {
        if self.trains.is_empty() {
            return;
        }
        for round in 0..=SETTLE_ROUNDS_MAX {
            self.stash_answers(core);
            if self.trains.open() == 0 || round == SETTLE_ROUNDS_MAX {
                break;
            }
            core.counters.enter_calls += 1;
            if let Err(error) = self.ring.0.submit() {
                assert_transient(&error);
            }
        }
        self.trains.reset(core);
    }
}
