//! Opening: how far a player has come from its acceptance to the live edge.
//!
//! ```text
//!   Unsent --first byte--> Begun --last byte of the first frame--> Behind --caught up--> Live
//! ```
//!
//! The first frame of a stream with pictures is the keyframe that players join at.

use std::time::Instant;

use super::connection::{InFlight, Playing};
use crate::log::{Succession, Trail};
use crate::metrics::ShardCounters;

/// Lives on: the player's shard. Crosses by: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// No byte of the stream was sent.
    Unsent,
    /// The first frame, which ends here, is on its way.
    Begun { end: u64 },
    /// It is sent what was there before it came.
    Behind,
    /// It has been sent everything at least once, so that its lag is that of the node.
    Live,
}

impl Playing {
    /// The socket took bytes of the log: what people wait for is counted.
    pub(super) fn observe(
        &mut self,
        flight: &InFlight,
        (logs, trail): (&Succession, &Trail),
        counters: &mut ShardCounters,
        (opened, now): (Instant, Instant),
    ) {
        let accepted = self.accepted;
        let waited = || now.saturating_duration_since(accepted.at(opened));
        let at = self.cursor.map_or(flight.from, |cursor| cursor.offset);
        if self.opening == Opening::Unsent {
            counters.first_byte_us.observe_time(waited());
            let first = logs.at(flight.from).entry_containing(flight.from);
            self.opening = Opening::Begun { end: first.map_or(at, |entry| entry.end()) };
        }
        if let Opening::Begun { end } = self.opening
            && at >= end
        {
            counters.first_frame_us.observe_time(waited());
            self.opening = Opening::Behind;
        }
        match self.opening {
            Opening::Behind if at >= logs.newest().committed() => self.opening = Opening::Live,
            Opening::Live => {
                if let Some(age) = trail.age(flight.from, now) {
                    counters.send_lag_us.observe_time(age);
                } else if let Some(lag) = logs.lag(flight.from) {
                    // Older than what is remembered: then the stream's own clock says it.
                    counters.send_lag_us.observe(lag.as_nanos().unsigned_abs() / 1_000);
                }
            }
            _ => {}
        }
    }
}
