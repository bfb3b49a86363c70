//! Failure: why a call has no answer.

/// Why a call has no answer. Tells nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// As many calls are under way as may be.
    #[error("too many calls are under way")]
    Busy,
    /// Nothing came of it within the deadline.
    #[error("no whole answer within the deadline")]
    Timeout,
    /// The name is unknown, or nobody takes connections there.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The application cannot prove that it is itself, or speaks no TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The answer's head or body is larger than allowed.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer redirects to another origin.
    #[error("the answer redirects to another origin")]
    Redirect,
    /// The answer is not HTTP, or stopped in the middle.
    #[error("no sound answer: {0}")]
    Protocol(String),
}

impl Failure {
    /// One word for metrics and events.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Protocol(_) => "protocol",
        }
    }
}
