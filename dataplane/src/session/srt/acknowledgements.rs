//! When ACKs are sent, and when they were heard.
//!
//! Spec: draft-sharabayko-srt 4.8.1: a full ACK every 10 ms while anything new came, a light one
//! every 64 packets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::round_trip::RoundTrip;

/// Time between two full ACKs.
const PERIOD: Duration = Duration::from_millis(10);
/// Packets between two light ACKs.
const LIGHT_PACKETS: u32 = 64;
/// ACKs that are waited for to be heard, at most.
const PENDING_MAX: usize = 256;
/// ACKs of the peer that are answered at a time.
const ANSWERS_MAX: usize = 8;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Full { number: u32 },
    Light,
}

/// The ACKs of both directions.
#[derive(Debug)]
pub(super) struct Acknowledgements {
    number: u32,
    /// Number, time and first missing packet of those that were not heard of.
    pending: VecDeque<(u32, Instant, u64)>,
    /// The first missing packet of the last full ACK, and of the last that was heard.
    told: u64,
    confirmed: u64,
    last_full: Instant,
    since_light: u32,
    answers: VecDeque<u32>,
}

impl Acknowledgements {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            number: 0,
            pending: VecDeque::new(),
            told: 0,
            confirmed: 0,
            last_full: now,
            since_light: 0,
            answers: VecDeque::new(),
        }
    }

    /// Counts a data packet.
    pub(super) const fn count(&mut self) {
        self.since_light += 1;
    }

    /// The ACK that is due now; it is taken as sent.
    pub(super) fn poll(&mut self, now: Instant, missing: u64, trip: &RoundTrip) -> Option<Due> {
        if self.next_timeout(missing, trip).is_some_and(|at| at <= now) {
            self.number = self.number.wrapping_add(1).max(1);
            if self.pending.len() == PENDING_MAX {
                self.pending.pop_front();
            }
            self.pending.push_back((self.number, now, missing));
            (self.told, self.last_full, self.since_light) = (missing, now, 0);
            return Some(Due::Full { number: self.number });
        }
        if self.since_light >= LIGHT_PACKETS {
            self.since_light = 0;
            return Some(Due::Light);
        }
        None
    }

    /// When a full ACK is due: soon if there is news, later if the last was not heard.
    pub(super) fn next_timeout(&self, missing: u64, trip: &RoundTrip) -> Option<Instant> {
        if missing != self.told {
            Some(self.last_full + PERIOD)
        } else if missing != self.confirmed {
            Some(self.last_full + trip.patience().max(PERIOD * 4))
        } else {
            None
        }
    }

    /// The peer heard an ACK: how long ago it was sent.
    pub(super) fn confirm(&mut self, number: u32, now: Instant) -> Option<Duration> {
        let at = self.pending.iter().position(|(pending, ..)| *pending == number)?;
        let (_, sent, missing) = self.pending.drain(..=at).next_back()?;
        self.confirmed = self.confirmed.max(missing);
        Some(now.saturating_duration_since(sent))
    }

    /// An ACK of the peer is to be answered.
    pub(super) fn answer(&mut self, number: u32) {
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(number);
    }

    pub(super) fn take_answer(&mut self) -> Option<u32> {
        self.answers.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn full_acks_tell_news_and_are_repeated_until_heard() {
        let start = epoch();
        let trip = RoundTrip::new();
        let mut acks = Acknowledgements::new(start);
        assert_eq!(acks.next_timeout(0, &trip), None);
        assert_eq!(acks.poll(start + MS * 9, 5, &trip), None);
        assert_eq!(acks.poll(start + MS * 10, 5, &trip), Some(Due::Full { number: 1 }));
        assert_eq!(acks.poll(start + MS * 20, 5, &trip), None);
        assert_eq!(acks.poll(start + MS * 310, 5, &trip), Some(Due::Full { number: 2 }));
        assert_eq!(acks.confirm(1, start + MS * 320), Some(MS * 310));
        assert_eq!(acks.next_timeout(5, &trip), None);
        assert_eq!(acks.confirm(1, start + MS * 320), None);
        assert_eq!(acks.confirm(9, start), None, "a number that was never sent");
    }

    #[test]
    fn light_acks_come_with_many_packets() {
        let start = epoch();
        let trip = RoundTrip::new();
        let mut acks = Acknowledgements::new(start);
        (0..63).for_each(|_| acks.count());
        assert_eq!(acks.poll(start + MS, 63, &trip), None);
        acks.count();
        assert_eq!(acks.poll(start + MS, 64, &trip), Some(Due::Light));
        assert_eq!(acks.poll(start + MS, 64, &trip), None);
    }

    #[test]
    fn tables_are_bounded() {
        let start = epoch();
        let trip = RoundTrip::new();
        let mut acks = Acknowledgements::new(start);
        for count in 1..1_000 {
            assert!(acks.poll(start + PERIOD * count, count.into(), &trip).is_some());
            acks.answer(count);
        }
        assert_eq!(acks.pending.len(), PENDING_MAX);
        assert_eq!(std::iter::from_fn(|| acks.take_answer()).count(), ANSWERS_MAX);
    }
}
