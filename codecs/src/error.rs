//! The one error type of the crate.

/// Why bytes of a peer could not be read.
///
/// `what` names the field as `format.structure.field`, `value` is what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end before the structure does.
    #[error("{what}: truncated")]
    Truncated {
        /// The field that was being read.
        what: &'static str,
    },
    /// The field holds a value that its specification forbids.
    #[error("{what}: invalid value {value:#x}")]
    Invalid {
        /// The field that was read.
        what: &'static str,
        /// What stood there.
        value: u64,
    },
    /// The field holds a legal value that this implementation does not handle.
    #[error("{what}: unsupported value {value:#x}")]
    Unsupported {
        /// The field that was read.
        what: &'static str,
        /// What stood there.
        value: u64,
    },
    /// The field exceeds a named limit.
    #[error("{what}: {value} is over the limit of {max}")]
    TooLarge {
        /// The field that was read.
        what: &'static str,
        /// What stood there.
        value: u64,
        /// The limit in force.
        max: u64,
    },
}
