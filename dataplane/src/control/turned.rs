//! Who was turned away: told in sums, so that a flood makes few words.

use crate::config::{AddrRange, LimitId, ListenerNumber};

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Its address, or what is around it, has a penalty.
    Penalty,
    /// Its address connects too often.
    Rate,
    /// What is around its address does.
    PrefixRate,
    /// What it said at first is no word of the protocol.
    Malformed,
}

impl Turn {
    /// One fixed word for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Penalty => "penalty",
            Self::Rate => LimitId::ConnectsPerIpMax.name(),
            Self::PrefixRate => LimitId::ConnectsPerPrefixMax.name(),
            Self::Malformed => "malformed",
        }
    }
}

/// Those of one range who were turned away for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Whose it is; of several ranges if there were too many to tell of.
    pub whose: Option<AddrRange>,
    /// Where they came.
    pub listener: ListenerNumber,
    /// Why.
    pub why: Turn,
    /// How many.
    pub count: u64,
}
