//! The reactor itself: dispatch to one of two backends.

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::address::RawAddress;
use super::buffers::{Buffers, RecvBuf};
use super::completion::{Completion, RecvMode, SEND_PARTS_MAX, SendPart};
use super::config::{BackendChoice, BackendKind, ReactorConfig};
use super::core::Core;
use super::counters::OpCounters;
use super::datagrams::{DATAGRAM_BUFFER_BYTES, DatagramBuf};
use super::epoll::Epoll;
use super::token::Token;
use super::train::{self, Ticket};
use super::uring::Uring;
use super::waker::Waker;
use crate::error::Error;

/// One sleep at most: longer timeouts end early, and none overflows the kernel's clock.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// The completion loop of one shard.
///
/// Lives on: the shard's thread, where it was created. Crosses by: never (a [`Waker`] does).
///
/// A descriptor stays open and a token keeps naming it from the first operation that is started on
/// it until the operations ended: [`Reactor::close`] waits for that by itself; who wants the
/// descriptor to live on (a hand-over) stops the receive and waits for its
/// [`Completion::RecvEnded`].
#[derive(Debug)]
pub struct Reactor {
    // The backend is dropped first: the kernel may use the buffers while it lives.
    backend: Backend,
    core: Core,
}

#[derive(Debug)]
enum Backend {
    Uring(Box<Uring>),
    Epoll(Box<Epoll>),
}

macro_rules! dispatch {
    ($self:ident, $backend:ident, $core:ident => $call:expr) => {{
        let $core = &mut $self.core;
        match &mut $self.backend {
            Backend::Uring($backend) => $call,
            Backend::Epoll($backend) => $call,
        }
    }};
}

impl Reactor {
    /// A reactor for the calling thread, and why it is not io_uring if that was wished for.
    ///
    /// # Errors
    /// The configuration is out of bounds, the backend that was asked for is not available, or
    /// the process is out of descriptors or memory.
    pub fn new(config: &ReactorConfig) -> Result<(Self, Option<String>), Error> {
        config.validate()?;
        let buffers = Buffers::new(config.recv_buffers, config.recv_buffer_bytes)?;
        let datagrams = match config.datagram_buffers {
            0 => None,
            count => Some(Buffers::new(count, DATAGRAM_BUFFER_BYTES)?),
        };
        let reason = match config.choice {
            BackendChoice::Epoll => None,
            choice => match Uring::new(config, &buffers, datagrams.as_ref()) {
                Ok((uring, waker)) => {
                    let mut core = Core::new(buffers, datagrams, waker);
                    let mut uring = Box::new(uring);
                    uring.watch_waker(&mut core);
                    return Ok((Self { backend: Backend::Uring(uring), core }, None));
                }
                Err(error) if choice == BackendChoice::IoUring => return Err(error),
                Err(error) => Some(error.to_string()),
            },
        };
        let waker = Waker::new(None)?;
        let epoll = Box::new(Epoll::new(&buffers, datagrams.as_ref(), &waker)?);
        let core = Core::new(buffers, datagrams, waker);
        Ok((Self { backend: Backend::Epoll(epoll), core }, reason))
    }

    /// Which backend runs.
    #[must_use]
    pub const fn kind(&self) -> BackendKind {
        match self.backend {
            Backend::Uring(_) => BackendKind::IoUring,
            Backend::Epoll(_) => BackendKind::Epoll,
        }
    }

