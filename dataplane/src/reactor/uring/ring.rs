//! The ring itself: set-up, submitting, waiting, taking it down.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};

use super::super::buffers::Buffers;
use super::super::config::ReactorConfig;
use super::super::core::Core;
use super::super::counters::{OpCounters, OpKind};
use super::super::socket;
use super::super::token::{Token, split_user_data, user_data};
use super::super::waker::Waker;
use super::buffer_ring::BufferRing;
use super::datagrams::DatagramRing;
use super::message::Messages;
use super::operation::{Closings, Operations, Slots};
use super::trains::Trains;
use crate::error::Error;

/// Completions per submission: room for multishot answers beside those of sends.
const CQ_PER_SQ: u32 = 4;
/// The group of the receive buffers.
pub(super) const BUFFER_GROUP: u16 = 0;
/// Waits of [`DRAIN_WAIT`] that the last operations get when a reactor is dropped.
const DRAIN_ROUNDS_MAX: u32 = 100;
/// How long one such wait takes at most.
const DRAIN_WAIT: Timespec = Timespec::new().nsec(20_000_000);

/// While datagrams come, a sleep lasts at least this long if not so many answers come: each would
/// end one of its own otherwise, and a packet of live media may wait so long.
const GATHER: Duration = Duration::from_micros(500);
const GATHERED: usize = 64;

/// What is done to a descriptor once no queued entry names it any more.
#[derive(Debug)]
pub(super) enum AfterSubmit {
    ShutdownWrite(RawFd),
    Close(OwnedFd),
}

/// A completion ring and what it has in flight.
#[derive(Debug)]
pub(in super::super) struct Uring {
    // The ring is dropped before the memory that it was given.
    pub(super) ring: Ring,
    pub(super) buffer_ring: BufferRing,
    /// The group of datagrams, if this reactor receives any.
    pub(super) datagrams: Option<DatagramRing>,
    pub(super) messages: Messages,
    pub(super) trains: Trains,
    pub(super) operations: Operations,
    pub(super) slots: Slots,
    pub(super) closings: Closings,
    pub(super) after_submit: Vec<AfterSubmit>,
    /// Receives without a buffer, in the order in which they ran out.
    pub(super) starved: VecDeque<u32>,
    /// Answers taken out of the completion queue to make room, oldest first.
    pub(super) stash: VecDeque<cqueue::Entry>,
    /// Entries queued that will be answered.
    queued: usize,
    /// Entries submitted whose last answer has not been reaped.
    pub(super) in_flight: usize,
    /// Whether the kernel knows how to gather answers.
    gathers: bool,
    /// Datagrams that had come before the last sleep.
    datagrams_seen: u64,
    /// Reactors that were sent a message, by the index that its failure carries.
    pub(super) peers: Vec<Waker>,
}

/// The crate's ring, which does not print.
pub(super) struct Ring(pub(super) IoUring);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").field(&self.0.as_raw_fd()).finish()
    }
}

