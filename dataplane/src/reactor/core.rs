//! What both backends work on: finished completions, receive buffers, counters, the waker.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::buffers::Buffers;
use super::completion::Completion;
use super::counters::{OpCounters, OpKind};
use super::socket;
use super::token::Token;
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
    pub(super) waker: Waker,
}

impl Core {
    pub(super) fn new(buffers: Buffers, waker: Waker) -> Self {
        // A turn's completions find room without growing, however long the busiest turn is.
        Self {
            ready: VecDeque::with_capacity(READY),
            counters: OpCounters::default(),
            buffers,
            waker,
        }
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