    /// What wakes this reactor.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.core.waker.clone()
    }

    /// Wakes another shard's reactor: between rings by a message that leaves with the next submit,
    /// else at once.
    pub fn wake_peer(&mut self, peer: &Waker) {
        match &mut self.backend {
            Backend::Uring(uring) => uring.wake_peer(&mut self.core, peer),
            Backend::Epoll(_) => peer.wake(),
        }
    }

    /// Accepts connections until it is stopped, each as a [`Completion::Accepted`].
    ///
    /// An `AcceptFailed` that is not `ended` is one lost connection; an ended one (out of
    /// descriptors, a broken listener) wants a new start, after a pause.
    pub fn accept_start(&mut self, fd: BorrowedFd<'_>, token: Token) {
        dispatch!(self, backend, core => backend.accept_start(core, fd, token));
    }

    /// Stops accepting; the `AcceptFailed` with `ended` and `ECANCELED` is its answer. No answer
    /// comes if nothing was accepting.
    pub fn accept_stop(&mut self, token: Token) {
        dispatch!(self, backend, core => backend.accept_stop(core, token));
    }

    /// Receives from `fd`. At most one receive of a token runs at a time, and none is started
    /// between a stop and its answer.
    pub fn recv_start(&mut self, fd: BorrowedFd<'_>, token: Token, mode: RecvMode) {
        dispatch!(self, backend, core => backend.recv_start(core, fd, token, mode));
    }

    /// Stops receiving. Exactly one [`Completion::RecvEnded`] answers, also if the receive was
    /// over already; data that had arrived comes before it, data that arrives later stays in the
    /// socket.
    pub fn recv_stop(&mut self, token: Token) {
        dispatch!(self, backend, core => backend.recv_stop(core, token));
    }

    /// True if it was built with buffers for datagrams.
    #[must_use]
    pub const fn takes_datagrams(&self) -> bool {
        self.core.datagrams.is_some()
    }

    /// Receives datagrams from a UDP socket, as [`Completion::Datagrams`], until it is stopped by
    /// [`Self::recv_stop`]. What the network tells of one peer does not end it.
    ///
    /// # Panics
    /// The reactor was built without `datagram_buffers`.
    pub fn recv_datagrams_start(&mut self, fd: BorrowedFd<'_>, token: Token) {
        assert!(self.core.datagrams.is_some(), "the reactor has no buffers for datagrams");
        dispatch!(self, backend, core => backend.recv_datagrams_start(core, fd, token));
    }

    /// The datagrams of a run, in order.
    pub fn datagrams(&self, buf: &DatagramBuf) -> std::slice::Chunks<'_, u8> {
        let group = self.core.datagrams.as_ref().expect("the buffer is of this reactor");
        buf.bytes(group).chunks(buf.segment())
    }

    /// The datagrams of a run, in order, to be decrypted where they are.
    pub fn datagrams_mut(&mut self, buf: &mut DatagramBuf) -> std::slice::ChunksMut<'_, u8> {
        let segment = buf.segment();
        buf.bytes_mut(self.core.datagrams()).chunks_mut(segment)
    }

    /// Datagram `at` of a run, for who needs the reactor between two of them.
    pub fn datagram_mut(&mut self, buf: &mut DatagramBuf, at: usize) -> Option<&mut [u8]> {
        self.datagrams_mut(buf).nth(at)
    }

    /// Gives the buffer of a run back to its group.
    pub fn release_datagrams(&mut self, buf: DatagramBuf) {
        self.core.datagrams().take_back(&buf.run);
        dispatch!(self, backend, core => backend.give_back_datagrams(core, buf.run.id));
    }

    /// Queues one train of datagrams to `peer`: each has `segment` bytes, the last may have fewer,
    /// and parts need not end where datagrams do. At most [`super::TRAIN_PARTS_MAX`] parts,
    /// [`super::TRAIN_DATAGRAMS_MAX`] datagrams and [`super::TRAIN_BYTES_MAX`] bytes.
    ///
    /// Trains of one token may follow each other in one submit; each has one answer, in their
    /// order, before any other completion of the submit.
    ///
    /// # Panics
    /// The train is empty or out of bounds.
    ///
    /// # Safety
    /// The bytes of every part stay valid and unchanged until the next [`Self::submit`] or
    /// [`Self::submit_and_wait`] returns.
    pub unsafe fn send_datagrams(
        &mut self,
        fd: BorrowedFd<'_>,
        token: Token,
        peer: &SocketAddr,
        parts: &[SendPart],
        segment: u16,
    ) {
        let ticket = Ticket::new(fd, token, RawAddress::new(peer), parts, segment);
        let whole = self.core.cuts_trains(fd);
        match &mut self.backend {
            // SAFETY: the caller keeps the bytes until the submit returned.
            Backend::Uring(uring) if whole => unsafe {
                uring.send_datagrams(&mut self.core, ticket, parts);
            },
            // SAFETY: the caller keeps the bytes for longer.
            _ => unsafe { train::send(&mut self.core, &ticket, parts, whole) },
        }
    }

    /// Queues one non-blocking send of 1 to [`SEND_PARTS_MAX`] parts.
    ///
    /// One send of a token per submit: the kernel may cut a send short, and a second one behind it
    /// would then leave a hole.
    ///
    /// # Safety
    /// The bytes of every part stay valid and unchanged until the next [`Self::submit`] or
    /// [`Self::submit_and_wait`] returns.
    pub unsafe fn send(&mut self, fd: BorrowedFd<'_>, token: Token, parts: &[SendPart]) {
        assert!((1..=SEND_PARTS_MAX).contains(&parts.len()), "a send has 1 to 8 parts");
        // SAFETY: the caller keeps the bytes until the submit returned.
        dispatch!(self, backend, core => unsafe { backend.send(core, fd, token, parts) });
    }

    /// Answers once with [`Completion::Writable`] when there is room to send or the connection
    /// broke. A second poll while one waits is the same poll.
    pub fn poll_writable(&mut self, fd: BorrowedFd<'_>, token: Token) {
        dispatch!(self, backend, core => backend.poll_writable(core, fd, token));
    }

    /// Gives up a [`Self::poll_writable`]. A `Writable` that had happened may still be delivered.
    pub fn poll_cancel(&mut self, token: Token) {
        dispatch!(self, backend, core => backend.poll_cancel(core, token));
    }

    /// Connects `fd`; [`Completion::Connected`] tells how it went. The deadline is the shard's.
    pub fn connect(&mut self, fd: BorrowedFd<'_>, token: Token, peer: &SocketAddr) {
        dispatch!(self, backend, core => backend.connect(core, fd, token, peer));
    }

    /// Ends our direction of a connection after the sends that are queued.
    pub fn shutdown_write(&mut self, fd: BorrowedFd<'_>) {
        match &mut self.backend {
            Backend::Uring(uring) => uring.shutdown_write(fd),
            Backend::Epoll(_) => super::socket::shutdown_write(fd),
        }
    }

    /// Closes `fd` after the sends that are queued: cancels every operation of `token` without a
    /// further answer, and closes when the kernel has let go of them.
    ///
    /// Completions of the token that were finished before may still be delivered: the shard raises
    /// the slot's generation and drops them.
    pub fn close(&mut self, fd: OwnedFd, token: Token) {
        dispatch!(self, backend, core => backend.close(core, fd, token));
    }

    /// Hands everything that is queued to the kernel, and takes what arrived. Afterwards every send
    /// of the batch has its completion ready.
    ///
    /// Whoever is too busy to sleep hears its peers by this: receives that ran out of buffers are
    /// started again, and sockets are looked at.
    ///
    /// # Panics
    /// The kernel refuses the ring itself, which only a broken invariant of ours can cause.
    pub fn submit(&mut self) {
        match &mut self.backend {
            Backend::Uring(uring) => {
                uring.feed_starved(&mut self.core);
                uring.submit(&mut self.core);
            }
            // Sends were made as they came.
            Backend::Epoll(epoll) => epoll.look(&mut self.core),
        }
    }

    /// Submits and sleeps until there is a completion, a wake-up, a signal or the timeout; `None`
    /// is no timeout. Returns at once while completions are ready.
    ///
    /// It may return early without a completion, after the end of an operation that the shard no
    /// longer waits for: the shard looks at its own deadlines each turn.
    ///
    /// # Panics
    /// As [`Self::submit`].
    pub fn submit_and_wait(&mut self, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| timeout.min(SLEEP_MAX));
        dispatch!(self, backend, core => backend.submit_and_wait(core, timeout));
    }

    /// The next completion that is ready.
    pub fn next_completion(&mut self) -> Option<Completion> {
        loop {
            if let Some(completion) = self.core.ready.pop_front() {
                return Some(completion);
            }
            let Backend::Uring(uring) = &mut self.backend else { return None };
            if !uring.reap_one(&mut self.core) {
                return None;
            }
        }
    }

    /// Gives a receive buffer back to the group.
    pub fn release(&mut self, buf: RecvBuf) {
        self.core.buffers.take_back(&buf);
        dispatch!(self, backend, core => backend.give_back(core, buf.id));
    }

    /// The bytes of a received buffer.
    #[must_use]
    pub fn recv_bytes(&self, buf: &RecvBuf) -> &[u8] {
        self.core.buffers.bytes(buf)
    }

    /// What this reactor did so far.
    #[must_use]
    pub const fn counters(&self) -> &OpCounters {
        &self.core.counters
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.core.waker.forget_ring();
        if let Backend::Uring(uring) = &mut self.backend
            && !uring.drain(&mut self.core.counters)
        {
            self.core.buffers.leak();
            if let Some(datagrams) = &mut self.core.datagrams {
                datagrams.leak();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes system calls of the calling thread fail, as a container's filter does.
    fn deny(calls: &[libc::c_long], errno: i32) {
        let op = |code: u32, k: u32, jt: u8| libc::sock_filter { code: code as u16, jt, jf: 0, k };
        let mut program = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
        for (at, &call) in calls.iter().enumerate() {
            // A match jumps over the other comparisons and the return that allows.
            let jump = u8::try_from(calls.len() - at).unwrap();
            let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
            program.push(op(code, u32::try_from(call).unwrap(), jump));
        }
        program.push(op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
        program.push(op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32, 0));
        let filter = libc::sock_fprog {
            len: u16::try_from(program.len()).unwrap(),
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the call takes no pointer.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the program is readable for the length that is told.
        let code = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) };
        assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    }

    fn with(choice: BackendChoice) -> ReactorConfig {
        ReactorConfig { choice, ..ReactorConfig::default() }
    }

    /// The filter stays with its thread, so each case has one.
    fn on_a_thread(case: impl FnOnce() + Send + 'static) {
        std::thread::spawn(case).join().unwrap();
    }

    #[test]
    fn the_ring_is_the_first_choice() {
        let (reactor, reason) = Reactor::new(&with(BackendChoice::Auto)).unwrap();
        assert_eq!((reactor.kind(), reason), (BackendKind::IoUring, None));
    }

    #[test]
    fn a_filter_leads_to_epoll_with_a_reason() {
        for (call, op) in [
            (libc::SYS_io_uring_setup, "io_uring_setup"),
            (libc::SYS_io_uring_register, "io_uring probe"),
        ] {
            on_a_thread(move || {
                deny(&[call], libc::EPERM);
                let (reactor, reason) = Reactor::new(&with(BackendChoice::Auto)).unwrap();
                assert_eq!(reactor.kind(), BackendKind::Epoll);
                let reason = reason.unwrap();
                assert!(reason.contains(op) && reason.contains("not permitted"), "{reason}");
                let asked = Reactor::new(&with(BackendChoice::IoUring)).unwrap_err();
                assert_eq!(asked, Error::Io { op, errno: libc::EPERM });
            });
        }
    }

    #[test]
    fn an_old_filter_leaves_coarse_timeouts() {
        on_a_thread(|| {
            deny(&[libc::SYS_epoll_pwait2], libc::ENOSYS);
            let (mut reactor, _) = Reactor::new(&with(BackendChoice::Epoll)).unwrap();
            reactor.submit_and_wait(Some(Duration::from_micros(10)));
            assert!(reactor.next_completion().is_none());
            reactor.waker().wake();
            reactor.submit_and_wait(None);
            assert!(matches!(reactor.next_completion(), Some(Completion::Woken)));
        });
    }

    #[test]
    fn a_kernel_without_trains_sends_datagrams() {
        use std::os::fd::AsFd;

        use super::super::udp::{UdpOptions, udp_socket};

        for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
            on_a_thread(move || {
                let config = ReactorConfig { datagram_buffers: 4, ..with(choice) };
                let (mut reactor, _) = Reactor::new(&config).unwrap();
                let any = "127.0.0.1:0".parse().unwrap();
                let fd = udp_socket(&any, &UdpOptions::default()).unwrap();
                let peer = super::super::local_addr(fd.as_fd()).unwrap();
                let token = Token::new(0, 0);
                deny(&[libc::SYS_getsockopt], libc::ENOPROTOOPT);
                for sent in 1..=2 {
                    let parts = [SendPart::new(&[1; 130]), SendPart::new(&[2; 120])];
                    // SAFETY: the bytes are constant.
                    unsafe { reactor.send_datagrams(fd.as_fd(), token, &peer, &parts, 100) };
                    reactor.submit();
                    let answer = reactor.next_completion();
                    let whole = matches!(answer, Some(Completion::TrainSent { bytes: 250, .. }));
                    assert!(whole, "{answer:?}");
                    assert_eq!(reactor.counters().datagrams_sent, 3 * sent);
                    assert_eq!(reactor.counters().send_calls, 3 * sent);
                    assert_eq!(reactor.counters().trains_split, 0);
                }
                reactor.recv_datagrams_start(fd.as_fd(), token);
                let mut lens = Vec::new();
                while lens.len() < 6 {
                    reactor.submit_and_wait(Some(Duration::from_secs(30)));
                    while let Some(run) = reactor.next_completion() {
                        let Completion::Datagrams { buf, .. } = run else { panic!("{run:?}") };
                        lens.extend(reactor.datagrams(&buf).map(<[u8]>::len));
                        reactor.release_datagrams(buf);
                    }
                }
                assert_eq!(lens, [100, 100, 50, 100, 100, 50]);
            });
        }
    }

    #[test]
    fn a_message_that_fails_becomes_an_event() {
        use std::os::fd::AsRawFd;

        let (mut reactor, _) = Reactor::new(&with(BackendChoice::IoUring)).unwrap();
        let event = reactor.waker().event().as_raw_fd();
        // Not a ring, as the number of a ring that is gone may be by now.
        let odd = Waker::new(Some(event)).unwrap();
        reactor.wake_peer(&odd);
        reactor.submit();
        assert!(reactor.next_completion().is_none());
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is writable for its length.
        let read = unsafe { libc::read(odd.event().as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        assert_eq!((read, u64::from_ne_bytes(count)), (8, 1));
        assert_eq!(reactor.counters().op(super::super::counters::OpKind::Message).errors, 1);
    }

    #[test]
    fn the_longest_timeout_is_no_error() {
        for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
            let (mut reactor, _) = Reactor::new(&with(choice)).unwrap();
            reactor.waker().wake();
            reactor.submit_and_wait(Some(Duration::MAX));
            assert!(matches!(reactor.next_completion(), Some(Completion::Woken)));
        }
    }
}
