//! Publication: one that the coordinator let in, or will be asked about.

use std::time::Instant;

use dataplane::ids::{Secret, SessionId};
use subtle::ConstantTimeEq;

/// How the coordinator stands to a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has let it in, on the connection that there is.
    Accepted,
    /// It is to be asked about it, then.
    Due(Instant),
    /// It was asked, by that number.
    Asked(u32),
    /// It is away.
    Away,
}

/// One publication.
#[derive(Debug)]
pub(super) struct Publication {
    /// Its number there; empty until it was given one.
    pub(super) id: String,
    pub(super) key: Secret,
    pub(super) user: std::net::IpAddr,
    pub(super) on_air: bool,
    /// Who was let in and has not begun yet, and until when he may.
    pub(super) granted: Option<(SessionId, Instant)>,
    pub(super) word: Word,
    /// Its publisher has to go; he is told again then if he has not.
    pub(super) doomed: Option<Instant>,
}

impl Publication {
    /// True if `key` is what it was let in with.
    pub(super) fn has_key(&self, key: &Secret) -> bool {
        self.key.0.as_bytes().ct_eq(key.0.as_bytes()).into()
    }

    /// True if neither is anybody on the air nor may begin.
    pub(super) const fn is_over(&self) -> bool {
        !self.on_air && self.granted.is_none()
    }

    /// When time alone changes something.
    pub(super) fn due(&self) -> Option<Instant> {
        let granted = self.granted.map(|(_, until)| until);
        let doomed = self.doomed.filter(|_| self.on_air);
        [granted, doomed].into_iter().flatten().min()
    }
}
