//! Queue: the events of one hook that wait, in a room for each class.
//!
//! Rooms take turns, so that a crowd of one class does not hold up the events of another. When more
//! wait than may, the room that holds the most gives up its oldest: a class that keeps to its share
//! of the whole never loses any, whatever strangers do.
//!
//! Pure: time comes in as an argument, nothing here waits.

use std::sync::Arc;
use std::time::Instant;

use super::allotment::RECORD_BYTES;
use super::batch::{Batch, Batching, GivenUp, Setback};
use super::lane::Class;
use super::parcel::Parcel;
use super::room::Room;

/// The events of one hook that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    rooms: [Room; Class::COUNT],
    /// The room whose turn it is.
    turn: usize,
}

/// Events that wait, and the bytes of their JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

impl Held {
    /// Bytes of memory that they take.
    pub(super) const fn weight(self) -> u64 {
        self.bytes + self.events * RECORD_BYTES
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.rooms.iter().map(Room::events).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.rooms.iter().map(Room::bytes).sum()
    }

    /// All that wait.
    pub(super) fn held(&self) -> Held {
        Held { events: self.len() as u64, bytes: self.bytes() }
    }

    /// Events of what the node and those do who were let in: strangers cannot make them more.
    pub(super) fn admitted(&self) -> Held {
        let rooms = [Class::Stream, Class::Session].map(|class| &self.rooms[class.index()]);
        let events = rooms.iter().map(|room| room.events() as u64).sum();
        Held { events, bytes: rooms.iter().map(|room| room.bytes()).sum() }
    }

