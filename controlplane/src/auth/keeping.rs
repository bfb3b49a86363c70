//! Keeping: what an answer of an application is worth, and what stands in for one.

use std::time::{Duration, Instant};

use dataplane::control::{AuthorizeRequest, Denial, Grant, Verdict};
use dataplane::session::view_token::{is_by_address, is_viewer};

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

/// What an application said of one peer, for as long as that stays, lets in nobody else: each
/// viewer of HLS who is told from others is asked about, whoever came with the same. Where the
/// stream has another name, each of his requests rests on what was said, so that it is for all.
pub(super) fn for_one(request: &AuthorizeRequest, verdict: Verdict) -> Verdict {
    let session = request.session;
    let is_told_apart = is_viewer(session) && !is_by_address(session);
    match verdict {
        Verdict::Allow(grant) if is_told_apart && grant.stream == request.stream => {
            Verdict::Allow(Grant { entry_until: Some(Instant::now()), ..grant })
        }
        verdict => verdict,
    }
}
