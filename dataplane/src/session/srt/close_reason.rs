//! Why connections of SRT end.

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// We closed it, for this reason.
    Closed(&'static str),
    /// The peer did.
    Shutdown,
    /// The peer was silent for too long.
    Idle,
    /// The peer did not take a new key in time.
    Keys,
    /// What is to be sent is larger than the packets that were agreed on.
    Mtu,
}

impl CloseReason {
    /// One fixed word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed(reason) => reason,
            Self::Shutdown => "shutdown",
            Self::Idle => "idle",
            Self::Keys => "keys",
            Self::Mtu => "mtu",
        }
    }
}