    /// Since when the oldest event waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.rooms.iter().filter_map(Room::oldest).min()
    }

    /// Adds an event after those of its lane.
    pub(super) fn push(&mut self, parcel: Arc<Parcel>, now: Instant) {
        self.rooms[parcel.lane.class().index()].push(parcel, now);
    }

    /// The next events to be sent, if there are any and they have waited long enough.
    pub(super) fn take(&mut self, now: Instant, batching: Batching) -> Option<Batch> {
        for _ in 0..Class::COUNT {
            let room = &mut self.rooms[self.turn];
            self.turn = (self.turn + 1) % Class::COUNT;
            if let Some(batch) = room.take(now, batching) {
                return Some(batch);
            }
        }
        None
    }

    /// When [`Self::take`] has something, as far as is known now.
    pub(super) fn due(&self, batching: Batching) -> Option<Instant> {
        self.rooms.iter().filter_map(|room| room.due(batching)).min()
    }

    /// The events were taken by the receiver.
    pub(super) fn delivered(&mut self, batch: &Batch) {
        self.rooms[batch.class.index()].delivered(batch);
    }

    /// The events were not taken. Those that were tried often enough are gone from here.
    pub(super) fn failed(&mut self, batch: Batch, setback: Setback) -> Vec<GivenUp> {
        self.rooms[batch.class.index()].failed(batch, setback)
    }

    /// Takes old events out until the rest fits; those under way stay.
    pub(super) fn shrink(&mut self, events_max: usize, bytes_max: u64) -> Vec<GivenUp> {
        let mut given_up = Vec::new();
        loop {
            let crowded = self.len() > events_max;
            if !crowded && self.bytes() <= bytes_max {
                return given_up;
            }
            let most = |room: &&mut Room| match crowded {
                true => room.events() as u64,
                false => room.bytes(),
            };
            let rooms = self.rooms.iter_mut().filter(|room| room.can_shrink());
            let Some(room) = rooms.max_by_key(most) else { return given_up };
            given_up.extend(room.shrink());
        }
    }

    /// Takes the oldest event of the room that holds the most out, with those that it was sealed
    /// with; none if all are under way.
    pub(super) fn give_up_oldest(&mut self) -> Vec<GivenUp> {
        let rooms = self.rooms.iter_mut().filter(|room| room.can_shrink());
        let most =
            |room: &&mut Room| Held { events: room.events() as u64, bytes: room.bytes() }.weight();
        rooms.max_by_key(most).map(Room::shrink).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use dataplane::ids::StreamName;

    use super::super::lane::Lane;

    const ONE: Batching =
        Batching { events_max: 1, bytes_max: u64::MAX, added_bytes: 0, patience: Duration::ZERO };
    const THREE: Batching = Batching { events_max: 3, patience: Duration::from_secs(1), ..ONE };

    /// An event of a stream; of a session if it is called by a digit, of a question by `?`.
    fn parcel(number: u64, lane: &str) -> Arc<Parcel> {
        let lane = match (lane, lane.parse()) {
            ("", _) => Lane::Node,
            ("?", _) => Lane::Question(7),
            (_, Ok(session)) => Lane::Session(session),
            (name, _) => Lane::Stream(StreamName::parse(name).unwrap()),
        };
        Arc::new(Parcel { number, id: number.to_string().into(), lane, json: "{}".into() })
    }

    fn queue(lanes: &[&str], now: Instant) -> Queue {
        let mut queue = Queue::default();
        for (number, lane) in (0..).zip(lanes) {
            queue.push(parcel(number, lane), now);
        }
        queue
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.parcels.iter().map(|parcel| parcel.number).collect()
    }

    fn lost(given_up: &[GivenUp]) -> Vec<u64> {
        given_up.iter().map(|gone| gone.parcel.number).collect()
    }

    const fn silent(retries_max: u32, now: Instant) -> Setback {
        Setback { refused: false, retries_max, now, chance: 255 }
    }

    const fn refused(retries_max: u32, now: Instant) -> Setback {
        Setback { refused: true, ..silent(retries_max, now) }
    }

    #[test]
    fn a_failing_event_holds_up_its_own_lane_alone() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b", "a", "", "b"], now);
        let a = queue.take(now, ONE).unwrap();
        let b = queue.take(now, ONE).unwrap();
        let node = queue.take(now, ONE).unwrap();
        assert_eq!([&a, &b, &node].map(numbers), [[0], [1], [3]]);
        assert!(queue.take(now, ONE).is_none(), "one of each stream at a time");
        assert!(queue.failed(a, silent(3, now)).is_empty());
        queue.delivered(&b);
        queue.delivered(&node);
        let b = queue.take(now, ONE).unwrap();
        assert_eq!(numbers(&b), [4]);
        queue.delivered(&b);
        assert_eq!(queue.due(ONE), Some(now + Duration::from_secs(1)));
        assert!(queue.take(now, ONE).is_none());
        let now = now + Duration::from_secs(1);
        let a = queue.take(now, ONE).unwrap();
        assert_eq!(numbers(&a), [0], "the one that failed is first");
        queue.delivered(&a);
        let a = queue.take(now, ONE).unwrap();
        assert_eq!(numbers(&a), [2]);
        queue.delivered(&a);
        assert!(queue.rooms.iter().all(Room::is_bare), "{queue:?}");
        assert_eq!(queue.due(ONE), None);
    }

    #[test]
    fn players_of_one_stream_do_not_wait_for_one_another() {
        let now = Instant::now();
        let mut queue = queue(&["1", "2", "1", "a", "?", "3"], now);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take(now, ONE)).collect();
        let taken: Vec<_> = taken.iter().flat_map(numbers).collect();
        assert_eq!(taken, [3, 0, 4, 1, 5], "classes take turns, and 2 waits for 0");
    }

    #[test]
    fn an_event_is_given_up_after_its_retries_and_the_next_one_is_tried() {
        let mut now = Instant::now();
        let mut queue = queue(&["a", "a"], now);
        for attempt in 1..=3 {
            let batch = queue.take(now, ONE).unwrap();
            assert_eq!(numbers(&batch), [0]);
            let given_up = queue.failed(batch, silent(2, now));
            assert_eq!(given_up.len(), usize::from(attempt == 3));
            now = queue.due(ONE).unwrap().max(now);
        }
        assert_eq!(numbers(&queue.take(now, ONE).unwrap()), [1]);
    }

    #[test]
    fn a_batch_is_full_or_has_waited_and_keeps_the_order_of_streams() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b"], now);
        assert!(queue.take(now, THREE).is_none());
        assert_eq!(queue.due(THREE), Some(now + THREE.patience));
        queue.push(parcel(2, "a"), now);
        queue.push(parcel(3, "a"), now);
        let batch = queue.take(now, THREE).unwrap();
        assert_eq!(numbers(&batch), [0, 2, 3]);
        let later = now + THREE.patience;
        let rest = queue.take(later, THREE).unwrap();
        assert_eq!(numbers(&rest), [1]);
        queue.delivered(&batch);
        queue.delivered(&rest);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_batch_that_nobody_answered_is_the_same_at_each_try() {
        let mut now = Instant::now();
        let mut queue = queue(&["a", "b"], now);
        queue.push(parcel(2, "c"), now);
        let mut batch = queue.take(now, THREE).unwrap();
        for number in 3..6 {
            assert_eq!(numbers(&batch), [0, 1, 2]);
            assert!(queue.failed(batch, silent(4, now)).is_empty());
            // What comes meanwhile waits behind it, or goes without it.
            queue.push(parcel(number, "a"), now);
            now = queue.due(ONE).unwrap();
            batch = queue.take(now, THREE).unwrap();
        }
        assert_eq!(numbers(&batch), [0, 1, 2]);
        queue.delivered(&batch);
        let rest = queue.take(now, THREE).unwrap();
        assert_eq!(numbers(&rest), [3, 4, 5]);
        let given_up = queue.failed(rest, silent(0, now));
        assert_eq!(lost(&given_up), [3, 4, 5]);
        assert!(queue.rooms.iter().all(Room::is_bare), "{queue:?}");
    }

    #[test]
    fn what_was_refused_together_is_tried_alone() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b", "b"], now);
        let batch = queue.take(now, THREE).unwrap();
        assert_eq!(numbers(&batch), [0, 1, 2]);
        assert!(queue.failed(batch, refused(1, now)).is_empty());
        queue.push(parcel(3, "a"), now);
        assert!(queue.take(now, THREE).is_none());
        let now = now + Duration::from_secs(1);
        let bad = queue.take(now, THREE).unwrap();
        let good = queue.take(now, THREE).unwrap();
        assert_eq!([&bad, &good].map(numbers), [[0], [1]]);
        queue.delivered(&good);
        let given_up = queue.failed(bad, refused(1, now));
        assert_eq!((lost(&given_up), given_up[0].attempts), (vec![0], 2));
        let alone = queue.take(now, THREE).unwrap();
        assert_eq!(numbers(&alone), [2]);
        queue.delivered(&alone);
        let rest = queue.take(now + THREE.patience, THREE).unwrap();
        assert_eq!(numbers(&rest), [3]);
        queue.delivered(&rest);
        assert!(queue.rooms.iter().all(Room::is_bare), "{queue:?}");
    }

    #[test]
    fn the_oldest_go_first_but_none_that_is_under_way() {
        let now = Instant::now();
        let mut queue = queue(&["a", "a", "b", "c"], now);
        let batch = queue.take(now, ONE).unwrap();
        assert_eq!(lost(&queue.shrink(2, u64::MAX)), [1, 2]);
        assert_eq!(queue.shrink(0, u64::MAX).len(), 1, "the one under way stays");
        queue.delivered(&batch);
        assert!(queue.rooms.iter().all(Room::is_bare), "{queue:?}");
        assert_eq!(queue.oldest(), None);
    }

    #[test]
    fn strangers_never_take_the_room_of_streams() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b", "1"], now);
        for number in 3..100 {
            queue.push(parcel(number, "?"), now);
            let given_up = queue.shrink(9, 18);
            let strangers = given_up.iter().all(|gone| gone.parcel.lane == Lane::Question(7));
            assert!(strangers && queue.len() <= 9, "{given_up:?}");
        }
        let kept: Vec<_> = std::iter::from_fn(|| queue.take(now, ONE)).collect();
        assert_eq!(kept.iter().flat_map(numbers).collect::<Vec<_>>(), [0, 2, 94, 1]);
    }

    #[test]
    fn a_batch_that_waits_goes_whole_when_there_is_no_room() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b", "c"], now);
        let batch = queue.take(now, THREE).unwrap();
        queue.failed(batch, silent(9, now));
        queue.push(parcel(3, "a"), now);
        assert_eq!(lost(&queue.shrink(3, u64::MAX)), [0, 1, 2]);
        let rest = queue.take(now, ONE).unwrap();
        assert_eq!(numbers(&rest), [3], "its lane is free again");
        queue.delivered(&rest);
        assert!(queue.rooms.iter().all(Room::is_bare), "{queue:?}");
    }
}
