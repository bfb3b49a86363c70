//! Keeping: what an answer of an application is worth, and what stands in for one.

use std::time::Duration;

use dataplane::control::Denial;

use super::application::OnFailure;
use super::ruling::{Ruling, Terms};

/// What a verdict rests on when there is no answer, and for how long one is good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    pub(super) on_failure: OnFailure,
    pub(super) allowed: Duration,
    pub(super) denied: Duration,
    /// A yes holds for as long as whoever got it stays, though it is good for nobody else.
    pub(super) lasts: bool,
}

impl Keeping {
    /// Of what is decided anew each time.
    pub(super) const NOTHING: Self = Self {
        on_failure: OnFailure::Deny,
        allowed: Duration::ZERO,
        denied: Duration::ZERO,
        lasts: false,
    };

    /// For how long `ruling` is good.
    pub(super) const fn ttl(&self, ruling: &Ruling) -> Duration {
        match ruling {
            Ruling::Allow(_) => self.allowed,
            Ruling::Deny(_) | Ruling::Closed(_) | Ruling::Elsewhere(_) | Ruling::Flawed(_) => {
                self.denied
            }
        }
    }

    /// The ruling when there is no answer.
    pub(super) fn without_answer(&self) -> Ruling {
        match self.on_failure {
            OnFailure::Deny => Ruling::Deny(Denial::Unavailable),
            OnFailure::Allow => Ruling::Allow(Terms::default()),
        }
    }
}
