//! Figures: how questions were answered, counted by what was wanted.

use std::collections::BTreeMap;

use dataplane::control::Intent;
use dataplane::metrics::{Histogram, MICROSECONDS};

use crate::counts::Counts;

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Allowed,
    Denied,
    Failed,
    TimedOut,
}

pub(super) const INTENTS: [Intent; 3] = [Intent::Connect, Intent::Publish, Intent::Play];
pub(super) const ENDS: [(End, &str); 4] = [
    (End::Allowed, "allowed"),
    (End::Denied, "denied"),
    (End::Failed, "failed"),
    (End::TimedOut, "timeout"),
];

/// Plain counters. Lives on: the control thread.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    ends: [[u64; ENDS.len()]; INTENTS.len()],
    /// Answered by an earlier verdict.
    pub(super) remembered: u64,
    /// Answered by the answer to an equal question that was under way.
    pub(super) joined: u64,
    /// Refused because too many questions were under way.
    pub(super) crowded: u64,
    /// What was shown that was no good, by why.
    flawed: BTreeMap<&'static str, u64>,
    /// From question to answer of the application.
    pub(super) took: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            ends: Default::default(),
            remembered: 0,
            joined: 0,
            crowded: 0,
            flawed: BTreeMap::new(),
            took: Histogram::new(&MICROSECONDS),
        }
    }
}

impl Figures {
    /// A signature or token was no good. The words are few: they are those of `signed` and `jwt`.
    pub(super) fn flawed(&mut self, why: &'static str) {
        *self.flawed.entry(why).or_default() += 1;
    }

    pub(super) const fn end(&mut self, intent: Intent, end: End) {
        self.ends[intent as usize][end as usize] += 1;
    }

    /// Every intent and end with its count.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Intent, &'static str, u64)> {
        let row = |intent: Intent| {
            ENDS.map(|(end, word)| (intent, word, self.ends[intent as usize][end as usize]))
        };
        INTENTS.map(row).into_iter().flatten()
    }

    /// Writes them for `/metrics`.
    pub(super) fn count(&self, into: &mut Counts) {
        let of = |intent: Intent| {
            let counts = self.ends[intent as usize];
            ENDS.map(|(end, word)| (word, counts[end as usize]))
        };
        let about = "Verdicts on it, by outcome.";
        into.counter_by("auth_connects_total", about, "outcome", of(Intent::Connect));
        into.counter_by("auth_publishes_total", about, "outcome", of(Intent::Publish));
        into.counter_by("auth_plays_total", about, "outcome", of(Intent::Play));
        let about = "Verdicts that cost no question of their own to the application.";
        let shared = [("remembered", self.remembered), ("joined", self.joined)];
        into.counter_by("auth_shared_total", about, "how", shared);
        let about = "Signatures and tokens that were no good.";
        let flawed = self.flawed.iter().map(|(&why, &count)| (why, count));
        into.counter_by("auth_flawed_total", about, "why", flawed);
        let about = "Peers refused because too many questions were under way.";
        into.counter("auth_crowded_total", about, self.crowded);
        let about = "From a question to the application's answer.";
        into.histogram("auth_callback_seconds", about, &self.took);
    }
}
