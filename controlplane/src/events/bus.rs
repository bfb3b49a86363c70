//! Bus: takes events, and lets cursors read them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use codecs::time::WallTime;
use dataplane::ids::{StreamId, StreamName};
use tokio::sync::watch;

use super::event::Event;
use super::id::{EventId, EventIds};
use super::kind::Kind;
use super::ring::{Ring, RingLimits};

/// Events of a burst that are not kept yet at most.
const BURST_MAX: u64 = 1_024;

/// What is only told, or kept to be told, while somebody wants to hear it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// How those came in who leave.
    pub claims: bool,
    /// Each finished segment.
    pub segments: bool,
    /// Each connection that is closed.
    pub connections: bool,
    /// Each player that leaves, by the number that it was asked about by.
    pub players: bool,
}

/// Where events are published. Clones are one bus.
///
/// Lives on: the control thread. The lock is held for moments and never over a wait.
#[derive(Clone, Debug)]
pub struct Bus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: Arc<str>,
    kept: Mutex<Kept>,
    /// The number of the next event.
    next: watch::Sender<u64>,
    /// What somebody is to be told besides, as bits.
    wants: AtomicU8,
}

#[derive(Debug)]
struct Kept {
    ring: Ring,
    ids: EventIds,
    published: [u64; Kind::NAMES.len()],
    /// Events that hooks can take before one of them has to give any up.
    vacancy: u64,
}

impl Bus {
    /// A bus of the node of that name.
    #[must_use]
    pub fn new(node: Arc<str>, limits: RingLimits) -> Self {
        let mut process = [0; 4];
        // Without random numbers ids of two runs may be equal within the same millisecond.
        let _ = getrandom::fill(&mut process);
        let kept = Kept {
            ring: Ring::new(limits),
            ids: EventIds::new(u32::from_le_bytes(process)),
            published: [0; Kind::NAMES.len()],
            vacancy: u64::MAX,
        };
        Self(Arc::new(Inner {
            node,
            kept: Mutex::new(kept),
            next: watch::Sender::new(0),
            wants: AtomicU8::new(0),
        }))
    }

    /// The name of the node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// Says what somebody is to be told besides.
    pub fn want(&self, wants: Wants) {
        let Wants { claims, segments, connections, players } = wants;
        let wanted = [claims, segments, connections, players].map(u8::from);
        let bits = wanted.into_iter().rev().fold(0, |bits, bit| bits << 1 | bit);
        self.0.wants.store(bits, Ordering::Relaxed);
    }

    /// What somebody is to be told besides.
    #[must_use]
    pub fn wants(&self) -> Wants {
        let bits = self.0.wants.load(Ordering::Relaxed);
        let has = |bit: u8| bits & 1 << bit != 0;
        Wants { claims: has(0), segments: has(1), connections: has(2), players: has(3) }
    }

    /// Tells whoever listens. Never blocks and never fails: what nobody reads in time is gone.
    pub fn publish(&self, stream: Option<&StreamName>, id: Option<StreamId>, kind: Kind) {
        let mut kept = self.kept();
        let event = self.make(&mut kept.ids, stream, id, kind);
        kept.published[event.kind().index()] += 1;
        kept.ring.push(Arc::new(event));
        self.0.next.send_replace(kept.ring.next());
    }

    /// An event that nobody is told of.
    #[must_use]
    pub fn unpublished(&self, stream: Option<&StreamName>, kind: Kind) -> Event {
        self.make(&mut self.kept().ids, stream, None, kind)
    }

    /// True if one of many events can be told without pushing any out before hooks have kept it,
    /// or out of the queue of a hook whose receiver keeps up.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let kept = self.kept();
        let Some((events, bytes)) = kept.ring.unkept() else { return true };
        let limits = kept.ring.limits();
        let half = u64::from(limits.events / 2).min(kept.vacancy.div_ceil(2));
        events < half.min(BURST_MAX) && bytes <= limits.bytes / 2
    }

    /// Keeps from now on what `limits` say.
    pub fn set_limits(&self, limits: RingLimits) {
        self.kept().ring.set_limits(limits);
    }

    /// Reads from the next event on.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let at = self.kept().ring.next();
        Cursor {
            bus: self.clone(),
            news: self.0.next.subscribe(),
            at,
            unknown: false,
            keeps: false,
        }
    }

    /// As [`Self::cursor`], for the one who keeps what it reads: events stay for longer until it
    /// says by [`Cursor::kept`] that it did.
    #[must_use]
    pub fn keeping_cursor(&self) -> Cursor {
        let mut kept = self.kept();
        let at = kept.ring.next();
        kept.ring.kept(Some(at));
        kept.vacancy = u64::MAX;
        drop(kept);
        Cursor { bus: self.clone(), news: self.0.next.subscribe(), at, unknown: false, keeps: true }
    }

    /// Reads from the first event after `id` on.
    #[must_use]
    pub fn cursor_after(&self, id: EventId) -> Cursor {
        let kept = self.kept();
        let (at, reaches) = kept.ring.after(id);
        // What a former run told after `id`, this one cannot know.
        let unknown = !(reaches && kept.ids.made(id));
        drop(kept);
        Cursor { bus: self.clone(), news: self.0.next.subscribe(), at, unknown, keeps: false }
    }

    /// Events published since the start, by the name of their kind.
    pub fn published(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Kind::NAMES.into_iter().zip(self.kept().published)
    }

    /// Events in the ring, and the bytes of their JSON.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        let kept = self.kept();
        (kept.ring.next() - kept.ring.first(), kept.ring.bytes())
    }

    fn make(
        &self,
        ids: &mut EventIds,
        stream: Option<&StreamName>,
        stream_id: Option<StreamId>,
        kind: Kind,
    ) -> Event {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = WallTime::from_unix_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        Event::new(ids.next(now), &self.0.node, stream.cloned(), stream_id, kind)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked left the ring whole: each change of it is one call.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a cursor read.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Events that were gone before they were read: so many, or an unknown number.
    pub missed: Option<Option<u64>>,
    /// The next events.
    pub events: Vec<Arc<Event>>,
}

