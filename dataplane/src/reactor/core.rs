//! What both backends work on: finished completions, receive buffers, counters, the waker.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::buffers::Buffers;
use super::completion::Completion;
use super::counters::{OpCounters, OpKind};
use super::datagrams::{Arrival, DatagramBuf};
use super::socket;
use super::token::Token;
use super::udp;
use super::waker::Waker;

/// Completions that wait at once in the steady state: a slice of sends and a batch of receives.
const READY: usize = 2_048;

/// The part of a reactor that does not depend on its backend. Lives on: its shard.
#[derive(Debug)]
pub(super) struct Core {
    /// Completions that the shard has not taken yet, oldest first.
    pub(super) ready: VecDeque<Completion>,
    pub(super) counters: OpCounters,
    pub(super) buffers: Buffers,
    /// Buffers for runs of datagrams, if this reactor receives any.
    pub(super) datagrams: Option<Buffers>,
    pub(super) waker: Waker,
    /// Whether the kernel cuts trains, once it was asked.
    cuts_trains: Option<bool>,
}

impl Core {
    pub(super) fn new(buffers: Buffers, datagrams: Option<Buffers>, waker: Waker) -> Self {
        // A turn's completions find room without growing, however long the busiest turn is.
        Self {
            ready: VecDeque::with_capacity(READY),
            counters: OpCounters::default(),
            buffers,
            datagrams,
            waker,
            cuts_trains: None,
        }
    }

    /// True if fewer completions wait than a turn's usual ones.
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() < READY
    }

    /// Files the result of a send: a count, or an errno below zero.
    pub(super) fn sent(&mut self, kind: OpKind, token: Token, result: i32) {
        self.counters.completed(kind, result < 0);
        self.ready.push_back(match u32::try_from(result) {
            Ok(bytes) => {
                self.counters.bytes_sent += u64::from(bytes);
                Completion::Sent { token, bytes }
            }
            // EAGAIN is EWOULDBLOCK on Linux. ENOBUFS is a moment without kernel memory.
            Err(_) if matches!(-result, libc::EAGAIN | libc::ENOBUFS) => {
                self.counters.sends_blocked += 1;
                Completion::SendBlocked { token }
            }
            Err(_) => Completion::SendFailed { token, errno: -result },
        });
    }

    /// Files `len` received bytes in buffer `id`.
    pub(super) fn received(&mut self, token: Token, id: u16, len: u32) {
        self.counters.bytes_received += u64::from(len);
        let buf = self.buffers.lend(id, len);
        self.ready.push_back(Completion::Received { token, buf });
    }

    /// The buffers for runs of datagrams.
    pub(super) const fn datagrams(&mut self) -> &mut Buffers {
        self.datagrams.as_mut().expect("datagrams are received where there are buffers for them")
    }

    /// Files the run of datagrams that fills buffer `id` with `written` bytes; false if there is
    /// nothing in it for the shard, and the buffer is free again.
    pub(super) fn arrived(&mut self, token: Token, id: u16, written: u32) -> bool {
        let buffers = self.datagrams();
        let run = buffers.lend(id, written);
        let arrival = Arrival::parse(buffers.bytes(&run));
        let Arrival::Run { peer, segment } = arrival else {
            buffers.take_back(&run);
            self.counters.datagrams_received += u64::from(arrival == Arrival::Empty);
            self.counters.datagrams_truncated += u64::from(arrival == Arrival::Cut);
            return false;
        };
        let buf = DatagramBuf::new(run, segment);
        self.counters.bytes_received += buf.len() as u64;
        self.counters.datagrams_received += buf.count() as u64;
        self.ready.push_back(Completion::Datagrams { token, peer, buf });
        true
    }

    /// Whether the kernel cuts trains into datagrams; asked once, of any UDP socket.
    pub(super) fn cuts_trains(&mut self, fd: BorrowedFd<'_>) -> bool {
        *self.cuts_trains.get_or_insert_with(|| {
            let cuts = udp::cuts_trains(fd);
            if !cuts {
                tracing::warn!("the kernel has no UDP_SEGMENT, datagrams are sent one by one");
            }
            cuts
        })
    }

    /// Notes that a train is sent datagram by datagram.
    pub(super) fn train_split(&mut self, errno: i32) {
        self.counters.trains_split += 1;
        if self.counters.trains_split == 1 {
            tracing::warn!(errno, "a route takes no trains, its datagrams are sent one by one");
        }
    }

    /// Files the result of a train of datagrams of `segment` bytes.
    pub(super) fn train_sent(&mut self, token: Token, segment: u16, result: i32) {
        self.counters.completed(OpKind::Train, result < 0);
        self.ready.push_back(match u32::try_from(result) {
            Ok(bytes) => {
                self.counters.bytes_sent += u64::from(bytes);
                self.counters.datagrams_sent += u64::from(bytes.div_ceil(u32::from(segment)));
                Completion::TrainSent { token, bytes }
            }
            Err(_) if matches!(-result, libc::EAGAIN | libc::ENOBUFS) => {
                self.counters.sends_blocked += 1;
                Completion::TrainBlocked { token }
            }
            Err(_) => Completion::TrainFailed { token, errno: -result },
        });
    }

    /// Files an accepted connection.
    pub(super) fn accepted(&mut self, token: Token, fd: OwnedFd) {
        use std::os::fd::AsFd;

        self.ready.push_back(match socket::peer_addr(fd.as_fd()) {
            Ok(peer) => Completion::Accepted { token, fd, peer },
            // The peer left between the accept and the question.
            Err(_) => Completion::AcceptFailed { token, errno: libc::ECONNABORTED, ended: false },
        });
    }

    /// Files the end of a connect.
    pub(super) fn connected(&mut self, token: Token, errno: i32) {
        self.counters.completed(OpKind::Connect, errno != 0);
        let result = if errno == 0 { Ok(()) } else { Err(errno) };
        self.ready.push_back(Completion::Connected { token, result });
    }
}

/// True if an accept failed for one connection only, so that accepting can go on at once.
pub(super) const fn concerns_one_connection(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EINTR
            | libc::EAGAIN
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
            | libc::ENONET
            | libc::EOPNOTSUPP
            | libc::EPERM
            | libc::ETIMEDOUT
    )
}

/// True if the receive of a socket that many peers share told of one of them, or of a moment's lack
/// of memory, so that receiving goes on at once.
pub(super) const fn concerns_one_peer(errno: i32) -> bool {
    matches!(
        errno,
        libc::EAGAIN
            | libc::EINTR
            | libc::ENOMEM
            | libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EMSGSIZE
            | libc::EPROTO
            | libc::EACCES
            | libc::EPERM
            | libc::ETIMEDOUT
    )
}
