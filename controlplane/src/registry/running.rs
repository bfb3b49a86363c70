//! Running: which streams have a publisher, and who it is.
//!
//! One publisher holds a stream. The claim itself is made at the stream's home shard, atomically
//! and without the control thread; this table follows it. A second publisher is refused there while
//! the first delivers, and takes the stream over when the first has been silent; `acquire` says the
//! same: it fails for a second holder until the first was released.
//!
//! Streams that nobody declared live here alone, in memory. One that ended is forgotten when it was
//! idle for long enough; what counts is the publisher, so that a stream whose output nobody reads
//! is not taken for an idle one.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use dataplane::ids::{SessionId, StreamName};

/// Streams that are forgotten at one time at most.
const REAPED_MAX: usize = 256;
/// Ended streams that wait to be forgotten at most; beyond it the oldest goes at once.
pub const IDLE_MAX: usize = 10_000;

/// A stream that is, or was until lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Who publishes it.
    pub holder: Option<SessionId>,
    /// It ended then.
    pub idle_since: Option<Instant>,
}

impl Slot {
    /// True from the start of the stream to its end, grace included.
    #[must_use]
    pub const fn is_on_air(&self) -> bool {
        self.idle_since.is_none()
    }
}

/// Another publisher holds the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream already has an active publisher, session {0}")]
pub struct Active(pub SessionId);

/// The streams with their publishers.
#[derive(Debug, Default)]
pub struct Running {
    slots: BTreeMap<StreamName, Slot>,
    idle: VecDeque<(Instant, StreamName)>,
}

impl Running {
    /// Makes `session` the publisher of `stream`.
    ///
    /// Errors: somebody else is, and stays it.
    pub fn acquire(&mut self, stream: &StreamName, session: SessionId) -> Result<(), Active> {
        let slot = Slot { holder: Some(session), idle_since: None };
        match self.slots.get(stream).and_then(|slot| slot.holder) {
            Some(holder) if holder != session => Err(Active(holder)),
            _ => {
                self.slots.insert(stream.clone(), slot);
                Ok(())
            }
        }
    }

    /// Frees `stream` for the next publisher; nothing happens if nobody holds it.
    pub fn release(&mut self, stream: &StreamName) {
        if let Some(slot) = self.slots.get_mut(stream) {
            slot.holder = None;
        }
    }

    /// The stream and its publisher; nothing changes.
    #[must_use]
    pub fn lookup(&self, stream: &StreamName) -> Option<&Slot> {
        self.slots.get(stream)
    }

    /// The stream is over, grace included; the one that had to be forgotten for it.
    pub fn end(&mut self, stream: &StreamName, now: Instant) -> Option<StreamName> {
        let slot = self.slots.get_mut(stream)?;
        *slot = Slot { holder: None, idle_since: Some(now) };
        self.idle.push_back((now, stream.clone()));
        if self.idle.len() <= IDLE_MAX {
            return None;
        }
        let (since, oldest) = self.idle.pop_front()?;
        self.forget(&oldest, since).then_some(oldest)
    }

    /// Forgets `stream` whatever it does.
    pub fn unregister(&mut self, stream: &StreamName) {
        self.slots.remove(stream);
    }

    /// Forgets streams that have been idle for `after`, so many at one time; their names.
    pub fn reap(&mut self, now: Instant, after: Duration) -> Vec<StreamName> {
        let mut gone = Vec::new();
        while gone.len() < REAPED_MAX
            && let Some((since, stream)) =
                self.idle.pop_front_if(|(since, _)| *since + after <= now)
        {
            if self.forget(&stream, since) {
                gone.push(stream);
            }
        }
        gone
    }

    /// When [`Self::reap`] has something to do.
    #[must_use]
    pub fn due(&self, after: Duration) -> Option<Instant> {
        self.idle.front().map(|(since, _)| *since + after)
    }

    /// The streams after `name`, in their order.
    pub fn after(&self, name: Option<&StreamName>) -> impl Iterator<Item = (&StreamName, &Slot)> {
        use std::ops::Bound;
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots.range::<StreamName, _>((from, Bound::Unbounded))
    }

    fn forget(&mut self, stream: &StreamName, since: Instant) -> bool {
        let same = self.slots.get(stream).is_some_and(|slot| slot.idle_since == Some(since));
        if same {
            self.slots.remove(stream);
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId(1);
    const TWO: SessionId = SessionId(2);

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    #[test]
    fn one_publisher_holds_a_stream_and_the_first_is_untouched() {
        let (mut running, stream) = (Running::default(), name("a"));
        running.release(&stream);
        assert_eq!(running.lookup(&stream), None, "a release of nothing is nothing");
        running.acquire(&stream, ONE).unwrap();
        running.acquire(&stream, ONE).unwrap();
        let error = running.acquire(&stream, TWO).unwrap_err();
        assert!(error.to_string().starts_with("the stream already has an active publisher"));
        for _ in 0..2 {
            assert_eq!(running.lookup(&stream).unwrap().holder, Some(ONE));
        }
        running.release(&stream);
        running.acquire(&stream, TWO).unwrap();
        running.unregister(&stream);
        assert_eq!(running.lookup(&stream), None);
        running.acquire(&stream, ONE).unwrap();
    }

    #[test]
    fn an_idle_stream_is_forgotten_and_one_that_came_back_is_not() {
        let (mut running, now) = (Running::default(), Instant::now());
        let after = Duration::from_secs(30);
        for stream in ["a", "b", "c"] {
            running.acquire(&name(stream), ONE).unwrap();
        }
        running.end(&name("a"), now);
        running.end(&name("b"), now);
        assert_eq!(running.due(after), Some(now + after));
        running.acquire(&name("b"), TWO).unwrap();
        assert!(running.reap(now + after - Duration::from_millis(1), after).is_empty());
        assert_eq!(running.reap(now + after, after), [name("a")]);
        let left: Vec<_> = running.after(None).map(|(name, _)| name.to_string()).collect();
        assert_eq!(left, ["b", "c"]);
        assert_eq!(running.after(Some(&name("b"))).count(), 1);
        assert_eq!(running.due(after), None);
    }

    #[test]
    fn ended_streams_are_bounded_and_the_oldest_goes_first() {
        let (mut running, now) = (Running::default(), Instant::now());
        for number in 0..=IDLE_MAX {
            let stream = name(&format!("s{number}"));
            running.acquire(&stream, ONE).unwrap();
            let forgotten = running.end(&stream, now);
            assert_eq!(forgotten, (number == IDLE_MAX).then(|| name("s0")));
        }
        assert_eq!(running.slots.len(), IDLE_MAX);
        assert_eq!(running.lookup(&name("s0")), None);
    }
}