/// A place in the ring.
#[derive(Debug)]
pub struct Cursor {
    bus: Bus,
    news: watch::Receiver<u64>,
    at: u64,
    unknown: bool,
    keeps: bool,
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if self.keeps {
            self.bus.kept().ring.kept(None);
        }
    }
}

impl Cursor {
    /// Returns when there is something to read.
    pub async fn ready(&mut self) {
        let at = self.at;
        if self.unknown {
            return;
        }
        // The sender is part of the bus, which this cursor holds.
        let _ = self.news.wait_for(|&next| next > at).await;
    }

    /// Reads the next `events_max` events.
    pub fn read(&mut self, events_max: usize) -> Told {
        let kept = self.bus.kept();
        let gone = kept.ring.first().saturating_sub(self.at);
        self.at += gone;
        let events: Vec<_> = kept.ring.from(self.at).take(events_max).cloned().collect();
        drop(kept);
        self.at += events.len() as u64;
        let unknown = std::mem::take(&mut self.unknown);
        let missed = if unknown { Some(None) } else { (gone > 0).then_some(Some(gone)) };
        Told { missed, events }
    }

    /// What was read is kept, and `vacancy` events more can be.
    pub fn kept(&self, vacancy: u64) {
        let mut kept = self.bus.kept();
        if self.keeps {
            kept.ring.kept(Some(self.at));
            kept.vacancy = vacancy;
        }
    }

    /// Reads what was read last once more, from its first `events` on.
    pub fn unread(&mut self, events: usize) {
        self.at = self.at.saturating_sub(events as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bus(events: u32, bytes: u64) -> Bus {
        Bus::new("edge-1".into(), RingLimits { events, bytes })
    }

    fn lose(bus: &Bus, count: u32) {
        for _ in 0..count {
            bus.publish(None, None, Kind::StreamLost {});
        }
    }

    #[tokio::test]
    async fn a_cursor_reads_in_order_and_is_told_what_it_missed() {
        let bus = bus(4, 1 << 20);
        let mut cursor = bus.cursor();
        let mut slow = bus.cursor();
        for word in ["a", "b"] {
            bus.publish(Some(&StreamName::parse(word).unwrap()), None, Kind::StreamLost {});
        }
        cursor.ready().await;
        let told = cursor.read(9);
        let names: Vec<_> =
            told.events.iter().map(|event| event.stream().unwrap().as_str()).collect();
        assert_eq!((told.missed, names.as_slice()), (None, ["a", "b"].as_slice()));
        assert!(told.events[0].id() < told.events[1].id());
        cursor.unread(1);
        assert_eq!(cursor.read(1).events[0].id(), told.events[1].id());
        assert!(cursor.read(9).events.is_empty());

        lose(&bus, 5);
        let told = slow.read(3);
        assert_eq!((told.missed, told.events.len()), (Some(Some(3)), 3));
        assert_eq!((slow.read(9).missed, bus.held().0), (None, 4));
    }

    #[tokio::test]
    async fn a_cursor_goes_on_after_an_id() {
        let bus = bus(3, 1 << 20);
        lose(&bus, 3);
        let ids: Vec<_> = bus.cursor_after(EventId::parse(&"0".repeat(32)).unwrap()).read(9).events;
        let ids: Vec<_> = ids.iter().map(|event| event.id()).collect();
        let mut after = bus.cursor_after(ids[1]);
        after.ready().await;
        let told = after.read(9);
        assert_eq!((told.missed, told.events[0].id()), (None, ids[2]));
        assert!(bus.cursor_after(ids[2]).read(9).events.is_empty());
        lose(&bus, 3);
        let mut late = bus.cursor_after(ids[1]);
        late.ready().await;
        let told = late.read(9);
        assert_eq!((told.missed, told.events.len()), (Some(None), 3));
        assert_eq!(late.read(9).missed, None, "it is told once");
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_and_counts_by_kind() {
        let bus = bus(100, 1_000);
        lose(&bus, 20);
        let (events, bytes) = bus.held();
        assert!(bytes <= 1_000 && (1..10).contains(&events), "{events} {bytes}");
        bus.set_limits(RingLimits { events: 1, bytes: 0 });
        assert_eq!(bus.held().0, 1, "the newest is kept whatever its size");
        let lost = bus.published().find(|&(name, _)| name == "stream.lost");
        assert_eq!(lost, Some(("stream.lost", 20)));
    }
}
