//! What a reactor did: plain integers, counted by its one thread.

/// The kind of an operation, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpKind {
    /// Accepting connections.
    Accept,
    /// Receiving.
    Recv,
    /// Receiving datagrams.
    RecvMsg,
    /// Sending one range.
    Send,
    /// Sending several ranges.
    SendMsg,
    /// Sending a train of datagrams.
    Train,
    /// Waiting for room to send.
    Poll,
    /// Connecting.
    Connect,
    /// Cancelling another operation.
    Cancel,
    /// Waiting for this reactor's own waker.
    Wake,
    /// Waking another ring.
    Message,
    /// A wake-up from another ring.
    Woken,
}

impl OpKind {
    /// Every kind, in the order of [`OpCounters::ops`].
    pub const ALL: [Self; 12] = [
        Self::Accept,
        Self::Recv,
        Self::RecvMsg,
        Self::Send,
        Self::SendMsg,
        Self::Train,
        Self::Poll,
        Self::Connect,
        Self::Cancel,
        Self::Wake,
        Self::Message,
        Self::Woken,
    ];

    /// A short fixed word for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Recv => "recv",
            Self::RecvMsg => "recvmsg",
            Self::Send => "send",
            Self::SendMsg => "sendmsg",
            Self::Train => "train",
            Self::Poll => "poll",
            Self::Connect => "connect",
            Self::Cancel => "cancel",
            Self::Wake => "wake",
            Self::Message => "message",
            Self::Woken => "woken",
        }
    }

    /// The kind with this discriminant.
    pub(super) const fn from_index(index: usize) -> Option<Self> {
        if index < Self::ALL.len() { Some(Self::ALL[index]) } else { None }
    }
}

/// Counts of one kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpCount {
    /// Operations started or started again.
    pub submitted: u64,
    /// Completions reaped; a multishot operation has many.
    pub completed: u64,
    /// Completions that carried an error.
    pub errors: u64,
}

/// Everything that one reactor counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpCounters {
    /// Per kind, in the order of [`OpKind::ALL`].
    pub ops: [OpCount; OpKind::ALL.len()],
    /// Calls of io_uring_enter.
    pub enter_calls: u64,
    /// Calls of epoll_wait.
    pub epoll_wait_calls: u64,
    /// Calls of epoll_ctl.
    pub epoll_ctl_calls: u64,
    /// Calls of recv and recvmsg.
    pub recv_calls: u64,
    /// Calls of send and sendmsg.
    pub send_calls: u64,
    /// Calls of accept4.
    pub accept_calls: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Runs of datagrams that were cut short or had no IP address, and were dropped.
    pub datagrams_truncated: u64,
    /// Trains that the kernel refused, sent datagram by datagram.
    pub trains_split: u64,
    /// Sends that found no room at all.
    pub sends_blocked: u64,
    /// Submits that found more completions than the completion queue holds.
    pub cq_overflows: u64,
    /// Receives that found every buffer lent.
    pub no_buffers: u64,
    /// Multishot operations that the kernel ended and the reactor started again.
    pub rearms: u64,
    /// Events and completions of a token that had moved on.
    pub stale: u64,
}

impl OpCounters {
    /// The counts of `kind`.
    #[must_use]
    pub const fn op(&self, kind: OpKind) -> &OpCount {
        &self.ops[kind as usize]
    }

    /// (opcode, submitted, failed) of every kind of operation.
    #[must_use]
    pub fn operations(&self) -> Vec<(&'static str, u64, u64)> {
        let row = |kind: &OpKind| {
            let count = self.op(*kind);
            (kind.name(), count.submitted, count.errors)
        };
        OpKind::ALL.iter().map(row).collect()
    }

    /// (name, calls) of every system call of the loop.
    #[must_use]
    pub fn system_calls(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("io_uring_enter", self.enter_calls),
            ("epoll_wait", self.epoll_wait_calls),
            ("epoll_ctl", self.epoll_ctl_calls),
            ("recv", self.recv_calls),
            ("send", self.send_calls),
            ("accept", self.accept_calls),
        ]
    }

    /// (name, count) of what should be rare.
    #[must_use]
    pub fn incidents(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("cq_overflow", self.cq_overflows),
            ("no_receive_buffer", self.no_buffers),
            ("rearmed", self.rearms),
            ("stale_completion", self.stale),
            ("datagram_truncated", self.datagrams_truncated),
            ("train_split", self.trains_split),
        ]
    }

    pub(super) const fn submitted(&mut self, kind: OpKind) {
        self.ops[kind as usize].submitted += 1;
    }

    pub(super) const fn completed(&mut self, kind: OpKind, failed: bool) {
        self.ops[kind as usize].completed += 1;
        self.ops[kind as usize].errors += failed as u64;
    }
}
