//! What a reactor is asked to do and what it answers.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::buffers::RecvBuf;
use super::datagrams::DatagramBuf;
use super::token::Token;

/// Ranges of one send at most.
pub const SEND_PARTS_MAX: usize = 8;

/// How long a receive goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvMode {
    /// One [`Completion::Received`], then the operation is over.
    Once,
    /// Until the end of the stream, an error or a stop.
    Multi,
}

/// One range of bytes to send.
#[derive(Clone, Copy, Debug)]
pub struct SendPart {
    /// The first byte.
    pub ptr: *const u8,
    /// How many bytes.
    pub len: u32,
}

impl SendPart {
    /// The part that covers `bytes`, at most `u32::MAX` of them.
    ///
    /// The borrow ends here: the caller answers for the bytes as [`super::Reactor::send`] says.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }
}

/// One answer of the reactor.
///
/// Completions of one token keep the order in which the kernel gave them. After a slot's reuse,
/// completions of its earlier generations may still arrive; their buffers must be released and
/// their descriptors dropped like any other.
#[derive(Debug)]
pub enum Completion {
    /// A listener accepted a connection.
    Accepted {
        /// The listener's token.
        token: Token,
        /// The connection, non-blocking and close-on-exec.
        fd: OwnedFd,
        /// The peer; an IPv4 peer of a dual-stack listener is given as IPv4.
        peer: SocketAddr,
    },
    /// A connection could not be accepted.
    AcceptFailed {
        /// The listener's token.
        token: Token,
        /// Why; `ECANCELED` after a stop.
        errno: i32,
        /// True once per start: nothing is accepted until it is started again.
        ended: bool,
    },
    /// Bytes arrived.
    Received {
        /// The token of the receive.
        token: Token,
        /// The buffer, to be given back with [`super::Reactor::release`].
        buf: RecvBuf,
    },
    /// The peer ended its direction; the receive is over.
    Eof {
        /// The token of the receive.
        token: Token,
    },
    /// The answer to a stop: no more data comes for the token.
    RecvEnded {
        /// The token of the receive.
        token: Token,
    },
    /// The connection broke; the receive is over.
    RecvFailed {
        /// The token of the receive.
        token: Token,
        /// Why.
        errno: i32,
    },
    /// The kernel took bytes, maybe fewer than were offered.
    Sent {
        /// The token of the send.
        token: Token,
        /// How many, counted from the first byte of the first part.
        bytes: u32,
    },
    /// There was no room for a single byte.
    SendBlocked {
        /// The token of the send.
        token: Token,
    },
    /// The connection broke.
    SendFailed {
        /// The token of the send.
        token: Token,
        /// Why.
        errno: i32,
    },
    /// There is room to send, or an error that the next send will tell.
    Writable {
        /// The token of the poll.
        token: Token,
    },
    /// A connect ended.
    Connected {
        /// The token of the connect.
        token: Token,
        /// The errno of a failure.
        result: Result<(), i32>,
    },
    /// Datagrams of one peer arrived.
    Datagrams {
        /// The token of the receive.
        token: Token,
        /// The peer; an IPv4 peer of a dual-stack socket is given as IPv4.
        peer: SocketAddr,
        /// The datagrams, to be given back with [`super::Reactor::release_datagrams`].
        buf: DatagramBuf,
    },
    /// The kernel took a train; fewer bytes than were offered only if it takes no trains to this
    /// peer and the room ended between two datagrams.
    TrainSent {
        /// The token of the train.
        token: Token,
        /// How many bytes.
        bytes: u32,
    },
    /// There was no room for a train, and nothing of it was sent.
    TrainBlocked {
        /// The token of the train.
        token: Token,
    },
    /// A train is lost, which says nothing of the next one: the peer may have no route now.
    TrainFailed {
        /// The token of the train.
        token: Token,
        /// Why.
        errno: i32,
    },
    /// Somebody woke this reactor: at least once since the last `Woken`.
    Woken,
}
