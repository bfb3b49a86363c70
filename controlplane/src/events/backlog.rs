//! Backlog: events of which one cause makes many, told as fast as hooks can keep them.
//!
//! A template that ten thousand streams take from, or a crowd that leaves, makes more events at
//! once than the ring holds and a hook's queue takes. Here they wait, in their order, until there
//! is room for the next ([`Bus::has_room`]).
//!
//! Limits: [`WAITING_MAX`] wait, and for [`WAIT_MAX`] in all; beyond that they are told whether
//! there is room or not, and those who fall behind are told how many they missed. So a hook that is
//! slow, or a disk that fails, holds up nobody for long; and a hook that had to give up events is
//! not waited for again until half of its queue is free.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dataplane::ids::StreamName;

use super::bus::Bus;
use super::kind::Kind;

/// Events that wait at most.
const WAITING_MAX: usize = 100_000;
/// From when there was no room for the first of them until they are told whoever misses them.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Events that are told in one turn at most, so that the loop serves others, too.
const PER_TURN: usize = 1_024;

/// Events that wait to be told.
///
/// Lives on: the control thread.
#[derive(Debug, Default)]
pub struct Backlog {
    waiting: VecDeque<(Option<StreamName>, Kind)>,
    /// Since when there is no room for all of them.
    since: Option<Instant>,
}

impl Backlog {
    /// Takes one more, to be told after those that wait.
    pub fn push(&mut self, stream: Option<StreamName>, kind: Kind) {
        self.waiting.push_back((stream, kind));
    }

    /// Tells what there is room for.
    pub fn tell(&mut self, bus: &Bus, now: Instant) {
        for _ in 0..PER_TURN {
            if self.waiting.is_empty() {
                self.since = None;
                return;
            }
            let late = self.since.is_some_and(|since| now > since + WAIT_MAX);
            if !late && self.waiting.len() <= WAITING_MAX && !bus.has_room() {
                self.since = self.since.or(Some(now));
                return;
            }
            if let Some((stream, kind)) = self.waiting.pop_front() {
                bus.publish(stream.as_ref(), None, kind);
            }
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::RingLimits;

    #[test]
    fn a_burst_waits_for_whoever_keeps_it_and_loses_nothing() {
        let bus = Bus::new("edge-1".into(), RingLimits { events: 64, bytes: 1 << 20 });
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let mut cursor = bus.keeping_cursor();
        let name = |number: u32| StreamName::parse(&format!("s{number}"));
        for number in 0..1_000 {
            backlog.push(name(number), Kind::StreamLost {});
        }
        let mut told = Vec::new();
        while !backlog.is_empty() || told.len() < 1_000 {
            backlog.tell(&bus, now);
            let read = cursor.read(16);
            assert_eq!(read.missed, None, "after {}", told.len());
            told.extend(read.events.iter().filter_map(|event| event.stream().cloned()));
            cursor.kept(10);
        }
        assert!(told.iter().enumerate().all(|(at, told)| Some(told) == name(at as u32).as_ref()));
    }

    #[test]
    fn whoever_keeps_nothing_is_not_waited_for_for_ever() {
        let bus = Bus::new("edge-1".into(), RingLimits { events: 64, bytes: 1 << 20 });
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let mut cursor = bus.keeping_cursor();
        for _ in 0..1_000 {
            backlog.push(None, Kind::StreamLost {});
        }
        backlog.tell(&bus, now);
        assert!(!backlog.is_empty());
        backlog.tell(&bus, now + WAIT_MAX);
        assert!(!backlog.is_empty());
        backlog.tell(&bus, now + WAIT_MAX * 2);
        assert!(backlog.is_empty());
        assert!(cursor.read(1_000).missed.is_some());
        drop(cursor);
        assert!(bus.has_room(), "nobody keeps events any more");
        for _ in 0..WAITING_MAX + PER_TURN {
            backlog.push(None, Kind::StreamLost {});
        }
        let _none = bus.keeping_cursor();
        backlog.tell(&bus, now);
        assert_eq!(backlog.waiting.len(), WAITING_MAX, "nor are those who fall behind by too much");
    }
}
