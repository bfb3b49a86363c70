//! Why a handshake is refused.
//!
//! Spec: draft-sharabayko-srt 3.2.1 and table 7; the codes from 1000 on are those of the access
//! control guidelines, which follow HTTP.
//! Shape: in a handshake 1000 is added, so that 1404 (not found) travels as 2404.

use core::fmt;

/// A code of refusal, as programs show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RejectReason(pub u32);

/// What a handshake's type adds to a code.
const WIRE_OFFSET: u32 = 1000;

/// The greatest code that a type can carry: beyond lie the types that are no refusals.
const CODE_MAX: u32 = 0xffff_ff00 - WIRE_OFFSET;

impl RejectReason {
    /// No reason was given.
    pub const UNKNOWN: Self = Self(0);
    /// The system had no room, or the network failed.
    pub const SYSTEM: Self = Self(1);
    /// The peer refused; all that versions before 1.3 understand.
    pub const PEER: Self = Self(2);
    /// Memory or a table is full.
    pub const RESOURCE: Self = Self(3);
    /// The handshake contradicts itself.
    pub const ROGUE: Self = Self(4);
    /// Too many wait to be accepted.
    pub const BACKLOG: Self = Self(5);
    /// The listener is closing.
    pub const CLOSE: Self = Self(7);
    /// The version is not spoken.
    pub const VERSION: Self = Self(8);
    /// The passphrases differ.
    pub const BAD_SECRET: Self = Self(10);
    /// One side encrypts and the other does not.
    pub const UNSECURE: Self = Self(11);
    /// One side sends messages and the other a stream.
    pub const MESSAGE_API: Self = Self(12);
    /// The congestion controls differ.
    pub const CONGESTION: Self = Self(13);
    /// The packet filters differ.
    pub const FILTER: Self = Self(14);
    /// Groups are not spoken, or do not match.
    pub const GROUP: Self = Self(15);
    /// It took too long.
    pub const TIMEOUT: Self = Self(16);
    /// The cipher is not spoken.
    pub const CRYPTO: Self = Self(17);
    /// The stream id could not be read.
    pub const BAD_REQUEST: Self = Self(1400);
    /// Nothing was shown by which anybody is let in, or the wrong thing.
    pub const UNAUTHORIZED: Self = Self(1401);
    /// No room.
    pub const OVERLOAD: Self = Self(1402);
    /// This peer may not.
    pub const FORBIDDEN: Self = Self(1403);
    /// No such stream.
    pub const NOT_FOUND: Self = Self(1404);
    /// The mode does not fit the stream.
    pub const BAD_MODE: Self = Self(1405);
    /// Another one publishes the stream.
    pub const CONFLICT: Self = Self(1409);
    /// The type of the connection is not spoken.
    pub const UNSUPPORTED_MEDIA: Self = Self(1415);
    /// What was to decide failed.
    pub const INTERNAL: Self = Self(1500);
    /// The server goes down, or what was to decide does not answer.
    pub const DOWN: Self = Self(1503);

    /// From the type of a handshake; `None` if it is no refusal.
    pub(super) const fn from_wire(kind: u32) -> Option<Self> {
        match kind.checked_sub(WIRE_OFFSET) {
            Some(code) if code <= CODE_MAX => Some(Self(code)),
            _ => None,
        }
    }

    pub(super) const fn to_wire(self) -> u32 {
        let code = if self.0 > CODE_MAX { CODE_MAX } else { self.0 };
        WIRE_OFFSET + code
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::SYSTEM => "the peer's system failed",
            Self::PEER => "the peer refused",
            Self::RESOURCE => "the peer has no room",
            Self::ROGUE => "the peer could not make sense of the handshake",
            Self::BACKLOG => "too many wait to be accepted",
            Self::CLOSE => "the listener is closing",
            Self::VERSION => "the peer does not speak this version",
            Self::BAD_SECRET => "the passphrases differ",
            Self::UNSECURE => "only one side has a passphrase",
            Self::MESSAGE_API => "only one side sends messages",
            Self::CONGESTION => "the congestion controls differ",
            Self::FILTER => "the packet filters differ",
            Self::GROUP => "the groups do not match",
            Self::TIMEOUT => "the handshake took too long",
            Self::CRYPTO => "the peer does not speak this cipher",
            Self::BAD_REQUEST => "the stream id could not be read",
            Self::UNAUTHORIZED => "the key is missing or wrong",
            Self::OVERLOAD => "the peer is overloaded",
            Self::FORBIDDEN => "not allowed",
            Self::NOT_FOUND => "no such stream",
            Self::BAD_MODE => "the mode does not fit the stream",
            Self::CONFLICT => "another one publishes the stream",
            Self::UNSUPPORTED_MEDIA => "this type of connection is not spoken",
            Self::INTERNAL => "the peer failed",
            Self::DOWN => "the peer is going down",
            Self(code) => return write!(f, "refused with code {code}"),
        };
        write!(f, "{text} (code {})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn codes_travel_a_thousand_higher() {
        for (wire, reason) in [
            (1000, RejectReason::UNKNOWN),
            (1008, RejectReason::VERSION),
            (2404, RejectReason::NOT_FOUND),
            (3001, RejectReason(2001)),
        ] {
            assert_eq!(RejectReason::from_wire(wire), Some(reason));
            assert_eq!(reason.to_wire(), wire);
        }
        for wire in [0, 1, 999, u32::MAX, u32::MAX - 1, u32::MAX - 2] {
            assert_eq!(RejectReason::from_wire(wire), None, "{wire}");
        }
        assert!(RejectReason::from_wire(RejectReason(u32::MAX).to_wire()).is_some());
    }

    #[test]
    fn a_person_reads_the_reason_and_its_code() {
        assert_eq!(RejectReason::NOT_FOUND.to_string(), "no such stream (code 1404)");
        assert_eq!(RejectReason(2001).to_string(), "refused with code 2001");
    }
}
