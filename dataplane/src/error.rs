//! The one error type of the crate: whose fault it was decides what happens next.

use crate::config::LimitId;

/// Why a session, a stream or a shard could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer's bytes break their format.
    #[error("malformed: {0}")]
    Malformed(#[from] codecs::Error),
    /// The peer's bytes are well formed but not allowed in this state.
    #[error("{got} is not allowed while {state}")]
    Misbehaved {
        /// The state of the session.
        state: &'static str,
        /// What the peer sent.
        got: &'static str,
    },
    /// The peer reached a configured limit.
    #[error("limit {} reached", .0.name())]
    Limit(LimitId),
    /// The server refused what the peer asked for.
    #[error("refused: {0}")]
    Rejected(&'static str),
    /// A deadline passed.
    #[error("{what} timed out")]
    Timeout {
        /// What did not happen in time.
        what: &'static str,
    },
    /// A page pool is empty.
    #[error("memory pool {pool} is exhausted")]
    Exhausted {
        /// The pool's name in the table of memory terms.
        pool: &'static str,
    },
    /// A listening address could not be opened.
    #[error("{addr}: {op}: {}", std::io::Error::from_raw_os_error(*.errno))]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// The step that failed.
        op: &'static str,
        /// Its errno.
        errno: i32,
    },
    /// Our own code panicked behind a session's fence.
    #[error("internal error")]
    Panicked,
    /// A system call failed.
    #[error("{op}: {}", std::io::Error::from_raw_os_error(*.errno))]
    Io {
        /// The operation.
        op: &'static str,
        /// Its errno.
        errno: i32,
    },
}

impl Error {
    /// The last error of the calling thread, as `op`'s.
    #[must_use]
    pub fn last_os_error(op: &'static str) -> Self {
        Self::Io { op, errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
    }

    /// A short fixed word for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Misbehaved { .. } => "misbehaved",
            Self::Limit(limit) => limit.name(),
            Self::Rejected(reason) => reason,
            Self::Timeout { what } => what,
            Self::Exhausted { .. } => "memory",
            Self::Io { .. } => "io",
            Self::Listen { .. } => "listen",
            Self::Panicked => "panic",
        }
    }
}