fn io_error(op: &'static str, error: &std::io::Error) -> Error {
    Error::Io { op, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
}

/// Refuses a kernel, or a container's filter, without something that we use.
fn probe(ring: &IoUring) -> Result<(), Error> {
    let params = ring.params();
    if !(params.is_feature_nodrop()
        && params.is_feature_ext_arg()
        && params.is_feature_skip_cqe_on_success())
    {
        return Err(Error::Io { op: "io_uring features", errno: libc::EOPNOTSUPP });
    }
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| io_error("io_uring probe", &error))?;
    let needed = [
        (opcode::AcceptMulti::CODE, "io_uring accept"),
        (opcode::Recv::CODE, "io_uring recv"),
        (opcode::Send::CODE, "io_uring send"),
        (opcode::SendMsg::CODE, "io_uring sendmsg"),
        (opcode::RecvMsgMulti::CODE, "io_uring recvmsg"),
        (opcode::PollAdd::CODE, "io_uring poll"),
        (opcode::AsyncCancel::CODE, "io_uring cancel"),
        (opcode::MsgRingData::CODE, "io_uring message"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some(&(_, op)) => Err(Error::Io { op, errno: libc::EOPNOTSUPP }),
        None => Ok(()),
    }
}

/// A group of all `buffers`, known to `ring`.
pub(super) fn register(ring: &IoUring, buffers: &Buffers, group: u16) -> Result<BufferRing, Error> {
    let mut entries = BufferRing::new(buffers)?;
    let (address, count) = (entries.address(), buffers.count());
    // SAFETY: the entries are mapped, as many as told, and outlive the ring: they are dropped
    // after it, and leaked if the kernel may still use them.
    unsafe { ring.submitter().register_buf_ring_with_flags(address, count, group, 0) }
        .map_err(|error| io_error("io_uring buffer ring", &error))?;
    (0..count).for_each(|id| entries.give(buffers, id));
    Ok(entries)
}

impl Uring {
    /// A ring that only the calling thread may use, and its waker.
    ///
    /// Multishot accept and receive and cancel-by-any are older than `DEFER_TASKRUN`, so a kernel
    /// that takes the flags has them.
    pub(in super::super) fn new(
        config: &ReactorConfig,
        buffers: &Buffers,
        datagrams: Option<&Buffers>,
    ) -> Result<(Self, Waker), Error> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(config.sq_entries.next_power_of_two() * CQ_PER_SQ)
            .setup_clamp()
            .dontfork()
            .build(config.sq_entries)
            .map_err(|error| io_error("io_uring_setup", &error))?;
        probe(&ring)?;
        let buffer_ring = register(&ring, buffers, BUFFER_GROUP)?;
        let datagrams = datagrams.map(|buffers| DatagramRing::new(&ring, buffers)).transpose()?;
        let waker = Waker::new(Some(ring.as_raw_fd()))?;
        let messages = Messages::new(ring.params().sq_entries());
        let gathers = ring.params().is_feature_min_timeout();
        let uring = Self {
            ring: Ring(ring),
            buffer_ring,
            datagrams,
            messages,
            trains: Trains::default(),
            operations: Operations::default(),
            slots: Slots::default(),
            closings: Closings::default(),
            after_submit: Vec::new(),
            starved: VecDeque::new(),
            stash: VecDeque::new(),
            queued: 0,
            in_flight: 0,
            gathers,
            datagrams_seen: 0,
            peers: Vec::new(),
        };
        Ok((uring, waker))
    }

    /// Queues an entry, submitting first if the queue is full.
    ///
    /// # Safety
    /// What the entry points to stays valid until its submit returns; a descriptor stays open
    /// until the operation ended.
    pub(super) unsafe fn push(&mut self, core: &mut Core, kind: OpKind, entry: &squeue::Entry) {
        core.counters.submitted(kind);
        if self.ring.0.submission().is_full() {
            self.submit(core);
        }
        // SAFETY: the caller's promise is the queue's demand.
        let pushed = unsafe { self.ring.0.submission().push(entry) };
        assert!(pushed.is_ok(), "a submit empties the queue");
        // A message answers only if it fails, and a train within its submit.
        self.queued += usize::from(!matches!(kind, OpKind::Message | OpKind::Train));
    }

    /// Hands the whole queue to the kernel.
    pub(in super::super) fn submit(&mut self, core: &mut Core) {
        while self.wants_enter(core) {
            self.make_room(core);
            core.counters.enter_calls += 1;
            match self.ring.0.submit() {
                Ok(_) if self.ring.0.submission().is_empty() => break,
                Ok(_) => {}
                Err(error) => assert_transient(&error),
            }
        }
        self.finish_submit(core);
    }

    /// True if there is an entry, deferred work or an overflow for the kernel to see to.
    fn wants_enter(&mut self, core: &mut Core) -> bool {
        let queue = self.ring.0.submission();
        let overflow = queue.cq_overflow();
        core.counters.cq_overflows += u64::from(overflow);
        overflow || queue.taskrun() || !queue.is_empty()
    }

    /// Takes answers out of the completion queue if those of this submit might not fit.
    fn make_room(&mut self, core: &mut Core) {
        let queued = self.ring.0.submission().len();
        let overflow = self.ring.0.submission().cq_overflow();
        let answers = self.ring.0.completion();
        if overflow || answers.len() + queued > answers.capacity() {
            drop(answers);
            self.stash_answers(core);
        }
    }

    /// Takes all answers out of the completion queue; those to trains are filed at once.
    pub(super) fn stash_answers(&mut self, core: &mut Core) {
        while let Some(answer) = self.ring.0.completion().next() {
            match split_user_data(answer.user_data()) {
                (Some(OpKind::Train), key) => {
                    self.trains.settle(core, Token::unpack(key), answer.result());
                }
                _ => self.stash.push_back(answer),
            }
        }
    }

    /// No entry is queued any more: messages can be reused and descriptors closed.
    fn finish_submit(&mut self, core: &mut Core) {
        self.in_flight += std::mem::take(&mut self.queued);
        self.messages.reset();
        self.settle_trains(core);
        for action in self.after_submit.drain(..) {
            match action {
                AfterSubmit::ShutdownWrite(fd) => {
                    // SAFETY: its owner closes a descriptor through this list, behind this entry.
                    socket::shutdown_write(unsafe { BorrowedFd::borrow_raw(fd) });
                }
                AfterSubmit::Close(fd) => drop(fd),
            }
        }
    }

    /// True if an answer can be reaped without the kernel.
    fn has_answer(&mut self, core: &Core) -> bool {
        !core.ready.is_empty() || !self.stash.is_empty() || !self.ring.0.completion().is_empty()
    }

    /// Submits and waits for an answer.
    pub(in super::super) fn submit_and_wait(&mut self, core: &mut Core, timeout: Option<Duration>) {
        loop {
            let more = self.feed_starved(core);
            // What waits for the submit must not wait for the sleep as well.
            if more || !self.after_submit.is_empty() || !self.trains.is_empty() {
                self.submit(core);
            }
            if self.has_answer(core) || timeout == Some(Duration::ZERO) {
                self.submit(core);
                return;
            }
            // With a buffer free and no answer, the receives that were fed are idle, and the next
            // ones get their turn before anybody sleeps.
            if !more {
                break;
            }
        }
        self.sleep(core, timeout);
        self.submit(core);
    }

    /// One enter that ends with the first answer, the timeout or a signal; while datagrams come,
    /// with those that came within [`GATHER`].
    fn sleep(&mut self, core: &mut Core, timeout: Option<Duration>) {
        core.counters.enter_calls += 1;
        let came = core.counters.datagrams_received;
        let gathers = self.gathers && came != self.datagrams_seen;
        self.datagrams_seen = came;
        let result = match timeout {
            None => self.ring.0.submit_and_wait(1),
            Some(timeout) => {
                let spec = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&spec);
                let submitter = self.ring.0.submitter();
                if gathers && timeout > GATHER {
                    let args = args.min_wait_usec(GATHER.as_micros() as u32);
                    submitter.submit_with_args(GATHERED, &args)
                } else {
                    submitter.submit_with_args(1, &args)
                }
            }
        };
        if let Err(error) = result {
            assert_transient(&error);
        }
    }

    /// Ends everything in flight. False if the kernel would not within a bounded time: what it may
    /// still write to must not be unmapped then.
    ///
    /// Entries that are queued are never submitted, since the bytes they name may be gone.
    pub(in super::super) fn drain(&mut self, counters: &mut OpCounters) -> bool {
        for _ in 0..DRAIN_ROUNDS_MAX {
            while let Some(answer) = self.next_answer() {
                self.forget_answer(&answer);
            }
            if self.in_flight == 0 {
                return true;
            }
            let submitter = self.ring.0.submitter();
            // Failures count as one of the bounded rounds: nothing may have been left to cancel.
            let _ = submitter.register_sync_cancel(Some(DRAIN_WAIT), CancelBuilder::any());
            let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
            let args = SubmitArgs::new().timespec(&DRAIN_WAIT);
            counters.enter_calls += 1;
            // SAFETY: nothing is submitted; the arguments are those of the flags.
            let _ = unsafe { submitter.enter(0, 1, flags, Some(&args)) };
        }
        self.buffer_ring.leak();
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.buffers.leak();
        }
        false
    }

    /// The oldest answer.
    pub(super) fn next_answer(&mut self) -> Option<cqueue::Entry> {
        self.stash.pop_front().or_else(|| self.ring.0.completion().next())
    }

    /// Starts to wait for the reactor's own waker.
    pub(in super::super) fn watch_waker(&mut self, core: &mut Core) {
        let event = core.waker.event().as_fd().as_raw_fd();
        let poll = opcode::PollAdd::new(Fd(event), libc::POLLIN as u32).multi(true).build();
        // SAFETY: the entry points to nothing, the waker is open while the reactor lives.
        unsafe { self.push(core, OpKind::Wake, &poll.user_data(user_data(OpKind::Wake, 0))) };
    }
}

/// A full completion queue, a lack of memory, a signal and a timeout pass; the rest would be ours.
pub(super) fn assert_transient(error: &std::io::Error) {
    let transient = [libc::EAGAIN, libc::EBUSY, libc::EINTR, libc::ENOMEM, libc::ETIME];
    let errno = error.raw_os_error().unwrap_or(0);
    assert!(transient.contains(&errno), "the ring is broken: {error}");
}
