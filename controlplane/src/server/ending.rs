//! Ending: the way down, as the control thread drives it.
//!
//! ```text
//!   a signal: /readyz says no, every shard is told
//!     | refuse_ms, then drain_ms, of which the shards take care (`dataplane/src/shard/drain.rs`)
//!     v
//!   shards that did not end in time are stopped
//!     |
//!     v
//!   what the control plane has to write is written; whatever its threads do, the process ends
//! ```
//!
//! A second signal ends the process at once.

use std::time::{Duration, Instant};

use dataplane::config::SessionConfig;

/// Shards that still drain so long after their deadline are stopped.
const STOP_AFTER: Duration = Duration::from_millis(1_500);
/// So long after that the process ends whatever its threads do.
const EXIT_AFTER: Duration = Duration::from_millis(400);

/// What is due on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Shards that still run are to be stopped.
    Stop,
    /// The process is to end.
    Exit,
}

/// The way down, once it began. Lives on: the control thread. Crosses by: never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    stop: Instant,
    exit: Instant,
    stopped: bool,
}

impl Ending {
    /// It begins now, with the times of `session`.
    pub(super) fn new(session: &SessionConfig, now: Instant) -> Self {
        let stop = now + session.refuse + session.drain + STOP_AFTER;
        Self { stop, exit: stop + EXIT_AFTER, stopped: false }
    }

    /// What is to be done; a stop is told once.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if now >= self.exit {
            return Due::Exit;
        }
        if now < self.stop || self.stopped {
            return Due::Nothing;
        }
        self.stopped = true;
        Due::Stop
    }

    /// How long it takes from `now` on at most.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.exit.saturating_duration_since(now)
    }

    /// When there is something to do.
    pub(super) const fn next(&self) -> Instant {
        if self.stopped { self.exit } else { self.stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_get_their_time_then_are_stopped_then_left() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let session =
            SessionConfig { refuse: 5 * second, drain: 3 * second, ..SessionConfig::default() };
        let mut ending = Ending::new(&session, now);
        let stop = now + 8 * second + STOP_AFTER;
        assert_eq!((ending.due(now), ending.next()), (Due::Nothing, stop));
        assert_eq!((ending.due(stop), ending.next()), (Due::Stop, stop + EXIT_AFTER));
        assert_eq!(ending.due(stop), Due::Nothing);
        assert_eq!(ending.due(stop + EXIT_AFTER), Due::Exit);
    }

    #[test]
    fn by_default_a_server_is_gone_within_five_seconds() {
        let now = Instant::now();
        let ending = Ending::new(&SessionConfig::default(), now);
        assert!(ending.left(now) < Duration::from_secs(5));
    }
}
