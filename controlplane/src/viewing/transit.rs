//! Transit: who is on the way from one shard to another, with a stream that moves.
//!
//! ```text
//!   on a shard --left--> under way --arrived--> on another shard
//! ```
//!
//! Two shards tell of a move, each in its own mailbox, so that the words come in any order: the
//! order's number says which is the newest. While a stream is under way no shard lists it nor its
//! publisher, and a comparison must not take them for gone.
//!
//! Limits: one per session and publication that moved; [`UNDERWAY_MAX`], beyond which the word of
//! the arrival was lost.

use std::time::{Duration, Instant};

use dataplane::control::StreamMove;

/// Nobody is under way for longer: the letter between the shards is taken within a turn or two.
const UNDERWAY_MAX: Duration = Duration::from_secs(10);

/// The newest word of a move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transit {
    order: u64,
    arrived: bool,
    since: Instant,
}

impl Transit {
    /// What `word` tells, unless `known` is newer.
    pub(super) fn told(known: Option<&Self>, word: &StreamMove, now: Instant) -> Option<Self> {
        let StreamMove { order, arrived, .. } = *word;
        let news = known.is_none_or(|known| (known.order, known.arrived) < (order, arrived));
        news.then_some(Self { order, arrived, since: now })
    }

    /// A shard has it on a list.
    pub(super) const fn settle(&mut self) {
        self.arrived = true;
    }

    /// True while no shard may have it.
    pub(super) fn is_underway(&self, now: Instant) -> bool {
        !self.arrived && now < self.since + UNDERWAY_MAX
    }
}
