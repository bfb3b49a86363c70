//! Moment: when a request is judged, and when whoever asks came in.
//!
//! Whoever is in stays: a viewer of HLS who is asked about again need only have come in before
//! what he shows was over. Whether it has begun is judged by now: if it had when he came in, it
//! has still.

use std::time::SystemTime;

use dataplane::control::AuthorizeRequest;

use super::seconds::Seconds;

/// When a request is judged. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Now.
    pub(crate) now: Seconds,
    /// When whoever asks came in; now, unless he is in.
    entry: Seconds,
}

impl Moment {
    /// That of a request which is judged now.
    pub(super) fn of(request: &AuthorizeRequest) -> Self {
        let now = SystemTime::now();
        let entry = request.since.and_then(|since| now.checked_sub(since.elapsed()));
        Self { now: Seconds::of(now), entry: entry.map_or(Seconds::of(now), Seconds::of) }
    }

    /// By when what is shown must not be over: when its time is to be kept to while somebody is in,
    /// by now.
    pub(super) const fn of_end(self, enforce: bool) -> Seconds {
        if enforce { self.now } else { self.entry }
    }

    /// That of somebody who comes in at `now`.
    #[cfg(test)]
    pub(super) const fn at(now: Seconds) -> Self {
        Self { now, entry: now }
    }

    /// That of somebody who came in at `entry`.
    #[cfg(test)]
    pub(super) const fn since(entry: Seconds, now: Seconds) -> Self {
        Self { now, entry }
    }
}
