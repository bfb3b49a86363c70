//! Memory: verdicts of the application that are good for a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::fingerprint::Fingerprint;
use super::ruling::Ruling;

/// A verdict is good for this long at most, whatever the application says.
pub(super) const TTL_MAX: Duration = Duration::from_secs(3_600);

/// Rulings by question, so many at most; the oldest makes room.
#[derive(Debug)]
pub(super) struct Memory {
    entries_max: usize,
    entries: HashMap<Fingerprint, Entry>,
    /// In the order in which they were learnt; some are gone, or learnt anew since.
    order: VecDeque<(Fingerprint, u64)>,
    learnt: u64,
}

#[derive(Debug)]
struct Entry {
    ruling: Ruling,
    until: Instant,
    number: u64,
}

impl Memory {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries_max, entries: HashMap::new(), order: VecDeque::new(), learnt: 0 }
    }

    /// What was ruled on the same question, if that is still good, and for how long it is.
    pub(super) fn recall(
        &self,
        question: &Fingerprint,
        now: Instant,
    ) -> Option<(&Ruling, Duration)> {
        let entry = self.entries.get(question).filter(|entry| now < entry.until)?;
        Some((&entry.ruling, entry.until.saturating_duration_since(now)))
    }

    /// Keeps a ruling for `ttl`.
    pub(super) fn learn(
        &mut self,
        question: Fingerprint,
        ruling: Ruling,
        ttl: Duration,
        now: Instant,
    ) {
        if ttl.is_zero() || self.entries_max == 0 {
            return;
        }
        let number = self.learnt;
        self.learnt += 1;
        let entry = Entry { ruling, until: now + ttl.min(TTL_MAX), number };
        self.entries.insert(question, entry);
        self.order.push_back((question, number));
        self.make_room(now);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    /// How many are kept, those that are no longer good included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what is over at the old end, and the oldest beyond the bound. What is over in the
    /// middle waits for its turn: the bound holds it.
    fn make_room(&mut self, now: Instant) {
        while let Some(&(question, number)) = self.order.front() {
            let entry = self.entries.get(&question).filter(|entry| entry.number == number);
            let stale = entry.is_none_or(|entry| entry.until <= now);
            if !stale && self.order.len() <= self.entries_max {
                return;
            }
            if entry.is_some() {
                self.entries.remove(&question);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fingerprint::Fingerprints;
    use crate::auth::mode::Mode;
    use crate::auth::tests::request;
    use dataplane::control::{Denial, Intent};

    fn question(prints: &Fingerprints, number: usize) -> Fingerprint {
        prints.of(&request(Intent::Play, &format!("s{number}"), "k"), Mode::Callback)
    }

    const NO: Ruling = Ruling::Deny(Denial::Forbidden);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_ruling_is_good_until_its_time_is_over() {
        let (mut memory, prints, now) = (Memory::new(8), Fingerprints::new(true), Instant::now());
        let one = question(&prints, 1);
        memory.learn(one, NO, SECOND, now);
        assert!(memory.recall(&one, now + SECOND / 2).is_some());
        assert!(memory.recall(&one, now + SECOND).is_none());
        memory.learn(one, NO, Duration::ZERO, now);
        memory.learn(question(&prints, 2), NO, Duration::MAX, now);
        assert!(memory.recall(&question(&prints, 2), now + TTL_MAX).is_none());
        memory.clear();
        assert!(memory.recall(&one, now).is_none());
        let mut nothing = Memory::new(0);
        nothing.learn(one, NO, SECOND, now);
        assert_eq!(nothing.len(), 0);
    }

    #[test]
    fn the_oldest_makes_room_and_nothing_grows() {
        let (mut memory, prints, now) = (Memory::new(8), Fingerprints::new(true), Instant::now());
        for number in 0..100 {
            memory.learn(question(&prints, number), NO, SECOND, now);
            // The same again and again takes no second place of the table.
            memory.learn(question(&prints, 0), NO, SECOND, now);
            assert!(memory.len() <= 8 && memory.order.len() <= 8);
        }
        assert!(memory.recall(&question(&prints, 99), now).is_some());
        assert!(memory.recall(&question(&prints, 0), now).is_some());
        assert!(memory.recall(&question(&prints, 50), now).is_none());
        memory.learn(question(&prints, 200), NO, SECOND, now + SECOND);
        assert_eq!(memory.len(), 1, "what is over goes first");
    }
}
